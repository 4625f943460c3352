"""Codes that are pairs of levels: their codebooks, and the walk of an array towards them."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np

from evenbits._arrays import Array, require_finite
from evenbits._chunks import for_row_chunks
from evenbits._groups import dot
from evenbits.codebooks import kmeans, nearest_level
from evenbits.meaning import Meaning
from evenbits.packing import pack_codes
from evenbits.quantizers.walk import Walk, reciprocal

if TYPE_CHECKING:
    from evenbits.quantizers.kashin import Kashin

SAMPLE = 1 << 18
"""Coordinates that codebooks are learned from: rows evenly spaced, together about so many."""
WORK = 1 << 22
"""Distances that a round of two-dimensional k-means computes at most, with 16 points a centre at least."""
ROUNDS = 12


class NotConvergedError(ValueError):
    """A row's decomposition ended before it reached the tolerance."""


class PairWalk(Walk):
    """Fills the planes of a spec with grid "pairs"."""

    quantizer: Kashin

    def run(self) -> None:
        require_finite(self.source, workers=self.workers)
        spec = self.spec
        self.meaning = Meaning(spec, self.planes["levels"])
        self.exponent = None
        self.left: dict[int, float] = {}
        split, n = self.meaning.split, spec.kept
        self.parts = [(slice(0, split), spec.top), (slice(split, n), spec.codes.levels)]  # coordinates, level count
        pairs = [self.quantizer.levels_of_pair(count) for _, count in self.parts]
        self.pairs = pairs
        if spec.books is None:
            few = copy.copy(self)
            few.left = {}
            few.x = np.ascontiguousarray(self.x[:: max(1, spec.rows * spec.length // SAMPLE)])
            for_row_chunks(1, 1, 1, lambda begin, end: few._learn_for_tensor())  # it sees to the floating-point unit's state
        self._sweep(self._rows)
        self._require_convergence()

    def _require_convergence(self) -> None:
        q = self.quantizer
        bad = [row for row, left in sorted(self.left.items()) if left > q.tolerance]
        if bad:
            remedy = "take more" if q.rotate else "take more, or rotate"
            raise NotConvergedError(
                f"iterations is {q.iterations}: the decomposition left {self.left[bad[0]]:.2g} of row {bad[0]} "
                f"(and more than the tolerance, {q.tolerance:g}, of {len(bad)} rows); {remedy}"
            )

    def _rows(self, begin: int, end: int) -> None:
        _, exponent, whole, _ = self._coordinates(begin, end)
        size, unit = self._units(whole)
        factors = self._factors(whole, begin)
        codes = self._together(whole) if factors is None else None
        if self.spec.books is not None:
            starts = [[self._peaks(whole, count, k) for k, count in enumerate(pair)] for pair in self.pairs]
            for i in range(len(whole)):
                own = slice(i, i + 1)
                parts = None if factors is None else (factors[0][own], factors[1][own])
                begins = [[peaks and peaks[i] for peaks in pair] for pair in starts]
                book = self._learned(unit[own], parts, None if codes is None else codes[own], begins)
                self.planes["levels"][begin + i] = self._compact(book)
        if factors is not None:
            codes = self._nearest(factors, self.meaning.books(begin, end))
        assert codes is not None
        stored, scale = self._store(size, exponent)
        if self.fits:
            made = self.meaning.look_up(codes, np.ones((len(codes), 1), np.float32), None, begin)
            n = whole.shape[1]
            stored = self._store_fit(scale, (dot(whole, made, n), dot(made, made, n)), exponent)
        self.planes["scales"][begin:end] = stored
        self.planes["codes"][begin:end] = pack_codes(codes, self.spec.codes)

    def _units(self, whole: Array) -> tuple[Array, Array]:
        """The root mean square of every row, and the rows in units of it."""
        size = np.sqrt(dot(whole, whole, whole.shape[1]) / whole.shape[1])
        return size, whole * reciprocal(size).astype(np.float32)

    def _kept(self, y: Array) -> Array:
        return y if self.meaning.kept is None else np.ascontiguousarray(y[:, self.meaning.kept])

    def _factors(self, whole: Array, begin: int) -> tuple[Array, Array] | None:
        """u and v of the kept coordinates, unless the codes are to be decided together."""
        q = self.quantizer
        if q.refine:
            return None
        u, v, left = self.meaning.transform.split(whole, q.schedule, q.iterations, q.tolerance)
        self.left |= {begin + int(i): float(left[i]) for i in np.flatnonzero(left > q.tolerance)}
        return self._kept(u), self._kept(v)

    def _peaks(self, whole: Array, count: int, second: int) -> list[Array | None] | None:
        """The values that a factor has after log2(count) steps of the alternating schedule: about where its levels will be.

        Of every row, or None where that schedule does not make so many.
        """
        q, steps = self.quantizer, count.bit_length() - 2  # before the last one
        if q.refine or q.schedule != "alternating" or count < 2 or count & (count - 1):
            return None
        made = self.meaning.transform.split(whole, q.schedule, steps // 2 * 4 + steps % 2 + 1 + 2 * second, q.tolerance)[second]
        values = [np.unique(row) for row in made]
        return [v if v.size == count else None for v in values]

    def _nearest(self, factors: tuple[Array, Array], tables: Array) -> Array:
        """Codes of the kept coordinates, given the levels: those of all rows, or of each."""
        if len(tables) > 1:
            rows = [((factors[0][i : i + 1], factors[1][i : i + 1]), tables[i : i + 1]) for i in range(len(tables))]
            return np.concatenate([self._nearest(*row) for row in rows])
        codes = np.empty(factors[0].shape, np.uint8)
        for (part, _), (i, j), book in zip(self.parts, self.pairs, self._books(tables[0]), strict=True):
            u, v = (np.ascontiguousarray(f[:, part]) for f in factors)
            if self.quantizer.clusters == "joint":
                codes[:, part] = nearest_pair(u, v, book)
            elif u.size:
                codes[:, part] = nearest_level(u, book[0, :i]) + np.uint8(i % 256) * nearest_level(v, book[1, : i * j : i])
        return codes

    def _compact(self, table: Array) -> Array:
        """A row's codebook as it is stored."""
        if not self.spec.books:
            return table
        parts: list[Array] = []
        for (i, j), book in zip(reversed(self.pairs), reversed(self._books(table)), strict=True):
            parts += [book[0, :i], book[1, : i * j : i]]
        return np.concatenate(parts)[: sum(self.spec.books)]

    def _books(self, table: Array) -> tuple[Array, Array]:
        """The columns of the plane of levels for the two parts of a row."""
        m = self.spec.codes.levels
        return (table[:, m:] if self.spec.codes.upper else table), table[:, :m]

    def _together(self, whole: Array) -> Array:
        q, n = self.quantizer, self.spec.kept
        if n < self.spec.length:  # one bit each, and nothing to decide
            return (self._kept(whole) >= 0).astype(np.uint8)
        levels: Any = (*self.pairs[0], *self.pairs[1])
        peaks: Any = (*q.peaks(self.pairs[0]), *q.peaks(self.pairs[1]))
        return self.meaning.transform.joint_codes(whole, self.meaning.split, levels, peaks, q.iterations)

    def _learn_for_tensor(self) -> None:
        """Fill the plane of levels from all rows there are."""
        _, _, whole, _ = self._coordinates(0, len(self.x))
        factors = self._factors(whole, 0)
        codes = self._together(whole) if factors is None else None
        self.planes["levels"][:] = self._learned(self._units(whole)[1], factors, codes)

    def _learned(
        self, unit: Array, factors: tuple[Array, Array] | None, codes: Array | None, starts: list[list[Any]] | None = None
    ) -> Array:
        """Levels for rows in units of their sizes, given their factors, or their codes: (2, levels).

        starts: for the factors of each part, where k-means starts, or None.
        """
        m = self.spec.codes.levels
        table = np.zeros((2, m + (m + 1 if self.spec.codes.upper else 0)), np.float32)
        books = self._books(table)
        if factors is None:
            assert codes is not None
            self._learn_together(unit, codes, books)
            return table
        for (part, count), (i, j), book, (s, t) in zip(self.parts, self.pairs, books, starts or [[None] * 2] * 2, strict=True):
            u, v = (f[:, part] for f in factors)
            if not u.size:
                continue
            separate = product(padded(kmeans(u, i, start=s), i), padded(kmeans(v, j, start=t), j))
            joint = self.quantizer.clusters == "joint"
            book[:] = kmeans_pairs(u, v, separate, count) if joint else padded(separate, count)
        return table

    def _learn_together(self, unit: Array, codes: Array, books: tuple[Array, Array]) -> None:
        """Levels of least squared error for given codes: those of u given v and of v given u, in turn."""
        q, p = self.quantizer, self.meaning.transform
        for (_, count), pair, book in zip(self.parts, self.pairs, books, strict=True):
            u, v = (np.linspace(-peak, peak, m) for m, peak in zip(pair, q.peaks(pair), strict=True))
            book[:] = padded(product(u, v), count)
        factors = [np.zeros_like(unit), np.zeros_like(unit)]
        kept = slice(None) if self.meaning.kept is None else self.meaning.kept

        def refresh(k: int) -> None:
            values = np.empty(codes.shape, np.float32)
            for (part, _), book in zip(self.parts, books, strict=True):
                values[:, part] = book[k][codes[:, part]]
            factors[k][:, kept] = values

        refresh(0)
        refresh(1)
        for _ in range(ROUNDS):
            for k in (0, 1):
                target = self._kept(unit - p(factors[1]) if k == 0 else p.adjoint(unit - factors[0]))
                for (part, count), (i, j), book in zip(self.parts, self.pairs, books, strict=True):
                    if target[:, part].size and (i, j)[k] > 1:
                        every = np.minimum(np.arange(count), i * j - 1)
                        index = every % i if k == 0 else every // i
                        means = centres(target[:, part], index[codes[:, part]], (i, j)[k], book[k][:: 1 if k == 0 else i])
                        book[k] = means[index]
                refresh(k)


def product(u: Array, v: Array) -> Array:
    """All pairs of levels, those of u running first: shape (2, size)."""
    return np.stack([np.tile(u, len(v)), np.repeat(v, len(u))])


def padded(book: Array, count: int) -> Array:
    """A codebook with its last level repeated, for data with few distinct values and for codes that are not used."""
    return np.pad(book, [(0, 0)] * (book.ndim - 1) + [(0, count - book.shape[-1])], mode="edge")


def centres(values: Array, index: Array, count: int, otherwise: Array) -> Array:
    """Means of the values of each index, in doubles and in the order of memory."""
    index, values = index.reshape(-1), values.reshape(-1)
    number = np.bincount(index, minlength=count)
    total = np.bincount(index, values.astype(np.float64), minlength=count)
    return np.where(number > 0, total / np.maximum(number, 1), otherwise[:count])


def nearest_pair(u: Array, v: Array, book: Array) -> Array:
    """The index of the pair of levels at the least distance; of equals the first."""
    codes, best = np.zeros(u.shape, np.uint8), np.full(u.shape, np.inf, np.float32)
    for i, (a, b) in enumerate(book.T.astype(np.float32)):
        distance = (u - a) * (u - a) + (v - b) * (v - b)
        closer = distance < best
        codes[closer] = i
        np.minimum(best, distance, out=best)
    return codes


def kmeans_pairs(u: Array, v: Array, start: Array, count: int) -> Array:
    """Two-dimensional k-means in doubles, from a start of at most ``count`` centres, the same on every machine.

    While there are fewer, the one with the greatest squared error is split along the axis that has more of it.
    """
    stride = -(-u.size // max(16 * count, WORK // count))
    points = np.stack([np.ascontiguousarray(f).reshape(-1)[::stride] for f in (u, v)])
    book = start.astype(np.float64)
    while True:
        full = book.shape[1] == count
        for _ in range(50 if full else 4):
            near = nearest_pair(points[0], points[1], book)
            moved = np.stack([centres(f, near, book.shape[1], c) for f, c in zip(points, book, strict=True)])
            if np.array_equal(moved, book):
                break
            book = moved
        if full:
            return book
        near = nearest_pair(points[0], points[1], book)
        number = np.bincount(near, minlength=book.shape[1])
        error = np.stack([np.bincount(near, (f - c[near]) ** 2, book.shape[1]) for f, c in zip(points, book, strict=True)])
        worst = int(np.argmax(error[0] + error[1]))
        axis = int(error[1, worst] > error[0, worst])
        step = np.zeros(2)
        step[axis] = np.sqrt(error[axis, worst] / max(int(number[worst]), 1))
        book = np.concatenate([book, (book[:, worst] + step)[:, None]], axis=1)
        book[:, worst] -= step
