from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike

from evenbits._arrays import Array, exponent_of, integer
from evenbits._groups import dot
from evenbits.codewords import Codewords, group_sums, products
from evenbits.codings.residual import MOST_NUMBERS, Books, Floats, ResidualLayers, common_level, first_layers, water_level
from evenbits.encoded import Encoded, as_matrix
from evenbits.packing import pack
from evenbits.quantizers.base import NoSuchRateError, Quantizer, choice, finite, shape_of
from evenbits.quantizers.distributed import kmeans
from evenbits.random import random_subset
from evenbits.spec import KEPT

MOST_SIZE = 2.0**62
"""Of rows that were brought to an ordinary size: their squares are float32 numbers, too."""
UNKNOWN = -1199
"""An exponent that no array has, and that no other one is longer than."""


class Residual(Quantizer):
    """Rows as sums of random codewords, which seed, variances and a number a layer stand for.

    Each layer has 2^width codewords with the variances that reverse water-filling gives the coordinates of what the layers
    before it left; the nearest is taken from the row. ``bits`` * d bits a row, in layers of ``width`` and a last one with the
    rest: any rate in steps of 1 / d bit. For rows whose coordinates differ much in variance, and for rates below 1 bit.

    books: "random" (default), "kmeans" (each layer's centres, which are stored: plain residual quantization, which overfits
    where there are not many rows for each centre) or "regularized" (the same with the variances that random ones have).
    transform: "none" (default) or "pca", stored in d (d + 1) numbers; its decisions depend on the machine's mathematics library.
    ``train`` learns variances, transform and books from other rows than those to be encoded; without it they are learned from
    these.
    Sources: Ferdowsi, Voloshynovskiy, Kostadinov, arXiv 1705.00522 and 1707.02194; the variances that a layer leaves are
    min(variance, a number), so that one number a layer stands for them.
    """

    method = "residual"
    fixed = False

    def __init__(
        self,
        bits: float | Fraction,
        *,
        width: int = 8,
        books: str = "random",
        transform: str = "none",
        seed: int = 0,
        stream: int = 0,
    ) -> None:
        super().__init__(bits, seed=seed, stream=stream)
        self.width = integer(width, "width", 1, 8)
        self.books = choice(books, "books", ("random", "kmeans", "regularized"))
        self.transform = choice(transform, "transform", ("none", "pca"))
        self.portable = self.transform == "none"
        self._fitted: dict[str, Array] | None = None
        self._exponent = UNKNOWN

    def spec(self, shape: tuple[int, ...], dtype: str = "float32") -> ResidualLayers:  # type: ignore[override]
        """The coding of an array of that shape and dtype, with an exponent as long as any."""
        shape = shape_of(shape)
        d = shape[-1] if shape else 1
        total = int(self.bits * d)
        if d and not total:
            raise NoSuchRateError(f"bits leaves no code in a row of {d}; take at least {Fraction(1, d)} bits a coordinate")
        layers, rest = divmod(total, self.width)
        stored, pca = self.books != "random", self.transform == "pca"
        coding = ResidualLayers(self.method, self.bits, shape, dtype, self.width, layers, rest, stored, pca, self._exponent,
                                self.seed, self.stream)  # fmt: skip
        if coding.numbers > MOST_NUMBERS:
            raise NoSuchRateError(f"bits is {float(self.bits):g}; rows of {d} would take {coding.numbers} numbers of codewords")
        return coding

    def train(self, x: ArrayLike, *, workers: int = 1) -> Residual:
        """Learn variances, transform and stored codebooks from rows x, for all that is encoded from then on."""
        self._fitted, self._exponent = None, UNKNOWN
        a, _, workers = finite(x, workers)
        if not a.size:
            raise ValueError("x is empty; there must be rows to learn from")
        coding = replace(self.spec(a.shape), exponent=exponent_of(a))
        learned = self._learn(coding, a, workers)
        self._fitted, self._exponent = {k: p for k, p in learned.items() if k not in ("codes", "rest")}, coding.exponent
        return self

    def encode(self, x: ArrayLike, *, workers: int = 1) -> Encoded:
        a, dtype, workers = finite(x, workers)
        coding = self.spec(a.shape, dtype)
        if self._fitted is None:
            coding = replace(coding, exponent=exponent_of(a))
        planes = {name: np.zeros(shape, dtype) for name, (dtype, shape) in coding.layout().items()}
        if a.size:
            planes |= self._learn(coding, a, workers)
        return Encoded(planes, coding.to_dict())

    def _learn(self, coding: ResidualLayers, a: Array, workers: int) -> dict[str, Array]:
        """All planes of rows, of which those that were fitted stay as they are."""
        planes = dict(self._fitted or {})
        with np.errstate(over="ignore"):
            rows = np.ldexp(as_matrix(a).astype(np.float64), -coding.exponent)
        if not np.abs(rows).max(initial=0) < MOST_SIZE:
            raise ValueError("x has numbers far beyond those that the quantizer was trained on; train it on others, or scale x")
        if coding.pca:
            if "basis" not in planes:
                planes["mean"], planes["basis"] = principal_axes(rows)
            rows = products(rows - planes["mean"], planes["basis"], workers=workers)
        if planes and rows.shape[1] != len(planes.get("variances", planes.get("codewords", rows).T)):
            raise ValueError(f"x has rows of {rows.shape[1]}; the quantizer was fitted to other ones")
        make: Callable[[int, Array], Array]
        if coding.stored:
            left = np.array(rows, np.float32, order="C")
            make = self._trained(planes)
        else:
            if "variances" not in planes:
                planes["variances"] = mean_squares(rows).astype(np.float32)
                planes["left"] = np.zeros(len(coding.depths), np.float32)
            books = Books(planes["variances"], self.seed, self.stream)
            left = np.ascontiguousarray(rows[:, books.order], np.float32)
            make = self._random(planes, books)
        codes = [Codewords(make(depth, left)).take(left, workers=workers) for depth in coding.depths]
        if coding.stored:
            planes["codewords"] = np.concatenate(self._words)
        return planes | pack_layers(coding, codes)

    def _random(self, planes: dict[str, Array], books: Books) -> Callable[[int, Array], Array]:
        known, layer = self._fitted is not None, -1

        def make(depth: int, left: Array) -> Array:
            nonlocal layer
            layer += 1
            if not known:
                peak = float(books.variances.max(initial=0.0))
                energy = total_energy(left) / len(left)
                planes["left"][layer] = common_level(books.variances, energy) if layer else peak
            return books.book(layer, depth, float(planes["left"][layer]))

        return make

    def _trained(self, planes: dict[str, Array]) -> Callable[[int, Array], Array]:
        known = planes.get("codewords")
        self._words: list[Array] = []

        def make(depth: int, left: Array) -> Array:
            count, first = 1 << depth, sum(map(len, self._words))
            if known is not None:
                words = known[first : first + count]
            else:
                start = left[random_subset(self.seed, self.stream + KEPT + len(self._words), len(left), min(count, len(left)))]
                words = np.zeros((count, left.shape[1]), np.float32)
                words[: len(start)] = kmeans(left.astype(np.float64), start.astype(np.float64))
                if self.books == "regularized":
                    words = regularized(words, mean_squares(left.astype(np.float64)), depth)
            self._words.append(words)
            return words

        return make


def first_of(encoded: Encoded, layers: int) -> Encoded:
    """The first ``layers`` layers of what ``Residual`` made: a coarser form of the same array."""
    coding = encoded._meaning
    if not isinstance(coding, ResidualLayers):
        raise TypeError(f"method {encoded.method!r} has no layers")
    short, planes = first_layers(coding, encoded.planes, integer(layers, "layers", 0, len(coding.depths)))
    return Encoded(planes, short.to_dict())


def pack_layers(coding: ResidualLayers, codes: list[Array]) -> dict[str, Array]:
    planes: dict[str, Array] = {"codes": np.zeros(coding.layout()["codes"][1], np.uint8)}
    if coding.layers:
        planes["codes"] = pack(np.stack(codes[: coding.layers]), coding.width)
    if coding.rest:
        planes["rest"] = pack(codes[-1][None], coding.rest)
    return planes


def mean_squares(rows: Floats) -> Floats:
    """Of each column, added up in the order of the rows."""
    means: Floats = group_sums(np.square(rows), np.zeros(len(rows), np.uint32), 1)[0] / max(len(rows), 1)
    return means


def total_energy(rows: Array) -> float:
    """The sum of all squares, row after row."""
    return float(np.add.accumulate(dot(rows, rows))[-1])


def principal_axes(rows: Floats) -> tuple[Array, Array]:
    """Mean and eigenvectors of the covariance, those of the largest eigenvalues first, in float32."""
    mean = rows.mean(axis=0).astype(np.float32)
    centred = rows - mean
    _, vectors = np.linalg.eigh(centred.T @ centred)
    return mean, np.ascontiguousarray(vectors[:, ::-1], np.float32)


def regularized(words: Array, variances: Floats, bits: int) -> Array:
    """Codewords scaled to the variances that reverse water-filling asks for."""
    target = np.maximum(variances - water_level(variances, bits), 0.0)
    found = mean_squares(words.astype(np.float64))
    factor = np.sqrt(np.divide(target, found, out=np.zeros_like(target), where=found > 0))
    scaled: Array = (words * factor).astype(np.float32)
    return scaled
