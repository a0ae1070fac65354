#!/usr/bin/env python3
"""Times one training step (forward, loss, backward, SGD with momentum and weight decay) in PyTorch beside `octavo bench`.

Every variant of PyTorch (interpreter, malloc setting, memory format, precision) is a process of its own that waits
between its rounds; a round times some steps of each variant in turn, then `octavo bench CONFIG --json`, so that drift
of the machine's clock or memory meets all of them. Prints JSON: per variant the median and the minimum over all steps
in milliseconds, the best PyTorch FP32 variant (smallest median), and octavo's ratio to it. On a machine that does
other work at the same time only the minima mean something.

  tools/bench_vs_torch.py --network resnet20 --octavo build/tools/octavo --config configs/cifar10_resnet20.yaml

"tuned" malloc means huge pages and no memory returned to the system between steps. The usual peers: the interpreter
that runs this script and, with --python, others (for example Debian's python3 with python3-torch).
"""
import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time

TUNED_MALLOC = ":".join([
    "glibc.malloc.hugetlb=1", "glibc.malloc.mmap_threshold=4294967296", "glibc.malloc.trim_threshold=17179869184",
    "glibc.malloc.top_pad=268435456"])


def worker(variant):
    """Builds the network, reports the PyTorch version, then times `steps` steps for every number read from stdin."""
    import torch
    import torch.nn.functional as F
    from torch_networks import NETWORKS

    torch.set_num_threads(variant["threads"])
    torch.set_flush_denormal(True)
    torch.manual_seed(0)
    net = NETWORKS[variant["network"]]().train()
    images = torch.randn(variant["batch"], 3, 32, 32)
    labels = torch.randint(0, 10, (variant["batch"],))
    if variant["format"] == "channels_last":
        net, images = (value.to(memory_format=torch.channels_last) for value in (net, images))
    parameters = list(net.parameters())
    if variant["compiled"]:
        net = torch.compile(net)
    optimizer = torch.optim.SGD(parameters, lr=1e-3, momentum=0.9, weight_decay=5e-4)

    def step():
        begin = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=variant["precision"] == "bf16"):
            logits = net(images)
        F.cross_entropy(logits.float(), labels).backward()
        optimizer.step()
        return (time.perf_counter() - begin) * 1e3

    for _ in range(3):
        step()
    print(json.dumps(torch.__version__), flush=True)
    for line in sys.stdin:
        print(json.dumps([step() for _ in range(int(line))]), flush=True)


class Peer:
    """One variant in its process."""

    def __init__(self, python, malloc, variant):
        environment = dict(os.environ, OMP_NUM_THREADS=str(variant["threads"]))
        if malloc == "tuned":
            environment["GLIBC_TUNABLES"] = TUNED_MALLOC
        command = [python, os.path.abspath(__file__), "--worker", json.dumps(variant)]
        self.process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)
        self.record = {"torch": self.read(), "malloc": malloc, **variant}
        self.times = []

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"a PyTorch process ended early: {' '.join(self.process.args[:1])}, see its message above")
        return json.loads(line)

    def round(self, steps):
        time.sleep(0.3)  # OpenMP threads of the process before still spin for 0.2 s
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        self.times += self.read()

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def octavo_step_ms(arguments):
    command = [arguments.octavo, "bench", arguments.config, "--json", *arguments.override]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with exit code {done.returncode}")
    return json.loads(done.stdout)["step_ms_median"]


def start_peers(arguments):
    layouts = ["nchw", "channels_last"] if arguments.format == "both" else [arguments.format]
    mallocs = ["default", "tuned"] if arguments.malloc == "both" else [arguments.malloc]
    kinds = [("fp32", False)] + ([("bf16", False)] if arguments.bf16 else [])
    kinds += [("fp32", True)] if arguments.compile else []
    peers = []
    for python, malloc, layout, (precision, compiled) in itertools.product(
            arguments.python or [sys.executable], mallocs, layouts, kinds):
        variant = {"network": arguments.network, "batch": arguments.batch, "threads": arguments.threads,
                   "format": layout, "precision": precision, "compiled": compiled}
        peers.append(Peer(python, malloc, variant))
    return peers


def summarize(peers, octavo_times):
    rows = [{**peer.record, "steps": len(peer.times), "step_ms_median": round(statistics.median(peer.times), 2),
             "step_ms_min": round(min(peer.times), 2)} for peer in peers]
    result = {"torch": rows}
    best = min((row for row in rows if row["precision"] == "fp32"), key=lambda row: row["step_ms_median"])
    result["best_torch_fp32"] = best
    if octavo_times:
        median = statistics.median(octavo_times)
        result["octavo"] = {"step_ms_median": median, "step_ms_min": min(octavo_times), "rounds": len(octavo_times)}
        result["speedup_over_best_torch_fp32"] = round(best["step_ms_median"] / median, 3)
    return result


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="resnet20", choices=["resnet20", "mobilenetv2"])
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10, help="PyTorch steps per variant and round")
    parser.add_argument("--format", default="both", choices=["nchw", "channels_last", "both"])
    parser.add_argument("--malloc", default="both", choices=["default", "tuned", "both"])
    parser.add_argument("--bf16", action="store_true", help="also time bf16 autocast")
    parser.add_argument("--compile", action="store_true", help="also time torch.compile (FP32)")
    parser.add_argument("--python", action="append", metavar="PATH", help="interpreter with PyTorch; may be repeated")
    parser.add_argument("--octavo", metavar="PATH", help="the octavo command; its rounds alternate with PyTorch's")
    parser.add_argument("--config", help="configuration for `octavo bench`")
    parser.add_argument("override", nargs="*", help="key=value overrides for `octavo bench`")
    parser.add_argument("--worker", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.octavo and not arguments.config:
        parser.error("--octavo needs --config CONFIG")
    return arguments


def main():
    arguments = parse()
    if arguments.worker:
        worker(arguments.worker)
        return
    load = os.getloadavg()[0]
    if load > 0.5:
        print(f"other work is running (load average {load:.1f}): these times will not mean much", file=sys.stderr)
    peers, octavo_times = start_peers(arguments), []
    for _ in range(arguments.rounds):
        for peer in peers:
            peer.round(arguments.steps)
        if arguments.octavo:
            octavo_times.append(octavo_step_ms(arguments))
    for peer in peers:
        peer.close()
    print(json.dumps({"load_average_before": load, **summarize(peers, octavo_times)}, indent=1))


if __name__ == "__main__":
    main()
