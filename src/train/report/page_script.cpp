// Tooltips: each figure carries its numbers as JSON, the script shows those under the pointer.
#include "train/report/page.h"

namespace octavo::report {

const char* page_script() {
  return R"js(
(() => {
  const tip = document.getElementById('tip');
  const shown = (v, unit) => v === null || v === undefined ? '–'
    : (unit === '%' ? 100 * v : v).toLocaleString('en', {maximumSignificantDigits: 4}) + unit;
  const step = v => Math.round(v).toLocaleString('en');
  const small = (v, unit) => v !== null && v !== 0 && Math.abs(v) < 1e-4 && unit === '' ? Number(v).toExponential(2) : shown(v, unit);
  const upper = (list, x) => { let n = 0; while (n < list.length && list[n] <= x) n++; return n; };
  const nearest = (list, x) => {
    const n = upper(list, x);
    return n === 0 ? 0 : n === list.length || x - list[n - 1] < list[n] - x ? n - 1 : n;
  };
  function lines(d, at) {
    const x = d.low + (d.high - d.low) * (at.x - d.left) / (d.right - d.left);
    const rows = d.curves.filter(c => c.x.length).map(c => {
      const i = nearest(c.x, x);
      return [Math.abs(c.x[i] - x), c.x[i], c.name + '  ' + small(c.y[i], d.unit)];
    });
    if (!rows.length) return null;
    const head = rows.reduce((a, b) => b[0] < a[0] ? b : a)[1];
    return d.xlabel + ' ' + step(head) + '\n' + rows.map(r => r[2]).join('\n');
  }
  function map(d, at) {
    const row = Math.floor((at.y - d.top) / (d.bottom - d.top) * d.rows.length);
    const low = d.edges[0], high = d.edges[d.edges.length - 1];
    const x = low + (high - low) * (at.x - d.left) / (d.right - d.left);
    if (row < 0 || row >= d.rows.length) return null;
    const c = Math.min(Math.max(upper(d.edges, x) - 1, 0), d.edges.length - 2);
    return d.rows[row].name + '\nsteps ' + step(d.edges[c]) + ' to ' + step(d.edges[c + 1]) + '\n' +
      small(d.rows[row].v[c], d.unit);
  }
  for (const figure of document.querySelectorAll('figure')) {
    const source = figure.querySelector('script'), svg = figure.querySelector('figure > svg');
    if (!source || !svg) continue;
    const d = JSON.parse(source.textContent);
    const guide = document.createElementNS(svg.namespaceURI, 'line');
    guide.setAttribute('class', 'guide');
    const hide = () => { tip.hidden = true; guide.remove(); };
    svg.addEventListener('pointermove', event => {
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
      const inside = at.x >= d.left && at.x <= d.right && at.y >= d.top - 90 && at.y <= d.bottom;
      const text = inside ? (d.kind === 'map' ? map : lines)(d, at) : null;
      if (!text) return hide();
      for (const [name, value] of [['x1', at.x], ['x2', at.x], ['y1', d.top], ['y2', d.bottom]])
        guide.setAttribute(name, value);
      if (d.kind === 'lines') svg.append(guide);
      tip.textContent = text;
      tip.hidden = false;
      const left = Math.min(event.pageX + 14, document.documentElement.clientWidth - tip.offsetWidth - 8);
      tip.style.left = Math.max(8, left) + 'px';
      tip.style.top = event.pageY + 16 + 'px';
    });
    svg.addEventListener('pointerleave', hide);
  }
})();
)js";
}

}  // namespace octavo::report
