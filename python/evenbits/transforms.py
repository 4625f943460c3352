"""The fast Hadamard transform, and the random rotation made of it."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from evenbits import _core
from evenbits._arrays import (
    FLOAT32,
    FLOAT64,
    Array,
    as_array,
    as_floats,
    contiguous,
    integer,
    is_bfloat16,
    is_half,
    output,
    real,
    seed_of,
    workers_of,
)
from evenbits.matrices import base_matrix, base_order, hadamard_length, unknown_length
from evenbits.random import SHORT, random_signs

BITS = np.dtype(np.uint16)
LIMITS32, LIMITS64 = ((-float(np.finfo(t).max), float(np.finfo(t).max)) for t in (np.float32, np.float64))


def hadamard_transform(
    x: ArrayLike, scale: float = 1.0, *, pad: bool = False, out: Array | None = None, workers: int = 1
) -> Array:
    """Hadamard transform of the last axis times ``scale``: y = scale * H x, H unnormalised.

    x: (..., n); n = m 2^k with m = 1 or the order of a base matrix (12, 20, 24, 28, 36, ...; see ``evenbits.matrices``).
    For n = 2^k, H is Sylvester's matrix, ``scipy.linalg.hadamard(n)``. Every H is symmetric and H H = n I, so
    ``scale=n**-0.5`` makes the transform orthonormal and its own inverse. ``pad=True`` appends zeros up to the next
    possible length, and the result has that length.

    dtype: float32 and float64 stay; float16 and bfloat16 are computed in float32 and rounded once; integers of up to 32
    bits give int32, exact modulo 2^32 (``scale`` must be 1). NaN and infinity spread as arithmetic has it.
    ``out`` may be ``x`` itself. Raises ValueError for other lengths (naming the nearest) and TypeError for other dtypes.
    """
    done = _core.hadamard_plain(x, scale, out, workers)
    if done is not None:
        return done
    a = as_array(x)
    workers = workers_of(workers)
    dtype = a.dtype
    integers = dtype is not FLOAT32 and dtype.kind in "iub"
    if integers:
        if real(scale, "scale", *LIMITS64) != 1:
            raise ValueError(f"scale is {scale}; integers are transformed with scale=1: convert x to a float dtype")
        if dtype.itemsize > 4 or (dtype.kind == "u" and dtype.itemsize == 4):
            raise TypeError(f"x has dtype {dtype}; integers must fit into int32, or convert x to a float dtype")
        dtype = np.dtype(np.int32)
        a = contiguous(np.asarray(a, dtype=dtype))
    else:
        a = _floats(a)
        scale = real(scale, "scale", *(LIMITS64 if a.dtype == FLOAT64 else LIMITS32))
        dtype = dtype if dtype.isnative else dtype.newbyteorder("=")
    if a.ndim == 0:
        raise ValueError("x has no axis to transform; pass an array of one dimension or more")
    if pad and a.shape[-1]:
        a = _padded(a, hadamard_length(a.shape[-1]))
    n = a.shape[-1]
    m = base_order(n)
    if m is None:
        raise ValueError(unknown_length(n))
    out = output(out, a.shape, dtype)
    _apart(a, out)
    if dtype.itemsize == 2:
        _core.hadamard_half(a.view(BITS), out.view(BITS), base_matrix(m), scale, is_bfloat16(dtype), workers)
    else:
        _core.hadamard(a, out, base_matrix(m), None, None, scale, workers)
    return out


def randomized_hadamard(
    x: ArrayLike, *, seed: int, stream: int = 0, rounds: int = 1, out: Array | None = None, workers: int = 1
) -> Array:
    """Random rotation of the last axis: y = R x, R = product over the rounds of H (D_r / sqrt(n)), rounded in that order.

    D_r holds the random signs of (seed, stream), elements r n to (r + 1) n - 1. A vector of any law comes out nearly
    Gaussian: every coordinate is at most 2 sqrt(ln(2 n) / n) |x| with probability 1 - 1/(2 n) (Hoeffding and a union
    bound). All rows get the same rotation. x: (..., d) -> (..., n), n = ``hadamard_length(d)`` >= d: zeros are appended.
    dtype as ``hadamard_transform``, integers become float32. Raises ValueError and TypeError as that does. The signs of the
    last few rotations are kept, up to 4 MB of them.
    """
    a, dtype = _rotation_input(x)
    rounds = integer(rounds, "rounds", 1, 64)
    a = _padded(a, hadamard_length(a.shape[-1]))
    return _rotate(a, dtype, rounds, seed, stream, out, workers, inverse=False)


def inverse_randomized_hadamard(
    y: ArrayLike,
    *,
    seed: int,
    stream: int = 0,
    rounds: int = 1,
    length: int | None = None,
    out: Array | None = None,
    workers: int = 1,
) -> Array:
    """Inverse of ``randomized_hadamard``: x = R^T y, the first ``length`` coordinates of it.

    y: (..., n) -> (..., length); ``length`` is n if not given. Exact up to the rounding of the floats: R R^T = I. As in
    ``hadamard_transform``, sums of n numbers come first and their scale last: where |y|_1 exceeds the largest float32
    (float64 for that dtype), they may be infinite; scale y down by a power of 2 first, which is exact.
    ``out`` is for the case length = n. Raises ValueError and TypeError as ``hadamard_transform`` does.
    """
    a, dtype = _rotation_input(y, "y")
    rounds = integer(rounds, "rounds", 1, 64)
    n = a.shape[-1]
    if base_order(n) is None:
        raise ValueError(unknown_length(n).replace(": pad with zeros (pad=True)", ""))
    length = n if length is None else integer(length, "length", 1, n)
    if length == n:
        return _rotate(a, dtype, rounds, seed, stream, out, workers, inverse=True)
    if out is not None:
        raise ValueError(f"out can't be given with length {length} below n = {n}")
    return _rotate(a, dtype, rounds, seed, stream, None, workers, inverse=True)[..., :length]


def _rotation_input(x: ArrayLike, name: str = "x") -> tuple[Array, np.dtype[Any]]:
    a = as_array(x, name)
    dtype = a.dtype.newbyteorder("=") if a.dtype.kind == "f" or is_bfloat16(a.dtype) else np.dtype(np.float32)
    a = _floats(a, name)
    if a.ndim == 0:
        raise ValueError(f"{name} has no axis to transform; pass an array of one dimension or more")
    if a.shape[-1] == 0:
        raise ValueError(unknown_length(0))
    return a, dtype


def _floats(a: Array, name: str = "x") -> Array:
    """``as_floats``, but of the 16-bit floats, too, which have kernels."""
    if is_half(a.dtype):
        return contiguous(a if a.dtype.isnative else a.astype(a.dtype.newbyteorder("=")))
    return as_floats(a, name)


def _signs(seed: int, stream: int, n: int, rounds: int, dtype: np.dtype[Any]) -> Array:
    """The factors of the rounds: random signs / sqrt(n)."""
    factors = random_signs(seed, stream, n * rounds, dtype=dtype)
    factors *= dtype.type(1 / math.sqrt(n))
    factors.flags.writeable = False
    return factors


_recent_signs = lru_cache(maxsize=8)(_signs)


def _rotate(
    a: Array,
    dtype: np.dtype[Any],
    rounds: int,
    seed: int,
    stream: int,
    out: Array | None,
    workers: int,
    inverse: bool,
) -> Array:
    n = a.shape[-1]
    seed, stream, workers = seed_of(seed), seed_of(stream, "stream"), workers_of(workers)
    base = base_matrix(base_order(n) or 1)
    out = output(out, a.shape, dtype)
    _apart(a, out)
    draw = _recent_signs if n * rounds <= SHORT else _signs
    signs = draw(seed, stream, n, rounds, FLOAT64 if dtype == FLOAT64 else FLOAT32)
    if dtype.itemsize == 2:
        _core.rotate_half(a.view(BITS), out.view(BITS), base, signs, inverse, is_bfloat16(dtype), workers)
    else:
        _core.rotate(a, out, base, signs, inverse, workers)
    return out


def _padded(a: Array, n: int) -> Array:
    """``a`` with zeros appended to its last axis up to length n."""
    if a.shape[-1] == n:
        return a
    wide = np.zeros((*a.shape[:-1], n), a.dtype)
    wide[..., : a.shape[-1]] = a
    return wide


def _apart(a: Array, out: Array) -> None:
    """Whether ``out`` can hold the result: the kernels take it equal to the input, or apart from it, but not askew."""
    if a is not out and np.may_share_memory(a, out) and a.ctypes.data != out.ctypes.data:
        raise ValueError("out overlaps x without being x; pass x itself or other memory")
