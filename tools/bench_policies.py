#!/usr/bin/env python3
"""Step times of policies against the first one's, measured in turn: rounds of `octavo bench`, one policy after the other.

  tools/bench_policies.py configs/cifar10_resnet20.yaml --policy unified_int8,keep_fp32=[] --policy auto --rounds 12 \\
      --steps 40 train.threads=2

A policy takes keys of `precision` behind commas, as in `octavo replay`. Prints per policy the median and the smallest
step, and the ratio to the first policy in the same round: median, quartiles, and that of the smallest steps.
"""
import argparse
import json
import statistics
import subprocess


def bench(octavo, config, policy, steps, overrides):
    name, *keys = policy.split(",")
    command = [octavo, "bench", config, *overrides, f"precision={name}", *(f"precision.{key}" for key in keys),
               "--steps", str(steps), "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("overrides", nargs="*", help="key=value for all policies")
    parser.add_argument("--policy", action="append", required=True, help="may be repeated; the first is the measure")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--octavo", default="build/tools/octavo")
    arguments = parser.parse_intermixed_args()
    runs = {policy: [] for policy in arguments.policy}
    for _ in range(arguments.rounds):
        for policy, seen in runs.items():
            seen.append(bench(arguments.octavo, arguments.config, policy, arguments.steps, arguments.overrides))
    first = runs[arguments.policy[0]]
    print("| policy | step ms: median, smallest | ratio: median (quartiles) | of the smallest | precision % |")
    print("|---|---|---|---|---|")
    for policy, seen in runs.items():
        ratios = [run["step_ms_median"] / other["step_ms_median"] for run, other in zip(seen, first)]
        low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        least = min(run["step_ms_min"] for run in seen)
        print(f"| `{policy}` | {statistics.median(run['step_ms_median'] for run in seen):.1f}, {least:.1f} "
              f"| {middle:.3f} ({low:.3f} to {high:.3f}) | {least / min(run['step_ms_min'] for run in first):.3f} "
              f"| {100 * statistics.median(run['precision_share'] for run in seen):.1f} |")


if __name__ == "__main__":
    main()
