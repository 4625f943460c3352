"""Takes the keys of a spec, which anybody may have written, and names those that are wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from evenbits.packing import Radix

FORMAT = 1


class EncodedError(ValueError):
    """An encoded array, or a file of them, that contradicts itself or the format."""


class Reader:
    """Takes keys out of a dictionary that nobody has checked."""

    def __init__(self, spec: Any, where: str) -> None:
        if not isinstance(spec, Mapping):
            raise EncodedError(f"{where} is {type(spec).__name__}, not an object")
        self.rest, self.where = dict(spec), where

    def take(self, key: str) -> Any:
        if key not in self.rest:
            raise EncodedError(f"{self.where}.{key} is missing")
        return self.rest.pop(key)

    def finish(self) -> None:
        if self.rest:
            raise EncodedError(f"{self.where}.{min(map(str, self.rest))} is unknown to this version of evenbits")

    def format(self) -> None:
        found = self.integer("format", 0, 2**31)
        if found != FORMAT:
            raise EncodedError(f"{self.where}.format is {found}; this version of evenbits reads format {FORMAT}")

    def integer(self, key: str, low: int, high: int, default: int | None = None) -> int:
        value = self.take(key) if default is None else self.rest.pop(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise EncodedError(f"{self.where}.{key} is {value!r}; it must be an integer from {low} to {high}")
        return value

    def text(self, key: str) -> str:
        value = self.take(key)
        if not isinstance(value, str):
            raise EncodedError(f"{self.where}.{key} is {value!r}; it must be a string")
        return value

    def flag(self, key: str, default: bool = False) -> bool:
        value = self.rest.pop(key, default)
        if not isinstance(value, bool):
            raise EncodedError(f"{self.where}.{key} is {value!r}; it must be true or false")
        return value

    def choice(self, key: str, known: tuple[str, ...], default: str | None = None) -> str:
        if default is not None and key not in self.rest:
            return default
        value = self.text(key)
        if value not in known:
            raise EncodedError(f"{self.where}.{key} is {value!r}; known are {', '.join(known)}")
        return value

    def fraction(self, key: str) -> Fraction:
        value = self.text(key)
        parts = value.split("/")
        short = len(parts) <= 2 and all(p.isascii() and p.isdigit() and len(p) <= 18 and int(p) for p in parts)
        if not short or not 0 < Fraction(value) <= 16:
            raise EncodedError(f"{self.where}.{key} is {value[:40]!r}; it must be a fraction up to 16 such as '5/2'")
        return Fraction(value)

    def radix(self, key: str) -> Radix:
        value = self.take(key)
        if not isinstance(value, list) or len(value) != 4 or any(type(n) is not int for n in value):
            raise EncodedError(f"{self.where}.{key} is {value!r}; it must be four integers")
        try:
            return Radix(*value)
        except ValueError as error:
            raise EncodedError(f"{self.where}.{key}: {error}") from None

    def axes(self, key: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        value = self.take(key)
        whole = isinstance(value, list) and 2 <= len(value) <= len(shape) and all(type(n) is int for n in value)
        if not whole or any(not d <= n <= 2 * d for d, n in zip(shape[-len(value) :], value, strict=True) if d) or 0 in shape:
            raise EncodedError(f"{self.where}.{key} is {value!r}; it must be lengths of the last axes of {list(shape)}")
        return tuple(value)

    def books(self, key: str, codes: Radix) -> tuple[int, ...]:
        value = self.take(key)
        if value == "row":
            return ()
        counts = [codes.levels, codes.levels + 1] if codes.upper else [codes.levels]
        if not isinstance(value, list) or len(value) != 2 * len(counts) or any(type(n) is not int or n < 1 for n in value):
            raise EncodedError(f"{self.where}.{key} is {value!r}; it must be 'row' or {2 * len(counts)} numbers of levels")
        if any(i * j > count for i, j, count in zip(value[::2], value[1::2], counts, strict=True)):
            raise EncodedError(f"{self.where}.{key} is {value!r}, more pairs than codes")
        return tuple(value)

    def shape(self, key: str) -> tuple[int, ...]:
        value = self.take(key)
        if not isinstance(value, list) or len(value) > 32:
            raise EncodedError(f"{self.where}.{key} is {value!r}; it must be a list of lengths")
        for n in value:
            if not isinstance(n, int) or isinstance(n, bool) or not 0 <= n <= 2**40:
                raise EncodedError(f"{self.where}.{key} holds {n!r}; a length is an integer from 0 to 2^40")
        if math.prod(max(n, 1) for n in value) > 2**48:
            raise EncodedError(f"{self.where}.{key} is {value!r}, which is too large an array")
        return tuple(value)
