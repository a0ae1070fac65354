#!/usr/bin/env python3
"""How much of each layer's gradient its range clipped, from a run's precision.jsonl.

  tools/clipped_share.py RUN [--operand gradient]

One line per layer: mean and largest share of clipped values in the first and in the last third of the run's records
(every 100 steps), and the layers' means. For `auto` this is what batch norm's bound of a sample's maximum misses.
"""
import argparse
import json
import pathlib


def read(run, operand):
    shares = {}
    with open(pathlib.Path(run) / "precision.jsonl", encoding="utf-8") as lines:
        for record in map(json.loads, lines):
            if record.get("operand") == operand:
                shares.setdefault(record["layer"], []).append(record["saturated_share"])
    return shares


def thirds(values):
    third = max(1, len(values) // 3)
    return values[:third], values[-third:]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="folder of a run")
    parser.add_argument("--operand", default="gradient", choices=["gradient", "activation", "weight"])
    arguments = parser.parse_args()
    shares = read(arguments.run, arguments.operand)
    if not shares:
        raise SystemExit(f"{arguments.run}/precision.jsonl has no records of operand '{arguments.operand}'")
    print("| layer | first third: mean, largest | last third: mean, largest |\n|---|---|---|")
    means = [], []
    for layer, values in shares.items():
        cells = []
        for part, mean in zip(thirds(values), means):
            mean.append(sum(part) / len(part))
            cells.append(f"{mean[-1]:.1e}, {max(part):.1e}")
        print(f"| {layer} | {cells[0]} | {cells[1]} |")
    print("| mean over layers |", " | ".join(f"{sum(mean) / len(mean):.1e}" for mean in means), "|")


if __name__ == "__main__":
    main()
