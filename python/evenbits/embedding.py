"""Democratic embeddings: x = S a with a Parseval frame S and coefficients a that are all alike in size.

The frame is S = P D H / sqrt(n): H the Hadamard matrix of order n >= d, D random signs, P the rows of a random subset of
d coordinates. A random subset matters: the first d columns of a Sylvester matrix are copies of one basis when d is n / 2.
With frame="dct" the inverse of the cosine transform (DCT-II, by scipy) stands for H, of any order n; its numbers, unlike all
others here, may differ between machines.
Sources: Lyubarskii and Vershynin, Uncertainty principles and vector quantization, IEEE Trans. Inf. Theory 56 (2010);
Saha, Pilanci, Goldsmith, arXiv 2103.07578 and 2202.11277 (democratic and near-democratic embeddings).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import ArrayLike

from evenbits import _core, cosine_frames
from evenbits._arrays import LARGEST, Array, as_floats, integer, norms, peak_exponent, real, require_finite, seed_of, workers_of
from evenbits.cosine_frames import cosine_transform
from evenbits.matrices import base_matrix, base_order, hadamard_length
from evenbits.random import SHORT, random_signs, random_subset

SUPPORT = 1 << 63
"""Added to a stream's number to draw the support of a frame, so that it is independent of the signs."""

FRAMES = {"hadamard": "Hadamard", "dct": "cosine"}
ITERATIONS = {"kashin": 16, "exact": 100}
"""The solvers, and how many iterations each makes if it is not told."""


def _draw(d: int, n: int, seed: int, stream: int) -> tuple[Array, Array]:
    """The support of a frame and its signs."""
    support = random_subset(seed, stream + SUPPORT, n, d)
    signs = np.zeros(n, np.float32)
    signs[support] = random_signs(seed, stream, n)[support]
    support.flags.writeable = signs.flags.writeable = False
    return support, signs


_recent = lru_cache(maxsize=8)(_draw)  # to draw a frame costs as much as to embed some vectors


@dataclass(frozen=True)
class Frame:
    """The Parseval frame of d rows and n columns that (seed, stream) names; S S^T = I."""

    d: int
    n: int
    seed: int
    stream: int = 0
    kind: str = "hadamard"

    def __post_init__(self) -> None:
        seed_of(self.seed)
        integer(self.stream, "stream", 0, SUPPORT - 1)
        if self.kind not in FRAMES:
            raise ValueError(f"frame is {self.kind!r}; known are {', '.join(map(repr, FRAMES))}")
        if not 1 <= self.d <= self.n or (self.kind == "hadamard" and base_order(self.n) is None):
            raise ValueError(f"there is no {FRAMES[self.kind]} frame of {self.d} rows and {self.n} columns")

    @classmethod
    def of_redundancy(cls, d: int, redundancy: float, seed: int, stream: int = 0, kind: str = "hadamard") -> Frame:
        """The frame with the least possible number of columns n >= redundancy * d."""
        n = math.ceil(real(redundancy, "redundancy", 1, 64) * d - 1e-9)
        return cls(d, hadamard_length(n) if kind == "hadamard" else n, seed, stream, kind)

    @cached_property
    def _drawn(self) -> tuple[Array, Array]:
        return (_recent if self.n <= SHORT else _draw)(self.d, self.n, self.seed, self.stream)

    @property
    def support(self) -> Array:
        """The coordinates, ascending, that hold the vector."""
        return self._drawn[0]

    @property
    def signs(self) -> Array:
        """+1 and -1 on the support, 0 off it."""
        return self._drawn[1]

    @property
    def base(self) -> Array:
        return base_matrix(base_order(self.n) or 1)

    def spread(self, x: Array, workers: int = 1) -> Array:
        """Float32 rows of d numbers as rows of n, zero off the support."""
        wide = np.empty((*x.shape[:-1], self.n), np.float32)
        _core.spread(x, self.support, wide, self.n, workers)
        return wide

    def analyse(self, x: Array, workers: int = 1) -> Array:
        """S^T x of float32 rows: the near-democratic embedding, least in the Euclidean norm."""
        a = self.spread(x, workers)
        if self.kind == "dct":
            return cosine_transform(a * self.signs)
        _core.hadamard(a, a, self.base, self.signs, None, 1 / math.sqrt(self.n), workers)
        return a

    def synthesise(self, a: Array, workers: int = 1) -> Array:
        """S a of float32 rows."""
        if self.kind == "dct":
            y = cosine_transform(a, inverse=True) * self.signs
        else:
            y = np.empty_like(a)
            _core.hadamard(a, y, self.base, None, self.signs, 1 / math.sqrt(self.n), workers)
        x = np.empty((*a.shape[:-1], self.d), np.float32)
        _core.gather(y, self.support, x, self.n, workers)
        return x


def kashin_schedule(redundancy: float) -> tuple[float, float]:
    """(eta, delta) of the iteration that gives the lowest level at this redundancy.

    Measured on Gaussian, Gaussian-cubed and Student-t2 vectors, d = 4096, with the closing step: levels 2.35, 2.08, 1.85
    at redundancy 1.25, 1.5, 2.
    """
    if redundancy < 1.375:
        return 0.7, 2.0
    return (0.5, 1.0) if redundancy < 1.75 else (0.5, 1.5)


def democratic_embedding(
    x: ArrayLike,
    *,
    redundancy: float,
    seed: int,
    stream: int = 0,
    frame: str = "hadamard",
    solver: str = "kashin",
    iterations: int | None = None,
    eta: float | None = None,
    delta: float | None = None,
    closing: bool = True,
    workers: int = 1,
) -> Array:
    """Coefficients a of x with S a = x and a small largest coefficient: level |a|_inf sqrt(n) / |x|_2.

    solver "kashin": Lyubarskii and Vershynin's iteration from r = x, a = 0, M = |x| / sqrt(delta n): b = S^T r, c = b clipped
    at +-M, a += c, r -= S c, M *= eta, ``iterations`` times (default 16); with ``closing`` then a += S^T r, so that S a = x up
    to rounding. eta and delta default to ``kashin_schedule(redundancy)``.

    solver "exact": the least level there is, min |a|_inf subject to S a = x, by Douglas and Rachford's iteration; S a = x up
    to rounding after any number of them. Its level exceeds the least one by 5 % at most after 50 iterations, by 2 % after
    100 (the default), by .7 % after 400 (measured, d = 2 to 4096, redundancy 1.05 to 4). It takes no eta and delta.

    x: (..., d), any float dtype -> float32 (..., n), n >= redundancy * d the next length of a Hadamard matrix, or the next
    integer with frame="dct" (the module's text), which takes scipy. Raises ValueError for NaN, infinity, numbers and
    coefficients beyond float32, an empty axis and parameters out of range; TypeError for other dtypes; ModuleNotFoundError
    without scipy.
    Sources: the module's; P.-L. Lions and B. Mercier, SIAM J. Numer. Anal. 16 (1979), of the iteration for two operators.
    """
    solver_options(solver, eta, delta, closing)
    workers = workers_of(workers)
    a, made, schedule = _embedding_input(x, redundancy, seed, stream, frame, eta, delta, workers)
    iterations = iterations_of(iterations, solver)
    least, greatest = np.empty((2, *a.shape[:-1], 1), np.float32)
    _core.extremes(a, made.d, made.d, least, greatest, workers)
    exponent = peak_exponent(np.maximum(-least, greatest))  # no sum may overflow on the way
    if exponent is not None:
        a = np.ldexp(a, -exponent)
    if solver == "exact":
        out = democratic(made, a, iterations, workers=workers)
    else:
        out = kashin(made, a, iterations, *schedule, closing=closing, workers=workers)
    if exponent is None:
        return out
    with np.errstate(over="ignore"):
        scaled: Array = np.ldexp(out, exponent)
    if not np.isfinite(scaled).all():
        raise ValueError("x is too large: its coefficients are beyond float32; scale it down first")
    return scaled


def kashin(frame: Frame, x: Array, iterations: int, eta: float, delta: float, *, closing: bool = True, workers: int = 1) -> Array:
    """``democratic_embedding`` of checked float32 rows in a given frame."""
    if frame.kind == "dct":
        return cosine_frames.kashin(frame.spread(x, workers) * frame.signs, frame.signs != 0, iterations, eta, delta, closing)
    out = np.empty((*x.shape[:-1], frame.n), np.float32)
    _core.kashin(x, frame.support, out, frame.base, frame.signs, iterations, eta, delta, closing, workers)
    return out


def democratic(frame: Frame, x: Array, iterations: int, *, workers: int = 1) -> Array:
    """The same with solver "exact"."""
    if frame.kind == "dct":
        return cosine_frames.democratic(frame.spread(x, workers) * frame.signs, frame.signs != 0, iterations)
    out = np.empty((*x.shape[:-1], frame.n), np.float32)
    _core.democratic(x, frame.support, out, frame.base, frame.signs, iterations, workers)
    return out


def democratic_inverse(
    a: ArrayLike, *, length: int, seed: int, stream: int = 0, frame: str = "hadamard", workers: int = 1
) -> Array:
    """x = S a, the vector of d = ``length`` numbers that the coefficients a stand for.

    a: (..., n) float -> float32 (..., length), with the seed, stream and frame of ``democratic_embedding``.
    Raises ValueError if there is no frame of that shape, TypeError for other dtypes.
    """
    values = as_floats(a, "a", double=False)
    if values.ndim == 0:
        raise ValueError("a has no axis; pass an array of one dimension or more")
    n = values.shape[-1]
    if n == 0:
        raise ValueError(f"a has shape {values.shape}; its last axis must have at least one element")
    made = Frame(integer(length, "length", 1, n), n, seed_of(seed), stream, frame)
    exponent = peak_exponent(np.abs(values).max(axis=-1, keepdims=True, initial=0))  # as in ``democratic_embedding``
    if exponent is None:
        return made.synthesise(values, workers_of(workers))
    with np.errstate(over="ignore"):
        x: Array = np.ldexp(made.synthesise(np.ldexp(values, -exponent), workers_of(workers)), exponent)
    return x


def level(a: ArrayLike, x: ArrayLike) -> Array:
    """|a|_inf sqrt(n) / |x|_2 of each row: 1 at best, about 2 sqrt(ln 2n) for a bare rotation; 0 where x is 0.

    a: (..., n), x: (..., d) -> float64 (...). Source: the constant K of Lyubarskii and Vershynin.
    """
    coefficients, vector = np.asarray(a, np.float64), np.asarray(x, np.float64)
    norm, peak = norms(vector), np.max(np.abs(coefficients), axis=-1)
    ratio: Array = np.divide(peak, norm, out=np.zeros_like(peak), where=norm > 0) * math.sqrt(coefficients.shape[-1])
    return ratio


def _embedding_input(
    x: ArrayLike, redundancy: float, seed: int, stream: int, kind: str, eta: float | None, delta: float | None, workers: int
) -> tuple[Array, Frame, tuple[float, float]]:
    wide = as_floats(x)
    a = as_floats(wide, double=False)
    if a.ndim == 0 or a.shape[-1] == 0:
        raise ValueError(f"x has shape {a.shape}; its last axis must have at least one element")
    if wide is not a and not np.isfinite(a).all():
        require_finite(wide, workers=workers)
        index = np.unravel_index(int(np.argmin(np.isfinite(a))), a.shape)
        where = ", ".join(map(str, index))
        largest = f"{LARGEST['float32']:.6g}"
        raise ValueError(f"x[{where}] is {wide[index]:.6g}, and float32 holds no more than {largest}; scale x down first")
    require_finite(a, workers=workers)
    frame = Frame.of_redundancy(a.shape[-1], redundancy, seed_of(seed), stream, kind)
    usual = kashin_schedule(frame.n / frame.d)
    schedule = (usual[0] if eta is None else eta, usual[1] if delta is None else delta)
    return a, frame, (eta_of(schedule[0]), delta_of(schedule[1]))


def eta_of(eta: float) -> float:
    return real(eta, "eta", 1e-6, 1 - 1e-6)


def delta_of(delta: float) -> float:
    return real(delta, "delta", 1e-6, 1e6)


def solver_options(solver: str, eta: float | None, delta: float | None, closing: bool = True) -> None:
    """Raise ValueError for an unknown solver, and for options that it does not take."""
    if not isinstance(solver, str) or solver not in ITERATIONS:
        raise ValueError(f"solver is {solver!r}; known are {', '.join(map(repr, ITERATIONS))}")
    if solver == "exact":
        for name, value, default in (("eta", eta, None), ("delta", delta, None), ("closing", closing, True)):
            if value is not default:
                raise ValueError(f"{name} is {value!r}; only solver 'kashin' takes it")


def iterations_of(iterations: int | None, solver: str) -> int:
    return integer(ITERATIONS[solver] if iterations is None else iterations, "iterations", 0, 10_000)
