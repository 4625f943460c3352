"""Arrays whose columns are coded as rows: "of" names the coding, whose planes and keys they are.

The rows of an array, (R, d) with R the product of its leading axes, are the transpose of what that coding decodes, of shape
(d, R). So what belongs to one input of a layer lies together, and can be chosen by what the inputs before it have become.
"portable": false where the codes rest on what differs between machines, else absent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

from evenbits._arrays import Array
from evenbits.codings.base import Coding, Rows
from evenbits.codings.bit_shift import BitShift
from evenbits.spec import Reader

OF: dict[str, type[Coding]] = {BitShift.coding: BitShift}


@dataclass(frozen=True)
class Transposed(Coding):
    """``inner``: the coding of the transpose."""

    coding: ClassVar[str] = "transposed"
    turned: ClassVar[bool] = True
    inner: Coding
    portable: bool = True

    @property
    def length(self) -> int:
        return self.inner.length

    def layout(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        return self.inner.layout()

    def fields(self) -> dict[str, Any]:
        return {"of": self.inner.coding, **self.inner.fields()} | ({} if self.portable else {"portable": False})

    @classmethod
    def of(cls, inner: Coding, shape: tuple[int, ...], portable: bool = True) -> Transposed:
        """The coding of an array of that shape by what codes its transpose."""
        return cls(inner.method, inner.bits, shape, inner.dtype, inner, portable)

    @classmethod
    def from_fields(cls, head: tuple[str, Fraction, tuple[int, ...], str], fields: Reader) -> Transposed:
        kind, portable = OF[fields.choice("of", tuple(OF))], fields.flag("portable", True)
        method, bits, shape, dtype = head
        return cls.of(kind.from_fields((method, bits, transpose(shape), dtype), fields), shape, portable)

    def check(self, planes: Mapping[str, Array]) -> None:
        self.inner.check(planes)

    def decoder(self, planes: Mapping[str, Array]) -> Rows:
        return self.inner.decoder(planes)


def transpose(shape: tuple[int, ...]) -> tuple[int, int]:
    """The shape of the transpose of an array's rows."""
    return (shape[-1] if shape else 1), math.prod(shape[:-1])
