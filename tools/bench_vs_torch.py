#!/usr/bin/env python3
"""Times one training step (forward, loss, backward, SGD with momentum and weight decay) in PyTorch beside octavo.

Every variant of PyTorch (interpreter, malloc setting, memory format, precision, compiled or not) is a process of its
own that waits between its rounds; a round times some steps of each variant in turn, then `octavo bench CONFIG --json`,
so that drift of the machine's clock or memory meets all of them. Prints JSON: per variant the median and the minimum
over all steps in milliseconds, the best variant in FP32 and in any precision (smallest median), and octavo's ratio to
both. On a machine that does other work at the same time only the minima mean something.

  tools/bench_vs_torch.py --octavo build/tools/octavo --bf16 --compile
  tools/bench_vs_torch.py --network mobilenetv2 --octavo build/tools/octavo --bf16 --compile precision=fp32

"tuned" malloc means huge pages and no memory returned to the system between steps. The usual peers: the interpreter
that runs this script and, with --python, others (for example Debian's python3 with python3-torch). A variant that does
not run (an old PyTorch has no torch.compile, which also needs a C++ compiler) is named with its reason and left out.
"""
import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

CONFIGS = {"resnet20": "configs/cifar10_resnet20.yaml", "mobilenetv2": "configs/cifar10_mobilenetv2.yaml"}
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
    """One variant in its process. `failure` says why there is none: the last line that PyTorch printed."""

    def __init__(self, python, malloc, variant):
        environment = dict(os.environ, OMP_NUM_THREADS=str(variant["threads"]))
        if malloc == "tuned":
            environment["GLIBC_TUNABLES"] = TUNED_MALLOC
        command = [python, os.path.abspath(__file__), "--worker", json.dumps(variant)]
        self.messages = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.messages, text=True)
        self.times, self.failure = [], None
        self.record = {"python": python, "torch": self.read(), "malloc": malloc, **variant}

    def read(self):
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        self.process.wait()
        self.messages.seek(0)
        self.failure = (self.messages.read().strip().splitlines() or [f"exit code {self.process.returncode}"])[-1]
        return None

    def round(self, steps):
        time.sleep(0.3)  # OpenMP threads of the process before still spin for 0.2 s
        try:
            self.process.stdin.write(f"{steps}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it ended: read() finds out why
        self.times += self.read() or []

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def running(peers):
    """The peers that run; says why the others do not."""
    for peer in peers:
        if peer.failure:
            kind = " ".join(str(peer.record[key]) for key in ("python", "precision", "format", "malloc"))
            print(f"left out: {kind}{' compiled' if peer.record['compiled'] else ''}: {peer.failure}", file=sys.stderr)
    return [peer for peer in peers if not peer.failure]


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
    return running(peers)


def summarize(peers, octavo_times):
    rows = [{**peer.record, "steps": len(peer.times), "step_ms_median": round(statistics.median(peer.times), 2),
             "step_ms_min": round(min(peer.times), 2)} for peer in peers]
    result = {"torch": rows}
    if octavo_times:
        median = statistics.median(octavo_times)
        result["octavo"] = {"step_ms_median": median, "step_ms_min": min(octavo_times), "rounds": len(octavo_times)}
    for name, candidates in (("fp32", [row for row in rows if row["precision"] == "fp32"]), ("any_precision", rows)):
        best = min(candidates, key=lambda row: row["step_ms_median"], default=None)
        result[f"best_torch_{name}"] = best
        if best and octavo_times:
            result[f"speedup_over_best_torch_{name}"] = round(best["step_ms_median"] / median, 3)
    return result


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="resnet20", choices=sorted(CONFIGS))
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
    parser.add_argument("--config", help="configuration for `octavo bench` (default: the network's in configs/)")
    parser.add_argument("override", nargs="*", help="key=value overrides for `octavo bench`")
    parser.add_argument("--worker", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_intermixed_args()
    if not arguments.config:
        arguments.config = os.path.join(os.path.dirname(__file__), "..", CONFIGS[arguments.network])
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
        peers = running(peers)
        if arguments.octavo:
            octavo_times.append(octavo_step_ms(arguments))
    for peer in peers:
        peer.close()
    print(json.dumps({"load_average_before": load, **summarize(peers, octavo_times)}, indent=1))


if __name__ == "__main__":
    main()
