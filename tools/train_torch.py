#!/usr/bin/env python3
"""The FP32 reference for configs/cifar10_resnet20.yaml in PyTorch: ResNet-20 on CIFAR-10's .bin files.

SGD, batch 128, lr 0.1 with a cosine per step to 0, momentum 0.9, weight decay 5e-4 on all parameters, crops from a
border of 4 and flips, the last incomplete batch of an epoch dropped. Prints one JSON line per epoch with the keys of
octavo's metrics.jsonl, then a summary line. With --state it is written after each epoch, and a run that finds it goes
on from there (append its output to the lines that there are).
"""
import argparse
import itertools
import json
import math
import pathlib
import sys
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from torch_networks import resnet_cifar

MEAN, DEVIATION = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
RECORD = 1 + 3 * 32 * 32


def load(folder, names):
    """Images as float NCHW, normalized per channel, and labels."""
    parts = []
    for name in names:
        path = pathlib.Path(folder) / name
        if not path.exists():
            sys.exit(f"{path.absolute()} does not exist: --data names the folder with CIFAR-10's .bin files")
        parts.append(np.fromfile(path, np.uint8).reshape(-1, RECORD))
    records = np.concatenate(parts)
    images = torch.from_numpy(records[:, 1:].reshape(-1, 3, 32, 32).copy()).float() / 255
    mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, DEVIATION))
    return (images - mean) / deviation, torch.from_numpy(records[:, 0].astype(np.int64))


def augment(images, generator):
    """A random 32x32 crop of each image with a zero border of 4, mirrored in half of the cases."""
    count = len(images)
    padded = F.pad(images, (4, 4, 4, 4))
    top, left = torch.randint(0, 9, (2, count, 1), generator=generator)
    mirrored = torch.rand(count, 1, generator=generator) < 0.5
    rows, columns = top + torch.arange(32), torch.arange(32).expand(count, 32)
    columns = left + torch.where(mirrored, 31 - columns, columns)
    sample = torch.arange(count).view(-1, 1, 1)
    return padded.permute(0, 2, 3, 1)[sample, rows.unsqueeze(2), columns.unsqueeze(1)].permute(0, 3, 1, 2)


def initialize(net):
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def accuracy(net, images, labels):
    net.eval()
    with torch.no_grad():
        hits = sum((net(x).argmax(1) == y).sum().item() for x, y in zip(images.split(500), labels.split(500)))
    net.train()
    return hits / len(labels)


def train_epoch(net, optimizer, data, batch, rate, generator):
    """Returns the mean loss; `rate` gives the next step's learning rate."""
    images, labels = data
    order = torch.randperm(len(labels), generator=generator)
    losses = []
    for index in range(len(labels) // batch):
        chosen = order[index * batch:(index + 1) * batch]
        for group in optimizer.param_groups:
            group["lr"] = next(rate)
        x = augment(images[chosen], generator).contiguous(memory_format=torch.channels_last)
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(net(x), labels[chosen])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return sum(losses) / len(losses)


def cosine(peak, steps, warmup):
    """Linear from 0 over `warmup` steps, then half a cosine to 0 over the rest."""
    for step in range(steps):
        if step < warmup:
            yield peak * (step + 1) / warmup
        else:
            yield peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))


def save(path, net, optimizer, generator, epoch, best):
    """Atomic: a kill leaves the state of the epoch before."""
    partial = path.with_suffix(".partial")
    torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict(), "generator": generator.get_state(),
                "epoch": epoch, "best": best}, partial)
    partial.replace(path)


def restore(path, net, optimizer, generator):
    """Returns the epochs done and the best accuracy of them."""
    state = torch.load(path)
    net.load_state_dict(state["net"])
    optimizer.load_state_dict(state["optimizer"])
    generator.set_state(state["generator"])
    return state["epoch"], state["best"]


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="data/cifar-10-batches-bin", help="folder with data_batch_*.bin")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--warmup-epochs", type=int, default=0)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--depth", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--state", type=pathlib.Path, help="file to go on from after a kill")
    return parser.parse_args()


def main():
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(arguments.seed)
    data = load(arguments.data, [f"data_batch_{number}.bin" for number in range(1, 6)])
    test = load(arguments.data, ["test_batch.bin"])
    net = resnet_cifar(arguments.depth)
    initialize(net)
    net = net.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(net.parameters(), arguments.lr, momentum=0.9, weight_decay=5e-4)
    generator = torch.Generator().manual_seed(arguments.seed)
    steps = len(data[1]) // arguments.batch
    rate = cosine(arguments.lr, steps * arguments.epochs, steps * arguments.warmup_epochs)
    done, best, begin = 0, 0.0, time.time()
    if arguments.state and arguments.state.exists():
        done, best = restore(arguments.state, net, optimizer, generator)
        rate = itertools.islice(rate, done * steps, None)
    for epoch in range(done + 1, arguments.epochs + 1):
        loss = train_epoch(net, optimizer, data, arguments.batch, rate, generator)
        result = accuracy(net, *test)
        best = max(best, result)
        if arguments.state:
            save(arguments.state, net, optimizer, generator, epoch, best)
        print(json.dumps({"phase": "eval", "epoch": epoch, "step": epoch * steps, "loss": round(loss, 5),
                          "accuracy": result, "seconds": round(time.time() - begin, 1)}), flush=True)
    print(json.dumps({"torch": torch.__version__, "model": f"resnet_cifar depth {arguments.depth}",
                      "seed": arguments.seed, "epochs": arguments.epochs, "accuracy": result,
                      "best_accuracy": best}))


if __name__ == "__main__":
    main()
