"""One codeword for each tuple of indices: planes ``codes`` (1, bytes), a digit a row, and ``codewords`` float32 (tuples, d)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

from evenbits._arrays import Array
from evenbits.codings.base import Coding, Rows
from evenbits.packing import Radix, radix_block, unpack_radix
from evenbits.spec import EncodedError, Reader

MOST_TUPLES = 1 << 16


@dataclass(frozen=True)
class Tuples(Coding):
    """``levels`` of each encoder; the digits, of one block of ``packing.radix_block`` after the other, are in C order of them."""

    coding: ClassVar[str] = "tuples"
    levels: tuple[int, ...] = ()

    @property
    def radix(self) -> Radix:
        count = math.prod(self.levels)
        return Radix(count, 0, 1, 16) if count == MOST_TUPLES else radix_block(count)

    def layout(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        codewords = math.prod(self.levels), self.d
        return {"codes": ("uint8", (1, self.radix.row_bytes(self.rows))), "codewords": ("float32", codewords)}

    def fields(self) -> dict[str, Any]:
        return {"levels": list(self.levels)}

    @classmethod
    def from_fields(cls, head: tuple[str, Fraction, tuple[int, ...], str], fields: Reader) -> Tuples:
        levels = fields.take("levels")
        if not isinstance(levels, list) or not levels or any(type(n) is not int or n < 2 for n in levels):
            raise EncodedError(f"{fields.where}.levels is {levels!r}; it must be a list of level counts")
        if math.prod(levels) > MOST_TUPLES:
            raise EncodedError(f"{fields.where}.levels is {levels!r}, more than {MOST_TUPLES} tuples")
        return cls(*head, tuple(levels))

    def decoder(self, planes: Mapping[str, Array]) -> Rows:
        codes, codewords = unpack_radix(planes["codes"], self.radix, self.rows)[0], planes["codewords"]
        return lambda begin, end: codewords[codes[begin:end]]
