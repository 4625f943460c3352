"""A sequential network whose weights are codes: read from a file, and run in floats as its C code runs."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evenbits import container
from evenbits._arrays import Array
from evenbits._tensorfile import Path
from evenbits.encoded import Encoded
from evenbits.networks.layers import Patches
from evenbits.products import Linear


@dataclass(frozen=True)
class Image:
    """What a convolution takes: the input's channels, height and width, and its windows."""

    channels: int
    height: int
    width: int
    kernel_height: int
    kernel_width: int
    stride: int
    pad: int

    @property
    def out(self) -> tuple[int, int]:
        """Rows and columns of windows."""
        return (
            (self.height + 2 * self.pad - self.kernel_height) // self.stride + 1,
            (self.width + 2 * self.pad - self.kernel_width) // self.stride + 1,
        )

    def windows(self, x: Array) -> Array:
        """(N, channels * height * width) -> (N * windows, channels * kernel)."""
        patches = Patches((self.kernel_height, self.kernel_width), (self.stride,) * 2, ((self.pad,) * 2,) * 2, (1, 1))
        rows: Array = patches.rows(x.reshape(-1, self.channels, self.height, self.width), lambda count: None)[0]
        return rows

    def joined(self, y: Array) -> Array:
        """(N * windows, filters) -> (N, filters * windows), a plane for each filter."""
        windows = math.prod(self.out)
        return np.ascontiguousarray(y.reshape(-1, windows, y.shape[-1]).transpose(0, 2, 1)).reshape(len(y) // windows, -1)


@dataclass(frozen=True)
class Layer:
    """y = W x + bias, for every window where there is an image, then ReLU or nothing."""

    name: str
    weights: Encoded
    bias: Array | None
    relu: bool
    image: Image | None = None

    @property
    def inputs(self) -> int:
        i = self.image
        return self.weights.shape[1] if i is None else i.channels * i.height * i.width

    @property
    def windows(self) -> int:
        return 1 if self.image is None else math.prod(self.image.out)

    @property
    def outputs(self) -> int:
        return self.weights.shape[0] * self.windows

    def run(self, x: Array) -> Array:
        """float32 (N, inputs) -> (N, outputs): the additions and products of ``eb_matvec_f32``, in its order."""
        y = Linear(self.weights)(x if self.image is None else self.image.windows(x))
        if self.bias is not None:
            y = y + self.bias
        if self.relu:
            y = np.maximum(y, np.float32(0))
        return y if self.image is None else self.image.joined(y)


@dataclass(frozen=True)
class Network:
    """Layers from the input to the output."""

    layers: tuple[Layer, ...]
    softmax: bool = False

    @property
    def inputs(self) -> int:
        return self.layers[0].inputs

    @property
    def outputs(self) -> int:
        return self.layers[-1].outputs

    def run(self, x: Array) -> Array:
        for layer in self.layers:
            x = layer.run(x)
        return softmax(x) if self.softmax else x


def softmax(x: Array) -> Array:
    """e^x / sum of e^x over the last axis, float32, as ``eb_softmax_f32`` rounds it."""
    f = np.float32
    t = x - x.max(axis=-1, keepdims=True)
    k = np.trunc(np.maximum(t, f(-87)) * f(1.44269504) - f(0.5)).astype(np.int32)
    whole = k.astype(f)
    r = t - whole * f(0.693359375) - whole * f(-2.12194440e-4)
    p = f(1) / f(720) * np.ones_like(r)
    for c in (f(1) / f(120), f(1) / f(24), f(1) / f(6), f(0.5), f(1), f(1)):
        p = p * r + c
    e = np.where(t <= f(-87), f(0), p * (k + 127 << 23).astype(np.uint32).view(f))
    total = e[..., 0]
    for i in range(1, e.shape[-1]):
        total = total + e[..., i]
    y: Array = e / total[..., None]
    return y


KNOWN = "dense, conv (conv:stride=2:pad=1), relu, softmax"


def read_network(
    path: Path, layers: str | None = None, input_shape: Sequence[int] | None = None
) -> tuple[Network, Mapping[str, Any]]:
    """The network of a file of codes, and the file's arrays.

    Its weights are the encoded matrices (and, for convolutions, tensors of four axes: filters, channels, height, width) in
    the natural order of their names, with the biases "x.bias" beside "x.weight". ``layers`` lists what happens, in order:
    "conv:stride=2:pad=1,relu,dense,softmax"; without it there is ReLU between all of them. A convolution at the front needs
    the ``input_shape`` (channels, height, width). Raises ValueError that says what does not fit.
    """
    entries, _ = container.read(path)
    where = os.fspath(path)
    arrays = {name: e.planes[""].array() for name, e in entries.items() if e.spec is None}
    weights = sorted((name for name, e in entries.items() if e.spec is not None), key=_natural)
    for name, array in arrays.items():
        if array.ndim > 1 and name.endswith("weight"):
            raise ValueError(f"{where}: {name} is not quantized; quantize all weights (--include {name!r})")
    if not weights:
        raise ValueError(f"{where} has no quantized matrix; run evenbits quantize first")
    steps = _steps(layers) if layers is not None else _usual([len(entries[name].shape or ()) == 4 for name in weights])
    linear = [(step, options) for step, options in steps if step in ("dense", "conv")]
    if len(linear) != len(weights):
        raise ValueError(f"layers has {len(linear)} of weights; {where} has {len(weights)}: {', '.join(weights)}")
    made: list[Layer] = []
    shape, names, last = None if input_shape is None else tuple(input_shape), iter(weights), len(steps) - 1
    for at, (step, options) in enumerate(steps):
        if step == "softmax":
            if at != last:
                raise ValueError("layers has softmax before its end")
            continue
        if step == "relu":
            if not made or made[-1].relu:
                raise ValueError("layers has a relu that follows no dense or conv")
            made[-1] = Layer(made[-1].name, made[-1].weights, made[-1].bias, True, made[-1].image)
            continue
        name = next(names)
        encoded, own = entries[name].encoded(), entries[name].shape
        if len(encoded.shape) != 2 or 0 in encoded.shape:
            raise ValueError(f"{name} has shape {encoded.shape}; weights have rows and columns")
        bias = arrays.get(f"{name.removesuffix('.weight')}.bias") if name.endswith(".weight") else None
        if bias is not None and bias.shape != (encoded.shape[0],):
            raise ValueError(f"the bias of {name} has shape {bias.shape}; there are {encoded.shape[0]} outputs")
        if bias is not None and not np.all(np.abs(bias) <= np.finfo(np.float32).max):
            raise ValueError(f"the bias of {name} has a number that is not finite in float32")
        image = None
        if step == "conv":
            image = _image(name, own, shape, options)
            shape = (encoded.shape[0], *image.out)
        else:
            size = math.prod(shape) if shape else encoded.shape[1]
            if size != encoded.shape[1]:
                raise ValueError(f"{name} takes {encoded.shape[1]} numbers; what comes before gives {size}")
            shape = (encoded.shape[0],)
        made.append(Layer(name, encoded, None if bias is None else np.asarray(bias, np.float32), False, image))
    return Network(tuple(made), steps[-1][0] == "softmax"), arrays


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _usual(convolutions: list[bool]) -> list[tuple[str, dict[str, int]]]:
    steps: list[tuple[str, dict[str, int]]] = []
    for convolution in convolutions:
        steps += [("conv" if convolution else "dense", {}), ("relu", {})]
    return steps[:-1]


def _steps(text: str) -> list[tuple[str, dict[str, int]]]:
    steps = []
    for part in text.split(","):
        name, *settings = part.strip().split(":")
        options = {}
        for setting in settings:
            key, _, value = setting.partition("=")
            if name != "conv" or key not in ("stride", "pad") or not value.isdigit():
                raise ValueError(f"layers has {part.strip()!r}; known are {KNOWN}")
            options[key] = int(value)
        if name not in ("dense", "conv", "relu", "softmax"):
            raise ValueError(f"layers has {part.strip()!r}; known are {KNOWN}")
        steps.append((name, options))
    return steps


def _image(name: str, own: tuple[int, ...] | None, shape: tuple[int, ...] | None, options: dict[str, int]) -> Image:
    if own is None or len(own) != 4:
        raise ValueError(f"{name} has shape {own}; a convolution has filters, channels, height and width")
    if shape is None or len(shape) != 3:
        raise ValueError(f"{name} is a convolution of {shape or 'an unknown shape'}; give the input's (--input 1x8x8)")
    image = Image(*shape, own[2], own[3], options.get("stride", 1), options.get("pad", 0))
    if own[1] != image.channels or image.stride < 1 or min(image.out) < 1 or max(*shape, image.pad) > 4096:
        raise ValueError(f"{name} has {own[1]} channels and windows of {own[2]}x{own[3]}, which do not fit its input {shape}")
    return image
