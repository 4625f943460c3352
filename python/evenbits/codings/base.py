"""What all codings share. A spec with the key "coding" is theirs; one without it is of digits on a grid (``spec.Spec``)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, TypeVar

from evenbits._arrays import Array
from evenbits.spec import FORMAT, VALUE_DTYPES, Reader, canonical_json, plane_bytes

Rows = Callable[[int, int], Array]
"""Rows begin to end of the decoded matrix, as floats."""
Writer = Callable[[int, int, Array], None]
"""Rows begin to end, to the last argument."""
Self = TypeVar("Self", bound="Coding")


@dataclass(frozen=True)
class Coding(ABC):
    """How planes become rows of d numbers. ``bits`` are those asked for, for people; shape and dtype are the array's."""

    coding: ClassVar[str]
    ordered: ClassVar[bool] = False
    """Whether what comes first is a coarser form of the whole, so that ``cut`` can be asked for."""
    turned: ClassVar[bool] = False
    """Whether it is columns of the matrix that ``decoder`` gives."""
    method: str
    bits: Fraction
    shape: tuple[int, ...]
    dtype: str

    @property
    def d(self) -> int:
        return self.shape[-1] if self.shape else 1

    @property
    def rows(self) -> int:
        return math.prod(self.shape[:-1])

    @property
    def length(self) -> int:
        """Numbers a row that decoding works on."""
        return self.d

    @abstractmethod
    def layout(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """dtype and shape of every plane."""

    @abstractmethod
    def fields(self) -> dict[str, Any]:
        """What the spec says besides method, bits, shape and dtype."""

    @classmethod
    @abstractmethod
    def from_fields(cls: type[Self], head: tuple[str, Fraction, tuple[int, ...], str], fields: Reader) -> Self:
        """The coding of method, bits, shape, dtype and a spec's other keys. Raises EncodedError for what has no meaning."""

    @abstractmethod
    def decoder(self, planes: Mapping[str, Array]) -> Rows:
        """What makes the rows of planes that are laid out so, and checked."""

    def writer(self, planes: Mapping[str, Array]) -> Writer | None:
        """What writes the same rows to an array of float32, where that saves a copy."""
        return None

    def check(self, planes: Mapping[str, Array]) -> None:  # noqa: B027
        """Raise EncodedError, naming the plane, where planes that are laid out right, and finite, make no sense."""

    def cut(self, planes: Mapping[str, Array], allowed: int) -> tuple[Coding, dict[str, Array]]:
        """What comes first, in so many bytes of the same array, if ``ordered``. Raises ValueError if nothing fits."""
        raise NotImplementedError

    def nbytes(self) -> int:
        """Bytes of all planes and of the canonical JSON of the spec itself."""
        return plane_bytes(self.layout()) + len(canonical_json(self.to_dict()))

    def to_dict(self) -> dict[str, Any]:
        head = {"method": self.method, "bits": str(self.bits), "shape": list(self.shape), "dtype": self.dtype}
        return {"format": FORMAT, "coding": self.coding, **head, **self.fields()}

    @classmethod
    def parse(cls: type[Self], reader: Reader) -> Self:
        head = reader.text("method"), reader.fraction("bits"), reader.shape("shape"), reader.choice("dtype", VALUE_DTYPES)
        coding = cls.from_fields(head, reader)
        reader.finish()
        return coding
