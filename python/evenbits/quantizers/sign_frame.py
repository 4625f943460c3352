from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction

import numpy as np

from evenbits._arrays import Array, integer
from evenbits.codebooks import lloyd_max
from evenbits.joint import sign_frame
from evenbits.matrices import hadamard_length
from evenbits.meaning import Meaning
from evenbits.quantizers.base import Quantizer, choice
from evenbits.spec import Embedding, Spec


class SignFrame(Quantizer):
    """One bit for each of ``bits`` * d columns of a random frame, all bits of a row decided together. For 1 to 3 bits.

    A row is scale * S c with c of +1 and -1: the decoder is one look-up and one Hadamard transform, as that of
    ``democratic``. Any rate is possible in steps of 1/d bit; below 1 bit it is a random rotation's subset.
    iterations: of the encoder (default 64), each two transforms; twice as many take 5 % off the error at 2 bits.
    fit: "least_squares" (default) or "range", the scale that the encoder worked with.
    The frame is that of democratic embeddings, arXiv 2103.07578; the joint encoder is this library's own.
    """

    method = "sign_frame"
    grid = "lloyd_max_gaussian"

    def __init__(
        self,
        bits: float | Fraction,
        *,
        iterations: int = 64,
        fit: str = "least_squares",
        seed: int = 0,
        stream: int = 0,
        scale_dtype: str = "float32",
    ) -> None:
        super().__init__(bits, seed=seed, stream=stream, scale_dtype=scale_dtype)
        self.iterations = integer(iterations, "iterations", 1, 10_000)
        self.fit = choice(fit, "fit", ("range", "least_squares"))

    def rate(self, d: int, length: int) -> Fraction:
        return Fraction(math.floor(self.bits * d), length)  # not above 1: no code is more than a sign

    def bits_for(self, kept: int, d: int, length: int) -> Fraction:
        return Fraction(kept, d)

    def embedding(self, d: int) -> Embedding:
        return Embedding("frame", hadamard_length(max(d, math.floor(self.bits * d))))

    def embed(self, x: Array, meaning: Meaning) -> Array:
        return sign_frame(meaning.frame, x, self.iterations, kept=meaning.kept)

    def approximation(self, x: Array, y: Array, levels: Array, meaning: Meaning) -> tuple[Array, Array]:
        return x, meaning.frame.synthesise(meaning.scatter(levels))

    def scales(self, measure: Mapping[str, Array], spec: Spec) -> tuple[Array, Array | None]:
        return np.sqrt(measure["energy"] / spec.kept) / lloyd_max(2)[1], None
