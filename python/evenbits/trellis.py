"""Entropy-coded trellises: two quantizers on one grid, of which the parity of what came before chooses.

In units of the grid's step, index k of quantizer 0 means 2 k and of quantizer 1 2 k - sign k, each drawn in a little towards
0. A state s of 2^order takes quantizer s mod 2 and goes on to (s >> 1) xor (odd if s is odd) xor (one if k is odd), ``MACHINES``.
The law of k is that of the context, s mod 2, 4 or 8: below a bit or so a value, where most are 0, states of one quantizer part
by themselves into those that are nearly always followed by 0 and others that are not, which costs fewer bits.
Sources: Marcellin and Fischer, Trellis coded quantization, IEEE Trans. Commun. 38 (1990); Fischer and Wang, Entropy-constrained
trellis-coded quantization, IEEE Trans. Inf. Theory 38 (1992); the codes are Ungerboeck's (1982), the entropy coder is of Duda's
kind (rANS, 2013).
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from evenbits._arrays import Array

SHARE_BITS = 14
BLOCK = 1 << 18
"""Values of a block, at most."""
LANE = 1 << 12
"""Values of a sequence, at least; 16 sequences make a block."""
MOST_LEVEL = 1023
"""Of |k|."""
MACHINES = {o: (a >> 1, b >> 1) for o, (a, b) in enumerate(
    [(0o5, 0o2), (0o13, 0o4), (0o23, 0o4), (0o45, 0o10), (0o103, 0o24), (0o235, 0o126), (0o515, 0o362)], 2)}  # fmt: skip
"""odd and one, by order."""
FINENESS = 8
"""Bins a step, in which candidates are the same."""
POWERS = (
    16777216, 16065917, 15384775, 14732511, 14107901, 13509772, 12937002, 12388516,
    11863283, 11360319, 10878679, 10417458, 9975792, 9552851, 9147842, 8760003,
)  # fmt: skip
"""2^(24 - j / 16), rounded."""
LONGEST = 255


def lanes_of(count: int) -> int:
    """Sequences in a block of so many values."""
    return min(16, max(1, count // LANE))


def grid(top: int, contexts: int = 2) -> NDArray[np.float64]:
    """What |k| up to ``top`` means to the quantizer of each context, in steps: (contexts, top + 1)."""
    k = np.arange(top + 1)
    return np.stack([2 * k, 2 * k - (k > 0)] * (contexts // 2)).astype(np.float64)


def log2(x: Array) -> Array:
    """Of positive numbers, to some 13 digits, the same on every machine: by the series of the inverse hyperbolic tangent."""
    m, e = np.frexp(x)
    t = (m - 0.75) / (m + 0.75)
    total, power = np.zeros_like(t), t.copy()
    for i in range(1, 20, 2):
        total += power / i
        power *= t * t
    out: Array = e + 2 / 0.6931471805599453 * total - 0.41503749927884376
    return out


def exp2(x: float) -> float:
    """2^x, likewise: 2^(the nearest integer) times the series of the exponential."""
    whole = round(x)
    t, total, term = (x - whole) * 0.6931471805599453, 1.0, 1.0
    for i in range(1, 15):
        term = term * t / i
        total += term
    return math.ldexp(total, whole)


def shares_of(lengths: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How many of 2^14 slots +-k take, from code lengths in sixteenths of a bit (one quantizer's): at least one each."""
    top = len(lengths) - 1
    weights = np.array([POWERS[int(n) & 15] >> (int(n) >> 4) for n in lengths], np.int64)
    twice = np.full(top + 1, 2)
    twice[0] = 1
    shares: NDArray[np.int64] = np.maximum((weights << SHARE_BITS) // int((weights * twice).sum()), 1)
    rest = (1 << SHARE_BITS) - int((shares * twice).sum())
    while rest < 0:  # tails that take a slot each have it from the largest
        k = int(shares.argmax())
        lead = int(shares[k] - np.delete(shares, k).max())
        taken = min(max(lead, 1), -(rest // int(twice[k])))
        shares[k] -= taken
        rest += taken * int(twice[k])
    shares[0] += rest
    return shares


class Model:
    """Code lengths and values: what a decoder knows of an array's law.

    lengths: (contexts, K + 1) sixteenths of a bit; offsets, likewise: by how many 1/64 of a step |k| > 0 means less than on the
    grid. law: the bytes that say all this, if they do, see ``evenbits.trellis_law``.
    """

    def __init__(self, lengths: NDArray[np.uint8], offsets: NDArray[np.int8], law: NDArray[np.uint8] | None = None) -> None:
        self.lengths, self.offsets, self.law = lengths, offsets, law
        self.contexts, self.top = len(lengths), int(lengths.shape[1]) - 1

    @cached_property
    def points(self) -> NDArray[np.float32]:
        """What |k| means, (contexts, K + 1)."""
        points = grid(self.top, self.contexts) - self.offsets / 64
        points[:, 0] = 0
        return points.astype(np.float32)

    @cached_property
    def magnitude_shares(self) -> NDArray[np.int64]:
        return np.stack([shares_of(n) for n in self.lengths])

    @cached_property
    def bits(self) -> NDArray[np.float64]:
        """Bits that k takes, (contexts, K + 1)."""
        return SHARE_BITS - log2(self.magnitude_shares.astype(np.float64))

    def cut(self, top: int) -> Model:
        """Without indices beyond ``top``, if tables say all this."""
        if self.law is not None:
            return self
        return Model(self.lengths[:, : top + 1].copy(), self.offsets[:, : top + 1].copy())

    def joined(self, other: Model) -> Model:
        """This one, and beyond it what another says, which also says the greatest index."""
        k = self.top + 1
        tables = ((self.lengths, other.lengths), (self.offsets, other.offsets))
        return Model(*(np.concatenate([a[:, : other.top + 1], b[:, k:]], axis=1) for a, b in tables))

    @property
    def symbols(self) -> int:
        return self.contexts * (2 * self.top + 1)

    def by_symbol(self, table: Array, sign: int = 1) -> Array:
        """Entries of |k| as entries of symbols; those of negative k times ``sign``."""
        wide = np.repeat(table, 2, axis=1)[:, 1:]
        wide[:, 2::2] *= sign
        return np.ascontiguousarray(wide.T).reshape(-1)

    @cached_property
    def shares(self) -> NDArray[np.uint32]:
        return self.by_symbol(self.magnitude_shares).astype(np.uint32)

    @cached_property
    def starts(self) -> NDArray[np.uint32]:
        shares = self.shares.reshape(-1, self.contexts)
        return np.ascontiguousarray(np.cumsum(shares, axis=0) - shares, np.uint32).reshape(-1)

    @cached_property
    def slots(self) -> NDArray[np.uint16]:
        symbols = np.arange(self.symbols, dtype=np.uint16).reshape(-1, self.contexts).T
        return np.concatenate([np.repeat(symbols[c], self.shares[c :: self.contexts]) for c in range(self.contexts)])

    @cached_property
    def values(self) -> NDArray[np.float32]:
        """What symbols mean."""
        return self.by_symbol(self.points, -1).astype(np.float32)

    def candidates(self, price: float, most: float = math.inf) -> tuple[Array, Array, Array]:
        """For the middle of every bin of magnitudes, the best |k| of each context and parity at so much a bit.

        What they mean, their prices and they themselves: (bins, 2 contexts), at 2 c + |k| mod 2. There are bins for numbers up
        to ``most``.
        """
        bins = FINENESS * int(min(2 * self.top + 3, most + 1))
        middle = (np.arange(bins) + 0.5) / FINENESS
        near = np.floor(middle / 2)[:, None] + np.arange(-4, 3)
        k = np.concatenate([np.broadcast_to([0.0, 1.0], (bins, 2)), near], axis=1)
        k = np.clip(k, 0, self.top).astype(np.int64)
        out = [np.empty((bins, 2 * self.contexts), t) for t in (np.float32, np.float32, np.uint16)]
        every = np.arange(bins)
        for c in range(self.contexts):
            points, prices = self.points[c].astype(np.float64), price * self.bits[c]
            cost = np.square(middle[:, None] - points[k]) + prices[k]
            for parity in (0, 1):
                best = k[every, np.argmin(np.where(k % 2 == parity, cost, np.inf), axis=1)]
                wrong = best % 2 != parity  # K = 0: there is no odd k
                for table, entry in zip(out, (points[best], np.where(wrong, 1e9, prices[best]), best), strict=True):
                    table[:, 2 * c + parity] = entry
        return out[0], out[1], out[2]


def tallied(counts: Array, sums: Array, contexts: int) -> tuple[Array, Array]:
    """How often |k| came in each context, and the sums of the magnitudes that it stood for: (contexts, K + 1)."""
    seen, total = counts.reshape(-1, contexts).T, sums.reshape(-1, contexts).T
    n = np.concatenate([seen[:, :1], seen[:, 1::2] + seen[:, 2::2]], axis=1).astype(np.float64)
    return n, np.concatenate([0 * total[:, :1], total[:, 1::2] - total[:, 2::2]], axis=1)


def fitted(counts: Array, sums: Array, contexts: int = 2) -> Model:
    """The model of how often symbols came, and of the sums of what they stood for."""
    return _model(*tallied(counts, sums, contexts))


def guessed(histogram: Array, top: int, contexts: int = 2) -> Model:
    """A first model, from how many magnitudes lie in each half step."""
    middle = (np.arange(len(histogram)) + 0.5) / 2
    nearest = np.floor(middle / 2 + 0.5), np.where(middle < 0.6, 0, np.floor(middle / 2 + 1))
    n = np.stack([np.bincount(np.minimum(k, top).astype(np.int64), histogram, top + 1) for k in nearest] * (contexts // 2))
    return _model(n, n * grid(top, contexts))


def _model(n: Array, total: Array) -> Model:
    each = n + 0.1
    each[:, 1:] /= 2
    lengths = np.rint(-16 * log2(each / each.max(axis=1, keepdims=True)))
    offsets = np.where(n >= 4, np.rint(64 * (grid(n.shape[1] - 1, len(n)) - total / np.maximum(n, 1))), 0)
    offsets[:, 0] = 0
    return Model(np.clip(lengths, 0, LONGEST).astype(np.uint8), np.clip(offsets, -127, 127).astype(np.int8))
