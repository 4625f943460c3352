from __future__ import annotations

import math
import warnings
from fractions import Fraction

from numpy.typing import ArrayLike

from evenbits._arrays import Array, integer, real
from evenbits.codebooks import optimal_step
from evenbits.encoded import Encoded, Meaning
from evenbits.matrices import base_order, hadamard_length, unknown_length
from evenbits.quantizers.base import Quantizer, choice
from evenbits.quantizers.near_democratic import NearDemocratic
from evenbits.quantizers.pairs import NotConvergedError, PairWalk
from evenbits.spec import PAIRS, Embedding
from evenbits.transforms import randomized_hadamard


class Kashin(Quantizer):
    """Each row as u + P v, every code a level of u and one of v: two bases, P = H diag(signs) H / n. Up to 8 bits.

    refine: the codes of a row are decided together, those of v given u and of u given v; without it, u and v are the
    Kashin decomposition of the papers, and then clustered. Default: with separate clusters.
    clusters: "separate" (default; levels of u times levels of v) or "joint" (any 2^bits pairs), one codebook for the tensor,
    in units of the rows' root mean square.
    second: levels of v with separate clusters: 2 (default with refine), or up to the square root of the level
    count, as many as leave the fewest pairs out (default without: 2 + 2 bits at 4; odd numbers of levels serve it badly).
    schedule, without refine: "alternating" (default: u, u, v, v) or "greedy" (whichever step is longer: rows then begin with
    either factor, which one codebook for all of them serves badly; with one row there is no difference).
    rotate: a random rotation comes first (default), so that every law has the error of a Gaussian; without it rows must have a
    length of a Hadamard matrix.
    iterations: at most so many steps of the decomposition (default 200), or of refine (default 64).
    tolerance: what the decomposition may leave of a row, relative to it (default 1e-6). Where it leaves more, a RuntimeWarning
    says so and the whole array is encoded by ``fallback``: "near_democratic" (default), or "error", which raises.
    fit: "least_squares" (default) or "range": the root mean square as it is.
    Sources: Merkulov et al., arXiv 2404.09737 (greedy, joint); Cherniuk et al., arXiv 2609.11687 (alternating, separate). The
    involution and refine are this library's own.
    """

    method = "kashin"
    grid = PAIRS
    walk = PairWalk

    def __init__(
        self,
        bits: float | Fraction,
        *,
        clusters: str = "separate",
        refine: bool | None = None,
        second: int | None = None,
        schedule: str = "alternating",
        rotate: bool = True,
        iterations: int | None = None,
        tolerance: float = 1e-6,
        fallback: str = "near_democratic",
        fit: str = "least_squares",
        seed: int = 0,
        stream: int = 0,
        scale_dtype: str = "float32",
    ) -> None:
        super().__init__(bits, seed=seed, stream=stream, scale_dtype=scale_dtype)
        self.clusters = choice(clusters, "clusters", ("separate", "joint"))
        self.refine = clusters == "separate" if refine is None else bool(refine)
        self.schedule = choice(schedule, "schedule", ("alternating", "greedy"))
        self.second = None if second is None else integer(second, "second", 1, 256)
        self.rotate = bool(rotate)
        self.iterations = integer((64 if self.refine else 200) if iterations is None else iterations, "iterations", 1, 100_000)
        self.tolerance = real(tolerance, "tolerance", 1e-6, 1)
        self.fallback = choice(fallback, "fallback", ("near_democratic", "error"))
        self.fit = choice(fit, "fit", ("range", "least_squares"))
        if clusters == "joint" and self.refine:
            raise ValueError("refine is True; it decides one factor given the other, and takes clusters='separate'")
        if clusters == "joint" and second is not None:
            raise ValueError(f"second is {second}; that is for clusters='separate'")

    def embedding(self, d: int) -> Embedding | None:
        if self.rotate:
            return Embedding("hadamard", hadamard_length(d))
        if base_order(d) is None:
            raise ValueError(f"rotate is False; {unknown_length(d).replace(' (pad=True)', '')}, or rotate")
        return None

    def embed(self, x: Array, meaning: Meaning) -> Array:
        return randomized_hadamard(x, seed=self.seed, stream=self.stream) if self.rotate else x

    def encode(self, x: ArrayLike, *, workers: int = 1) -> Encoded:
        try:
            return super().encode(x, workers=workers)
        except NotConvergedError as error:
            if self.fallback == "error":
                raise
            warnings.warn(f"{error}; encoded by {self.fallback!r} instead", RuntimeWarning, stacklevel=2)
        settings = {"seed": self.seed, "stream": self.stream, "scale_dtype": self.scale_dtype}
        return NearDemocratic(self.bits, **settings).encode(x, workers=workers)  # type: ignore[arg-type]

    def levels_of_pair(self, count: int) -> tuple[int, int]:
        """How many levels u and v have where codes have ``count`` values."""
        if self.clusters == "joint":  # where k-means starts
            return count // math.isqrt(count), math.isqrt(count)
        second = self.second or (2 if self.refine else max(range(1, math.isqrt(count) + 1), key=lambda m: (count // m * m, m)))
        first = count // second
        return (count, 1) if first < 2 else (first, second)

    def peaks(self, pair: tuple[int, int]) -> tuple[float, float]:
        """The ranges of levels that ``refine`` works with, in root mean squares. Chosen on Gaussian rows of 4096."""
        u, v = pair
        if v == 1:
            return (u - 1) / 2 * optimal_step(u), 0.0
        if v == 2:
            return 1.15 - 1 / u, 0.58 if u > 2 else 0.65
        return 0.85 - 0.5 / u if u > 1 else 0.0, 0.85 - 0.5 / v
