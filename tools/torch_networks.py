"""The PyTorch networks that octavo is measured against: the same layers as models/*.yaml of the same name."""
import json
from typing import Callable, NamedTuple

import torch.nn as nn
import torch.nn.functional as F


class Residual(nn.Module):
    """Basic block; 1x1 convolution + batch norm as shortcut where the shape changes."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = None
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        y += x if self.shortcut is None else self.shortcut(x)
        return F.relu(y, inplace=True)


def convolution_norm(inputs, outputs, kernel, stride=1, groups=1, activation=nn.ReLU6):
    layers = [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
              nn.BatchNorm2d(outputs)]
    return layers + ([activation(inplace=True)] if activation else [])


class InvertedResidual(nn.Module):
    def __init__(self, inputs, outputs, stride, expansion):
        super().__init__()
        width = inputs * expansion
        layers = convolution_norm(inputs, width, 1) if expansion != 1 else []
        layers += convolution_norm(width, width, 3, stride, groups=width)
        self.body = nn.Sequential(*layers, *convolution_norm(width, outputs, 1, activation=None))
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x):
        return x + self.body(x) if self.adds else self.body(x)


def classifier(layers, channels, classes):
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


def resnet_cifar(depth=20, width=16, classes=10):
    layers = convolution_norm(3, width, 3, activation=nn.ReLU)
    channels = width
    for outputs, stride in ((width, 1), (2 * width, 2), (4 * width, 2)):
        for index in range((depth - 2) // 6):
            layers.append(Residual(channels, outputs, stride if index == 0 else 1))
            channels = outputs
    return classifier(layers, channels, classes)


def mobilenetv2_cifar(classes=10):
    """The form for 32x32 images: strides 1 in the stem and the second group, no dropout."""
    layers, channels = convolution_norm(3, 32, 3), 32
    groups = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for expansion, outputs, repeat, stride in groups:
        for index in range(repeat):
            layers.append(InvertedResidual(channels, outputs, stride if index == 0 else 1, expansion))
            channels = outputs
    return classifier(layers + convolution_norm(channels, 1280, 1), 1280, classes)


class Network(NamedTuple):
    """One comparison: the network in PyTorch, its batches, and octavo's configuration of the same."""
    make: Callable[[], nn.Module]
    size: int  # of the square images
    classes: int
    batch: int
    config: str  # below configs/
    overrides: tuple = ()  # of the configuration, so that sizes and classes are these


NETWORKS = {
    "resnet20": Network(lambda: resnet_cifar(20), 32, 10, 128, "cifar10_resnet20.yaml"),
    "mobilenetv2": Network(mobilenetv2_cifar, 32, 10, 128, "cifar10_mobilenetv2.yaml"),
}

if __name__ == "__main__":  # the table for programs that have no PyTorch
    print(json.dumps({name: {**network._asdict(), "make": None} for name, network in NETWORKS.items()}))
