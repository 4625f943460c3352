from __future__ import annotations

from fractions import Fraction
from typing import Any

from evenbits._arrays import Array, integer
from evenbits.embedding import FRAMES, Frame, delta_of, democratic, eta_of, iterations_of, kashin, kashin_schedule, solver_options
from evenbits.meaning import Meaning
from evenbits.quantizers.base import FITS, MOST_BITS, ROUNDINGS, Quantizer, choice
from evenbits.spec import Embedding


class Democratic(Quantizer):
    """Coefficients in a redundant frame, all alike in size, on uniform levels up to the largest.

    ``bits`` counts index bits a value of the input: each of the n = redundancy * d coefficients of a row gets d/n of it.
    code_bits: instead of bits and budgets, the whole number of bits of a coefficient: plain codes, which decode fastest, and
    n / d as many bits a value (``Encoded.bits_per_value`` has the total).
    redundancy: n / d (default 1.25), rounded up to the next length of a Hadamard matrix.
    frame: "hadamard" (default), or "dct" (a random frame of cosines, by scipy): n is redundancy * d exactly, but the bytes may
    differ between machines, and the spec says so.
    solver: "kashin" (default) or "exact", which takes longer; their iterations, eta, delta: see ``democratic_embedding``.
    grid: "mid_rise" (default) or "end_point" (of stochastic rounding and of solver "exact").
    range: "absmax", up to the largest magnitude (default), or "optimal", clipped where the squared error is least (default of
    solver "exact" with a fitted scale).
    rounding: "nearest" (default) or "stochastic" (unbiased).
    fit: "least_squares" (default), "unbiased" (default of stochastic rounding) or "range".
    Sources: Lyubarskii and Vershynin 2010; Saha, Pilanci, Goldsmith, arXiv 2103.07578.
    """

    method = "democratic"

    def __init__(
        self,
        bits: float | Fraction | None = None,
        *,
        code_bits: int | None = None,
        redundancy: float = 1.25,
        frame: str = "hadamard",
        solver: str = "kashin",
        iterations: int | None = None,
        eta: float | None = None,
        delta: float | None = None,
        grid: str | None = None,
        range: str | None = None,
        rounding: str = "nearest",
        fit: str | None = None,
        seed: int = 0,
        stream: int = 0,
        scale_dtype: str = "float32",
    ) -> None:
        if code_bits is not None and bits is not None:
            raise ValueError(f"code_bits is {code_bits}; it stands instead of bits and budgets, take one of them")
        self.code_bits = None if code_bits is None else integer(code_bits, "code_bits", 1, MOST_BITS)
        rate: Any = bits if code_bits is None else self.code_bits
        super().__init__(rate, seed=seed, stream=stream, scale_dtype=scale_dtype)
        stochastic = choice(rounding, "rounding", ROUNDINGS) == "stochastic"
        self.rounding = rounding
        solver_options(solver, eta, delta)
        self.solver, self.iterations = solver, iterations_of(iterations, solver)
        usual = "end_point" if stochastic or solver == "exact" else "mid_rise"
        self.grid = choice(grid or usual, "grid", ("mid_rise", "end_point"))
        self.fit = choice(fit or ("unbiased" if stochastic else "least_squares"), "fit", FITS)
        best = solver == "exact" and not stochastic and self.fit != "range"
        self.range = choice(range or ("optimal" if best else "absmax"), "range", ("absmax", "optimal"))
        self.searches = self.range == "optimal"
        self.redundancy, self.frame = redundancy, choice(frame, "frame", tuple(FRAMES))
        self.portable = frame != "dct"
        Frame.of_redundancy(1, redundancy, 0)
        self.eta = None if eta is None else eta_of(eta)
        self.delta = None if delta is None else delta_of(delta)
        if stochastic and self.grid == "mid_rise":
            raise ValueError("grid is 'mid_rise', without levels at the ends of the range; stochastic rounding takes another")
        if stochastic and self.searches:
            raise ValueError("range is 'optimal', which clips; stochastic rounding takes 'absmax'")
        if stochastic and self.fit == "least_squares":
            raise ValueError("fit is 'least_squares'; stochastic rounding takes 'range' or 'unbiased'")

    def rate(self, d: int, length: int) -> Fraction:
        return self.bits * d / length if self.code_bits is None else self.bits

    def bits_for(self, kept: int, d: int, length: int) -> Fraction:
        return Fraction(kept, d)

    def embedding(self, d: int) -> Embedding:
        n = Frame.of_redundancy(d, self.redundancy, 0, kind=self.frame).n
        return Embedding("frame" if self.frame == "hadamard" else "dct_frame", n)

    def embed(self, x: Array, meaning: Meaning) -> Array:
        frame = meaning.frame
        if self.solver == "exact":
            return democratic(frame, x, self.iterations)
        eta, delta = kashin_schedule(frame.n / frame.d)
        return kashin(frame, x, self.iterations, self.eta or eta, self.delta or delta)

    def approximation(self, x: Array, y: Array, levels: Array, meaning: Meaning) -> tuple[Array, Array]:
        return x, meaning.frame.synthesise(meaning.scatter(levels))
