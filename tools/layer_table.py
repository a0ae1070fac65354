#!/usr/bin/env python3
"""Puts the nodes of two `octavo bench CONFIG --json` results side by side, as a table in Markdown.

  build/tools/octavo bench configs/cifar10_resnet20.yaml precision=fp32 --json > fp32.json
  build/tools/octavo bench configs/cifar10_resnet20.yaml --json > int8.json
  tools/layer_table.py fp32.json int8.json --peak 2100        # GOP/s of vpdpbusd, as tools/bench_kernels prints it

Rows are layers: a product node with the chain behind it. GOP/s count a multiply-add as 2.
"""
import argparse
import json


def totals(result):
    """Milliseconds by layer and kind (forward or backward products, chains), GOP/s of the products."""
    layers = {}
    for node in result["nodes"]:
        backward = ":backward" in node["node"]
        name = node["node"].replace(":backward", "")
        kind = ("products" if "gops" in node else "pointwise") + (" backward" if backward else " forward")
        entry = layers.setdefault(name if "gops" in node else "all pointwise and other nodes", {})
        entry[kind] = entry.get(kind, 0) + node["ms"]
        if "gops" in node:
            entry[f"gops {'backward' if backward else 'forward'}"] = node["gops"]
    return layers


def cell(entry, key, digits=2):
    return f"{entry[key]:.{digits}f}" if key in entry else "-"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fp32")
    parser.add_argument("int8")
    parser.add_argument("--peak", type=float, required=True, help="GOP/s of the INT8 instruction in the same run")
    arguments = parser.parse_args()
    with open(arguments.fp32) as a, open(arguments.int8) as b:
        fp32, int8 = json.load(a), json.load(b)
    base, ours = totals(fp32), totals(int8)
    print("| layer | forward ms, FP32 / INT8 | backward ms, FP32 / INT8 | INT8 GOP/s forward / backward | share of peak % |")
    print("|---|---|---|---|---|")
    for name, entry in ours.items():
        reference = base.get(name, {})
        kinds = ("products", "pointwise")
        kind = next(k for k in kinds if any(key.startswith(k) for key in entry))
        shares = [f"{100 * entry[k] / arguments.peak:.0f}" if k in entry else "-" for k in ("gops forward", "gops backward")]
        print(f"| {name} | {cell(reference, kind + ' forward')} / {cell(entry, kind + ' forward')} | "
              f"{cell(reference, kind + ' backward')} / {cell(entry, kind + ' backward')} | "
              f"{cell(entry, 'gops forward', 0)} / {cell(entry, 'gops backward', 0)} | {' / '.join(shares)} |")
    print(f"| **step, median** | **{fp32['step_ms_median']:.1f} / {int8['step_ms_median']:.1f}** | | | |")


if __name__ == "__main__":
    main()
