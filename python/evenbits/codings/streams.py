"""Codings that are streams of an adaptive range coder, in the plane ``stream`` of "bytes" bytes.

"levels": signed integers k, row after row. Plane ``levels``, float64: what 1, 2 and a step from there on mean, so that k is
sign(k) (levels[1] + (|k| - 2) levels[2]), or sign(k) levels[0] for |k| = 1.
"survivors": the same with 0 for what is pruned and 1 for what is not, and the plane ``values`` of the latter, "kept" of them.
"refinement": numbers that grow away from 0 by thresholds that fall, "events" times in all. Every prefix of the stream decodes.
Plane ``scales``: what a unit is, for the tensor, each row ("parts": "row") or parts of so many values ("parts": [n, ...]).
Plane ``head``, float64: the sum of all magnitudes in these units, which tells what is missing after any prefix, and the factor
by which a threshold falls from event to event, unless there are "passes".
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np

from evenbits import _core
from evenbits._arrays import LARGEST, Array, greatest, widened
from evenbits.codings.base import Coding, Rows
from evenbits.spec import EncodedError, Reader

Head = tuple[str, Fraction, tuple[int, ...], str]
Layout = dict[str, tuple[str, tuple[int, ...]]]
MOST_VALUES, MOST_BYTES, MOST_EVENTS = 2**32 - 2, 2**40, 2**48


@contextmanager
def default_floats() -> Iterator[None]:
    """Arithmetic keeps denormals, whatever others have set this thread to."""
    state = _core.enter_default_float_state()
    try:
        with np.errstate(over="ignore", under="ignore"):
            yield
    finally:
        _core.leave_float_state(state)


@dataclass(frozen=True)
class Stream(Coding):
    """What they share: the length of the stream in bytes."""

    size: int

    @property
    def values(self) -> int:
        return math.prod(self.shape)

    def layout(self) -> Layout:
        return {"stream": ("uint8", (self.size,))}

    def fields(self) -> dict[str, Any]:
        return {"bytes": self.size}

    def _levels(self, stream: Array) -> Array:
        """The integers of a stream, none beyond 32767. Of an empty one all are 0."""
        levels = np.zeros((self.rows, self.d), np.int16)
        if not stream.size or not levels.size:
            return levels
        found = _core.decode_levels(stream, self.d, levels)
        if found > levels.size:
            raise EncodedError("plane 'stream' has more bytes than its values take")
        if found < levels.size:
            raise EncodedError(f"plane 'stream' ends, or makes no sense, at value {found} of {levels.size}")
        return levels


@dataclass(frozen=True)
class LevelStream(Stream):
    """Integers that mean levels of equal distance from the second on."""

    coding: ClassVar[str] = "levels"

    def layout(self) -> Layout:
        return {**super().layout(), "levels": ("float64", (3,))}

    @classmethod
    def from_fields(cls, head: Head, fields: Reader) -> LevelStream:
        return cls(*head, fields.integer("bytes", 0, MOST_BYTES))

    def decoder(self, planes: Mapping[str, Array]) -> Rows:
        levels = self._levels(planes["stream"])
        top = max(int(levels.max(initial=0)), -int(levels.min(initial=0)))
        first, second, step = planes["levels"]
        with default_floats():
            half = np.concatenate([[0.0, first], second + step * np.arange(max(top - 1, 0))])[: top + 1]
            most = LARGEST["float64" if self.dtype == "float64" else "float32"]
            half = np.clip(half, -most, most)
            table = np.concatenate([-half[:0:-1], half]).astype(np.float64 if self.dtype == "float64" else np.float32)
        return lambda begin, end: table[levels[begin:end] + np.int32(top)]


@dataclass(frozen=True)
class SurvivorStream(Stream):
    """A few values as they were, to the precision of ``stored``, and 0 for all others."""

    coding: ClassVar[str] = "survivors"
    kept: int
    stored: str

    def layout(self) -> Layout:
        dtype = "uint16" if self.stored == "bfloat16" else self.stored
        return {**super().layout(), "values": (dtype, (self.kept,))}

    def fields(self) -> dict[str, Any]:
        return {**super().fields(), "kept": self.kept, "values": self.stored}

    @classmethod
    def from_fields(cls, head: Head, fields: Reader) -> SurvivorStream:
        size, kept = fields.integer("bytes", 0, MOST_BYTES), fields.integer("kept", 0, math.prod(head[2]))
        return cls(*head, size, kept, fields.choice("values", ("float64", "float32", "float16", "bfloat16")))

    def check(self, planes: Mapping[str, Array]) -> None:
        if self.stored == "bfloat16" and not np.isfinite(widened(planes["values"])).all():
            raise EncodedError("plane 'values' holds a number that is not finite")

    def decoder(self, planes: Mapping[str, Array]) -> Rows:
        kept = self._levels(planes["stream"]) != 0
        if np.count_nonzero(kept) != self.kept:
            raise EncodedError(f"plane 'stream' keeps {np.count_nonzero(kept)} values; plane 'values' has {self.kept}")
        values = widened(planes["values"]) if self.stored == "bfloat16" else planes["values"]
        y = np.zeros(kept.shape, np.float64 if self.stored == "float64" else np.float32)
        y[kept] = values
        return lambda begin, end: y[begin:end]


@dataclass(frozen=True)
class RefinementStream(Stream):
    """Numbers that are refined event by event."""

    coding: ClassVar[str] = "refinement"
    ordered: ClassVar[bool] = True
    events: int
    passes: bool
    parts: tuple[int, ...] | str
    stored: str
    """Type of the scales."""

    def layout(self) -> Layout:
        count = {"tensor": 1, "row": self.rows}[self.parts] if isinstance(self.parts, str) else len(self.parts)
        return {**super().layout(), "head": ("float64", (2,)), "scales": (self.stored, (count,))}

    def fields(self) -> dict[str, Any]:
        fields = {**super().fields(), "events": self.events}
        if self.passes:
            fields["passes"] = True
        if self.parts != "tensor":
            fields["parts"] = self.parts if isinstance(self.parts, str) else list(self.parts)
        if self.stored != "float32":
            fields["scales"] = self.stored
        return fields

    @classmethod
    def from_fields(cls, head: Head, fields: Reader) -> RefinementStream:
        values = math.prod(head[2])
        if values > MOST_VALUES:
            raise EncodedError(f"spec.shape has {values} values; a refinement takes at most {MOST_VALUES}")
        size, events = fields.integer("bytes", 0, MOST_BYTES), fields.integer("events", 0, MOST_EVENTS)
        passes = fields.flag("passes")
        parts = fields.rest.pop("parts", "tensor")
        stored = fields.choice("scales", ("float32", "float64"), "float32")
        if isinstance(parts, list):
            if any(type(n) is not int or not 0 <= n <= values for n in parts) or sum(parts) != values:
                raise EncodedError("spec.parts must be lengths that add up to the number of values")
            parts = tuple(parts)
        elif parts not in ("tensor", "row"):
            raise EncodedError(f"spec.parts is {parts!r}; it must be 'tensor', 'row' or a list of lengths")
        return cls(*head, size, events, passes, parts, stored)

    def check(self, planes: Mapping[str, Array]) -> None:
        total, decay = planes["head"]
        if not total >= 0 or not 0 < decay <= 1:
            raise EncodedError("plane 'head' must hold a sum, not below 0, and a factor above 0, at most 1")

    def units(self, planes: Mapping[str, Array]) -> Array:
        """The numbers in units of their scales, as one row."""
        y = np.zeros(self.values, np.float32)
        if _core.refine_decode(planes["stream"], y, self.passes, float(planes["head"][1]), self.events) is None:
            raise EncodedError("plane 'stream' makes no sense")
        return y

    def decoder(self, planes: Mapping[str, Array]) -> Rows:
        y, scales = self.units(planes), planes["scales"]
        if isinstance(self.parts, tuple):
            scales = np.repeat(scales, self.parts).reshape(self.rows, self.d)
        else:
            scales = np.broadcast_to(scales[:, None], (self.rows, self.d))
        y, top = y.reshape(self.rows, self.d), LARGEST[scales.dtype.name]
        if greatest(y) * greatest(planes["scales"]) > 0.999 * top:
            return lambda begin, end: np.clip(y[begin:end] * scales[begin:end], -top, top)
        return lambda begin, end: y[begin:end] * scales[begin:end]

    def cut(self, planes: Mapping[str, Array], allowed: int) -> tuple[RefinementStream, dict[str, Array]]:
        """What fits into so many bytes of the same array. Raises ValueError if no byte of the stream does."""
        if self.nbytes() <= allowed:
            return self, dict(planes)
        size = min(self.size, allowed - replace(self, size=0).nbytes())
        while size >= 0 and replace(self, size=size).nbytes() > allowed:  # its length is part of the spec
            size -= 1
        if size < 0:
            least = 8 * replace(self, size=0).nbytes() / max(self.values, 1)
            raise ValueError(f"bits leaves nothing of the stream; scales and spec alone take {least:.4g} bits a value")
        return replace(self, size=size), {**planes, "stream": planes["stream"][:size]}
