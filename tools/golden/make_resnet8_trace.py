#!/usr/bin/env python3
"""Writes the training trace of a ResNet-8 in double precision: tests/fixtures/golden/resnet8_trace.safetensors.

Network: models/resnet_cifar.yaml with depth 8, width 8, 10 classes: 3x3 convolution 3 -> 8, batch norm, ReLU; three
stages of one basic block with 8, 16, 32 channels, strides 1, 2, 2; 1x1 convolution + batch norm as shortcut where the
shape changes; global average pool; linear layer with bias. Convolutions have no bias.
Batch norm: eps 1e-5; running = 0.9 * running + 0.1 * batch, the batch variance unbiased (divided by n - 1), from 0
and 1. Loss: mean cross entropy. The batch of 8 images, 16x16x3, is the same in every step.
SGD: v = 0.9 * v + (gradient + 5e-4 * w), w = w - 0.05 * v, v = 0 before step 0, for all parameters.

Stored (values and layouts: golden_format.py; tensor 0 of the formula is the image batch, tensor 1 + i parameter i):
  loss [10]               before each step's update
  logits0 [8, 10]         of step 0
  grad0/<p>, grad9/<p>    gradients of steps 0 and 9, without weight decay
  final/<p>               weights after step 9
  final/<bn>.running_mean, final/<bn>.running_var
The fixture JSON lists `parameters` ({name, shape, scale, center}, formula order), `running` (names), `nodes`, `labels`.
"""
import argparse

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

import golden_format as golden

STEPS, LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 10, 0.05, 0.9, 5e-4
BATCH, IMAGE = 8, 16
IMAGE_SCALE = 4.0
LABELS = [(7 * n + 3) % 10 for n in range(BATCH)]


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.projects = stride != 1 or inputs != outputs
        if self.projects:
            self.shortcut_conv = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.shortcut_bn = nn.BatchNorm2d(outputs)

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (self.shortcut_bn(self.shortcut_conv(x)) if self.projects else x))


class ResNet8(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.stage1 = nn.Sequential(Block(8, 8, 1))
        self.stage2 = nn.Sequential(Block(8, 16, 2))
        self.stage3 = nn.Sequential(Block(16, 32, 2))
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.stage3(self.stage2(self.stage1(y)))
        return self.head(y.mean(dim=(2, 3)))


def node_names():
    names = ["conv1", "bn1", "relu1"]
    for stage in (1, 2, 3):
        block = ["conv1", "bn1", "relu1", "conv2", "bn2"]
        block += ["shortcut_conv", "shortcut_bn"] if stage > 1 else []
        names += [f"stage{stage}.0.{node}" for node in block + ["sum", "relu2"]]
    return names + ["pool", "head"]


def octavo_layout(tensor):
    array = tensor.detach().numpy()
    return golden.nchw_to_nhwc(array) if array.ndim == 4 else array


def describe(name, tensor):
    """Scale and center of a parameter's formula: about He's deviation for weights, 1 +- 1/4 for batch norm weights."""
    shape = list(octavo_layout(tensor).shape)
    if len(shape) > 1:
        scale = 2.0 ** round(np.log2(np.sqrt(24.0 / np.prod(shape[1:]))))
        return {"name": name, "shape": shape, "scale": scale, "center": 0.0}
    is_norm_weight = name.endswith(".weight")
    return {"name": name, "shape": shape, "scale": 0.5, "center": 1.0 if is_norm_weight else 0.0}


def initialize(net, parameters):
    for number, (entry, tensor) in enumerate(zip(parameters, net.parameters()), start=1):
        values = golden.formula_tensor(number, entry["shape"], entry["scale"], entry["center"])
        values = values.transpose(0, 3, 1, 2).copy() if values.ndim == 4 else values
        with torch.no_grad():
            tensor.copy_(torch.from_numpy(values))


def train(dtype):
    """Returns the fixture description and the stored tensors of a run in `dtype`."""
    net = ResNet8().to(dtype)
    parameters = [describe(name, tensor) for name, tensor in net.named_parameters()]
    initialize(net, parameters)
    images = golden.nhwc_to_nchw(golden.formula_tensor(0, (BATCH, IMAGE, IMAGE, 3), IMAGE_SCALE))
    images, labels = torch.from_numpy(images).to(dtype), torch.tensor(LABELS)
    optimizer = torch.optim.SGD(net.parameters(), LEARNING_RATE, MOMENTUM, weight_decay=WEIGHT_DECAY)
    losses, tensors = [], {}
    for step in range(STEPS):
        optimizer.zero_grad()
        logits = net(images)
        loss = F.cross_entropy(logits, labels)
        loss.backward()
        losses.append(loss.item())
        if step == 0:
            tensors["logits0"] = logits.detach().numpy()
        if step in (0, STEPS - 1):
            for name, tensor in net.named_parameters():
                tensors[f"grad{step}/{name}"] = octavo_layout(tensor.grad).copy()
        optimizer.step()
    for name, tensor in net.named_parameters():
        tensors[f"final/{name}"] = octavo_layout(tensor)
    running = [name for name, _ in net.named_buffers() if "running" in name]
    for name in running:
        tensors[f"final/{name}"] = net.get_buffer(name).numpy()
    fixture = {
        "steps": STEPS, "lr": LEARNING_RATE, "momentum": MOMENTUM, "weight_decay": WEIGHT_DECAY,
        "batch": BATCH, "image": [IMAGE, IMAGE, 3], "image_scale": IMAGE_SCALE, "labels": LABELS,
        "bn_eps": 1e-5, "bn_momentum": 0.1, "model": "resnet_cifar", "with": {"depth": 8, "width": 8, "classes": 10},
        "parameters": parameters, "running": running, "nodes": node_names(),
    }
    return fixture, {"loss": np.array(losses), **tensors}


def print_float_error(exact):
    """The distance of a float32 run from the stored one: what a correct float32 implementation may show."""
    _, rounded = train(torch.float32)
    for key in ("loss", "logits0", "grad0", "grad9", "final"):
        worst = max(
            np.linalg.norm(rounded[name].astype(np.float64) - exact[name]) / max(np.linalg.norm(exact[name]), 1e-30)
            for name in exact if name.split("/")[0] == key)
        print(f"float32 against float64, {key}: largest relative L2 distance of a tensor {worst:.2e}")


def main():
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    torch.set_num_threads(1)
    fixture, tensors = train(torch.float64)
    print("losses", " ".join(f"{loss:.6f}" for loss in tensors["loss"]))
    print_float_error(tensors)
    golden.write("resnet8_trace", fixture, tensors)


if __name__ == "__main__":
    main()
