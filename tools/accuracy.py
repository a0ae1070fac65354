#!/usr/bin/env python3
"""Trains one configuration with several policies and seeds and tabulates the drop against fp32 of the same seed.

  tools/accuracy.py configs/cifar10_resnet20.yaml [key=value ...] --policies fp32 int8_minmax unified_int8 --seeds 1 2 3

Each run lives in --runs/<config><tag>-<policy>-<seed>; a finished one (summary.json) is not repeated and an interrupted
one is resumed, so the command may be stopped and started again; other overrides need another --tag or --runs. The table
goes to stdout; --json keeps the figures.
"""
import argparse
import json
import math
import pathlib
import subprocess
import sys


def run_once(arguments, policy, seed):
    folder = pathlib.Path(arguments.runs) / f"{pathlib.Path(arguments.config).stem}{arguments.tag}-{policy}-{seed}"
    summary, overrides = folder / "summary.json", folder.with_name(folder.name + ".overrides")
    wanted = " ".join(arguments.overrides) + "\n"
    if overrides.exists() and overrides.read_text() != wanted:
        sys.exit(f"{folder}: was trained with other overrides: {overrides.read_text()}choose another --tag or --runs")
    if not summary.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        overrides.write_text(wanted)
        if (folder / "checkpoints" / "last").exists():
            command = [arguments.octavo, "resume", str(folder)]
        else:
            command = [arguments.octavo, "train", arguments.config, "--out", str(folder), f"precision={policy}",
                       f"train.seed={seed}", *arguments.overrides]
        print(" ".join(command), file=sys.stderr)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return json.loads(summary.read_text())


def mean_and_error(values):
    mean = sum(values) / len(values)
    if len(values) < 2:
        return mean, float("nan")
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return mean, math.sqrt(variance / len(values))


def row(policy, results, baseline):
    metrics = [100 * result["metric"] for result in results]
    shares = [min(result["int8_mac_share"][product] for result in results)
              for product in ("forward", "grad_input", "grad_weight")]
    drop = "-"
    if baseline and policy != "fp32":
        drops = [100 * (b["metric"] - r["metric"]) for r, b in zip(results, baseline)]
        mean, error = mean_and_error(drops)
        drop = f"{mean:.2f}" + ("" if math.isnan(error) else f" ± {error:.2f}")
    return (f"| {policy} | {' / '.join(f'{m:.2f}' for m in metrics)} | {drop} | "
            f"{' / '.join(f'{100 * share:.1f}' for share in shares)} | "
            f"{sum(r['step_ms_median'] for r in results) / len(results):.1f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--policies", nargs="+", default=["fp32", "int8_minmax", "unified_int8"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--runs", default="runs/accuracy")
    parser.add_argument("--tag", default="", help="added to the run folders' names")
    parser.add_argument("--octavo", default="build/tools/octavo")
    parser.add_argument("--json", help="file for all summaries")
    arguments = parser.parse_intermixed_args()
    results = {policy: [run_once(arguments, policy, seed) for seed in arguments.seeds] for policy in arguments.policies}
    print(f"| policy | accuracy % (seeds {', '.join(map(str, arguments.seeds))}) | mean drop to fp32, points | "
          "int8_mac_share % (forward / grad_input / grad_weight) | step ms |")
    print("|---|---|---|---|---|")
    for policy, summaries in results.items():
        print(row(policy, summaries, results.get("fp32")))
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
