#!/usr/bin/env python3
"""Writes small vectors of single ops in double precision: tests/fixtures/golden/op_vectors.safetensors.

Each case of the fixture JSON's `cases` has a name, an op, its attributes and its tensors. Stored under "<case>/":
  input, <parameter>..., output, grad_output (given), grad_input, grad_<parameter>...
Inputs and parameters follow the formula of golden_format.py and are stored as well. Layouts: NHWC, KRSC, [out, in].
Batch norm in training also stores running_mean and running_var after the pass (from 0 and 1, momentum 0.1, unbiased
variance); in evaluation they are inputs. Average pooling does not count padding. Cross entropy has the labels in the
case's attributes, a scalar output (the mean) and no grad_output: its grad_input is the gradient of the mean.
"""
import argparse

import numpy as np
import torch
import torch.nn.functional as F

import golden_format as golden


def conv(shape, filters, kernel, stride=1, pad=0, dilation=1, groups=1, bias=False):
    pair = lambda value: list(value) if isinstance(value, tuple) else [value, value]
    attributes = {"stride": pair(stride), "pad": pair(pad), "dilation": pair(dilation), "groups": groups}
    kernel = pair(kernel)
    parameters = {"weight": [filters, *kernel, shape[3] // groups]}
    if bias:
        parameters["bias"] = [filters]
    return "conv2d", shape, parameters, {"kernel": kernel, **attributes}


def pool(op, shape, kernel, stride, pad=0):
    return op, shape, {}, {"kernel": [kernel] * 2, "stride": [stride] * 2, "pad": [pad] * 2}


CASES = {
    "conv2d_3x3": conv([2, 7, 6, 5], 4, 3, pad=1),
    "conv2d_3x3_bias": conv([2, 5, 5, 3], 4, 3, bias=True),
    "conv2d_3x3_stride2": conv([2, 8, 7, 4], 6, 3, stride=2, pad=1),
    "conv2d_1x1_stride2": conv([2, 8, 7, 4], 6, 1, stride=2),
    "conv2d_7x7_stride2": conv([1, 15, 14, 3], 4, 7, stride=2, pad=3),
    "conv2d_uneven": conv([2, 9, 8, 3], 5, (3, 2), stride=(2, 1), pad=(1, 0), dilation=(1, 2)),
    "conv2d_dilation2": conv([1, 9, 9, 3], 4, 3, pad=2, dilation=2),
    "conv2d_groups2": conv([2, 6, 6, 4], 6, 3, pad=1, groups=2),
    "conv2d_depthwise": conv([2, 7, 7, 5], 5, 3, pad=1, groups=5),
    "conv2d_depthwise_stride2": conv([2, 7, 8, 5], 5, 3, stride=2, pad=1, groups=5),
    "batch_norm_train": ("batch_norm", [3, 4, 5, 6], {"weight": [6], "bias": [6]}, {"training": True}),
    "batch_norm_eval": ("batch_norm", [3, 4, 5, 6], {"weight": [6], "bias": [6]}, {"training": False}),
    "relu6": ("relu6", [2, 5, 4, 3], {}, {}),
    "max_pool_2": pool("max_pool", [2, 6, 6, 3], 2, 2),
    "max_pool_3_stride2_pad1": pool("max_pool", [2, 7, 8, 3], 3, 2, 1),
    "avg_pool_2": pool("avg_pool", [2, 6, 6, 3], 2, 2),
    "avg_pool_3_stride2_pad1": pool("avg_pool", [2, 7, 8, 3], 3, 2, 1),
    "global_avg_pool": ("global_avg_pool", [2, 5, 4, 6], {}, {}),
    "cross_entropy": ("cross_entropy", [6, 7], {}, {"labels": [3, 0, 6, 2, 2, 5], "label_smoothing": 0.0}),
    "cross_entropy_smoothing": ("cross_entropy", [6, 7], {},
                                {"labels": [3, 0, 6, 2, 2, 5], "label_smoothing": 0.1}),
    "linear": ("linear", [5, 7], {"weight": [6, 7], "bias": [6]}, {}),
}
INPUT_SCALE = {"relu6": 16.0, "cross_entropy": 8.0}


def run(op, attributes, x, parameters, running):
    """The op on NCHW tensors."""
    weight, bias = parameters.get("weight"), parameters.get("bias")
    window = [tuple(attributes.get(name, ())) for name in ("kernel", "stride", "pad")]
    if op == "conv2d":
        return F.conv2d(x, weight, bias, window[1], window[2], tuple(attributes["dilation"]), attributes["groups"])
    if op == "batch_norm":
        return F.batch_norm(x, *running, weight, bias, attributes["training"], 0.1, 1e-5)
    if op == "max_pool":
        return F.max_pool2d(x, *window)
    if op == "avg_pool":
        return F.avg_pool2d(x, *window, count_include_pad=False)
    if op == "global_avg_pool":
        return x.mean(dim=(2, 3))
    if op == "relu6":
        return F.relu6(x)
    if op == "linear":
        return F.linear(x, weight, bias)
    return F.cross_entropy(x, torch.tensor(attributes["labels"]), label_smoothing=attributes["label_smoothing"])


class Vectors:
    """Collects the tensors of all cases; tensor numbers of the formula count through the whole file."""

    def __init__(self):
        self.tensors, self.number = {}, 0

    def formula(self, key, shape, scale, center=0.0):
        values = golden.formula_tensor(self.number, shape, scale, center)
        self.number += 1
        self.tensors[key] = values
        values = golden.nhwc_to_nchw(values) if values.ndim == 4 else values
        return torch.from_numpy(values)

    def store(self, key, tensor):
        values = tensor.detach().numpy()
        self.tensors[key] = golden.nchw_to_nhwc(values) if values.ndim == 4 else values.copy()

    def add(self, case, op, shape, parameter_shapes, attributes):
        x = self.formula(f"{case}/input", shape, INPUT_SCALE.get(op, 2.0)).requires_grad_()
        parameters = {}
        for name, sizes in parameter_shapes.items():
            center = 1.0 if op == "batch_norm" and name == "weight" else 0.0
            parameters[name] = self.formula(f"{case}/{name}", sizes, 1.0, center).requires_grad_()
        running = None
        if op == "batch_norm":
            training = attributes["training"]
            running = [torch.zeros(shape[3]).double(), torch.ones(shape[3]).double()] if training else [
                self.formula(f"{case}/running_mean", [shape[3]], 1.0),
                self.formula(f"{case}/running_var", [shape[3]], 1.0, 1.0)]
        output = run(op, attributes, x, parameters, running)
        self.store(f"{case}/output", output)
        if op == "cross_entropy":
            output.backward()
        else:
            stored = list(output.shape)
            stored = [stored[0], *stored[2:], stored[1]] if len(stored) == 4 else stored
            output.backward(self.formula(f"{case}/grad_output", stored, 2.0))
        self.store(f"{case}/grad_input", x.grad)
        for name, tensor in parameters.items():
            self.store(f"{case}/grad_{name}", tensor.grad)
        if op == "batch_norm" and attributes["training"]:
            for name, tensor in zip(("running_mean", "running_var"), running):
                self.store(f"{case}/{name}", tensor)


def main():
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    torch.set_num_threads(1)
    vectors, cases = Vectors(), []
    for name, (op, shape, parameters, attributes) in CASES.items():
        vectors.add(name, op, shape, parameters, attributes)
        cases.append({"name": name, "op": op, "parameters": list(parameters), "attributes": attributes})
    golden.write("op_vectors", {"bn_eps": 1e-5, "bn_momentum": 0.1, "cases": cases}, vectors.tensors)


if __name__ == "__main__":
    main()
