"""Rounding to codes and to 16-bit floats. Parameters are scalars, or arrays of the shape of x."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from evenbits.reference.random import half_words
from evenbits.reference.reductions import dot

Array = NDArray[Any]


def code_dtype(top: int) -> type[np.unsignedinteger[Any]]:
    return np.uint8 if top <= 255 else np.uint16


def clamped(x: Array, scale: Any, zero: Any, top: int) -> Array:
    """x * scale + zero in the type of x, which is float32 or float64, clamped to [0, top]."""
    with np.errstate(over="ignore"):
        y: Array = x * np.asarray(scale, x.dtype) + np.asarray(zero, x.dtype)
    return np.clip(y, x.dtype.type(0), x.dtype.type(top))


def rounds_up(fraction: Array, k: Array) -> NDArray[np.bool_]:
    """With probability equal to the fraction, to within 2^-17."""
    number = fraction.dtype.type
    up: NDArray[np.bool_] = k.astype(number) + number(0.5) < number(65536) * fraction
    return up


def round_nearest(x: Array, scale: Any, zero: Any, top: int) -> Array:
    return np.rint(clamped(x, scale, zero, top)).astype(code_dtype(top))


def round_stochastic(
    x: Array, scale: Any, zero: Any, top: int, *, seed: int, stream: int = 0, first: int = 0
) -> Array:
    y = clamped(x, scale, zero, top)
    k = half_words(seed, stream, x.size, first=first).reshape(x.shape)
    return (np.floor(y) + rounds_up(y - np.floor(y), k)).astype(code_dtype(top))


def round_to_bfloat16(x: NDArray[np.float32], *, seed: int, stream: int = 0, first: int = 0) -> NDArray[np.uint16]:
    """The bits of bfloat16."""
    bits = x.view(np.uint32)
    k = half_words(seed, stream, x.size, first=first).reshape(x.shape)
    magnitude = bits & np.uint32(0x7FFFFFFF)
    up = (magnitude & np.uint32(0xFFFF)) > k
    rounded: Array = np.minimum((magnitude >> np.uint32(16)) + up, np.uint32(0x7F7F))
    signed: Array = rounded | (bits >> np.uint32(16) & np.uint32(0x8000))
    return signed.astype(np.uint16)


def round_to_float16(x: NDArray[np.float32], *, seed: int, stream: int = 0, first: int = 0) -> NDArray[np.float16]:
    k = half_words(seed, stream, x.size, first=first).reshape(x.shape)
    magnitude = np.abs(x.astype(np.float64))
    exponent = np.maximum(np.frexp(magnitude)[1] - 1, -14)
    steps = np.ldexp(magnitude, 10 - exponent)
    rounded: Array = np.ldexp(np.floor(steps) + rounds_up(steps - np.floor(steps), k), exponent - 10)
    signed: Array = np.copysign(np.minimum(rounded, 65504.0), x)
    return signed.astype(np.float16)


def round_error(x: NDArray[np.float32], scale: Any, zero: Any, step: Any, top: int) -> float:
    """The squared error of round_nearest for one group, reconstructed as (code - zero) * step in float32."""
    code = round_nearest(x, scale, zero, top).astype(np.float32)
    with np.errstate(over="ignore"):
        difference = x - (code - np.float32(zero)) * np.float32(step)
    return dot(difference, difference)
