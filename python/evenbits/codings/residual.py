"""Rows as sums of codewords, one a layer: the first layers of a file are a coarser form of the whole.

"layers": [k, L, r]: L layers of 2^k codewords, then one of 2^r if r > 0. Planes: ``codes`` (L, bytes), a layer's k-bit codes of
all rows, LSB first, padded to 4 bytes; ``rest`` (1, bytes), likewise with r bits; and what codewords are made of.
"books": absent, they are random: ``variances`` float32 (d), those of the coordinates, and ``left`` float32 (layers): layer l is
for variances of at most left[l], what the layers before it left, and ``Books`` makes it from them, seed and stream. "books":
"stored": ``codewords`` float32 (L 2^k + 2^r, d).
"transform": absent, or "pca": a row is mean + basis y, planes ``mean`` (d) and ``basis`` (d, d) in float32. Everything is
multiplied by 2^exponent ("exponent", absent for 0) at last.
Source of the allocation: Ferdowsi, Voloshynovskiy, Kostadinov, "Regularized residual quantization", arXiv 1705.00522.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from evenbits import _core
from evenbits._arrays import LARGEST, Array
from evenbits.codewords import products
from evenbits.codings.base import Coding, Rows, Writer
from evenbits.packing import row_bytes, unpack
from evenbits.random import random_bits
from evenbits.spec import KEPT, EncodedError, Reader

Floats = NDArray[np.float64]
MOST_LAYERS = 1 << 20
MOST_NUMBERS = 1 << 30
"""Of all codewords together: they are made before the first row is decoded."""
WIDTH = 64
"""Codewords are padded to a multiple of this."""
NEARLY = 1.25
"""Coordinates are not put in order where the widths of codewords become greater than this without it, about."""
APART = 1 << 40
"""Layer l draws from element l * APART of its stream on."""
RATE = 0.75
"""What a layer of 2^k random codewords is worth, of k bits: the level of the water is that of RATE * k bits."""
SUM_OF_BYTES = 21845.0
"""Variance of the sum of four random bytes."""


def water_level(variances: Floats, bits: float) -> float:
    """g such that the sum of log2(variance / g) / 2 over the variances above g is ``bits``, found by halving: no logarithms."""
    most = float(variances.max(initial=0.0))
    if not most > 0:
        return 0.0
    low, high, goal = 0.0, most, 2.0 ** (2 * bits)
    with np.errstate(over="ignore", divide="ignore"):
        for _ in range(60):
            g = (low + high) / 2
            ratio = np.maximum(variances / g, 1.0)
            low, high = (g, high) if np.multiply.accumulate(ratio)[-1] > goal else (low, g)
    return high


def common_level(variances: Floats, energy: float) -> float:
    """g such that the sum of min(variance, g) is ``energy``; the greatest variance if it is less."""
    low, high = 0.0, float(variances.max(initial=0.0))
    for _ in range(60 if high > 0 else 0):
        g = (low + high) / 2
        low, high = (g, high) if np.add.accumulate(np.minimum(variances, g))[-1] < energy else (low, g)
    return high


def order_of(variances: Array) -> NDArray[np.intp]:
    """Descending, so that codewords may end where their variances do; or as they are, if they nearly descend already."""
    v = variances.astype(np.float64)
    later = np.maximum.accumulate(v[::-1])[::-1]
    with np.errstate(over="ignore"):
        near = v.size and np.add.accumulate(later)[-1] <= NEARLY * np.add.accumulate(v)[-1]
    return np.arange(v.size) if near else np.argsort(-v, kind="stable")


class Books:
    """Random codebooks of layers, for coordinates in the order of ``order_of``."""

    def __init__(self, variances: Array, seed: int, stream: int) -> None:
        stored = np.asarray(variances, np.float32)
        self.order = order_of(stored)
        self.variances = stored[self.order].astype(np.float64)
        self.seed, self.stream = seed, stream

    def book(self, layer: int, bits: int, left: float) -> NDArray[np.float32]:
        """(2^bits, width): codewords for variances of at most ``left``, 0 beyond their width."""
        v = np.minimum(self.variances, left)
        level = water_level(v, RATE * bits)
        t = np.maximum(v - level, 0.0) if level > 0 else np.zeros_like(v)
        active = np.flatnonzero(t)
        width = int(active[-1]) + 1 if active.size else 0
        words = random_bits(self.seed, self.stream + KEPT, (1 << bits) * width, bits=32, first=layer * APART)
        pairs = (words & 0xFF00FF) + (words >> 8 & 0xFF00FF)
        sums = ((pairs & 0xFFFF) + (pairs >> 16)).astype(np.float32).reshape(1 << bits, width) - np.float32(510)
        book: NDArray[np.float32] = sums * np.sqrt(t[:width] / SUM_OF_BYTES).astype(np.float32)
        return book


@dataclass(frozen=True)
class ResidualLayers(Coding):
    """``width`` bits a layer, ``layers`` of them, and ``rest`` bits of a last one."""

    coding: ClassVar[str] = "residual"
    ordered: ClassVar[bool] = True
    width: int = 8
    layers: int = 0
    rest: int = 0
    stored: bool = False
    pca: bool = False
    exponent: int = 0
    seed: int = 0
    stream: int = 0

    @property
    def depths(self) -> list[int]:
        """Bits of each layer."""
        return [self.width] * self.layers + [self.rest] * (self.rest > 0)

    @property
    def length(self) -> int:
        return max(self.d, 8 * len(self.depths))

    def layout(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        planes: dict[str, tuple[str, tuple[int, ...]]] = {"codes": ("uint8", (self.layers, row_bytes(self.rows, self.width)))}
        if self.rest:
            planes["rest"] = ("uint8", (1, row_bytes(self.rows, self.rest)))
        if self.stored:
            planes["codewords"] = ("float32", (sum(1 << k for k in self.depths), self.d))
        else:
            planes |= {"variances": ("float32", (self.d,)), "left": ("float32", (len(self.depths),))}
        if self.pca:
            planes |= {"mean": ("float32", (self.d,)), "basis": ("float32", (self.d, self.d))}
        return planes

    def fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = {"layers": [self.width, self.layers, self.rest]}
        if self.stored:
            fields["books"] = "stored"
        if self.pca:
            fields |= {"transform": "pca", "portable": False}
        numbers = {"exponent": self.exponent, "seed": self.seed, "stream": self.stream}
        return fields | {key: value for key, value in numbers.items() if value}

    @classmethod
    def from_fields(cls, head: tuple[str, Fraction, tuple[int, ...], str], fields: Reader) -> ResidualLayers:
        layers = fields.take("layers")
        whole = isinstance(layers, list) and len(layers) == 3 and all(type(n) is int for n in layers)
        if not whole or not (1 <= layers[0] <= 8 and 0 <= layers[1] <= MOST_LAYERS and 0 <= layers[2] < layers[0]):
            raise EncodedError(f"{fields.where}.layers is {layers!r}; it must be [bits from 1 to 8, layers, fewer bits]")
        stored = fields.choice("books", ("stored",), "random") == "stored"
        pca = fields.choice("transform", ("pca",), "none") == "pca"
        if pca and fields.rest.pop("portable", None) is not False:
            raise EncodedError(f"{fields.where}.portable must be false with a transform")
        exponent = fields.integer("exponent", -1200, 1200, 0)
        seed, stream = fields.integer("seed", 0, 2**64 - 1, 0), fields.integer("stream", 0, KEPT - 1, 0)
        return cls(*head, layers[0], layers[1], layers[2], stored, pca, exponent, seed, stream)

    @property
    def numbers(self) -> int:
        """Of all codewords together, at most."""
        return sum(1 << k for k in self.depths) * self.d

    def check(self, planes: Mapping[str, Array]) -> None:
        if self.numbers > MOST_NUMBERS:
            raise EncodedError(f"spec.layers is {[self.width, self.layers, self.rest]}, too many for rows of {self.d}")
        for name in ("variances", "left"):
            if name in planes and (planes[name] < 0).any():
                raise EncodedError(f"plane {name!r} holds a number below 0")
        if self.stored and np.abs(planes["codewords"]).max(initial=0) * max(len(self.depths), 1) > LARGEST["float32"] / 2:
            raise EncodedError("plane 'codewords' holds a number too large for sums")

    def cut(self, planes: Mapping[str, Array], allowed: int) -> tuple[ResidualLayers, dict[str, Array]]:
        """As many of the first layers as fit into so many bytes. Raises ValueError if what they are made of does not."""
        for layers in range(len(self.depths), -1, -1):
            short = first_layers(self, planes, layers)
            if short[0].nbytes() <= allowed:
                return short
        least = 8 * short[0].nbytes() / max(self.rows * self.d, 1)
        raise ValueError(f"bits leaves no layer; variances and spec alone take {least:.4g} bits a value")

    def decoder(self, planes: Mapping[str, Array]) -> Rows:
        write, order = self._sums(planes)
        natural = None if order is None else np.argsort(order, kind="stable")

        def rows(begin: int, end: int) -> Array:
            y = np.empty((end - begin, self.d), np.float32)
            write(begin, end, y)
            if natural is not None:
                y = y[:, natural]
            if self.pca:
                y = (products(y, planes["basis"].T) + planes["mean"]).astype(np.float64)
            return np.ldexp(y.astype(np.float64), self.exponent) if self.exponent else y

        return rows

    def writer(self, planes: Mapping[str, Array]) -> Writer | None:
        if self.pca or self.exponent:
            return None
        write, order = self._sums(planes)
        return write if order is None else None

    def _sums(self, planes: Mapping[str, Array]) -> tuple[Writer, Array | None]:
        """What adds codewords up, and the order of coordinates that they come in unless it is the natural one."""
        if self.stored:
            cuts = np.cumsum([1 << k for k in self.depths])[:-1]
            made, order = Table.of(np.split(planes["codewords"], cuts) if self.depths else []), None
        else:
            variances, left = planes["variances"], planes["left"]
            made = _recent(variances.tobytes(), left.tobytes(), tuple(self.depths), self.seed, self.stream)
            order = order_of(variances)
            order = None if np.array_equal(order, np.arange(self.d)) else order
        depths, codes = np.array(self.depths, np.uint64), self._codes(planes)

        def write(begin: int, end: int, y: Array) -> None:
            if y.size:
                _core.sum_codewords(codes, begin, end, made.words, made.widths, depths, self.d, y, 1)

        return write, order

    def _codes(self, planes: Mapping[str, Array]) -> Array:
        """(layers, rows)."""
        codes = [unpack(planes["codes"], self.width, self.rows)]
        if self.rest:
            codes.append(unpack(planes["rest"], self.rest, self.rows))
        return np.ascontiguousarray(np.concatenate(codes), np.uint8)


@dataclass(frozen=True, eq=False)
class Table:
    """Codewords of all layers one after the other, each with zeros up to a multiple of ``WIDTH``."""

    words: NDArray[np.float32]
    widths: NDArray[np.uint64]

    @classmethod
    def of(cls, books: Sequence[Array]) -> Table:
        words = np.concatenate([np.zeros(0, np.float32), *map(padded, books)])
        return cls(words, np.array([-(-book.shape[1] // WIDTH) * WIDTH for book in books], np.uint64))


@lru_cache(maxsize=2)
def _recent(variances: bytes, left: bytes, depths: tuple[int, ...], seed: int, stream: int) -> Table:
    books = Books(np.frombuffer(variances, np.float32), seed, stream)
    levels = np.frombuffer(left, np.float32)
    return Table.of([books.book(i, k, float(v)) for i, (k, v) in enumerate(zip(depths, levels, strict=True))])


def padded(book: Array) -> Array:
    """A book's codewords one after the other, each with zeros up to a multiple of ``WIDTH``."""
    width = -(-book.shape[1] // WIDTH) * WIDTH
    wide = np.zeros((len(book), width), np.float32)
    wide[:, : book.shape[1]] = book
    return wide.reshape(-1)


def first_layers(coding: ResidualLayers, planes: Mapping[str, Array], layers: int) -> tuple[ResidualLayers, dict[str, Array]]:
    """Coding and planes without the layers after the first ``layers``."""
    if layers == len(coding.depths):
        return coding, dict(planes)
    short = {name: plane for name, plane in planes.items() if name != "rest"} | {"codes": planes["codes"][:layers]}
    if "left" in short:
        short["left"] = short["left"][:layers]
    if "codewords" in short:
        short["codewords"] = short["codewords"][: layers << coding.width]
    bits = Fraction(max(1, layers * coding.width), max(1, coding.d))
    return replace(coding, layers=layers, rest=0, bits=min(bits, coding.bits)), short
