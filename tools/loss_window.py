#!/usr/bin/env python3
"""Mean training loss of the last steps of runs, and its ratio to the first run's.

  tools/loss_window.py --last 50 runs/200/fp32-1 runs/200/unified_int8-1
"""
import argparse
import json
import pathlib
import sys


def losses(run):
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [line["loss"] for line in map(json.loads, lines) if line["phase"] == "train"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=pathlib.Path, help="run folders, the baseline first")
    parser.add_argument("--last", type=int, default=50, help="steps of the mean")
    arguments = parser.parse_args()
    first = None
    for run in arguments.runs:
        seen = losses(run)
        if len(seen) < arguments.last:
            sys.exit(f"{run}: {len(seen)} training steps; --last asks for {arguments.last}")
        mean = sum(seen[-arguments.last:]) / arguments.last
        first = mean if first is None else first
        print(f"{run.name}: {mean:.4f} over steps {len(seen) - arguments.last + 1}-{len(seen)}, {mean / first - 1:+.1%}")


if __name__ == "__main__":
    main()
