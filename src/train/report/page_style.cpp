// The look of the pages. Colours are variables, so that light and dark differ in one block each; the palette
// is that of Okabe and Ito (2008), which colour-blind readers tell apart, darkened or lightened for its
// background.
#include <array>
#include <cmath>
#include <string>

#include "train/report/page.h"

namespace octavo::report {
namespace {

using Colour = std::array<int, 3>;

constexpr std::array<Colour, 5> sequential_light = {
    {{237, 241, 245}, {190, 214, 233}, {117, 170, 213}, {38, 113, 178}, {8, 48, 97}}};
constexpr std::array<Colour, 5> sequential_dark = {
    {{29, 36, 43}, {30, 62, 92}, {42, 107, 160}, {102, 174, 226}, {218, 238, 255}}};
constexpr std::array<Colour, 5> diverging_light = {
    {{8, 70, 130}, {110, 165, 210}, {233, 236, 240}, {236, 160, 96}, {158, 66, 0}}};
constexpr std::array<Colour, 5> diverging_dark = {
    {{150, 208, 250}, {44, 110, 165}, {36, 43, 50}, {164, 92, 34}, {255, 196, 138}}};

// Share 0 to 1 of the way through the anchors.
std::string between(const std::array<Colour, 5>& anchors, double share) {
  const double at = share * 4;
  const auto below = static_cast<std::size_t>(std::min(3.0, std::floor(at)));
  std::string text = "#";
  for (std::size_t channel = 0; channel < 3; ++channel) {
    const double from = anchors[below][channel], to = anchors[below + 1][channel];
    const auto value =
        static_cast<unsigned>(std::lround(from + (to - from) * (at - static_cast<double>(below))));
    text += {"0123456789abcdef"[value / 16], "0123456789abcdef"[value % 16]};
  }
  return text;
}

std::string classes(char letter, int count, const std::array<Colour, 5>& anchors) {
  std::string css;
  for (int i = 0; i < count; ++i)
    css +=
        std::string(".") + letter + std::to_string(i) + "{fill:" + between(anchors, i / (count - 1.0)) + "}";
  return css;
}

}  // namespace

std::string colour_classes() {
  return classes('s', 16, sequential_light) + classes('d', 17, diverging_light) +
         "@media(prefers-color-scheme:dark){" + classes('s', 16, sequential_dark) +
         classes('d', 17, diverging_dark) + "}";
}

const char* page_style() {
  return R"css(
:root{--back:#fff;--text:#1c2127;--soft:#59636e;--faint:#8b949e;--rule:#e4e8ec;--wash:#f5f7f9;
--c1:#0068a8;--c2:#c8500a;--c3:#00805d;--c4:#9c4a86;--c5:#a87400;--c6:#2f8fc4;--c7:#66707a;--c8:#7a2548}
@media(prefers-color-scheme:dark){:root{--back:#101418;--text:#e3e7eb;--soft:#a0aab4;--faint:#747e88;--rule:#272e35;
--wash:#181d23;--c1:#5ab2f2;--c2:#f28c4f;--c3:#3fc79c;--c4:#dd92c6;--c5:#e8b84a;--c6:#93d2f5;--c7:#a5aeb8;--c8:#d67499}}
*{box-sizing:border-box}
body{margin:0 auto;padding:40px 28px 80px;max-width:1180px;background:var(--back);color:var(--text);
font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue","Liberation Sans",Arial,sans-serif;
font-variant-numeric:tabular-nums}
h1{margin:0;font-size:27px;font-weight:650;letter-spacing:-.015em;line-height:1.25;overflow-wrap:anywhere}
h2{margin:0 0 20px;font-size:19px;font-weight:650;letter-spacing:-.01em}
h3{margin:0;min-width:0;font-size:14px;font-weight:600;overflow-wrap:anywhere}
h3.block{margin:36px 0 18px;font-size:15px}
h3.block span{margin-left:10px;font-weight:400;font-size:13px;color:var(--soft)}
p{margin:0}
.about{margin:6px 0 0;color:var(--soft)}
section>.about{margin:-12px 0 20px}
.about strong{color:var(--text);font-weight:600}
.note{font-size:12.5px;color:var(--soft);overflow-wrap:anywhere}
.empty{color:var(--soft)}
.warning{margin-top:20px;padding:10px 14px;border-left:3px solid var(--c2);background:var(--wash);font-size:13.5px}
mark{padding:1px 8px;border:1px solid var(--c2);border-radius:9px;background:none;color:var(--c2);font-size:12px;
white-space:nowrap}
nav{position:sticky;top:0;z-index:1;display:flex;flex-wrap:wrap;gap:4px 22px;margin:30px 0 0;padding:10px 0;
background:var(--back);border-bottom:1px solid var(--rule);font-size:13.5px}
nav a{color:var(--soft);text-decoration:none}
nav a:hover{color:var(--text)}
section{padding-top:34px;scroll-margin-top:30px}
section+section{margin-top:40px;border-top:1px solid var(--rule)}
.tiles{display:grid;grid-template-columns:1.3fr repeat(4,minmax(0,1fr)) minmax(220px,1.6fr);gap:20px 26px;margin-top:30px}
.tile h3{font-weight:400;font-size:12.5px;color:var(--soft)}
.tile .value{font-size:23px;font-weight:600;letter-spacing:-.015em;line-height:1.35;white-space:nowrap}
.shares ul{margin:5px 0 0;padding:0;list-style:none;font-size:12.5px}
.shares li{display:grid;grid-template-columns:82px 1fr 50px;align-items:center;gap:8px;line-height:1.6}
.bar{display:block;height:6px;border-radius:3px;background:var(--rule);overflow:hidden}
.bar i{display:block;height:100%;background:var(--c1)}
.grid{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:32px 44px;align-items:start}
.grid+.grid{margin-top:32px}
.grid.small{grid-template-columns:repeat(4,minmax(0,1fr));gap:24px 26px}
.grid.three{grid-template-columns:repeat(3,minmax(0,1fr));gap:32px 34px}
figure{display:grid;grid-template-rows:subgrid;grid-row:span 2;row-gap:6px;margin:0;min-width:0}
figcaption{display:flex;flex-wrap:wrap;align-items:baseline;align-content:flex-start;gap:2px 16px}
figcaption .note{flex-basis:100%}
figure.empty p{padding:4px 0;font-size:13.5px;color:var(--soft)}
.legend{display:flex;flex-wrap:wrap;gap:2px 14px;margin:0 0 0 auto;padding:0;list-style:none;font-size:12.5px;
color:var(--soft)}
.shared .legend{margin:0 0 22px;font-size:13.5px}
.spaced{margin-top:14px}
.scale{display:flex;align-items:center;gap:7px;margin-left:auto;font-size:12px;color:var(--soft);white-space:nowrap}
.scale svg{width:96px;height:9px}
.scale svg.swatch{width:12px}
.scale svg.swatch+span{margin-right:8px}
i.line,i.dots,i.area{display:inline-block;width:15px;height:0;margin-right:6px;vertical-align:middle;
border-top:2px solid var(--c)}
i.faint{opacity:.35}
i.dash{border-top-style:dashed}
i.dots{width:7px;height:7px;border:0;border-radius:50%;background:var(--c)}
i.area{width:11px;height:9px;border:0;background:var(--c);opacity:.45}
.c1{--c:var(--c1)}.c2{--c:var(--c2)}.c3{--c:var(--c3)}.c4{--c:var(--c4)}
.c5{--c:var(--c5)}.c6{--c:var(--c6)}.c7{--c:var(--c7)}.c8{--c:var(--c8)}
svg{display:block;width:100%;height:auto;overflow:visible}
svg text{fill:var(--soft);font-size:11px}
svg .row{font-size:10px}
svg .faded{fill:var(--faint)}
svg .label{fill:var(--faint)}
.middle{text-anchor:middle}.end{text-anchor:end}
line.grid{stroke:var(--rule);stroke-width:1}
line.axis,line.tick{stroke:var(--faint);stroke-width:1}
.curve{fill:none;stroke:var(--c);stroke-width:1.6;stroke-linejoin:round;vector-effect:non-scaling-stroke}
.curve.dash{stroke-dasharray:5 4}
.curve.faint{stroke-width:1;opacity:.3}
.dot{fill:var(--c)}
.band{fill:var(--c1);opacity:.16}
.area{fill:var(--c);opacity:.45}
line.clip{stroke:var(--c);stroke-width:1.2;stroke-dasharray:3 3;vector-effect:non-scaling-stroke}
line.guide{stroke:var(--soft);stroke-width:1;vector-effect:non-scaling-stroke}
.scroll{overflow-x:auto}
.wide figure>svg{min-width:760px}
.wide figcaption{position:sticky;left:0;max-width:calc(100vw - 32px)}
table{width:100%;border-collapse:collapse;font-size:13px}
th{padding:6px 14px 6px 0;text-align:left;font-weight:500;color:var(--soft);border-bottom:1px solid var(--faint);
white-space:nowrap}
td{padding:4px 14px 4px 0;vertical-align:top;white-space:nowrap}
tr.first td{border-top:1px solid var(--rule)}
tbody tr:first-child td{border-top:0}
.number{text-align:right}
td.number:last-child,th.number:last-child{padding-right:0}
.name{font:12px/1.6 ui-monospace,"SF Mono",Menlo,Consolas,"Liberation Mono",monospace}
tr.float{color:var(--soft)}
td.why{white-space:normal}
.mixed td.why{color:var(--c2)}
table.facts th{width:1%;border:0;padding:3px 22px 3px 0;font-weight:400;vertical-align:top}
table.facts td{padding:3px 0;white-space:normal;overflow-wrap:anywhere}
.part h3{margin-bottom:10px}
details{margin-top:26px}
summary{cursor:pointer;font-size:14px;font-weight:600}
details>:last-child{margin-top:12px}
pre{margin:0;padding:14px 16px;overflow-x:auto;background:var(--wash);border-radius:6px;
font:12.5px/1.6 ui-monospace,"SF Mono",Menlo,Consolas,"Liberation Mono",monospace}
#tip{position:absolute;z-index:2;max-width:340px;padding:7px 10px;border-radius:5px;background:var(--text);
color:var(--back);font-size:12.5px;line-height:1.5;pointer-events:none;white-space:pre-line}
@media(max-width:1000px){.tiles{grid-template-columns:repeat(3,minmax(0,1fr))}.grid.small{grid-template-columns:repeat(3,minmax(0,1fr))}}
@media(max-width:720px){body{padding:24px 16px 60px}.grid,.grid.three{grid-template-columns:minmax(0,1fr)}
.grid.small,.tiles{grid-template-columns:repeat(2,minmax(0,1fr))}.tile.shares{grid-column:1/-1}
svg text{font-size:15px}svg .row{font-size:12px}.small svg text,.wide svg text,.three svg text{font-size:12px}nav{position:static}}
@media print{nav,#tip{display:none}body{max-width:none;padding:0}}
)css";
}

}  // namespace octavo::report
