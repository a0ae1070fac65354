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


class Bottleneck(nn.Module):
    """1x1, 3x3 with the stride, 1x1 to four times the width; 1x1 convolution + batch norm as shortcut where the shape
    changes."""

    def __init__(self, inputs, width, stride):
        super().__init__()
        outputs = 4 * width
        self.body = nn.Sequential(*convolution_norm(inputs, width, 1, activation=nn.ReLU),
                                  *convolution_norm(width, width, 3, stride, activation=nn.ReLU),
                                  *convolution_norm(width, outputs, 1, activation=None))
        self.shortcut = None
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(*convolution_norm(inputs, outputs, 1, stride, activation=None))

    def forward(self, x):
        y = self.body(x)
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


def mobilenetv2(stem_stride, second_stride, dropout, classes):
    layers, channels = convolution_norm(3, 32, 3, stem_stride), 32
    groups = ((1, 16, 1, 1), (6, 24, 2, second_stride), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
              (6, 320, 1, 1))
    for expansion, outputs, repeat, stride in groups:
        for index in range(repeat):
            layers.append(InvertedResidual(channels, outputs, stride if index == 0 else 1, expansion))
            channels = outputs
    layers += convolution_norm(channels, 1280, 1) + [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, *([nn.Dropout(dropout)] if dropout else []), nn.Linear(1280, classes))


def resnet18(classes=1000):
    layers, channels = convolution_norm(3, 64, 7, 2, activation=nn.ReLU) + [nn.MaxPool2d(3, 2, 1)], 64
    for outputs, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers += [Residual(channels, outputs, stride), Residual(outputs, outputs, 1)]
        channels = outputs
    return classifier(layers, channels, classes)


def resnet50(classes=1000):
    layers, channels = convolution_norm(3, 64, 7, 2, activation=nn.ReLU) + [nn.MaxPool2d(3, 2, 1)], 64
    for width, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for index in range(count):
            layers.append(Bottleneck(channels, width, stride if index == 0 else 1))
            channels = 4 * width
    return classifier(layers, channels, classes)


def fully_connected(inputs, hidden, classes, first_dropout):
    """ReLU and dropout between three linear layers; AlexNet drops before the first, VGG behind the second."""
    dropout = [nn.Dropout(), nn.Dropout()]
    layers = [nn.Flatten(), nn.Linear(inputs, hidden), nn.ReLU(inplace=True), dropout[0], nn.Linear(hidden, hidden),
              nn.ReLU(inplace=True), nn.Linear(hidden, classes)]
    layers.insert(1 if first_dropout else 6, dropout[1])
    return layers


def convolution_relu(inputs, outputs, kernel, stride=1, pad=1):
    return [nn.Conv2d(inputs, outputs, kernel, stride, pad), nn.ReLU(inplace=True)]


def vgg16(classes=1000):
    layers, channels = [], 3
    for outputs, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            layers += convolution_relu(channels, outputs, 3)
            channels = outputs
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, *fully_connected(512 * 7 * 7, 4096, classes, False))


def alexnet(classes=1000):
    pool = lambda: [nn.MaxPool2d(3, 2)]
    layers = convolution_relu(3, 64, 11, 4, 2) + pool() + convolution_relu(64, 192, 5, 1, 2) + pool()
    layers += convolution_relu(192, 384, 3) + convolution_relu(384, 256, 3) + convolution_relu(256, 256, 3) + pool()
    return nn.Sequential(*layers, *fully_connected(256 * 6 * 6, 4096, classes, True))


class Network(NamedTuple):
    """One comparison: the network in PyTorch, its batches, and octavo's configuration of the same."""
    make: Callable[[], nn.Module]
    size: int  # of the square images
    classes: int
    batch: int
    config: str  # below configs/
    overrides: tuple = ()  # of the configuration, so that sizes and classes are these


# Drawn images of 224 x 224 in octavo, as only the time matters.
DRAWN = ("data.set=shapes", "data.classes=0", "data.samples=256", "data.augment=[]", "model.with.classes=1000")
NETWORKS = {
    "resnet20": Network(lambda: resnet_cifar(20), 32, 10, 128, "cifar10_resnet20.yaml"),
    "mobilenetv2": Network(lambda: mobilenetv2(1, 1, 0, 10), 32, 10, 128, "cifar10_mobilenetv2.yaml"),
    "resnet18": Network(resnet18, 224, 1000, 16, "imagenet_resnet18.yaml", DRAWN),
    "resnet50": Network(resnet50, 224, 1000, 16, "imagenet_resnet50.yaml", DRAWN),
    "vgg16": Network(vgg16, 224, 1000, 4, "imagenet_vgg16.yaml", DRAWN),
    "alexnet": Network(alexnet, 224, 1000, 32, "imagenet_alexnet.yaml", DRAWN),
    "mobilenetv2_224": Network(lambda: mobilenetv2(2, 2, 0.2, 1000), 224, 1000, 16, "imagenet_mobilenetv2.yaml", DRAWN),
}

if __name__ == "__main__":  # the table for programs that have no PyTorch
    print(json.dumps({name: {**network._asdict(), "make": None} for name, network in NETWORKS.items()}))
