from __future__ import annotations

from fractions import Fraction

from evenbits._arrays import Array, integer
from evenbits.embedding import Frame, delta_of, eta_of, kashin, kashin_schedule
from evenbits.encoded import Meaning
from evenbits.quantizers.base import FITS, ROUNDINGS, Quantizer, choice
from evenbits.spec import Embedding


class Democratic(Quantizer):
    """Kashin coefficients in a redundant frame, all alike in size, on uniform levels up to the largest.

    ``bits`` counts index bits a value of the input: each of the n = redundancy * d coefficients of a row gets d/n of it.
    redundancy: n / d (default 1.25), rounded up to the next length of a Hadamard matrix.
    iterations, eta, delta: of Lyubarskii and Vershynin's algorithm, see ``democratic_embedding``.
    grid: "mid_rise" (default of nearest rounding) or "end_point" (of stochastic rounding).
    rounding: "nearest" (default) or "stochastic" (unbiased).
    fit: "least_squares" (default), "unbiased" (default of stochastic rounding) or "range".
    Sources: Lyubarskii and Vershynin 2010; Saha, Pilanci, Goldsmith, arXiv 2103.07578.
    """

    method = "democratic"

    def __init__(
        self,
        bits: float | Fraction,
        *,
        redundancy: float = 1.25,
        iterations: int = 16,
        eta: float | None = None,
        delta: float | None = None,
        grid: str | None = None,
        rounding: str = "nearest",
        fit: str | None = None,
        seed: int = 0,
        stream: int = 0,
        scale_dtype: str = "float32",
    ) -> None:
        super().__init__(bits, seed=seed, stream=stream, scale_dtype=scale_dtype)
        stochastic = choice(rounding, "rounding", ROUNDINGS) == "stochastic"
        self.rounding = rounding
        self.grid = choice(grid or ("end_point" if stochastic else "mid_rise"), "grid", ("mid_rise", "end_point"))
        self.fit = choice(fit or ("unbiased" if stochastic else "least_squares"), "fit", FITS)
        self.redundancy = redundancy
        self.iterations = integer(iterations, "iterations", 0, 10_000)
        Frame.of_redundancy(1, redundancy, 0)
        self.eta = None if eta is None else eta_of(eta)
        self.delta = None if delta is None else delta_of(delta)
        if stochastic and self.grid == "mid_rise":
            raise ValueError("grid is 'mid_rise', without levels at the ends of the range; stochastic rounding takes another")
        if stochastic and self.fit == "least_squares":
            raise ValueError("fit is 'least_squares'; stochastic rounding takes 'range' or 'unbiased'")

    def rate(self, d: int, length: int) -> Fraction:
        return self.bits * d / length

    def bits_for(self, kept: int, d: int, length: int) -> Fraction:
        return Fraction(kept, d)

    def embedding(self, d: int) -> Embedding:
        return Embedding("frame", Frame.of_redundancy(d, self.redundancy, 0).n)

    def embed(self, x: Array, meaning: Meaning) -> Array:
        frame = meaning.frame
        eta, delta = kashin_schedule(frame.n / frame.d)
        return kashin(frame, x, self.iterations, self.eta or eta, self.delta or delta)

    def approximation(self, x: Array, y: Array, levels: Array, meaning: Meaning) -> tuple[Array, Array]:
        return x, meaning.frame.synthesise(meaning.scatter(levels))
