from __future__ import annotations

import math
import warnings
from dataclasses import replace
from fractions import Fraction

from numpy.typing import ArrayLike

from evenbits._arrays import Array, as_array, integer, real
from evenbits.axes import rotate
from evenbits.codebooks import optimal_step
from evenbits.encoded import Encoded
from evenbits.matrices import base_order, hadamard_length, unknown_length
from evenbits.meaning import Meaning
from evenbits.orthogonal import KINDS, PORTABLE, no_transform
from evenbits.quantizers.base import MOST_BITS, Quantizer, choice, flag, stored_dtype
from evenbits.quantizers.budget import within_bytes
from evenbits.quantizers.near_democratic import NearDemocratic
from evenbits.quantizers.pairs import NotConvergedError, PairWalk
from evenbits.spec import PAIRS, Embedding, Spec
from evenbits.transforms import randomized_hadamard


class Kashin(Quantizer):
    """Each row as u + P v, every code a level of u and one of v: two bases, P = H diag(signs) H / n. Up to 8 bits.

    form: "vector" (default: rows are the last axis), "matrix" (the last two axes are one row, X = U + P_1 V P_2^T) or "tensor"
    (all axes are one row, with a transform along each): rows of one scale and, where there is a rotation, one along each axis.
    These have fewer random numbers, and heavy tails may keep the decomposition from converging without a rotation.
    transform: "involution" (default), "dct" (C^T diag(signs) C, C the DCT-II; takes scipy, whose functions are not the same on
    all machines, so neither are the bytes), "butterfly", "householder" or "dense": see ``evenbits.orthogonal``. Of any
    length without a rotation, "involution" aside; much slower than the involution; with "householder" u and v do not converge.
    refine: the codes of a row are decided together, those of v given u and of u given v; without it, u and v are the
    Kashin decomposition of the papers, and then clustered, which is better at 8 bits alone. Default: with separate clusters.
    clusters: "separate" (default; levels of u times levels of v) or "joint" (any 2^bits pairs), in units of the rows' root mean
    square.
    codebook: one for the "tensor" (default), or one for each "row", of float16 numbers: 2^bits pairs, or with separate clusters
    the levels of both factors, 8 for 2 + 2 bits. For the greedy schedule, and for rows that differ without a rotation.
    second: levels of v with separate clusters. Default: 2 with refine; without it, those of least error for Gaussian rows, 1 at
    2 bits, 2 at 3, 4 at 4 to 6, 16 at 8; with "greedy" the square root of the level count. More bits are never worse. Where
    codes have too few values for two levels of u beside these, all belong to u.
    schedule, without refine: "alternating" (default: u, u, v, v) or "greedy" (whichever step is longer: rows then begin with
    either factor, which one codebook for all of them serves badly; with one row there is no difference).
    rotate: a random rotation comes first (default), so that every law has the error of a Gaussian; without it rows must have a
    length of a Hadamard matrix for the involution.
    iterations: at most so many steps of the decomposition (default 1000; most rows take 30 to 40, some a few
    hundred), or of refine (default 64).
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
        form: str = "vector",
        transform: str = "involution",
        clusters: str = "separate",
        codebook: str = "tensor",
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
        self.form = choice(form, "form", ("vector", "matrix", "tensor"))
        self.transform = choice(transform, "transform", tuple(KINDS))
        self.portable = transform in PORTABLE
        self.codebook = choice(codebook, "codebook", ("tensor", "row"))
        self.clusters = choice(clusters, "clusters", ("separate", "joint"))
        self.refine = clusters == "separate" if refine is None else flag(refine, "refine")
        self.schedule = choice(schedule, "schedule", ("alternating", "greedy"))
        self.second = None if second is None else integer(second, "second", 1, 256)
        self.rotate = flag(rotate, "rotate")
        self.iterations = integer((64 if self.refine else 1000) if iterations is None else iterations, "iterations", 1, 100_000)
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
        if base_order(d) is None and self.transform == "involution":
            raise ValueError(f"rotate is False; {unknown_length(d).replace(' (pad=True)', '')}, or rotate")
        return None

    def row_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if self.form == "matrix" and len(shape) < 2:
            raise ValueError(f"form is 'matrix'; x has shape {shape}, and it must have two axes or more")
        count = {"vector": 1, "matrix": 2, "tensor": max(1, len(shape))}[self.form]
        return shape[-1:] if 0 in shape else shape[-count:]

    def embedding_of(self, row: tuple[int, ...]) -> Embedding | None:
        if len(row) < 2:
            return super().embedding_of(row)
        parts = [self.embedding(n) for n in row]
        return Embedding("hadamard", math.prod(p.length for p in parts if p)) if self.rotate else None

    def spec(self, shape: tuple[int, ...], dtype: str = "float32") -> Spec:
        spec, row = super().spec(shape, dtype), self.row_shape(tuple(shape))
        axes = tuple(hadamard_length(n) if self.rotate else n for n in row) if len(row) > 1 else ()
        for n in axes or (spec.length,):
            if n and (why := no_transform(self.transform, n)):
                raise ValueError(f"transform is {self.transform!r}; {why}; take another, or form='matrix'")
        books: tuple[int, ...] | None = None
        if self.codebook == "row":
            counts = (spec.codes.levels, spec.top) if spec.codes.upper else (spec.top,)
            books = () if self.clusters == "joint" else tuple(n for count in counts for n in self.levels_of_pair(count))
        return replace(spec, transform=self.transform, axes=axes, books=books)

    def embed(self, x: Array, meaning: Meaning) -> Array:
        if self.rotate and meaning.spec.axes:
            return rotate(x, meaning.spec.row_shape, meaning.spec.axes, self.seed, self.stream)
        return randomized_hadamard(x, seed=self.seed, stream=self.stream) if self.rotate else x

    def encode(self, x: ArrayLike, *, workers: int = 1) -> Encoded:
        try:
            return super().encode(x, workers=workers)
        except NotConvergedError as error:
            if self.fallback == "error":
                raise
            what, a = str(error), as_array(x)
        shape, dtype = a.shape, stored_dtype(a.dtype)
        settings = {"seed": self.seed, "stream": self.stream, "scale_dtype": self.scale_dtype}
        allowed, most = (self.nbytes(shape, dtype), self.bits) if self.allowed is None else (self.allowed, Fraction(MOST_BITS))
        other = within_bytes(NearDemocratic, shape, dtype, allowed, most, **settings)
        if other is None:
            raise ValueError(f"{what}; and the fallback, {self.fallback!r}, takes more bytes at any rate: take more bits")
        report = f"{what}; encoded by {self.fallback!r} instead, at {float(other.bits):.4g} bits"
        warnings.warn(report, RuntimeWarning, stacklevel=2)
        return other.encode(a, workers=workers)

    def levels_of_pair(self, count: int) -> tuple[int, int]:
        """How many levels u and v have where codes have ``count`` values; for joint clusters, where k-means starts."""
        if self.refine:
            second = 2
        elif self.schedule == "greedy":  # either factor may be the larger one
            second = math.isqrt(count)
        else:  # u begins: levels of v pay once u has 4 times as many, then 16, up to 4 and 16 in all
            second = max(1, count // 4) if count < 16 else max(4, count // 16)
        second = self.second or second
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
