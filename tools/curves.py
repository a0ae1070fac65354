#!/usr/bin/env python3
"""Draws accuracy and training loss per epoch of several runs as one self-contained SVG: a colour per policy, a dash
pattern per seed.

  tools/curves.py runs/accuracy/cifar10_resnet20-* --out docs/figures/cifar10_resnet20.svg --title "ResNet-20, CIFAR-10"
  tools/curves.py RUN... pytorch=torch-1.jsonl --out FILE           LABEL=PATH names a curve

A run is a run folder (policy and seed come from its config.yaml, metrics from its metrics.jsonl) or a file of JSON
lines such as tools/train_torch.py prints. Accuracy is that of the evaluations; the loss is the mean over the training
steps of an epoch, or, for files without training steps, the `loss` of the evaluation lines. Needs Python alone.
"""
import argparse
import collections
import json
import math
import pathlib
import re
import xml.sax.saxutils

COLOURS = ["#1b6ca8", "#d1495b", "#2e8b57", "#8e5ea2", "#c98a1b", "#4d4d4d"]
DASHES = ["", "7 3", "2 3", "9 3 2 3"]
PANEL_WIDTH, PANEL_HEIGHT, LEFT, TOP, GAP = 400, 270, 62, 46, 84
Run = collections.namedtuple("Run", "policy seed accuracy loss")  # the last two: [(epochs done, value), ...]


def from_config(folder, key):
    """Value of `key: value` in a run's config.yaml, which octavo writes one key a line."""
    found = re.search(rf"^\s+{key}: *(\S+)", (folder / "config.yaml").read_text(), re.MULTILINE)
    return found.group(1) if found else "?"


def read_run(argument):
    label, _, path = argument.rpartition("=")
    path = pathlib.Path(path)
    is_folder = path.is_dir()
    file = path / "metrics.jsonl" if is_folder else path
    lines = [json.loads(line) for line in file.read_text().splitlines() if line.strip()]
    evaluations = [line for line in lines if line.get("phase") == "eval"]
    epochs = collections.defaultdict(list)
    for line in lines:
        if line.get("phase") == "train" and line["loss"] is not None:
            epochs[line["epoch"]].append(line["loss"])
    steps_per_epoch = max((len(losses) for losses in epochs.values()), default=None)
    whole = {epoch + 1: sum(losses) / len(losses) for epoch, losses in epochs.items() if len(losses) == steps_per_epoch}
    accuracy = [(line["step"] / steps_per_epoch if steps_per_epoch else line["epoch"], 100 * line["accuracy"])
                for line in evaluations if "accuracy" in line]
    loss = sorted(whole.items()) if whole else [(line["epoch"], line["loss"]) for line in evaluations]
    if not accuracy or not loss:
        raise SystemExit(f"{file}: holds no whole epoch with an evaluation")
    if is_folder:
        return Run(label or from_config(path, "policy"), from_config(path, "seed"), accuracy, loss)
    seeds = [str(line["seed"]) for line in lines if "seed" in line] or re.findall(r"(\d+)\.jsonl$", path.name) or ["?"]
    return Run(label or re.sub(r"-\d+$", "", path.stem), seeds[-1], accuracy, loss)


def ticks(low, high, wanted=6):
    """Round numbers that cover [low, high]."""
    raw = max(high - low, 1e-9) / wanted
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * index, 10) for index in range(first, last + 1)]


def text(x, y, content, anchor="start", size=12, extra=""):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"{extra}>'
            f"{xml.sax.saxutils.escape(content)}</text>")


def panel(left, title, curves, epochs):
    """One chart: `curves` are (colour, dash, points)."""
    values = [value for _, _, points in curves for _, value in points if math.isfinite(value)]
    marks = ticks(min(values), max(values))
    low, high = marks[0], marks[-1]
    across = lambda epoch: left + PANEL_WIDTH * epoch / epochs
    down = lambda value: TOP + PANEL_HEIGHT * (high - value) / (high - low)
    parts = [text(left, TOP - 12, title, size=13, extra=' font-weight="bold"')]
    for mark in marks:
        parts.append(f'<line x1="{left}" x2="{left + PANEL_WIDTH}" y1="{down(mark):.1f}" y2="{down(mark):.1f}" '
                     'stroke="#dddddd"/>')
        parts.append(text(left - 8, down(mark) + 4, f"{mark:g}", "end", 11))
    for mark in [mark for mark in ticks(0, epochs, 8) if mark <= epochs and mark == int(mark)]:
        parts.append(f'<line x1="{across(mark):.1f}" x2="{across(mark):.1f}" y1="{TOP + PANEL_HEIGHT}" '
                     f'y2="{TOP + PANEL_HEIGHT + 5}" stroke="#888888"/>')
        parts.append(text(across(mark), TOP + PANEL_HEIGHT + 19, f"{mark:g}", "middle", 11))
    parts.append(text(left + PANEL_WIDTH / 2, TOP + PANEL_HEIGHT + 37, "epochs done", "middle"))
    for colour, dash, points in curves:
        line = " ".join(f"{across(epoch):.1f},{down(value):.1f}" for epoch, value in points if math.isfinite(value))
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.8" '
                     f'stroke-linejoin="round"{dash}/>')
    return parts


def legend(entries, top):
    parts = []
    for index, (colour, dash, label) in enumerate(entries):
        x, y = LEFT + (index % 3) * 300, top + (index // 3) * 20
        parts.append(f'<line x1="{x}" x2="{x + 34}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="2.2"{dash}/>')
        parts.append(text(x + 42, y + 4, label))
    return parts


def draw(runs, title):
    policies = list(dict.fromkeys(run.policy for run in runs))
    seeds = sorted({run.seed for run in runs})
    style = lambda run: (COLOURS[policies.index(run.policy) % len(COLOURS)],
                         f' stroke-dasharray="{dash}"' if (dash := DASHES[seeds.index(run.seed) % len(DASHES)]) else "")
    epochs = max(point[0] for run in runs for point in run.accuracy + run.loss)
    entries = [(*style(run), f"{run.policy}, seed {run.seed}: {run.accuracy[-1][1]:.2f}%") for run in runs]
    width = LEFT + 2 * PANEL_WIDTH + GAP + 24
    height = TOP + PANEL_HEIGHT + 66 + 20 * math.ceil(len(runs) / 3)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
             f'height="{height}" font-family="sans-serif" fill="#222222">',
             f"<title>{xml.sax.saxutils.escape(title)}</title>",
             f'<rect width="{width}" height="{height}" fill="white"/>']
    parts += panel(LEFT, f"{title}: test accuracy, %", [(*style(run), run.accuracy) for run in runs], epochs)
    parts += panel(LEFT + PANEL_WIDTH + GAP, "training loss, mean of an epoch",
                   [(*style(run), run.loss) for run in runs], epochs)
    parts += legend(entries, TOP + PANEL_HEIGHT + 62)
    return "\n".join(parts + ["</svg>"]) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN")
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--title", default="Training")
    arguments = parser.parse_args()
    runs = sorted((read_run(run) for run in arguments.runs), key=lambda run: (run.policy, run.seed))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(draw(runs, arguments.title))


if __name__ == "__main__":
    main()
