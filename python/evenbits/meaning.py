"""What codes mean: from packed digits on a grid to coordinates, and from these to values."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from evenbits._arrays import Array
from evenbits.axes import rotate_back
from evenbits.codebooks import dequantize
from evenbits.decomposition import Transform
from evenbits.embedding import Frame
from evenbits.orthogonal import transform_of
from evenbits.packing import unpack_codes
from evenbits.random import random_subset
from evenbits.spec import KEPT, PAIRS, Spec, levels_of
from evenbits.transforms import inverse_randomized_hadamard


class Meaning:
    """What the codes of a spec mean: level tables, and the way from packed rows to coordinates and back."""

    def __init__(self, spec: Spec, learned: NDArray[np.float32] | None = None) -> None:
        self.spec = spec
        m, u = spec.codes.levels, spec.codes.upper
        self.paired, self.learned = spec.grid == PAIRS, learned
        if self.paired:
            self.lower = self.upper = np.zeros(m, np.float32)  # ``books`` says what codes mean
        elif spec.grid == "table":
            assert learned is not None
            self.lower, self.upper = learned[:m], learned[m:] if u else learned[:m]
        else:
            self.lower = levels_of(spec.grid, m, m)
            self.upper = levels_of(spec.grid, m + 1, m) if u else self.lower
        self.split = spec.codes.upper_digits(spec.kept)  # the first codes of a row have one level more
        self.plain = spec.codes.plain

    @cached_property
    def frame(self) -> Frame:
        s = self.spec
        kind = "dct" if s.embedding and s.embedding.kind == "dct_frame" else "hadamard"
        return Frame(s.d, s.length, s.seed, s.stream, kind)

    @cached_property
    def transform(self) -> Transform:
        """P of grid "pairs"."""
        s = self.spec
        return transform_of(s.transform, s.axes or (s.length,), s.seed, s.stream)

    def books(self, begin: int, end: int) -> Array:
        """What codes mean in both bases, in rows begin to end: (rows, 2, levels), or (1, 2, levels) if it is the same in all.

        The levels of digits with M values come first, then those of digits with M + 1.
        """
        assert self.learned is not None
        s = self.spec
        if s.books is None:
            return self.learned[None]
        own, parts, first = self.learned[begin:end].astype(np.float32), [], 0
        if not s.books:
            return own
        for i, j, count in zip(s.books[::2], s.books[1::2], (s.codes.levels, s.top), strict=False):
            code = np.minimum(np.arange(count), i * j - 1)
            parts.append(np.stack([own[:, first + code % i], own[:, first + i + code // i]], axis=1))
            first += i + j
        return np.concatenate(parts, axis=-1)

    @cached_property
    def kept(self) -> Array | None:
        """The coordinates that have a code, ascending, or None if all do."""
        s = self.spec
        return random_subset(s.seed, s.stream + KEPT, s.length, s.kept) if s.kept < s.length else None

    def unpack(self, packed: Array) -> Array:
        return unpack_codes(packed, self.spec.codes, self.spec.kept)

    def look_up(self, codes: Array, scale: Array, zero: Array | None, begin: int = 0) -> Array:
        """(level[code] - zero) * scale, float32; scale and zero have an entry for each group of the rows from ``begin`` on.

        Of grid "pairs" all coordinates at once, also those that have no code of their own.
        """
        group = self.spec.group or max(self.spec.kept, 1)
        if self.paired:
            u, v = self._factors(codes, begin)
            y: Array = (self._scattered(u) + self.transform(self._scattered(v))) * scale
            return y
        return self._levels(codes, self.lower, self.upper, scale, zero, group)

    def _levels(self, codes: Array, lower: Array, upper: Array, scale: Array, zero: Array | None, group: int) -> Array:
        if self.split == 0:
            return dequantize(codes, lower, scale=scale, zero=zero, group=group)
        y = np.empty(codes.shape, np.float32)
        y[:, : self.split] = upper[codes[:, : self.split]]
        y[:, self.split :] = lower[codes[:, self.split :]]
        if zero is not None:
            y -= per_coordinate(zero, group, self.spec.kept)
        y *= per_coordinate(scale, group, self.spec.kept)
        return y

    def _factors(self, codes: Array, begin: int) -> Array:
        """The numbers of the codes in both bases."""
        books, split, m = self.books(begin, begin + len(codes)), self.split, self.spec.codes.levels
        if len(books) == 1:
            one, n = np.ones((len(codes), 1), np.float32), max(self.spec.kept, 1)
            return np.stack([self._levels(codes, level[:m], level[m:], one, None, n) for level in books[0]])
        factors = np.empty((2, *codes.shape), np.float32)
        for part, own in ((slice(0, split), books[..., m:]), (slice(split, None), books[..., :m])):
            index = codes[None, :, part].astype(np.intp)
            factors[..., part] = np.take_along_axis(np.moveaxis(own, 1, 0), index, axis=-1)
        return factors

    def scatter(self, y: Array) -> Array:
        """Kept coordinates to all coordinates."""
        return y if self.paired else self._scattered(y)

    def _scattered(self, y: Array) -> Array:
        if self.kept is None:
            return y
        wide = np.zeros((len(y), self.spec.length), np.float32)
        wide[:, self.kept] = y
        return wide

    def un_embed(self, y: Array) -> Array:
        """Coordinates (rows, length) to rows of d values."""
        e = self.spec.embedding
        if e is None:
            return y
        if e.framed:
            return self.frame.synthesise(y)
        if self.spec.axes:
            return rotate_back(y, self.spec.row_shape, self.spec.axes, self.spec.seed, self.spec.stream)
        return inverse_randomized_hadamard(y, seed=self.spec.seed, stream=self.spec.stream, rounds=e.rounds, length=self.spec.d)


def per_coordinate(groups: Array, group: int, count: int) -> Array:
    """An entry a group as an entry a coordinate (or one for all, which broadcasts)."""
    return groups if groups.shape[-1] == 1 else np.repeat(groups, group, axis=-1)[..., :count]
