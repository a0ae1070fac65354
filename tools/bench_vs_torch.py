#!/usr/bin/env python3
"""Times one training step (forward, loss, backward, SGD with momentum and weight decay) in PyTorch beside octavo.

Every variant of PyTorch (interpreter, malloc setting, memory format, precision, compiled or not) is a process of its
own that waits between its rounds; a round times some steps of each variant in turn, then `octavo bench CONFIG --json`,
so that drift of the machine's clock or memory meets all of them. Prints JSON: per variant the median and the minimum
over all steps in milliseconds and the peak of its resident memory, the best variant in FP32 and in any precision
(smallest median), and octavo's ratio to both with the quartiles of the rounds' ratios. On a machine that does other
work at the same time only the minima mean something.

Memory: `peak_bytes` is all that the process ever held; `imported_bytes` what PyTorch held before the network was made;
octavo's `working_bytes` leaves out parameters, gradients and optimizer state (the data set is in it). Networks, image
sizes, classes and batches stand in tools/torch_networks.py.

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
import resource
import statistics
import subprocess
import sys
import tempfile
import time

TUNED_MALLOC = ":".join([
    "glibc.malloc.hugetlb=1", "glibc.malloc.mmap_threshold=4294967296", "glibc.malloc.trim_threshold=17179869184",
    "glibc.malloc.top_pad=268435456"])


def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def worker(variant):
    """Builds the network, reports the PyTorch version, then times `steps` steps for every number read from stdin."""
    import torch
    import torch.nn.functional as F
    from torch_networks import NETWORKS

    torch.set_num_threads(variant["threads"])
    torch.set_flush_denormal(True)
    torch.manual_seed(0)
    imported, network = peak_bytes(), NETWORKS[variant["network"]]
    net = network.make().train()
    images = torch.randn(variant["batch"], 3, network.size, network.size)
    labels = torch.randint(0, network.classes, (variant["batch"],))
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
    print(json.dumps({"torch": torch.__version__, "imported_bytes": imported}), flush=True)
    for line in sys.stdin:
        print(json.dumps({"ms": [step() for _ in range(int(line))], "peak_bytes": peak_bytes()}), flush=True)


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
        self.rounds, self.failure = [], None
        self.record = {"python": python, "malloc": malloc, **variant, **(self.read() or {})}

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
        answer = self.read()
        if answer:
            self.rounds.append(answer["ms"])
            self.record["peak_bytes"] = answer["peak_bytes"]

    @property
    def times(self):
        return list(itertools.chain(*self.rounds))

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


def octavo_bench(arguments):
    command = [arguments.octavo, "bench", arguments.config, "--json", *arguments.override]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with exit code {done.returncode}")
    return json.loads(done.stdout)


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


def octavo_row(runs):
    memory = [run["memory"] for run in runs]
    peak = max(each["peak_bytes"] for each in memory)
    held = sum(memory[0][f"{kind}_bytes"] for kind in ("parameter", "gradient", "optimizer"))
    return {"policy": runs[0]["policy"], "batch": runs[0]["batch"], "threads": runs[0]["threads"],
            "step_ms_median": statistics.median(run["step_ms_median"] for run in runs),
            "step_ms_min": min(run["step_ms_median"] for run in runs), "rounds": len(runs), "peak_bytes": peak,
            "working_bytes": peak - held, "arena_bytes": memory[0]["arena_bytes"]}


def speedup(peer, runs):
    """octavo against one variant: ratio of the medians, and the spread of the rounds' own ratios."""
    ratios = [statistics.median(steps) / run["step_ms_median"] for steps, run in zip(peer.rounds, runs)]
    low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    of_medians = statistics.median(peer.times) / statistics.median(run["step_ms_median"] for run in runs)
    return {"of_medians": round(of_medians, 3), "rounds": [round(ratio, 3) for ratio in (low, middle, high)]}


def summarize(peers, runs):
    rows = [{**peer.record, "steps": len(peer.times), "step_ms_median": round(statistics.median(peer.times), 2),
             "step_ms_min": round(min(peer.times), 2)} for peer in peers]
    result = {"torch": rows}
    if runs:
        result["octavo"] = octavo_row(runs)
    pairs = list(zip(rows, peers))
    for name, candidates in (("fp32", [pair for pair in pairs if pair[0]["precision"] == "fp32"]),
                             ("any_precision", pairs)):
        best = min(candidates, key=lambda pair: pair[0]["step_ms_median"], default=None)
        result[f"best_torch_{name}"] = best and best[0]
        if best and runs:
            result[f"speedup_over_best_torch_{name}"] = speedup(best[1], runs)
    return result


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="resnet20", help="a name of tools/torch_networks.py")
    parser.add_argument("--batch", type=int, help="samples in a step (default: the network's)")
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
    if arguments.worker:
        return arguments
    tools = os.path.dirname(os.path.abspath(__file__))
    table = subprocess.run([(arguments.python or [sys.executable])[0], os.path.join(tools, "torch_networks.py")],
                           stdout=subprocess.PIPE, check=True, text=True).stdout
    networks = json.loads(table)
    if arguments.network not in networks:
        parser.error(f"--network {arguments.network}: choose from {', '.join(sorted(networks))}")
    network = networks[arguments.network]
    arguments.batch = arguments.batch or network["batch"]
    arguments.config = arguments.config or os.path.join(tools, "..", "configs", network["config"])
    arguments.override = [*network["overrides"], f"data.batch={arguments.batch}", f"train.threads={arguments.threads}",
                          *arguments.override]
    return arguments


def main():
    arguments = parse()
    if arguments.worker:
        worker(arguments.worker)
        return
    load = os.getloadavg()[0]
    if load > 0.5:
        print(f"other work is running (load average {load:.1f}): these times will not mean much", file=sys.stderr)
    peers, runs = start_peers(arguments), []
    for _ in range(arguments.rounds):
        for peer in peers:
            peer.round(arguments.steps)
        peers = running(peers)
        if arguments.octavo:
            runs.append(octavo_bench(arguments))
    for peer in peers:
        peer.close()
    print(json.dumps({"load_average_before": load, **summarize(peers, runs)}, indent=1))


if __name__ == "__main__":
    main()
