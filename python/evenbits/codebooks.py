"""Codebooks: the best ones of a law or of data, the nearest level of a number, and levels back from codes."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evenbits import _core
from evenbits._arrays import Array, as_array, as_floats, contiguous, integer, output, require_finite, workers_of
from evenbits._groups import Groups

Law = Literal["gaussian", "laplacian"]


@cache
def _table(law: Any, kind: str) -> NDArray[np.float64]:
    if law not in ("gaussian", "laplacian"):
        raise ValueError(f"law is {law!r}; it must be 'gaussian' or 'laplacian'")
    with np.load(Path(__file__).parent / "data" / "lloyd_max.npz") as tables:
        table: NDArray[np.float64] = tables[f"{law}_{kind}"]
        return table


def lloyd_max(levels: int, law: Law = "gaussian") -> NDArray[np.float64]:
    """The Lloyd-Max codebook: the ``levels`` points that quantize a law of mean 0 and variance 1 with the least error.

    They minimize E min_i (X - c_i)^2 for X Gaussian, or Laplacian with the density exp(-sqrt(2) |x|) / sqrt(2): every
    point is the mean of X between the midpoints to its neighbours. Both laws are log-concave, so that there is one such
    codebook; it is symmetric. From a table, computed to 50 digits and rounded.

    Returns ``levels`` (1 to 256) ascending float64 numbers. Raises ValueError for other numbers and laws.
    Lloyd, "Least squares quantization in PCM", 1957; Max, "Quantizing for minimum distortion", 1960; uniqueness:
    Fleischer 1964, Trushkin 1982.
    """
    m = integer(levels, "levels", 1, 256)
    first = (m - 1) ** 2 // 4  # 0 + 1 + 1 + 2 + 2 + ...: what smaller codebooks have on their positive side
    half = _table(law, "levels")[first : first + m // 2]
    return np.concatenate([-half[::-1], np.zeros(m % 2), half])


def optimal_step(levels: int, law: Law = "gaussian") -> float:
    """The step of the best uniform quantizer of a law of mean 0 and variance 1: points (i - (levels - 1) / 2) step.

    ``levels`` is from 2 to 256, the laws are those of ``lloyd_max``; from a table, computed to 50 digits and rounded.
    Raises ValueError for other numbers and laws. Max, "Quantizing for minimum distortion", 1960.
    """
    return float(_table(law, "steps")[integer(levels, "levels", 2, 256) - 2])


def _codebook(codebook: ArrayLike | Any) -> NDArray[np.float32]:
    c = as_floats(codebook, "codebook", double=False)
    if c.ndim != 1 or not 1 <= c.size <= 256:
        raise ValueError(f"codebook has shape {c.shape}; it must be one row of 1 to 256 levels")
    require_finite(c, "codebook")
    fall = np.flatnonzero(c[1:] < c[:-1])
    if fall.size:
        raise ValueError(f"codebook[{fall[0] + 1}] is {c[fall[0] + 1]}, below its predecessor; sort the levels")
    return c


def thresholds(codebook: ArrayLike) -> NDArray[np.float32]:
    """Where the nearest level changes: between the levels a <= b of a codebook, their midpoint, which belongs to b.

    The levels are rounded to float32, and (a + b) / 2, formed in float64, is too; where that gives a, it is b instead.
    So every level of a strictly ascending codebook is its own nearest level.

    Takes 1 to 256 ascending levels; returns one threshold less, ascending, in float32. Raises ValueError for other
    sizes and orders, NaN and infinity.
    """
    c = _codebook(codebook)
    a, b = c[:-1], c[1:]
    middle = ((a.astype(np.float64) + b) / 2).astype(np.float32)
    return np.where(middle > a, middle, b)


def nearest_level(
    x: ArrayLike,
    codebook: ArrayLike,
    *,
    scale: ArrayLike = 1.0,
    group: int | None = None,
    out: Array | None = None,
    workers: int = 1,
) -> NDArray[np.uint8]:
    """The index of the level nearest to x * scale; half-way between two levels, the upper one.

    Defined as the number of ``thresholds(codebook)`` that are at most x * scale, a product in float32. ``codebook``
    holds 1 to 256 ascending levels.

    ``scale`` is a scalar or an array that broadcasts to ``x.shape[:-1]``: a number for each row. With ``group=g`` each
    row is cut into groups of g elements (the last may be shorter), and it broadcasts to ``x.shape[:-1] +
    (ceil(n / g),)``. ``workers`` is the number of threads, -1 for all CPUs.

    Returns uint8 codes in the shape of x; in ``out`` if it is given. Raises ValueError if x, scale or codebook holds
    NaN or infinity (or what float32 can't hold) or where shapes or the order of levels don't fit, and TypeError for
    complex numbers and objects.
    """
    a = as_floats(x, double=False)
    require_finite(a)
    t = thresholds(codebook)
    groups = Groups(a.shape, group)
    scales = groups.parameter(scale, "scale", np.float32)
    codes = output(out, a.shape, np.uint8)
    threads = workers_of(workers)
    if a.size:
        _core.nearest_level(a, groups.n, groups.size, scales, t, codes, threads)
    return codes


def dequantize(
    codes: ArrayLike,
    table: ArrayLike,
    *,
    scale: ArrayLike = 1.0,
    zero: ArrayLike | None = None,
    group: int | None = None,
    out: Array | None = None,
    workers: int = 1,
) -> NDArray[np.float32]:
    """(table[codes] - zero) * scale in float32; without ``zero``, table[codes] * scale.

    ``table`` holds 1 to 65536 numbers: a codebook, or 0, 1, 2, ... for a uniform quantizer. ``codes`` are integers of
    any type below its length. ``scale``, ``zero``, ``group`` and ``workers`` are those of ``nearest_level``, for the
    shape of the codes.

    Returns a float32 array in the shape of the codes; in ``out`` if it is given. Raises ValueError for a code that the
    table doesn't have, NaN and infinity in table, scale or zero, and shapes that don't fit; TypeError for codes that
    are not integers.
    """
    entries = as_floats(table, "table", double=False)
    if entries.ndim != 1 or not 1 <= entries.size <= 65536:
        raise ValueError(f"table has shape {entries.shape}; it must be one row of 1 to 65536 numbers")
    require_finite(entries, "table")
    k = as_array(codes, "codes")
    if k.dtype.kind not in "uib":
        raise TypeError(f"codes have dtype {k.dtype}; they must be integers")
    if k.size and not (k.min() >= 0 and k.max() < entries.size):
        index = np.argwhere((k < 0) | (k >= entries.size))[0].tolist()
        raise ValueError(f"codes{index} is {k[tuple(index)]}; the table has entries 0 to {entries.size - 1}")
    dtype = np.uint8 if entries.size <= 256 else np.uint16
    k = contiguous(np.asarray(k, dtype))
    groups = Groups(k.shape, group)
    scales = groups.parameter(scale, "scale", np.float32)
    zeros = None if zero is None else groups.parameter(zero, "zero", np.float32)
    y = output(out, k.shape, np.float32)
    threads = workers_of(workers)
    if k.size:
        whole = np.zeros(1 << 8 * k.itemsize, np.float32)  # an entry for whatever a code can be
        whole[: entries.size] = entries
        _core.dequantize(k, groups.n, groups.size, whole, scales, zeros, y, threads)
    return y


def kmeans(
    x: ArrayLike, levels: int, *, iterations: int = 200, start: ArrayLike | None = None
) -> NDArray[np.float64]:
    """A codebook for given numbers: c that makes the sum of min_i (x - c_i)^2 small, by Lloyd's algorithm.

    On the sorted numbers a codebook is a partition into intervals. From each of four of them (equal counts, equal
    widths, cubes of equal widths, and a density of levels that is the cube root of that of the numbers, which is
    nearly the best for many levels) the algorithm goes on until the partition stays, at most ``iterations`` times; the
    best result counts. All in float64 and the same on every machine, whatever the order of the numbers; the error is
    at most that of each of the four partitions, but it may be above the least possible. ``start``, ascending levels, takes
    the place of the four: several times faster where one knows about where the levels are.

    Takes numbers in any shape; ``levels`` is from 1 to 256. Returns an ascending codebook of that many levels or, if
    x has no more distinct values than that, those values. Raises ValueError if x is empty or holds NaN or infinity.
    Lloyd, "Least squares quantization in PCM", 1957; Panter and Dite 1951 for the cube root.
    """
    a = as_floats(x)
    require_finite(a)
    k, most = integer(levels, "levels", 1, 256), integer(iterations, "iterations", 1, 2**31)
    if not a.size:
        raise ValueError("x is empty; a codebook needs at least one number")
    v = np.sort(a, axis=None).astype(np.float64) + 0.0  # no -0, so that the order of equal numbers leaves no trace
    distinct: NDArray[np.float64] = v[np.concatenate([[True], v[1:] != v[:-1]])]
    if distinct.size <= k:
        return distinct
    exponent = int(np.frexp(np.abs(v[[0, -1]]).max())[1])  # numbers up to 1: sums and differences don't overflow
    v = np.ldexp(v, -exponent)
    sums = np.concatenate([[0.0], np.cumsum(v)])
    mean, best, spread = sums[-1] / v.size, distinct, -1.0
    if start is None:
        starts = _starts(v, k)
    else:
        first = np.ldexp(_start(start, k), -exponent)
        starts = [np.searchsorted(v, (first[1:] + first[:-1]) / 2)]
    for cuts in starts:
        c, counts = _lloyd(v, sums, cuts, k, most)
        # of a fixed sum: what the levels don't have of the square deviation from the mean is their error
        between = float(np.cumsum(counts * ((c - mean) * (c - mean)))[-1])
        if between > spread:
            best, spread = c, between
    codebook: NDArray[np.float64] = np.ldexp(best, exponent)
    return codebook


def _start(levels: ArrayLike, k: int) -> Array:
    a = as_floats(levels, "start").astype(np.float64)
    require_finite(a, "start")
    if a.shape != (k,) or (a[1:] < a[:-1]).any():
        raise ValueError(f"start has shape {a.shape}; it must be {k} ascending levels")
    return a


def _starts(v: Array, k: int) -> list[Array]:
    """First indices of the intervals but the first one, in four partitions; equal numbers stay together."""
    i = np.arange(1, k)
    edge = 2 * i / k - 1
    places = np.arange(min(v.size, 16384)) * (v.size - 1) // (min(v.size, 16384) - 1)
    gaps = np.diff(v[places])
    weights = np.concatenate([[0.0], np.cumsum(_cube_root(gaps * gaps))])  # E gap^(2/3) is as density^(1/3) dx
    values = (
        v[i * v.size // k],
        v[0] + (v[-1] - v[0]) * (i / k),
        edge * edge * edge * max(-v[0], v[-1]),
        v[places[np.searchsorted(weights, weights[-1] * (i / k))]],
    )
    return [np.searchsorted(v, value) for value in values]


def _cube_root(a: Array) -> Array:
    """a to the power 1/4 + 1/16 + 1/64 + ...: square roots are the same on every machine, powers are not."""
    root = np.ones_like(a)
    for _ in range(8):
        a = np.sqrt(np.sqrt(a))
        root *= a
    return root


def _lloyd(v: Array, sums: Array, cuts: Array, k: int, iterations: int) -> tuple[Array, Array]:
    """The means of the last partition's intervals, and their counts; ``sums`` are those of the numbers before."""
    for _ in range(iterations):
        bounds = _fill(v, cuts, k)
        first, end = bounds[:-1], bounds[1:]
        # rounding errors of the sums don't carry a mean out of its interval
        c = np.clip((sums[end] - sums[first]) / (end - first), v[first], v[end - 1])
        cuts = np.searchsorted(v, (c[1:] + c[:-1]) / 2)
        if np.array_equal(cuts, bounds[1:-1]):
            break
    return c, end - first


def _fill(v: Array, cuts: Array, k: int) -> Array:
    """Bounds of k intervals, none empty: while there are fewer, one with much error to lose is halved."""
    bounds = np.unique(np.concatenate([[0], cuts, [v.size]]))
    while bounds.size <= k:
        first, last = bounds[:-1], bounds[1:] - 1
        error = (v[last] - v[first]) * np.sqrt(bounds[1:] - first)
        i = int(np.argmax(error))
        if not error[i] > 0:  # numbers that the common factor 2^-exponent made equal
            break
        middle = (v[first[i]] + v[last[i]]) / 2
        cut = np.searchsorted(v, middle, side="left" if middle > v[first[i]] else "right")
        bounds = np.insert(bounds, i + 1, cut)
    return bounds
