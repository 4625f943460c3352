"""Floats to integer codes, to bfloat16 and to float16: to the nearest, or stochastically."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evenbits import _core
from evenbits._arrays import Array, as_floats, integer, output, require_finite, seed_of, workers_of
from evenbits._groups import Groups
from evenbits.random import first_of


def _input(x: ArrayLike | Any, workers: Any) -> tuple[Array, int]:
    a, workers = as_floats(x), workers_of(workers)
    require_finite(a, workers=workers)
    return a, workers


def _codes(out: Array | None, x: Array, top: Any) -> tuple[Array, int]:
    top = integer(top, "top", 0, 65535)
    return output(out, x.shape, np.uint8 if top <= 255 else np.uint16), top


def round_nearest(
    x: ArrayLike,
    *,
    scale: ArrayLike,
    zero: ArrayLike,
    top: int,
    group: int | None = None,
    out: Array | None = None,
    workers: int = 1,
) -> Array:
    """The integers nearest to x * scale + zero, clamped to 0, ..., top; of two that are equally near, the even one.

    The product is rounded before the sum is, both in float64 if x is float64 and in float32 for every other x (float16,
    bfloat16, integers).

    ``scale`` and ``zero`` are scalars or arrays that broadcast to ``x.shape[:-1]``: a number for each row. With
    ``group=g`` each row is cut into groups of g elements (the last may be shorter), and they broadcast to
    ``x.shape[:-1] + (ceil(n / g),)``. ``workers`` is the number of threads, -1 for all CPUs.

    Returns the codes in the shape of x: uint8 if ``top`` is at most 255, uint16 up to 65535; in ``out`` if it is given.
    Raises ValueError if x, scale or zero holds NaN or infinity, or where shapes or ranges don't fit, and TypeError for
    complex numbers and objects.
    """
    a, threads = _input(x, workers)
    groups = Groups(a.shape, group)
    scales, zeros = groups.parameter(scale, "scale", a.dtype.type), groups.parameter(zero, "zero", a.dtype.type)
    codes, top = _codes(out, a, top)
    if a.size:
        _core.round_nearest(a, groups.n, groups.size, scales, zeros, top, codes, threads)
    return codes


def round_stochastic(
    x: ArrayLike,
    *,
    scale: ArrayLike,
    zero: ArrayLike,
    top: int,
    seed: int,
    stream: int = 0,
    first: int = 0,
    group: int | None = None,
    out: Array | None = None,
    workers: int = 1,
) -> Array:
    """x * scale + zero, clamped to [0, top], rounded up or down at random so that the mean stays.

    With y the clamped number and f = y - floor(y), the code is floor(y) + 1 where k + 1/2 < 65536 f and floor(y)
    elsewhere; k is element ``first + i`` of ``random_bits(seed, stream, ...)`` for element i of x in C order. The mean
    is within 2^-17 of y. Integers don't move. This holds inside [0, top] only: what is clamped keeps the bias of it.

    The arithmetic, ``scale``, ``zero``, ``group``, ``workers`` and the codes are those of ``round_nearest``. The codes
    are the same on every machine and for any number of workers; ``first`` continues a stream, so that the parts of an
    array can be rounded one by one.

    Returns the codes in the shape of x: uint8 if ``top`` is at most 255, uint16 up to 65535; in ``out`` if it is given.
    Raises as ``round_nearest`` and, unless seed and stream are from 0 to 2^64 - 1 and first + x.size <= 2^64,
    ValueError.
    """
    a, threads = _input(x, workers)
    groups = Groups(a.shape, group)
    scales, zeros = groups.parameter(scale, "scale", a.dtype.type), groups.parameter(zero, "zero", a.dtype.type)
    bits = seed_of(seed), seed_of(stream, "stream"), first_of(first, a.size)
    codes, top = _codes(out, a, top)
    if a.size:
        _core.round_stochastic(a, groups.n, groups.size, scales, zeros, top, *bits, codes, threads)
    return codes


def rounding_error(
    x: ArrayLike,
    *,
    scale: ArrayLike,
    zero: ArrayLike,
    step: ArrayLike,
    top: int,
    group: int | None = None,
    workers: int = 1,
) -> NDArray[np.float64]:
    """The sums of (x - (code - zero) * step)^2 over the groups, for the codes that ``round_nearest`` gives.

    The differences are float32, their squares are added in float64, in a fixed order: 16 interleaved partial sums. x
    and the parameters become float32; ``scale``, ``zero``, ``step`` and ``group`` are as in ``round_nearest``.

    Returns a float64 array of the shape ``x.shape[:-1]``, or ``x.shape[:-1] + (ceil(n / group),)``. Raises as
    ``round_nearest``.
    """
    a, threads = as_floats(x, double=False), workers_of(workers)
    require_finite(a, workers=threads)
    groups = Groups(a.shape, group)
    parameters = (scale, "scale"), (zero, "zero"), (step, "step")
    scales, zeros, steps = (groups.parameter(v, name, np.float32) for v, name in parameters)
    top = integer(top, "top", 0, 65535)
    errors = np.zeros(groups.shape)
    if a.size:
        _core.round_error(a, groups.n, groups.size, scales, zeros, steps, top, errors, threads)
    return errors


def _singles(x: ArrayLike | Any, workers: Any) -> tuple[NDArray[np.float32], int]:
    a, threads = _input(x, workers)
    largest = np.finfo(np.float32).max
    return (a if a.dtype == np.float32 else np.asarray(np.clip(a, -largest, largest), np.float32)), threads


def round_to_bfloat16(
    x: ArrayLike, *, seed: int, stream: int = 0, first: int = 0, as_bits: bool = False, workers: int = 1
) -> Array:
    """x as bfloat16, rounded up or down at random so that the mean stays.

    A number becomes one of its two neighbours in bfloat16, the greater in magnitude where the low 16 bits of the
    float32 exceed element ``first + i`` of ``random_bits(seed, stream, ...)``: with the exact probability. Numbers of
    bfloat16 don't move. What is beyond the largest finite one, 3.39e38, becomes it. float64 is rounded to float32
    first, to the nearest.

    Returns an array of ``ml_dtypes.bfloat16`` in the shape of x, or with ``as_bits=True`` its bits as uint16. Raises
    ValueError for NaN and infinity and as ``round_stochastic`` does, and ImportError if ml_dtypes is missing and
    ``as_bits`` is false.
    """
    a, threads = _singles(x, workers)
    bits = np.empty(a.shape, np.uint16)
    kind: Any = np.uint16 if as_bits else _bfloat16()
    _core.round_bfloat16(
        a, seed_of(seed), seed_of(stream, "stream"), first_of(first, a.size), bits, threads
    )
    return bits.view(kind)


def _bfloat16() -> Any:
    try:
        from ml_dtypes import bfloat16
    except ImportError:
        raise ImportError("NumPy has no bfloat16: install ml_dtypes, or ask for the bits with as_bits=True") from None
    return bfloat16


def round_to_float16(
    x: ArrayLike, *, seed: int, stream: int = 0, first: int = 0, workers: int = 1
) -> NDArray[np.float16]:
    """x as float16, rounded up or down at random so that the mean stays.

    A number becomes one of its two neighbours in float16, normal or subnormal. With q its magnitude in steps of float16
    there (2^(e - 10), where e >= -14 is the exponent) and f = q - floor(q), it is the greater in magnitude where
    k + 1/2 < 65536 f; k is element ``first + i`` of ``random_bits(seed, stream, ...)``. Numbers of float16 don't move.
    What is beyond 65504 becomes 65504. float64 is rounded to float32 first, to the nearest.

    Returns a float16 array in the shape of x. Raises ValueError for NaN and infinity and as ``round_stochastic`` does.
    """
    a, threads = _singles(x, workers)
    bits = np.empty(a.shape, np.uint16)
    _core.round_float16(a, seed_of(seed), seed_of(stream, "stream"), first_of(first, a.size), bits, threads)
    return bits.view(np.float16)
