"""Arguments as the kernels want them: contiguous native arrays, checked, with errors in the caller's words."""

from __future__ import annotations

import operator
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evenbits import _core

Array = NDArray[Any]

FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
NORMAL = 2.0**60
"""Rows whose largest number lies outside 1/NORMAL to NORMAL are worked on scaled by a power of two."""
LARGEST = {
    **{name: float(np.finfo(name).max) for name in ("float64", "float32", "float16")},
    "bfloat16": 2.0**128 - 2.0**120,
}
"""The largest number of each dtype of values and scales."""
HOST = (1, 3, 11, 13)
"""The devices of DLPack whose memory a CPU reads: its own, pinned for CUDA or ROCm, managed by CUDA."""


def as_array(x: Any, name: str = "x") -> Array:
    """``x`` as a NumPy array, without a copy where its memory allows (``__array__``, buffers, ``__dlpack__``)."""
    if type(x) is np.ndarray:
        return x
    if hasattr(x, "__dlpack_device__") and not isinstance(x, np.ndarray):
        return _exchanged(x, name)
    try:
        return np.asarray(x)
    except ValueError as error:  # ragged lists
        raise ValueError(f"{name} is not an array: {error}") from None


def _exchanged(x: Any, name: str) -> Array:
    """The array of another library, in place. bfloat16 becomes float32 where ml_dtypes is missing."""
    try:
        device, _ = x.__dlpack_device__()
        if device not in HOST:
            raise TypeError(f"{name} lies on {getattr(x, 'device', f'device {device}')}; copy it to the CPU first")
        try:
            array: Array = np.asarray(x) if hasattr(x, "__array__") else np.from_dlpack(x)
            return array
        except (TypeError, RuntimeError):
            bits = _core.bfloat16_bits(x.__dlpack__())
            if bits is None:
                raise
            return from_bfloat16_bits(bits)
    except (BufferError, RuntimeError, ValueError) as error:
        raise TypeError(f"{name} can't be read as an array: {error}") from None


def bfloat16_bits(x: Array) -> Array:
    """The bfloat16 nearest to each float32 of x, ties to even, as its bits."""
    bits = np.asarray(x, np.float32, order="C").view(np.uint32)
    nearest: Array = (bits + 0x7FFF + (bits >> 16 & 1) >> 16).astype(np.uint16)
    return nearest


def widened(bits: Array) -> Array:
    """The bits of bfloat16 as float32."""
    wide: Array = (bits.astype(np.uint32) << 16).view(np.float32)
    return wide


def from_bfloat16_bits(bits: Array) -> Array:
    """bfloat16 as the type of ml_dtypes, in place, or as float32 where ml_dtypes is missing."""
    try:
        import ml_dtypes
    except ModuleNotFoundError:
        return widened(bits)
    return bits.view(ml_dtypes.bfloat16)


def is_bfloat16(dtype: np.dtype[Any]) -> bool:
    """Whether ``dtype`` is the bfloat16 of ml_dtypes, which NumPy itself does not have."""
    return dtype.name == "bfloat16"


def is_half(dtype: np.dtype[Any]) -> bool:
    """Whether ``dtype`` is float16, in any byte order, or bfloat16."""
    return dtype.itemsize == 2 and (dtype.kind == "f" or is_bfloat16(dtype))


def contiguous(a: Array) -> Array:
    """``a`` itself, or a copy that is C-contiguous and aligned."""
    flags = a.flags
    return a if type(a) is np.ndarray and flags.c_contiguous and flags.aligned else np.require(a, None, ("C", "A", "E"))


def as_floats(x: Any, name: str = "x", *, double: bool = True) -> Array:
    """``x`` as a C-contiguous native array of float32, or of float64 where it is one and ``double`` allows it.

    float16, bfloat16, integers of up to 32 bits and booleans become float32, and so do longer integers if float32 holds
    them exactly. No copy where none is needed. Raises TypeError for everything else.
    """
    if type(x) is np.ndarray and (x.dtype is FLOAT32 or (double and x.dtype is FLOAT64)):
        return contiguous(x)
    a = as_array(x, name)
    if a.dtype.kind == "f" and a.dtype.itemsize == 8:
        dtype: type[np.floating[Any]] = np.float64 if double else np.float32
    elif (a.dtype.kind in "fiub" and a.dtype.itemsize <= 8) or is_bfloat16(a.dtype):
        dtype = np.float32
    else:
        raise TypeError(f"{name} has dtype {a.dtype}; convert it to float32 or float64")
    with np.errstate(over="ignore"):
        out = np.require(a, dtype, ("C_CONTIGUOUS", "ALIGNED"))
    if a.dtype.kind in "iu" and a.dtype.itemsize > 4 and (out != a).any():
        raise TypeError(f"{name} has dtype {a.dtype} and numbers that float32 doesn't hold; convert it to float64")
    return out


def require_finite(x: Array, name: str = "x", workers: int = 1) -> None:
    """Raise ValueError with the index of the first NaN or infinity of a C-contiguous float array."""
    first = _core.first_nonfinite(x, workers)
    if first < x.size:
        index = tuple(int(i) for i in np.unravel_index(first, x.shape))
        where = f"[{', '.join(map(str, index))}]" if index else ""
        raise ValueError(f"{name}{where} is {x[index]}; replace NaN and infinity by finite numbers first")


def output(out: Array | None, shape: tuple[int, ...], dtype: Any, name: str = "out") -> Array:
    """A new array, or ``out`` if it is a writeable C-contiguous array of that shape and dtype."""
    if out is None:
        return np.empty(shape, dtype)
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{name} is a {type(out).__name__}; pass a NumPy array")
    if out.shape != shape or out.dtype != dtype:
        raise ValueError(f"{name} is {out.dtype}{out.shape}; it must be {np.dtype(dtype)}{shape}")
    if not out.flags.carray:
        raise ValueError(f"{name} must be C-contiguous, aligned and writeable")
    return out


def integer(value: Any, name: str, low: int, high: int) -> int:
    """``value`` as an int from ``low`` to ``high``."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is {value!r}; it must be an integer") from None
    if not low <= number <= high:
        raise ValueError(f"{name} is {number}; it must be from {low} to {high}")
    return number


def real(value: Any, name: str, low: float, high: float) -> float:
    """``value`` as a float from ``low`` to ``high``."""
    if isinstance(value, (str, bytes)):
        raise TypeError(f"{name} is {value!r}; it must be a number")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} is {value!r}; it must be a number") from None
    except OverflowError:
        raise ValueError(f"{name} is too large; it must be from {low:g} to {high:g}") from None
    if not low <= number <= high:
        raise ValueError(f"{name} is {value}; it must be from {low:g} to {high:g}")
    return number


def greatest(x: Array) -> float:
    """Of all magnitudes."""
    return max(float(x.max(initial=0)), -float(x.min(initial=0)))


def exponent_of(x: Array) -> int:
    """What brings an array of extraordinary size near 1; 0 for ordinary ones."""
    exponent = peak_exponent(np.array(greatest(x)))
    return 0 if exponent is None else int(exponent)


def peak_exponent(peak: Array) -> Array | None:
    """Exponents that bring rows with these largest magnitudes near 1; 0 for ordinary rows, None if all are ordinary."""
    wide = peak.astype(np.float64)
    odd = (wide > 0) & ((wide > NORMAL) | (wide < 1 / NORMAL))
    return np.where(odd, np.frexp(wide)[1], 0) if odd.any() else None


def norms(rows: Array) -> Array:
    """Euclidean norms of float64 rows of any size: their squares neither overflow nor vanish."""
    exponent = np.frexp(np.abs(rows).max(axis=-1, initial=0))[1]
    result: Array = np.ldexp(np.linalg.norm(np.ldexp(rows, -exponent[..., None]), axis=-1), exponent)
    return result


def seed_of(seed: Any, name: str = "seed") -> int:
    """A 64-bit key or stream number."""
    return integer(seed, name, 0, 2**64 - 1)


def processors() -> int:
    """How many CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def workers_of(workers: Any) -> int:
    """The number of threads asked for; -1 means the CPUs that this process may use."""
    if type(workers) is int and workers == 1:
        return 1
    if workers == -1:
        return processors()
    return integer(workers, "workers", 1, 4096)
