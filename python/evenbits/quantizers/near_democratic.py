from __future__ import annotations

from fractions import Fraction

from evenbits._arrays import Array, integer
from evenbits.matrices import hadamard_length
from evenbits.meaning import Meaning
from evenbits.packing import Radix
from evenbits.quantizers.base import FITS, ROUNDINGS, Quantizer, choice
from evenbits.spec import Embedding
from evenbits.transforms import randomized_hadamard


class NearDemocratic(Quantizer):
    """A random rotation, then levels for the Gaussian that every row then looks like. The method to take first.

    levels: "lloyd_max" (default) or "uniform". Beyond 256 levels (8 bits) there are uniform ones alone.
    range, of uniform levels: "optimal" (the best for a Gaussian; default) or "absmax" (default of stochastic rounding).
    rounding: "nearest" (default), or "stochastic", which takes uniform levels up to "absmax" and is unbiased.
    fit: "least_squares" (default: the scale of least error), "unbiased" (scale |y|^2 / <y, levels>, EDEN's: <x', x> = |x|^2
    always, and the mean over seeds is x the more closely the longer and the more spread out x is; with stochastic rounding,
    which is exactly unbiased, the default) or "range".
    rounds: of signs and transform (default 1).
    Rows of d values become rows of n >= d codes, n the next length of a Hadamard matrix.
    Sources: near-democratic embeddings, Saha, Pilanci, Goldsmith, arXiv 2103.07578; EDEN, Vargaftik et al., ICML 2022.
    """

    method = "near_democratic"

    def __init__(
        self,
        bits: float | Fraction,
        *,
        levels: str | None = None,
        range: str | None = None,
        rounding: str = "nearest",
        fit: str | None = None,
        rounds: int = 1,
        seed: int = 0,
        stream: int = 0,
        scale_dtype: str = "float32",
    ) -> None:
        super().__init__(bits, seed=seed, stream=stream, scale_dtype=scale_dtype)
        self.rounding = choice(rounding, "rounding", ROUNDINGS)
        stochastic = rounding == "stochastic"
        self.levels = choice(levels or ("uniform" if stochastic else "lloyd_max"), "levels", ("lloyd_max", "uniform"))
        self.range = choice(range or ("absmax" if stochastic else "optimal"), "range", ("optimal", "absmax"))
        self.fit = choice(fit or ("unbiased" if stochastic else "least_squares"), "fit", FITS)
        self.rounds = integer(rounds, "rounds", 1, 64)
        if stochastic and (self.levels, self.range) != ("uniform", "absmax"):
            raise ValueError("rounding is 'stochastic'; it takes levels='uniform' and range='absmax'")
        if self.levels == "lloyd_max" and self.range == "absmax":
            raise ValueError("range is 'absmax'; that is for levels='uniform'")
        if stochastic and self.fit == "least_squares":
            raise ValueError("fit is 'least_squares'; stochastic rounding takes 'range' or 'unbiased'")

    def grid_for(self, codes: Radix) -> str:
        if codes.levels + (codes.upper > 0) <= 256 and self.range == "optimal":
            return f"{self.levels}_gaussian"
        return "end_point" if self.rounding == "stochastic" else "mid_rise"

    def embedding(self, d: int) -> Embedding:
        return Embedding("hadamard", hadamard_length(d), self.rounds)

    def embed(self, x: Array, meaning: Meaning) -> Array:
        return randomized_hadamard(x, seed=self.seed, stream=self.stream, rounds=self.rounds)
