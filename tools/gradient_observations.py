#!/usr/bin/env python3
"""Draws the four observations on gradients of Zhu et al. (CVPR 2020, section 3) from recordings of our own.

  octavo record configs/cifar10_resnet20.yaml --out rec/resnet20 --every 300 --steps 1800
  octavo record configs/cifar10_mobilenetv2.yaml model.with.width=0.5 --out rec/mobilenetv2 --every 300 --steps 900
  tools/gradient_observations.py rec/resnet20 rec/mobilenetv2 docs/figures/gradient_observations.svg

C1 gradients are sharp and wide, unlike weights and activations; C2 they get sharper as training goes on; C3 the
shallower the layer, the sharper; C4 depthwise convolutions are sharp throughout. Sharpness is max|g| / sigma.
"""
import argparse
import json
import math
import pathlib

WIDTH, HEIGHT, MARGIN = 460, 270, 54
COLOURS = ("#3b6fb6", "#c8553d", "#5b8c5a", "#8a6fb0", "#b8862d", "#4b9aa8")


def read(folder):
    lines = (pathlib.Path(folder) / "recording.jsonl").read_text().splitlines()
    return json.loads(lines[0]), [json.loads(line) for line in lines[1:]]


def edges(index):
    """Lower and upper edge of a histogram bin: a float's exponent and top four mantissa bits."""
    def edge(i):
        exponent, step = i >> 4, i & 15
        return math.ldexp(step / 16, -126) if exponent == 0 else math.ldexp(1 + step / 16, exponent - 127)
    return edge(index), edge(index + 1)


def sigma(record):
    histogram = record["histogram"]
    squares = sum(count * (sum(edges(index)) / 2) ** 2 for index, count in zip(histogram["bins"], histogram["counts"]))
    return math.sqrt(squares / record["elements"])


def sharpness(record):
    spread = sigma(record)
    return record["max_abs"] / spread if spread > 0 else 0


def density(record):
    """log10 of the density of |v| / sigma, in bins of a quarter of sigma."""
    spread, counts = sigma(record), {}
    for index, count in zip(record["histogram"]["bins"], record["histogram"]["counts"]):
        low, high = edges(index)
        counts[int(4 * (low + high) / 2 / spread)] = counts.get(int(4 * (low + high) / 2 / spread), 0) + count
    return [(k / 4, math.log10(4 * n / record["elements"])) for k, n in sorted(counts.items())]


class Panel:
    """One chart at a place in the drawing: lines or dots with axes, a title and a legend."""

    def __init__(self, column, row, title, x_name, y_name):
        self.left, self.top = column * (WIDTH + 30) + MARGIN, row * (HEIGHT + 40) + 60
        self.title, self.x_name, self.y_name, self.series = title, x_name, y_name, []

    def add(self, name, points, dots=False):
        self.series.append((name, points, dots))

    def draw(self):
        width, height = WIDTH - MARGIN - 20, HEIGHT - 70
        points = [p for _, series, _ in self.series for p in series]
        x_most, y_least, y_most = (max(p[0] for p in points) or 1, min(min(p[1] for p in points), 0),
                                   max(max(p[1] for p in points), 0))
        place = lambda p: (self.left + width * p[0] / x_most,
                           self.top + height * (1 - (p[1] - y_least) / ((y_most - y_least) or 1)))
        out = [f'<text x="{self.left}" y="{self.top - 14}" class="title">{self.title}</text>',
               f'<text x="{self.left + width / 2}" y="{self.top + height + 34}" class="name">{self.x_name}</text>',
               f'<text x="{self.left - 40}" y="{self.top + height / 2}" class="name" transform="rotate(-90 '
               f'{self.left - 40} {self.top + height / 2})">{self.y_name}</text>']
        for i in range(5):
            value = y_least + (y_most - y_least) * i / 4
            y = place((0, value))[1]
            out.append(f'<path d="M{self.left} {y:.1f}h{width}" class="grid"/><text x="{self.left - 6}" '
                       f'y="{y + 4:.1f}" class="tick end">{value:.3g}</text>')
            x = place((x_most * i / 4, 0))[0]
            out.append(f'<text x="{x:.1f}" y="{self.top + height + 17}" class="tick middle">'
                       f'{x_most * i / 4:.4g}</text>')
        for number, (name, series, dots) in enumerate(self.series):
            colour = COLOURS[number % len(COLOURS)]
            placed = [place(p) for p in series]
            if dots:
                out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.4" fill="{colour}"/>' for x, y in placed]
            else:
                out.append('<path d="M' + 'L'.join(f'{x:.1f} {y:.1f}' for x, y in placed) +
                           f'" fill="none" stroke="{colour}" stroke-width="1.8"/>')
            y = self.top + 6 + 16 * number
            out.append(f'<rect x="{self.left + width - 128}" y="{y - 8}" width="10" height="10" fill="{colour}"/>'
                       f'<text x="{self.left + width - 113}" y="{y + 1}" class="tick">{name}</text>')
        return "\n".join(out)


def draw(resnet, mobilenet):
    last = max(r["step"] for r in resnet)
    gradients = [r for r in resnet if r["operand"] == "gradient"]
    layers = list(dict.fromkeys(r["layer"] for r in resnet if r["step"] == last))[::-1]  # first layer first
    middle = layers[len(layers) // 2]

    shape = Panel(0, 0, f"C1  Sharp and wide ({middle}, step {last})", "|v| / sigma", "log10 density")
    for operand in ("weight", "activation", "gradient"):
        shape.add(operand, density(next(r for r in resnet if r["step"] == last and r["layer"] == middle and
                                        r["operand"] == operand)))
    growth = Panel(1, 0, "C2  Sharper as training goes on (ResNet-20)", "step", "max |g| / sigma")
    for layer in (layers[1], middle, layers[-2]):
        growth.add(layer, [(r["step"], sharpness(r)) for r in gradients if r["layer"] == layer])
    depth = Panel(0, 1, f"C3  By depth (ResNet-20, step {last})", "layer, from the input", "max |g| / sigma")
    depth.add("convolution", [(i, sharpness(r)) for i, layer in enumerate(layers) for r in gradients
                              if r["layer"] == layer and r["step"] == last and r["op"] == "conv2d"], dots=True)
    end = max(r["step"] for r in mobilenet)
    order = list(dict.fromkeys(r["layer"] for r in mobilenet if r["step"] == end))[::-1]
    kind = Panel(1, 1, f"C4  By kind of layer (MobileNetV2, step {end})", "layer, from the input", "max |g| / sigma")
    for name, wanted in (("depthwise", True), ("other", False)):
        kind.add(name, [(order.index(r["layer"]), sharpness(r)) for r in mobilenet if r["step"] == end and
                        r["operand"] == "gradient" and r["op"] == "conv2d" and r["depthwise"] == wanted], dots=True)
    panels = "\n".join(panel.draw() for panel in (shape, growth, depth, kind))
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * WIDTH + 60} {2 * HEIGHT + 110}" '
            'font-family="system-ui, sans-serif"><style>.title{font-size:14px;font-weight:600}.name{font-size:12px;'
            'text-anchor:middle;fill:#555}.tick{font-size:11px;fill:#555}.end{text-anchor:end}'
            '.middle{text-anchor:middle}.grid{stroke:#ddd}</style><rect width="100%" height="100%" fill="#fff"/>\n'
            f'{panels}\n</svg>\n')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("resnet", help="recording of ResNet-20")
    parser.add_argument("mobilenet", help="recording of MobileNetV2")
    parser.add_argument("svg", help="file to write")
    arguments = parser.parse_args()
    target = pathlib.Path(arguments.svg)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(draw(read(arguments.resnet)[1], read(arguments.mobilenet)[1]))


if __name__ == "__main__":
    main()
