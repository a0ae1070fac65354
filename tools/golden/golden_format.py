"""What the golden fixtures share: the value formula and the file format (read in C++ by tests/support/golden.h).

Values.  Every input is a function of a counter, exact in float32 and simple to repeat in C++ (uint32 arithmetic):

    h = i * 1103515245 + 12345;  h ^= h >> 16;  h = h * 1103515245 + 12345
    counter_value(i) = ((h >> 16) & 0x7fff) / 32768 - 0.5        in [-0.5, 0.5)

Element e of tensor number t (in the order of the fixture's list, counted from 0) is
`center + scale * counter_value(t * 1000003 + e)`, e being the index in the stored (row-major) order; `scale` is a
power of two, so that nothing rounds.

File.  safetensors: u64 header length, JSON header, data. All tensors are F64. Layouts are octavo's: images NHWC,
convolution weights KRSC, linear weights [out, in]. The structure of a fixture (names, hyperparameters) stands as JSON
text under the metadata key "fixture".
"""
import json
import pathlib
import struct

import numpy as np

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "tests" / "fixtures" / "golden"
TENSOR_STRIDE = 1000003


def counter_value(index):
    """counter_value of an array of indices, float64 in [-0.5, 0.5)."""
    mask = np.uint64(0xFFFFFFFF)
    multiply, add = np.uint64(1103515245), np.uint64(12345)
    h = (np.asarray(index, dtype=np.uint64) * multiply + add) & mask
    h ^= h >> np.uint64(16)
    h = (h * multiply + add) & mask
    return ((h >> np.uint64(16)) & np.uint64(0x7FFF)).astype(np.float64) / 32768 - 0.5


def formula_tensor(number, shape, scale, center=0.0):
    """Tensor `number` of a fixture in row-major order of `shape`."""
    count = int(np.prod(shape))
    values = counter_value(np.arange(count, dtype=np.uint64) + np.uint64(number * TENSOR_STRIDE))
    return (center + scale * values).reshape(shape)


def nhwc_to_nchw(array):
    return np.ascontiguousarray(array.transpose(0, 3, 1, 2))


def nchw_to_nhwc(array):
    """Also KCRS to KRSC."""
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1))


def write(name, fixture, tensors):
    """Writes tests/fixtures/golden/<name>.safetensors; `tensors` maps keys to arrays, kept in this order."""
    header, offset = {"__metadata__": {"fixture": json.dumps(fixture)}}, 0
    for key, array in tensors.items():
        size = array.size * 8
        header[key] = {"dtype": "F64", "shape": list(array.shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{name}.safetensors"
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for array in tensors.values():
            file.write(np.ascontiguousarray(array, dtype="<f8").tobytes())
    print(f"{path.name}: {path.stat().st_size} bytes, {len(tensors)} tensors")
