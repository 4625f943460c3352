from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evenbits import _core
from evenbits._arrays import Array, as_array, as_floats, contiguous, integer, real, require_finite, workers_of
from evenbits.codings.windows import Bytes, Windows, digits_of, places, wide_table, window_table
from evenbits.encoded import Encoded, as_matrix
from evenbits.packing import pack_radix
from evenbits.quantizers.base import choice, stored_dtype
from evenbits.rounding import round_nearest

SMALLEST = 2.0**-126
"""Of scales: its inverse is a float32 as well."""


class Sparq:
    """Activations, bytes from 0 to 255, of which windows of few bits are left: a storage format, and an emulator of its accuracy.

    The window of ``bits`` bits lies where it covers the highest bit that is set, at one of ``placements`` evenly spaced places:
    values below 2^bits stay as they are, others keep their leading bits. ``pairs``: of neighbours 2 j and 2 j + 1 of a row, the
    partner of a 0 keeps 2 * bits bits (at most 4 bits).
    rounding: "nearest" (default; ties to even, never into the next window) or "trim" (bits are cut off).
    scale: of floats, x is about byte * scale; by default the largest / 255. ``activation_scale`` finds one from several samples.

    Digits are enumerated, so that 4 bits at 5 places take 5.6 bits a value, and not the 7 of a window and its place: ``cost``
    is that of the papers' hardware. Multiplication has nothing from it on a CPU, which multiplies bytes as fast; and as storage,
    equal steps of as many bits have less error unless most values are 0.
    Source: Shomron, Gabbay, Kurzum, Weiser, "Post-training sparsity-aware quantization", NeurIPS 2021, arXiv 2105.11010.
    """

    method = "sparq"

    def __init__(
        self,
        bits: int = 4,
        placements: int = 5,
        *,
        rounding: str = "nearest",
        pairs: bool = False,
        scale: float | None = None,
    ) -> None:
        self.bits, self.placements = integer(bits, "bits", 1, 8), integer(placements, "placements", 1, 8)
        places(self.bits, self.placements)
        self.rounding, self.pairs = choice(rounding, "rounding", ("nearest", "trim")), bool(pairs)
        if self.pairs and self.bits > 4:
            raise ValueError(f"bits is {bits}; pairs share twice as many, which must be at most 8")
        self.scale = None if scale is None else real(scale, "scale", 1e-30, 1e30)
        rounds = rounding == "nearest"
        self.narrow = window_table(self.bits, self.placements, rounds)
        self.wide = wide_table(self.bits, rounds) if self.pairs else None

    @property
    def cost(self) -> float:
        """Bits a value of windows side by side with the numbers of their places, and a flag a pair, as hardware has them."""
        return self.bits + math.ceil(math.log2(self.placements)) + (0.5 if self.pairs else 0.0)

    def apply(self, x: ArrayLike, *, workers: int = 1) -> Bytes:
        """What is left of bytes x (..., k), uint8; pairs lie along the last axis, and an odd end has a 0 for a partner."""
        a = as_array(x)
        if a.dtype != np.uint8:
            raise TypeError(f"x has dtype {a.dtype}; windows are those of uint8")
        k = a.shape[-1] if a.ndim else 1
        odd = self.pairs and k % 2 == 1
        rows = np.pad(as_matrix(a), ((0, 0), (0, 1))) if odd else contiguous(a)
        y = np.empty_like(rows)
        if rows.size:
            _core.windows(rows, self.narrow, self.wide, y, workers_of(workers))
        return np.ascontiguousarray(y[:, :k]).reshape(a.shape) if odd else y.reshape(a.shape)

    def encode(self, x: ArrayLike, *, workers: int = 1) -> Encoded:
        """The codes of x: of bytes, or of floats from 0 on, which are rounded to bytes first. Raises ValueError below 0."""
        source = as_array(x)
        data, scale = self.to_bytes(source, workers=workers)
        left = as_matrix(self.apply(data, workers=workers))
        coding = Windows(self.method, Fraction(self.bits), data.shape, stored_dtype(source.dtype),
                         (self.bits, self.placements), self.pairs)  # fmt: skip
        single, first, second, _ = digits_of(self.bits, self.placements)
        if self.pairs:
            a, b = left[:, ::2], np.pad(left, ((0, 0), (0, left.shape[1] % 2)))[:, 1::2]
            digits = np.where(b == 0, first[a], np.where(a == 0, second[b], single[a] + second[b]))
        else:
            digits = single[left]
        planes: dict[str, Array] = {
            "codes": pack_radix(digits, coding.radix, workers=workers),
            "scales": np.full((1, 1), scale, np.float32),
        }
        return Encoded(planes, coding.to_dict())

    def to_bytes(self, x: ArrayLike, *, workers: int = 1) -> tuple[Bytes, float]:
        """x / scale rounded to bytes, and the scale; bytes stay as they are, with scale 1 if there is none."""
        a = as_array(x)
        if a.dtype == np.uint8:
            return contiguous(a), self.scale or 1.0
        a = as_floats(a, double=False)
        require_finite(a)
        if a.size and a.min() < 0:
            index = tuple(int(i) for i in np.argwhere(a < 0)[0])
            raise ValueError(f"x{list(index)} is {a[index]}; windows are for what is not negative, such as ReLU's outputs")
        peak = float(a.max(initial=0))
        scale = float(np.float32(self.scale or (max(peak / 255, SMALLEST) if peak else 1.0)))
        data: Array = round_nearest(a, scale=1 / scale, zero=0, top=255, workers=workers)
        return data, scale

    def product(self, a: ArrayLike, w: ArrayLike) -> NDArray[np.int64]:
        """What is left of bytes a (m, k), times int8 weights w (k, n), exactly: what hardware with these windows computes."""
        data, weights = as_array(a, "a"), as_array(w, "w")
        if weights.dtype != np.int8 or weights.ndim != 2 or data.ndim != 2 or data.shape[1] != len(weights):
            raise ValueError(
                f"a is {data.dtype}{data.shape} and w {weights.dtype}{weights.shape}; take uint8 (m, k), int8 (k, n)"
            )
        if data.shape[1] >= 2**37:
            raise ValueError("a has too many columns")
        return np.rint(self.apply(data).astype(np.float64) @ weights.astype(np.float64)).astype(np.int64)

    def product_error(self, a: ArrayLike, w: ArrayLike) -> float:
        """|a w - product(a, w)| / |a w|."""
        exact = as_array(a).astype(np.float64) @ as_array(w).astype(np.float64)
        norm = float(np.linalg.norm(exact))
        return float(np.linalg.norm(exact - self.product(a, w))) / norm if norm else 0.0


def activation_scale(samples: ArrayLike) -> float:
    """The mean over samples (the first axis) of their largest value, over 255: the scale of a layer's activations.

    1 if none is above 0. Raises ValueError without samples, and for NaN and infinity.
    """
    a = np.atleast_1d(as_floats(samples, "samples"))
    require_finite(a, "samples")
    if not a.size:
        raise ValueError("samples is empty")
    return float(a.reshape(len(a), -1).max(axis=1, initial=0).astype(np.float64).mean()) / 255 or 1.0
