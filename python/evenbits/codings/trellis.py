"""Values by entropy-coded trellises, see ``evenbits.trellis``: "entropy_trellis".

Numbers, row after row, are cut into blocks of "block"; a block of m numbers is min(16, max(1, floor(m / 4096))) sequences of
equal length, the last shorter, each of which starts in state 0 of 2^"order". Plane ``stream``, "bytes" of them: the blocks one
after the other, of ``sizes`` bytes each, see ``evenbits.reference.trellis``. Planes ``lengths`` and ``offsets``,
("contexts", "top" + 1): the model, of 2 contexts if the spec does not say so. Without "top" it is that of plane ``law``,
2 "contexts" + 4 bytes, see ``evenbits.trellis_law``.
Plane ``outliers``, float32, if the spec has "outliers" of them: numbers that replace those at ``places``, ascending.
A number is in units of ``scale``, float64, the one of the tensor; with "per": "row" times ``rows``, float16, as well. With
"rotated" they are coordinates of ``randomized_hadamard`` of "seed" and "stream" (0 if absent). No bytes at all mean zeros.
Without "block" blocks are whole rows, as many as 2^18 numbers are, or at least one, but never more than 2^18 numbers; ``sizes``
is there if there are two or more; and ``scale`` is a float32 in units of 2^"exponent" (0 if absent).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np

from evenbits import _core
from evenbits._arrays import NORMAL, Array
from evenbits.codings.base import Rows
from evenbits.codings.streams import MOST_BYTES, MOST_VALUES, Stream
from evenbits.matrices import hadamard_length
from evenbits.spec import EncodedError, Reader
from evenbits.transforms import inverse_randomized_hadamard
from evenbits.trellis import BLOCK, MOST_LEVEL, Model, lanes_of
from evenbits.trellis_law import bytes_of, model_of

MOST_EXPONENT = 1100


@dataclass(frozen=True)
class EntropyTrellisStream(Stream):
    coding: ClassVar[str] = "entropy_trellis"
    order: int = 3
    given: int = 0
    """Numbers of a block, if the spec says so."""
    contexts: int = 2
    top: int = 0
    few: bool = False
    """Whether the model is that of a law."""
    exponent: int = 0
    outliers: int = 0
    per_row: bool = False
    rotated: bool = False
    seed: int = 0
    stream: int = 0

    @property
    def length(self) -> int:
        return hadamard_length(self.d) if self.rotated and self.d else self.d

    @property
    def values(self) -> int:
        """Numbers, all rows together."""
        return self.rows * self.length

    @property
    def compact(self) -> bool:
        return not self.given

    @property
    def block(self) -> int:
        """Numbers of a block."""
        length = max(self.length, 1)
        return self.given or min(max(1, BLOCK // length) * length, BLOCK)

    @property
    def scale_dtype(self) -> str:
        return "float32" if self.compact else "float64"

    @property
    def blocks(self) -> int:
        return -(-self.values // self.block)

    def layout(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        planes: dict[str, tuple[str, tuple[int, ...]]] = {"stream": ("uint8", (self.size,))}
        if self.size:
            if self.blocks > 1 or not self.compact:
                planes["sizes"] = ("uint32", (self.blocks,))
            if self.few:
                planes["law"] = ("uint8", (bytes_of(self.contexts),))
            else:
                tables = (self.contexts, self.top + 1)
                planes |= {"lengths": ("uint8", tables), "offsets": ("int8", tables)}
            planes["scale"] = (self.scale_dtype, (1,))
            if self.outliers:
                planes |= {"outliers": ("float32", (self.outliers,)), "places": ("uint32", (self.outliers,))}
            if self.per_row:
                planes["rows"] = ("float16", (self.rows,))
        return planes

    def fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = {"bytes": self.size, "order": self.order}
        if self.given:
            fields["block"] = self.given
        if self.contexts > 2:
            fields["contexts"] = self.contexts
        if not self.few:
            fields["top"] = self.top
        if self.exponent:
            fields["exponent"] = self.exponent
        if self.outliers:
            fields["outliers"] = self.outliers
        if self.per_row:
            fields["per"] = "row"
        if self.rotated:
            fields["rotated"] = True
            fields |= {key: n for key, n in (("seed", self.seed), ("stream", self.stream)) if n}
        return fields

    @classmethod
    def from_fields(cls, head: tuple[str, Fraction, tuple[int, ...], str], fields: Reader) -> EntropyTrellisStream:
        size, order = fields.integer("bytes", 0, MOST_BYTES), fields.integer("order", 2, 8)
        few, compact = "top" not in fields.rest, "block" not in fields.rest
        block = 0 if compact else fields.integer("block", 1, BLOCK)
        contexts = fields.integer("contexts", 4, 8) if "contexts" in fields.rest else 2
        top = 0 if few else fields.integer("top", 0, MOST_LEVEL)
        exponent = fields.integer("exponent", -MOST_EXPONENT, MOST_EXPONENT, 0) if compact else 0
        outliers = fields.integer("outliers", 0, MOST_VALUES, 0)
        per_row = fields.choice("per", ("row",), "tensor") == "row"
        rotated = fields.flag("rotated")
        seed = fields.integer("seed", 0, 2**64 - 1, 0) if rotated else 0
        stream = fields.integer("stream", 0, 2**64 - 1, 0) if rotated else 0
        if contexts not in (2, 4, 8) or contexts > 1 << order:
            raise EncodedError(f"spec.contexts is {contexts}; it must be 4 or 8, at most the {1 << order} states")
        coding = cls(*head, size, order, block, contexts, top, few, exponent, outliers, per_row, rotated, seed, stream)
        if coding.values > MOST_VALUES or outliers > coding.values:
            raise EncodedError(f"spec.shape has {math.prod(head[2])} values; an entropy-coded trellis takes fewer than 2^32")
        return coding

    def check(self, planes: Mapping[str, Array]) -> None:
        if not self.size:
            return
        if "sizes" in planes and int(planes["sizes"].sum(dtype=np.uint64)) != self.size:
            raise EncodedError(f"plane 'sizes' does not add up to the {self.size} bytes of plane 'stream'")
        if not math.isfinite(self.scale_of(planes)):
            raise EncodedError(f"plane 'scale' times 2^{self.exponent} is beyond float64")
        places = planes.get("places", np.zeros(0, np.uint32))
        if (places[1:] <= places[:-1]).any() or (places >= self.values).any():
            raise EncodedError(f"plane 'places' must ascend, below {self.values}")

    def scale_of(self, planes: Mapping[str, Array]) -> float:
        with np.errstate(over="ignore", under="ignore"):
            return float(np.ldexp(float(planes["scale"][0]), self.exponent))

    def decoder(self, planes: Mapping[str, Array]) -> Rows:
        if not self.size:
            return lambda begin, end: np.zeros((end - begin, self.d), np.float32)
        model = model_of(planes["law"]) if self.few else Model(planes["lengths"], planes["offsets"])
        starts = np.concatenate([[0], np.cumsum(planes.get("sizes", [self.size]), dtype=np.int64)])
        scale = self.scale_of(planes)
        dtype = np.float64 if self.dtype == "float64" else np.float32
        plain = dtype is np.float32 and (scale == 0 or 1 / NORMAL < abs(scale) < NORMAL)

        def block(i: int, out: Array) -> None:
            stream = planes["stream"][starts[i] : starts[i + 1]]
            whole = _core.trellis_read(
                stream, lanes_of(len(out)), self.order, model.contexts, model.shares, model.starts, model.slots, model.values, out
            )
            if not whole:
                raise EncodedError(f"plane 'stream' makes no sense in block {i} of {self.blocks}")

        def rows(begin: int, end: int) -> Array:
            first, last = begin * self.length, end * self.length
            blocks = range(first // self.block, -(-last // self.block))
            base = blocks.start * self.block
            y: Array = np.empty(min(blocks.stop * self.block, self.values) - base, np.float32)
            for i in blocks:
                block(i, y[i * self.block - base : (i + 1) * self.block - base])
            if self.outliers:
                a, b = np.searchsorted(planes["places"], [first, last])
                y[planes["places"][a:b].astype(np.int64) - base] = planes["outliers"][a:b]
            y = y[first - base : last - base].reshape(end - begin, self.length)
            if self.per_row:
                y *= planes["rows"][begin:end, None].astype(np.float32)
            if self.rotated:
                y = inverse_randomized_hadamard(y, seed=self.seed, stream=self.stream, length=self.d)
            if plain:
                y *= np.float32(scale)
                return y
            wide: Array = y * np.float64(scale)
            return wide

        return rows
