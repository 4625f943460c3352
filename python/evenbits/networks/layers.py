"""Layers with weights as matrices, whatever the framework; and layers of NumPy, of which a network is a list."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from evenbits._arrays import Array, as_floats, integer
from evenbits.path_following import multiply_add

Sizes = int | Sequence[int]
Sides = int | Sequence[int | tuple[int, int]]


@dataclass(frozen=True)
class Patches:
    """What each output of a convolution sees: windows of (batch, channels, ...), by the layer's own stride and dilation.

    ``padding`` has (before, after) an axis; ``mode`` is numpy.pad's.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int = 1
    mode: str = "constant"

    def windows(self, x: Array) -> Array:
        """A view (batch, channels, *outputs, *kernel) of x with its padding."""
        axes = tuple(range(2, x.ndim))
        if len(axes) != len(self.kernel):
            raise ValueError(f"the input of a convolution has shape {x.shape}; it must have {len(self.kernel) + 2} axes")
        if any(map(any, self.padding)):
            x = np.pad(x, ((0, 0), (0, 0), *self.padding), self.mode)  # type: ignore[call-overload]
        reach = tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))
        if any(length < r for length, r in zip(x.shape[2:], reach, strict=True)):
            raise ValueError(f"the input of a convolution has shape {x.shape} with its padding, and windows reach over {reach}")
        view = sliding_window_view(x, reach, axes)
        steps = tuple(slice(None, None, s) for s in (*self.stride, *self.dilation))
        return view[(slice(None), slice(None), *steps)]

    def rows(self, x: Array, pick: Callable[[int], Array | None]) -> Array:
        """(groups, rows, inputs): the windows in C order of (batch, *outputs), those that ``pick(how many)`` names."""
        windows = self.windows(x)
        n = len(self.kernel)
        ordered = np.moveaxis(windows, 1, n + 1)  # (batch, *outputs, channels, *kernel)
        outputs = ordered.shape[: n + 1]
        chosen = pick(math.prod(outputs))
        if chosen is None:
            flat = ordered.reshape(math.prod(outputs), self.groups, -1)
        else:
            flat = ordered[np.unravel_index(chosen, outputs)].reshape(len(chosen), self.groups, -1)
        return np.ascontiguousarray(flat.swapaxes(0, 1))


@dataclass(eq=False)
class Layer:
    """Weights as ``matrix``, (neurons, inputs) with the neurons of a group one after the other; ``bias`` or None.

    ``patches`` says which inputs a neuron sees: None for a dense layer, whose inputs lie on the last axis. ``replace`` puts
    a matrix of that shape and a bias into the network that is being quantized.
    """

    name: str
    matrix: Array
    bias: Array | None
    shape: tuple[int, ...]
    dtype: str
    replace: Callable[[Array, Array | None], None]
    patches: Patches | None = None
    bias_name: str = ""

    @property
    def groups(self) -> int:
        return self.patches.groups if self.patches else 1

    @property
    def grouped(self) -> Array:
        """The matrix as (groups, neurons, inputs)."""
        return self.matrix.reshape(self.groups, -1, self.matrix.shape[1])

    def rows(self, x: Array, pick: Callable[[int], Array | None] = lambda count: None) -> Array:
        """What the neurons see of an input: (groups, rows, inputs); ``pick`` chooses among the rows."""
        if self.patches:
            return self.patches.rows(x, pick)
        flat = x.reshape(-1, x.shape[-1])
        chosen = pick(len(flat))
        return np.ascontiguousarray(flat if chosen is None else flat[chosen])[None]


def sizes(value: Sizes, count: int, name: str, least: int = 1) -> tuple[int, ...]:
    """One number an axis, or one for all."""
    each = [value] * count if isinstance(value, (int, np.integer)) else list(value)
    if len(each) != count:
        raise ValueError(f"{name} is {value!r}; it must be a number, or one for each of {count} axes")
    return tuple(integer(n, name, least, 2**31) for n in each)


def sides(value: Sides, count: int) -> tuple[tuple[int, int], ...]:
    """Padding as (before, after) an axis."""
    each: list[Any] = [value] * count if isinstance(value, (int, np.integer)) else list(value)
    if len(each) != count:
        raise ValueError(f"padding is {value!r}; it must be a number, or one or two for each of {count} axes")
    return tuple((int(n), int(n)) if isinstance(n, (int, np.integer)) else (int(n[0]), int(n[1])) for n in each)


class Dense:
    """y = W x + b on the last axis: weight (outputs, inputs), bias (outputs,) or None."""

    def __init__(self, weight: Any, bias: Any = None, *, name: str = "") -> None:
        self.weight, self.bias, self.name = weights(weight, 2, 2), biases(bias, len(weight)), name

    @property
    def patches(self) -> Patches | None:
        return None

    def __call__(self, x: Array) -> Array:
        inputs = self.weight.shape[1]
        if x.shape[-1] != inputs:
            raise ValueError(f"the input of {self.name or 'a dense layer'} has {x.shape[-1]} values; it takes {inputs}")
        y = product(x.reshape(-1, inputs), self.weight).reshape(*x.shape[:-1], len(self.weight))
        return y if self.bias is None else y + self.bias


class Conv:
    """A convolution (cross-correlation, as everywhere) of (batch, channels, ...): weight (outputs, channels / groups, ...).

    stride, padding, dilation: a number, or one an axis; padding is with zeros and may be (before, after) an axis.
    """

    def __init__(
        self,
        weight: Any,
        bias: Any = None,
        *,
        stride: Sizes = 1,
        padding: Sides = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        name: str = "",
    ) -> None:
        self.weight, self.bias, self.name = weights(weight, 3, 8), biases(bias, len(weight)), name
        n = self.weight.ndim - 2
        groups = integer(groups, "groups", 1, max(len(self.weight), 1))
        if len(self.weight) % groups:
            raise ValueError(f"groups is {groups}; it must divide the {len(self.weight)} outputs")
        strides, dilations = sizes(stride, n, "stride"), sizes(dilation, n, "dilation")
        self.patches = Patches(self.weight.shape[2:], strides, sides(padding, n), dilations, groups)

    def __call__(self, x: Array) -> Array:
        channels = self.weight.shape[1] * self.patches.groups
        if x.shape[1] != channels:
            raise ValueError(f"the input of {self.name or 'a convolution'} has {x.shape[1]} channels; it takes {channels}")
        n = x.ndim - 2
        windows = self.patches.windows(x)
        outputs = windows.shape[2 : 2 + n]
        rows = self.patches.rows(x, lambda count: None)
        matrix = self.weight.reshape(self.patches.groups, -1, rows.shape[2])
        y = np.concatenate([product(own, m) for own, m in zip(rows, matrix, strict=True)], axis=1).reshape(len(x), *outputs, -1)
        if self.bias is not None:
            y = y + self.bias
        return np.ascontiguousarray(np.moveaxis(y, -1, 1))


class ReLU:
    """max(x, 0), or up to ``top``."""

    def __init__(self, top: float | None = None) -> None:
        self.top = top

    def __call__(self, x: Array) -> Array:
        return np.clip(x, 0, self.top)


class Pool:
    """The greatest value ("max") or the mean ("mean") of windows of (batch, channels, ...)."""

    def __init__(self, size: Sizes, *, stride: Sizes | None = None, kind: str = "max") -> None:
        if kind not in ("max", "mean"):
            raise ValueError(f"kind is {kind!r}; known are 'max', 'mean'")
        self.size, self.stride, self.kind = size, size if stride is None else stride, kind

    def __call__(self, x: Array) -> Array:
        n = x.ndim - 2
        kernel, stride = sizes(self.size, n, "size"), sizes(self.stride, n, "stride")
        windows = Patches(kernel, stride, ((0, 0),) * n, (1,) * n).windows(x)
        if self.kind == "max":
            return np.asarray(windows.max(axis=tuple(range(-n, 0))))
        total = np.zeros(windows.shape[:-n], x.dtype)
        for place in np.ndindex(*kernel):
            total += windows[(..., *place)]
        return np.asarray(total / np.asarray(math.prod(kernel), x.dtype))


class Flatten:
    """(batch, ...) to (batch, values)."""

    def __call__(self, x: Array) -> Array:
        return x.reshape(len(x), -1)


class Residual:
    """x + f(x), f a list of layers."""

    def __init__(self, *layers: Callable[[Array], Array]) -> None:
        self.layers = layers

    def __call__(self, x: Array) -> Array:
        y = x
        for layer in self.layers:
            y = layer(y)
        return x + y


def product(x: Array, w: Array) -> Array:
    """x w^T, summed in float64 and in one order, so that it is the same on every machine."""
    kind = np.float64 if np.result_type(x.dtype, w.dtype) == np.float64 else np.float32
    a, b = np.ascontiguousarray(x, kind), np.ascontiguousarray(w.T, kind)
    return multiply_add(a, b, np.zeros((len(a), b.shape[1]))).astype(kind)


def weights(value: Any, least: int, most: int) -> Array:
    a = as_floats(value, "weight")
    if not least <= a.ndim <= most:
        raise ValueError(f"weight has shape {a.shape}; a layer of this kind has {least} axes{' or more' if most > least else ''}")
    return a


def biases(value: Any, count: int) -> Array | None:
    if value is None:
        return None
    a = as_floats(value, "bias")
    if a.shape != (count,):
        raise ValueError(f"bias has shape {a.shape}; the layer has {count} outputs")
    return a
