from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from evenbits import _core
from evenbits._arrays import LARGEST, Array, as_floats, greatest, real, require_finite
from evenbits.codings.streams import MOST_VALUES, RefinementStream, Stream, default_floats
from evenbits.encoded import Encoded, decode
from evenbits.quantizers.base import choice
from evenbits.quantizers.stream import StreamQuantizer, sum_of

SCHEDULES = ("passes", "stable", "paper", "public")
SHARES = {"passes": 0.13, "stable": 0.1}
"""Of the weights, how many grow in a pass or may grow next; of the others log n of n."""
MOST_EVENTS = 10**14
FINEST = 2.0**-20
"""Where thresholds end, in mean magnitudes."""
MOST_PLAIN = 1e30
"""The greatest magnitude without units of its own: what follows from it stays within float32."""


class Pruning(StreamQuantizer):
    """Successive refinement: all weights start as 0, and the largest residuals shrink first. Every prefix decodes.

    A weight whose residual exceeds the threshold T is announced and grows by T; T falls. What comes out is never larger than
    the weight, and few are not 0. It ends with the first of: ``bits`` bits a value of stream; ``sparsity``, the share of
    zeros that must remain; ``distortion``, the mean of residuals in units of the mean magnitude.
    schedule: "passes" (default): all weights above T at once, T their largest ``share`` (.13); one at a time: "stable", T =
    mean log(1/share) (.1) at first, T (1 - log(1/share)/n) after each, and the residual next to the ``share`` largest
    where none exceeds T; "paper": share log(n)/n, and T = mean log(1/share) of what is left where none exceeds; "public": as the
    authors' program, T (n - 1)/n after each, and a tenth less than the paper's where none exceeds.
    normalize: what a unit is, for each part: its "l2" norm (default), its "l1" norm, its "mean" magnitude, or "none".
    per: parts are the "tensor" (default) or its "row"s; of ``encode_tensors`` the tensors.
    Source: Isik, Weissman and No, An information-theoretic justification for model pruning (SuRP), arXiv 2102.08329.
    """

    method = "pruning"

    def __init__(
        self,
        bits: float | Fraction,
        *,
        sparsity: float | None = None,
        distortion: float | None = None,
        schedule: str = "passes",
        share: float | None = None,
        normalize: str = "l2",
        per: str = "tensor",
        seed: int = 0,
        stream: int = 0,
        scale_dtype: str = "float32",
    ) -> None:
        super().__init__(bits, seed=seed, stream=stream)
        self.sparsity = None if sparsity is None else real(sparsity, "sparsity", 0, 1)
        self.distortion = None if distortion is None else real(distortion, "distortion", 0, 1)
        self.schedule = choice(schedule, "schedule", SCHEDULES)
        self.share = None if share is None else real(share, "share", 1e-9, 0.9)
        self.normalize = choice(normalize, "normalize", ("l1", "l2", "mean", "none"))
        self.per = choice(per, "per", ("tensor", "row"))
        self.scale_dtype = choice(scale_dtype, "scale_dtype", ("float32", "float64"))

    def planned(self, shape: tuple[int, ...], dtype: str, size: int) -> RefinementStream:
        return self._coding(shape, dtype, size, MOST_EVENTS, self.per)

    def _coding(
        self, shape: tuple[int, ...], dtype: str, size: int, events: int, parts: tuple[int, ...] | str
    ) -> RefinementStream:
        passes = self.schedule == "passes"
        return RefinementStream(self.method, self.bits, shape, dtype, size, events, passes, parts, self.scale_dtype)

    def encode_rows(self, rows: Array, plan: Stream, workers: int) -> Encoded:
        parts = [rows] if self.per == "tensor" else list(rows)
        return self._encode(parts, plan.shape, plan.dtype, self.per)

    def encode_tensors(self, tensors: Mapping[str, ArrayLike]) -> Encoded:
        """Several tensors, each in its own unit, as one stream: the largest residuals of all shrink first.

        They come out as one row of all their values, in this order; ``decode_tensors`` gives them back. ``per`` is not used.
        """
        arrays = []
        for name, x in tensors.items():
            arrays.append(as_floats(x, name).reshape(-1))
            require_finite(arrays[-1], name)
        dtype = "float64" if any(a.dtype == np.float64 for a in arrays) else "float32"
        sizes = tuple(a.size for a in arrays)
        with default_floats():
            return self._encode(arrays, (sum(sizes),), dtype, sizes)

    def _encode(self, parts: list[Array], shape: tuple[int, ...], dtype: str, kind: tuple[int, ...] | str) -> Encoded:
        n = math.prod(shape)
        if n > MOST_VALUES:
            raise ValueError(f"x has {n} values; method 'pruning' takes at most {MOST_VALUES}")
        scales = np.array([self._unit(part) for part in parts], self.scale_dtype)
        units = np.empty(n, np.float32)
        begin = 0
        for part, scale in zip(parts, scales, strict=True):
            flat = part.reshape(-1)
            np.divide(flat, scale, out=units[begin : begin + flat.size], casting="same_kind")
            begin += flat.size
        total, out = sum_of(units), np.empty(int(self.bits * n) // 8, np.uint8)
        plan = self._schedule(units, total)
        used, events, _, _ = _core.refine_encode(units, np.empty_like(units), out, total=total, **plan)
        planes = {"stream": out[:used].copy(), "head": np.array([total, plan["decay"]]), "scales": scales}
        return Encoded(planes, self._coding(shape, dtype, used, events, kind).to_dict())

    def _unit(self, part: Array) -> float:
        """The unit of a part; 1 if it is all 0."""
        peak = greatest(part)
        if self.normalize == "none" and peak > MOST_PLAIN:
            raise ValueError(f"normalize is 'none', which is for magnitudes up to {MOST_PLAIN:g}; x has {peak:.3g}")
        if self.normalize == "none" or peak == 0:
            return 1.0
        exponent = math.frexp(peak)[1]
        near = np.ldexp(part, -exponent).astype(np.float32)
        unit = math.sqrt(sum_of(near, near)) if self.normalize == "l2" else sum_of(near)
        unit = unit / part.size if self.normalize == "mean" else unit
        # a norm beyond all doubles becomes the greatest of them: any unit will do that is not below the magnitudes
        unit = math.ldexp(unit, exponent) if math.frexp(unit)[1] + exponent <= 1024 else LARGEST["float64"]
        stored = float(np.array(unit, self.scale_dtype))
        if not 0 < stored <= LARGEST[self.scale_dtype]:
            raise ValueError(f"scale_dtype is {self.scale_dtype!r}, which can't hold a scale of {unit:.3g}; take 'float64'")
        return stored

    def _schedule(self, units: Array, total: float) -> dict[str, Any]:
        """The arguments of the encoder."""
        n, count = units.size, int(np.count_nonzero(units))
        some = max(count, 2)
        share = min(SHARES.get(self.schedule, _log(some) / some) if self.share is None else self.share, 0.9)
        level, mean = _log(1 / share), total / some
        fall = 1 / some if self.schedule == "public" else level / some
        keep = n if self.sparsity is None else n - math.ceil(self.sparsity * n)
        return {
            "passes": self.schedule == "passes",
            "decay": 1.0 if self.schedule == "passes" else max(1 - fall, 0.5),
            "count": some,
            "order": max(int(share * count), 1) if self.schedule in SHARES else 0,
            "most": keep,
            "least": 0.0 if self.distortion is None else self.distortion * total,
            "level": level,
            "slack": 0.9 if self.schedule == "public" else 1.0,
            "first": float(np.float32(level * mean)),
            "smallest": max(float(np.float32(mean * FINEST)), 2.0**-126),
        }


def decode_tensors(encoded: Encoded, shapes: Mapping[str, tuple[int, ...]], *, bits: float | None = None) -> dict[str, Array]:
    """The tensors of ``Pruning.encode_tensors``, of these shapes; ``bits`` as in ``evenbits.decode``."""
    sizes = [math.prod(shape) for shape in shapes.values()]
    if encoded.spec.get("parts") != sizes:
        raise ValueError(f"shapes have {sizes} values; the encoded tensors have {encoded.spec.get('parts')}")
    pieces = np.split(decode(encoded, bits=bits), np.cumsum(sizes)[:-1])
    return {name: piece.reshape(shape) for (name, shape), piece in zip(shapes.items(), pieces, strict=True)}


def missing(encoded: Encoded, bits: float | None = None) -> float:
    """The sum of all residuals in units of the sum of magnitudes, both divided by the parts' scales: 1 at first, 0 in the end.

    It is known without the weights, after any prefix, since no weight is ever exceeded. ``bits`` as in ``evenbits.decode``.
    Raises ValueError for other methods.
    """
    encoded = encoded.cut(math.inf if bits is None else bits)
    coding = encoded._meaning
    assert isinstance(coding, RefinementStream)
    total = float(encoded.planes["head"][0])
    return max(0.0, 1 - sum_of(coding.units(encoded.planes)) / total) if total else 0.0


def _log(x: float) -> float:
    """The natural logarithm of x >= 1, by + - * / alone: the same on every machine."""
    m, e = math.frexp(x)
    s = (m - 1) / (m + 1)
    series = 0.0
    for k in range(41, 0, -2):
        series = series * s * s + 2 / k
    return series * s + e * 0.6931471805599453
