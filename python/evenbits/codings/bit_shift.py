"""Rows of a bit-shift trellis, see ``evenbits.bit_shift``: "trellis".

Planes ``codes`` (rows, bytes), a row's bits LSB first, padded to whole bytes, and ``scales`` (rows, 1), float32 or what
"scales" says. "memory": bits that a value depends on, 8 to 16. A row has as many values as coordinates, at least "memory" of
them. With "rotated" these are coordinates of ``randomized_hadamard`` of "seed" and "stream" (0 if absent). The rate is "bits".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np

from evenbits._arrays import Array
from evenbits.bit_shift import row_bytes, values
from evenbits.codings.base import Coding, Rows
from evenbits.matrices import hadamard_length
from evenbits.spec import KEPT, EncodedError, Reader
from evenbits.transforms import inverse_randomized_hadamard

SCALES = ("float32", "float64", "float16")
MOST_PER = 1 << 16
MOST_EXPONENT = 60
"""Of scales that need no care."""


@dataclass(frozen=True)
class BitShift(Coding):
    coding: ClassVar[str] = "trellis"
    memory: int = 12
    rotated: bool = True
    scale_dtype: str = "float32"
    seed: int = 0
    stream: int = 0

    @property
    def coordinates(self) -> int:
        return hadamard_length(self.d) if self.rotated and self.d else self.d

    @property
    def length(self) -> int:
        return max(self.coordinates, self.memory) if self.d else 0

    def layout(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        codes = self.rows, row_bytes(self.length, self.bits)
        return {"codes": ("uint8", codes), "scales": (self.scale_dtype, (self.rows, 1))}

    def fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = {"memory": self.memory}
        if self.scale_dtype != "float32":
            fields["scales"] = self.scale_dtype
        if self.rotated:
            fields |= {"rotated": True} | {key: n for key, n in (("seed", self.seed), ("stream", self.stream)) if n}
        return fields

    @classmethod
    def from_fields(cls, head: tuple[str, Fraction, tuple[int, ...], str], fields: Reader) -> BitShift:
        if not 1 <= head[1] <= 4 or head[1].denominator > MOST_PER:
            raise EncodedError(f"{fields.where}.bits is {head[1]}; it must be from 1 to 4, in parts of at most {MOST_PER}")
        memory = fields.integer("memory", 8, 16)
        scale_dtype = fields.choice("scales", SCALES, "float32")
        rotated = fields.flag("rotated")
        seed = fields.integer("seed", 0, 2**64 - 1, 0) if rotated else 0
        stream = fields.integer("stream", 0, KEPT - 1, 0) if rotated else 0
        return cls(*head, memory, rotated, scale_dtype, seed, stream)

    def decoder(self, planes: Mapping[str, Array]) -> Rows:
        mantissa, exponent = np.frexp(planes["scales"].astype(np.float64))
        plain = not (np.abs(exponent) > MOST_EXPONENT).any()
        scales = (planes["scales"] if plain else mantissa).astype(np.float32)

        def rows(begin: int, end: int) -> Array:
            y: Array = values(planes["codes"][begin:end], scales[begin:end], self.length, self.bits, self.memory)
            y = y[:, : self.coordinates]
            if self.rotated:
                y = inverse_randomized_hadamard(y, seed=self.seed, stream=self.stream, length=self.d)
            return y if plain else np.ldexp(y.astype(np.float64), exponent[begin:end])

        return rows
