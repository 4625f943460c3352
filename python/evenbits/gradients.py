"""Gradients of a few bits: unbiased codes, error feedback, and gradient descent with either.

DGD-DEF and DQ-PSGD are the algorithms of Saha, Pilanci, Goldsmith, Efficient randomized subspace embeddings for distributed
optimization under a communication budget, arXiv 2103.07578. ``evenbits.ddp`` has the hook for PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evenbits._arrays import Array, as_array, as_floats, integer, real, seed_of
from evenbits.encoded import Encoded
from evenbits.quantizers import Quantizer, method_named
from evenbits.quantizers.base import rational
from evenbits.spec import KEPT

Floats = NDArray[np.float64]


class Compressor:
    """Codes of vectors, one after the other, each with a frame or rotation of its own.

    bits, method, options, seed: as of ``evenbits.quantize``, bits a value (None: an option says it); below 1, a random part of
    the coordinates has a bit, one of them at least.
    unbiased: the mean of what is decoded, over streams, is what was encoded (stochastic rounding); without it codes are the
    nearest, of less error. row: vectors are cut into rows of at most so many values, each with a scale.
    Both ends know all of that, so that codes and scales alone are sent. Raises ValueError for methods and options without
    unbiased codes, and for methods whose codes take more bytes or fewer as the vector has it.
    """

    def __init__(
        self,
        bits: float | Fraction | None,
        method: str = "near_democratic",
        *,
        unbiased: bool = False,
        row: int = 4096,
        seed: int = 0,
        **options: Any,
    ) -> None:
        self._class = method_named(method)
        if not self._class.fixed:
            raise ValueError(f"method is {method!r}, whose codes differ in size; take one that has a code for each value")
        if unbiased:
            if not {"rounding", "fit"} <= (self._class.__init__.__kwdefaults__ or {}).keys():
                raise ValueError(f"method is {method!r}, which has no unbiased codes; take 'near_democratic'")
            options = {"rounding": "stochastic", "fit": "unbiased", **options}
        if "fallback" in (self._class.__init__.__kwdefaults__ or {}):
            options = {**options, "fallback": "error"}  # the other end would not know of it
        self._bits, self._options, self.unbiased = bits, {**options, "seed": seed_of(seed)}, unbiased
        self.row = integer(row, "row", 1, 2**32)
        made = self._quantizer(0, self.row)
        if unbiased and made.fit != "unbiased":
            raise ValueError(f"fit is {made.fit!r}; with unbiased=True it must be 'unbiased'")

    def _quantizer(self, stream: int, d: int) -> Quantizer:
        """For rows of d values; those that are too short for any code at the rate have one."""
        bits: Any = self._bits
        if bits is not None and d:
            bits = max(rational(bits), Fraction(1, d))
        return self._class(bits, stream=integer(stream, "stream", 0, KEPT - 1), **self._options)

    def _shape(self, size: int) -> tuple[int, int]:
        """Rows, all of one length; the last may end with zeros."""
        rows = max(1, -(-size // self.row))
        return rows, -(-size // rows)

    def nbytes(self, size: int) -> int:
        """Bytes that a vector of so many values takes: codes and scales."""
        shape = self._shape(integer(size, "size", 0, 2**48))
        layout = self._quantizer(0, shape[1]).spec(shape).layout()
        return sum(np.dtype(dtype).itemsize * math.prod(shape) for dtype, shape in layout.values())

    def compress(self, x: ArrayLike, stream: int, *, workers: int = 1) -> NDArray[np.uint8]:
        """The bytes of a vector, ``nbytes(x.size)`` of them. Take another stream for every vector.

        x: any shape, of which nothing is kept, of the dtypes of ``evenbits.quantize``. Raises ValueError for NaN and infinity.
        """
        flat = as_floats(as_array(x)).reshape(-1)
        rows, d = self._shape(flat.size)
        if rows * d > flat.size:
            flat = np.pad(flat, (0, rows * d - flat.size))
        planes = self._quantizer(stream, d).encode(flat.reshape(rows, d), workers=workers).planes
        return np.concatenate([np.frombuffer(np.ascontiguousarray(plane), np.uint8) for plane in planes.values()])

    def decompress(self, data: ArrayLike, size: int, stream: int, *, workers: int = 1) -> NDArray[np.float32]:
        """The vector of ``size`` float32 values that ``compress`` made these bytes of, with the same stream.

        data: uint8, or bytes. Raises TypeError for other numbers, ValueError if there are more bytes
        or fewer, EncodedError if a scale is not finite.
        """
        received = np.ascontiguousarray(np.frombuffer(data, np.uint8) if isinstance(data, (bytes, bytearray)) else data)
        if received.dtype != np.uint8 and received.size:
            raise TypeError(f"data has dtype {received.dtype}; pass the bytes that compress gave")
        if received.ndim != 1 or received.size != self.nbytes(size):
            raise ValueError(f"data has shape {received.shape}; {size} values take {self.nbytes(size)} bytes")
        shape, planes, at = self._shape(size), {}, 0
        spec = self._quantizer(stream, shape[1]).spec(shape)
        for name, (dtype, lengths) in spec.layout().items():
            end = at + np.dtype(dtype).itemsize * math.prod(lengths)
            planes[name] = np.frombuffer(received[at:end].tobytes(), dtype).reshape(lengths)
            at = end
        out: NDArray[np.float32] = Encoded(planes, spec.to_dict()).decode(workers=workers).reshape(-1)[:size]
        return out

    def __call__(self, x: ArrayLike, stream: int) -> Array:
        """What is received if x is sent, in the shape of x, float32."""
        a = as_array(x)
        return self.decompress(self.compress(a, stream), a.size, stream).reshape(a.shape)


class ErrorFeedback:
    """What a code loses is added to the next vector: sends Q(x + e) and keeps e = x + e - Q(x + e).

    So the vectors sent add up to those meant, less one error. ``error`` is e, None at first.
    """

    def __init__(self, compressor: Compressor) -> None:
        self.compressor = compressor
        self.error: Array | None = None

    def __call__(self, x: ArrayLike, stream: int) -> Array:
        """What is received, in the shape of x, which must be the same every time. Raises ValueError if not."""
        if self.error is not None and self.error.shape != np.shape(x):
            raise ValueError(f"x has shape {np.shape(x)}; what the codes have lost so far has {self.error.shape}")
        wanted = np.asarray(x) if self.error is None else np.asarray(x) + self.error
        sent = self.compressor(wanted, stream)
        self.error = wanted - sent
        return sent


def dgd_def(
    gradient: Callable[[Floats], ArrayLike], start: ArrayLike, *, step: float, compressor: Compressor | None
) -> Iterator[Floats]:
    """Gradient descent with differentially encoded feedback: the iterates, without end.

    z = x + step e, u = grad(z) - e, q = Q(u), e = q - u, x -= step q, from e = 0; ``compressor=None`` sends u as it is.
    step: 2 / (L + mu) for L-smooth and mu-strongly convex functions. Derived here: z is the unquantized descent, step by step,
    and |x - z| = step |e|, |e_t| <= sum_s b^(t-s+1) |grad(z_s)| where a code is off by a share of b at most: for b < 1 it
    converges at the rate max(nu, b), nu = (L - mu) / (L + mu) (``evenbits.bounds.descent_rate``; t times that if nu = b).
    """
    x, step = np.array(start, np.float64), real(step, "step", 0, 1e300)
    error = np.zeros_like(x)
    t = 0
    while True:
        wanted = np.asarray(gradient(x + step * error), np.float64) - error
        sent = wanted if compressor is None else compressor(wanted, t).astype(np.float64)
        error = sent - wanted
        x = x - step * sent
        yield x.copy()
        t += 1


def dq_psgd(
    gradient: Callable[[Floats, int], ArrayLike],
    start: ArrayLike,
    *,
    step: float | Callable[[int], float],
    compressor: Compressor | None,
    project: Callable[[Floats], Floats] | None = None,
) -> Iterator[Floats]:
    """Projected stochastic subgradient descent with unbiased codes: the means of the iterates so far, without end.

    x = project(x - step(t) Q(g)), g = gradient(x, t), t = 0, 1, ...; the mean of the iterates is what converges.
    compressor: with ``unbiased=True`` (or ValueError), or None to send g as it is.
    """
    if compressor is not None and not compressor.unbiased:
        raise ValueError("compressor is biased; make it with unbiased=True")
    x = np.array(start, np.float64)
    mean = np.zeros_like(x)
    t = 0
    while True:
        g = np.asarray(gradient(x, t), np.float64)
        x = x - (step(t) if callable(step) else step) * (g if compressor is None else compressor(g, t).astype(np.float64))
        x = x if project is None else project(x)
        t += 1
        mean = mean + (x - mean) / t
        yield mean.copy()
