from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evenbits._arrays import Array, as_floats, integer, real, require_finite, seed_of
from evenbits.codewords import group_sums, products
from evenbits.codings.tuples import MOST_TUPLES, Tuples
from evenbits.encoded import Encoded
from evenbits.packing import pack_radix, unpack_radix
from evenbits.quantizers.base import choice, rational, stored_dtype
from evenbits.quantizers.distributed import Alternation, Cells, Floats
from evenbits.quantizers.logistic import linear_decision
from evenbits.spec import KEPT

MOST = 1e30
"""Of magnitudes: codewords are stored as float32."""


class ClassificationAwareQuantizer:
    """Codes of few bits a row that keep what a linear classifier decides of it.

    The coordinates of a row are divided among encoders that do not know of each other: each finds its nearest prototype and sends
    the index that this has. One codeword for each tuple of indices stands for the row, and its side of the hyperplane for
    the decision. Indices and codewords are chosen in turns so that the mean of (1 - gamma) |x - c|^2 + gamma [the sides differ]
    falls, each step being exact, hence the loss never rises. Rows of equal importance: standardize (default) or scale x yourself.

    bits: of each encoder's index, or one number an encoder; floor(2^bits) levels, so 1.585 for three. At most 2^16 tuples in all.
    gamma: from 0 (squared error alone) to 1 (decisions alone, which does not generalise); .5 by default.
    blocks: None (an encoder a coordinate), a number of blocks of consecutive coordinates, or lists of coordinates.
    prototypes: of each encoder (default 128; at most 256 for blocks): few of them regularise as well.
    restarts: from prototypes cut into indices at random, the first evenly; the least loss counts. iterations: rounds of each.
    target: "decision" (default; the side that the classifier says of x) or "labels" (the class in y).

    After fit: codewords_ (tuples, d), sides_ (1 or -1 a tuple), classes_, coef_, intercept_, trace_ (the loss after each round),
    loss_. With w given the same everywhere; the classifier fitted from labels depends on the machine's mathematics library.
    Source: Severo, Domanovitz, Khisti, BSC 2021, arXiv 2107.09716; blocks are this library's own.
    """

    def __init__(
        self,
        bits: float | Fraction | Sequence[float | Fraction] = 2,
        gamma: float = 0.5,
        *,
        blocks: int | Sequence[Sequence[int]] | None = None,
        prototypes: int = 128,
        restarts: int = 5,
        iterations: int = 100,
        tolerance: float = 1e-9,
        standardize: bool = True,
        target: str = "decision",
        seed: int = 0,
    ) -> None:
        self.bits, self.gamma, self.blocks, self.prototypes = bits, gamma, blocks, prototypes
        self.restarts, self.iterations, self.tolerance = restarts, iterations, tolerance
        self.standardize, self.target, self.seed = standardize, target, seed

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments by name, as scikit-learn's clone and searches want them."""
        return {name: getattr(self, name) for name in PARAMETERS}

    def set_params(self, **parameters: Any) -> ClassificationAwareQuantizer:
        for name, value in parameters.items():
            if name not in PARAMETERS:
                raise ValueError(f"{name} is no parameter; there are {', '.join(PARAMETERS)}")
            setattr(self, name, value)
        return self

    def fit(
        self, X: ArrayLike, y: ArrayLike | None = None, *, w: ArrayLike | None = None, intercept: float = 0.0
    ) -> ClassificationAwareQuantizer:
        """Learn from rows X (n, d) with two classes y (n,), or with the decision w . x + intercept >= 0, or with both.

        Without w, a linear classifier is fitted to y. Raises ValueError that names the argument.
        """
        x = self._rows(X)
        n, d = x.shape
        if not n or not d:
            raise ValueError(f"X has shape {x.shape}; there must be rows and coordinates")
        labels = self._labels(y, n)
        blocks, levels = self._encoders(d)
        self.mean_, self.scale_ = moments(x) if self.standardize else (np.zeros(d), np.ones(d))
        if w is None:
            if labels is None:
                raise ValueError("y and w are None; give the labels of X, or a decision w (with intercept)")
            inner, self.intercept_ = linear_decision((x - self.mean_) / self.scale_, labels)
            self.coef_ = inner / self.scale_
            self.intercept_ -= float(products(self.coef_[None], self.mean_[:, None])[0, 0])
        else:
            self.coef_ = as_floats(w, "w").astype(np.float64)
            self.intercept_ = real(intercept, "intercept", -1e300, 1e300)
            require_finite(self.coef_, "w")
            if self.coef_.shape != (d,):
                raise ValueError(f"w has shape {self.coef_.shape}; X has {d} coordinates")
        target = choice(self.target, "target", ("decision", "labels"))
        if target == "labels" and labels is None:
            raise ValueError("target is 'labels'; give y")
        sides = labels if target == "labels" and labels is not None else self._side(x)
        best = self._train((x - self.mean_) / self.scale_, sides, blocks, levels)
        assert best.codewords is not None
        self.cells_, self.maps_, self.levels_ = best.cells, best.maps, best.levels
        self.codewords_ = best.codewords * self.scale_ + self.mean_
        self.sides_ = best.sides(best.codewords)
        self.trace_, self.loss_ = best.trace, best.trace[-1]
        self._tuples_of = best.tuples_of
        return self

    def indices(self, X: ArrayLike) -> NDArray[np.uint32]:
        """The tuple of each row: its indices in C order of the encoders' levels."""
        x = (self._rows(X, fitted=True) - self.mean_) / self.scale_
        return self._tuples_of([cells.find(x) for cells in self.cells_])

    def encode(self, X: ArrayLike) -> Encoded:
        """Indices and codewords of rows X (n, d), which ``evenbits.decode`` turns into codewords."""
        x = self._rows(X, fitted=True)
        rates = sum((rational(b) for b in self._bits(len(self.levels_))), Fraction(0)) / x.shape[1]
        coding = Tuples("classification_aware", rates, x.shape, stored_dtype(np.asarray(X).dtype), self.levels_)
        codes = pack_radix(self.indices(x)[None], coding.radix)
        return Encoded({"codes": codes, "codewords": self.codewords_.astype(np.float32)}, coding.to_dict())

    def decode(self, encoded: Encoded) -> Array:
        """``evenbits.decode(encoded)``: the codeword of each row."""
        return encoded.decode()

    def decision_sides(self, X: ArrayLike | Encoded) -> Floats:
        """1 or -1 for each row, or for each row of what ``encode`` gave."""
        if not isinstance(X, Encoded):
            indices: Array = self.indices(X)
        else:
            indices = self._indices_in(X)
        sides: Floats = self.sides_[indices]
        return sides

    def _indices_in(self, X: Encoded) -> Array:
        coding = X._meaning
        if not isinstance(coding, Tuples) or coding.levels != self.levels_:
            raise ValueError("X was not encoded by this quantizer")
        indices: Array = unpack_radix(X.planes["codes"], coding.radix, coding.rows)[0]
        return indices

    def predict(self, X: ArrayLike | Encoded) -> Array:
        """The class of each row's codeword; of encoded rows without decoding them."""
        sides = self.decision_sides(X)
        label: Array = self.classes_[(sides > 0).astype(int)]
        return label

    def score(self, X: ArrayLike, y: ArrayLike) -> float:
        """The part of the rows whose class is y. Raises ValueError without rows."""
        found, labels = self.predict(X), np.asarray(y)
        if labels.shape != found.shape or not found.size:
            raise ValueError(f"y has shape {labels.shape}; X has {len(found)} rows, and there must be some")
        return float(np.mean(found == labels))

    def disagreement(self, X: ArrayLike) -> float:
        """The part of the rows that are decided otherwise than w . x + intercept says. Raises ValueError without rows."""
        rows = self._rows(X, fitted=True)
        if not len(rows):
            raise ValueError("X is empty; there must be rows")
        return float(np.mean(self.decision_sides(rows) != self._side(rows)))

    def _side(self, x: Floats) -> Floats:
        return np.where(products(x, self.coef_[:, None])[:, 0] + self.intercept_ >= 0, 1.0, -1.0)

    def _train(self, x: Floats, sides: Floats, blocks: list[NDArray[np.intp]], levels: list[int]) -> Alternation:
        restarts = integer(self.restarts, "restarts", 1, 10_000)
        iterations = integer(self.iterations, "iterations", 1, 2**31)
        gamma, tolerance = real(self.gamma, "gamma", 0, 1), real(self.tolerance, "tolerance", 0, 1e300)
        seed, count = seed_of(self.seed), integer(self.prototypes, "prototypes", 2, 2**20)
        inner = self.coef_ * self.scale_
        exponent = int(np.frexp(np.abs(inner).max())[1])
        inner = np.ldexp(inner, -exponent)
        length = math.sqrt(float(products(inner[None], inner[:, None])[0, 0]))
        if not length > 0:
            raise ValueError("w is 0; a decision needs a direction")
        offset = self.intercept_ + float(products(self.coef_[None], self.mean_[:, None])[0, 0])
        inner, offset = inner / length, float(np.ldexp(offset, -exponent))
        most = {len(block) == 1: count if len(block) == 1 else min(count, 256) for block in blocks}
        cells = [
            Cells.of(x, block, max(most[len(block) == 1], r), inner, gamma, seed, KEPT + i)
            for i, (block, r) in enumerate(zip(blocks, levels, strict=True))
        ]
        best: Alternation | None = None
        trained = Alternation(x, sides, inner, offset / length, gamma, cells, levels)
        for stream in range(restarts):
            trained.start(seed, stream)
            trained.run(iterations, tolerance)
            if best is None or trained.trace[-1] < best.trace[-1]:
                best = trained.copy()
        assert best is not None
        return best

    def _rows(self, X: ArrayLike, fitted: bool = False) -> Floats:
        if fitted and not hasattr(self, "codewords_"):
            raise ValueError("this ClassificationAwareQuantizer is not fitted; call fit first")
        a = as_floats(X, "X").astype(np.float64)
        if a.ndim != 2:
            raise ValueError(f"X has shape {a.shape}; it must be rows of coordinates")
        if fitted and a.shape[1] != len(self.mean_):
            raise ValueError(f"X has {a.shape[1]} coordinates; it was fitted to {len(self.mean_)}")
        require_finite(a, "X")
        peak = float(np.abs(a).max(initial=0))
        if peak > MOST:
            raise ValueError(f"X has numbers of size {peak:.3g}; codewords and squares take up to {MOST:g}: scale X")
        return a

    def _labels(self, y: ArrayLike | None, n: int) -> Floats | None:
        """1 for the greater class, -1 for the other; fills classes_."""
        if y is None:
            self.classes_: Array = np.array([-1, 1])
            return None
        labels = np.asarray(y)
        if labels.shape != (n,):
            raise ValueError(f"y has shape {labels.shape}; X has {n} rows")
        if (labels != labels).any():
            raise ValueError("y has NaN; every row must have a class")
        self.classes_ = np.unique(labels)
        if len(self.classes_) != 2:
            raise ValueError(f"y has {len(self.classes_)} classes; this method decides between two")
        return np.where(labels == self.classes_[1], 1.0, -1.0)

    def _bits(self, count: int) -> list[float | Fraction]:
        bits = self.bits
        many = list(bits) if isinstance(bits, Sequence) and not isinstance(bits, (str, bytes)) else [bits] * count
        if len(many) != count:
            raise ValueError(f"bits has {len(many)} numbers; there are {count} encoders")
        return many  # type: ignore[return-value]

    def _encoders(self, d: int) -> tuple[list[NDArray[np.intp]], list[int]]:
        """The coordinates of each encoder, and its levels."""
        if self.blocks is None or isinstance(self.blocks, (int, np.integer)):
            count = d if self.blocks is None else integer(self.blocks, "blocks", 1, d)
            blocks = [np.asarray(b, np.intp) for b in np.array_split(np.arange(d), count)]
        else:
            blocks = [np.array([integer(j, "blocks", 0, d - 1) for j in b], np.intp) for b in self.blocks]
            if sorted(int(j) for b in blocks for j in b) != list(range(d)) or not all(map(len, blocks)):
                raise ValueError(f"blocks must name each of the {d} coordinates once")
        levels = [math.floor(2.0 ** float(rational(b)) + 1e-3) for b in self._bits(len(blocks))]
        if min(levels) < 2 or math.prod(levels) > MOST_TUPLES:
            raise ValueError(
                f"bits make {'x'.join(map(str, levels))} tuples; take 2 levels an encoder or more, {MOST_TUPLES} tuples or less"
            )
        return blocks, levels


PARAMETERS = (
    "bits", "gamma", "blocks", "prototypes", "restarts", "iterations", "tolerance", "standardize", "target", "seed"
)  # fmt: skip


def moments(x: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each coordinate, 1 where it is constant; added up in the order of rows."""
    one = np.zeros(len(x), np.uint32)
    mean = group_sums(x, one, 1)[0] / len(x)
    exponent = np.frexp(np.abs(x - mean).max(axis=0))[1]
    exponent[exponent > -400] = 0  # squares of what is smaller would vanish
    deviation = np.ldexp(np.sqrt(group_sums(np.square(np.ldexp(x - mean, -exponent)), one, 1)[0] / len(x)), exponent)
    return mean, np.where(deviation > 1e-300, deviation, 1.0)
