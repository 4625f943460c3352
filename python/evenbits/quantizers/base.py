"""What all methods share: the rate, the spec, and the hooks in which they differ."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from evenbits._arrays import FLOAT32, Array, as_array, as_floats, integer, require_finite, seed_of, workers_of
from evenbits.codings import Coding
from evenbits.encoded import Encoded
from evenbits.meaning import Meaning
from evenbits.packing import Radix, radix_for
from evenbits.quantizers.walk import Walk, absmax_step
from evenbits.spec import KEPT, SCALE_DTYPES, UNIFORM, VALUE_DTYPES, Embedding, Spec, possible

MOST_BITS = 16
Progress = Callable[[int, int], None]
"""What hears, on the caller's thread, how many values are done of how many."""
ROUNDINGS = ("nearest", "stochastic")
FITS = ("range", "least_squares", "unbiased")


def rational(bits: Any, name: str = "bits", most: float = MOST_BITS) -> Fraction:
    """A rate as an exact fraction: integers, fractions, and floats as the decimal fraction that prints as they do."""
    if not isinstance(bits, (int, float, Fraction, np.integer, np.floating)) or isinstance(bits, bool):
        raise TypeError(f"{name} is {bits!r}; it must be a number above 0, at most {most:g}")
    if not 0 < bits <= most:
        raise ValueError(f"{name} is {bits}; it must be above 0 and at most {most:g}")
    if isinstance(bits, (float, np.floating)):
        return Fraction(repr(float(bits)))
    return bits if isinstance(bits, Fraction) else Fraction(int(bits))


class NoSuchRateError(ValueError):
    """There is no code of the rate asked for."""


@cache
def plain_codes(bits: int) -> Radix:
    """Codes of so many bits, one beside the other."""
    return Radix(1 << bits, 0, 1, bits)


def code_layout(rate: Fraction, length: int) -> tuple[Radix, int]:
    """The digits of a row of ``length`` coordinates at ``rate`` bits each, and how many coordinates have one.

    An integer rate gives plain codes of that width; a fraction above 1 two adjacent level counts in mixed radix; one
    below 1 a bit for a subset of the coordinates.
    """
    if rate < 1:
        kept = int(rate * length)
        if length and not kept:
            raise NoSuchRateError(
                f"bits leaves no code in a row of {length}; take at least {Fraction(1, length)} bits a coordinate"
            )
        return plain_codes(1), kept
    if rate.denominator == 1:
        return plain_codes(rate.numerator), length
    return radix_for(rate), length


def choice(value: Any, name: str, known: tuple[str, ...]) -> str:
    """``value`` if it is one of the known words."""
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{name} is {value!r}; known are {', '.join(map(repr, known))}")
    return value


def flag(value: Any, name: str) -> bool:
    """``value`` if it is true or false: no word, which would be true whatever it says."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} is {value!r}; it must be True or False")
    return bool(value)


def stored_dtype(dtype: Any) -> str:
    """The dtype that arrays of this one are decoded to: integers become float32."""
    if dtype is FLOAT32:
        return "float32"
    dtype = np.dtype(dtype) if isinstance(dtype, str) and dtype != "bfloat16" else dtype
    name: str = dtype if isinstance(dtype, str) else dtype.name
    return name if name in VALUE_DTYPES else "float32"


def shape_of(shape: Sequence[Any]) -> tuple[int, ...]:
    """Lengths of axes as Python's integers, checked."""
    return tuple(integer(n, "shape", 0, 2**40) for n in shape)


def finite(x: ArrayLike, workers: Any) -> tuple[Array, str, int]:
    """x as finite floats, the dtype that it is decoded to, and the number of threads."""
    source, threads = as_array(x), workers_of(workers)
    a = as_floats(source)
    require_finite(a, workers=threads)
    return a, stored_dtype(source.dtype), threads


class Quantizer:
    """Common to all methods. ``bits`` is the width of a code; side information comes on top.

    seed and stream name all random numbers; scale_dtype is the stored type of the scales: float32 (default), float64,
    float16 or bfloat16. Raises ValueError, naming the argument, for values that make no code.
    """

    method: ClassVar[str]
    walk: ClassVar[type[Walk]] = Walk
    grid: str = "mid_rise"
    rounding: str = "nearest"
    fit: str = "range"
    group: int = -1
    """Coordinates that share a scale: -1 a row, 0 the tensor."""
    allowed: int | None = None
    """Bytes that all may take, where there is a budget: of a fallback, or of a stream that ``fills`` them."""
    portable: bool = True
    """Whether the bytes are the same on every machine."""
    fixed: ClassVar[bool] = True
    """Whether arrays of one shape all take the same bytes; else these are the most they take."""
    fills: ClassVar[bool] = False
    """Whether codes take nearly all bytes that are allowed."""
    searches: bool = False
    """Whether the range is clipped where the squared error is least."""

    def __init__(self, bits: float | Fraction, *, seed: int = 0, stream: int = 0, scale_dtype: str = "float32") -> None:
        self.bits = rational(bits)
        self.seed, self.stream = seed_of(seed), integer(stream, "stream", 0, KEPT - 1)
        self.scale_dtype = choice(scale_dtype, "scale_dtype", tuple(SCALE_DTYPES))

    def spec(self, shape: tuple[int, ...], dtype: str = "float32") -> Spec:
        """The spec of an array of that shape and dtype: it depends on nothing else."""
        shape = shape_of(shape)
        row = self.row_shape(shape)
        d = math.prod(row)
        embedding = self.embedding_of(row) if d else None
        length = embedding.length if embedding else d
        codes, kept = code_layout(self.rate(d, length) if d else self.bits, length)
        grid = self.grid_for(codes)
        if not possible(grid, codes):
            raise NoSuchRateError(f"bits is {float(self.bits):g}; there is no grid {grid!r} of {codes.levels} levels")
        group = max(kept, 1) if self.group == -1 else min(self.group, kept)
        if kept < length and 0 < group < kept:
            raise NoSuchRateError(f"per is {self.group}; rates below 1 bit take a scale a row or a tensor")
        return Spec(
            self.method,
            self.bits,
            shape,
            dtype,
            grid,
            codes,
            self.scale_dtype,
            group,
            kept,
            embedding,
            self.seed,
            self.stream,
            portable=self.portable,
        )

    @classmethod
    def reports(cls) -> bool:
        """Whether ``encode`` takes ``progress``: methods that search for long do."""
        return "progress" in (cls.encode.__kwdefaults__ or {})

    def longest(self, shape: tuple[int, ...], dtype: str = "float32") -> Spec | Coding:
        """The spec with the most planes and digits that an array of that shape and dtype can have."""
        return self.spec(shape, dtype)

    def certificate_bytes(self, shape: tuple[int, ...]) -> int:
        """What ``Encoded.certified`` adds to an array of that shape."""
        return 4 * math.prod(shape[: len(shape) - len(self.row_shape(shape))])

    def nbytes(self, shape: tuple[int, ...], dtype: str = "float32") -> int:
        """``Encoded.nbytes`` of an array of that shape and dtype, known without its values, or the most it can be."""
        return self.spec(tuple(shape), stored_dtype(dtype)).nbytes()

    def encode(self, x: ArrayLike, *, workers: int = 1) -> Encoded:
        """The codes of x, row by row of its last axis.

        The same input, options and seed give the same bytes for every number of workers, on every machine. Memory beyond
        the input and the codes stays bounded. Raises ValueError for NaN and infinity (with the index) and for scales
        that ``scale_dtype`` can't hold; TypeError for dtypes other than floats, integers of up to 32 bits and booleans.
        """
        source = as_array(x)
        a = as_floats(source)
        spec = self.spec(a.shape, stored_dtype(source.dtype))
        planes = {name: np.zeros(shape, dtype) for name, (dtype, shape) in spec.layout().items()}
        if a.size:
            self.walk(self, spec, planes, a, workers_of(workers)).run()
        return Encoded(planes, spec.to_dict())

    # In what follows methods differ.

    def row_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The last axes of an array of that shape that make a row: one of them, or none of a scalar."""
        return shape[-1:]

    def embedding_of(self, row: tuple[int, ...]) -> Embedding | None:
        """The embedding of rows of that shape."""
        return self.embedding(math.prod(row))

    def embedding(self, d: int) -> Embedding | None:
        """The embedding of rows of d values."""
        return None

    def rate(self, d: int, length: int) -> Fraction:
        """Bits a coordinate."""
        return self.bits

    def bits_for(self, kept: int, d: int, length: int) -> Fraction:
        """The rate below 1 bit a coordinate that gives ``kept`` of them a code."""
        return Fraction(kept, length)

    def grid_for(self, codes: Radix) -> str:
        """The grid of these level counts."""
        return self.grid

    def embed(self, x: Array, meaning: Meaning) -> Array:
        """Coordinates (rows, length) of float32 rows."""
        return x

    def approximation(self, x: Array, y: Array, levels: Array, meaning: Meaning) -> tuple[Array, Array]:
        """What ``fit`` compares: a target, and what the levels make of it with a scale of 1."""
        return y, levels

    def scales(self, measure: Mapping[str, Array], spec: Spec) -> tuple[Array, Array | None]:
        """Scale and zero of every group, in float64, from its extremes, or for a law's grid from its energy and count."""
        if spec.grid in UNIFORM:
            peak = np.maximum(-measure["least"], measure["greatest"])
            return absmax_step(spec.grid, spec.codes.levels, peak), None
        return np.sqrt(measure["energy"] / measure["count"]), None

    def learn(self, values: Array, spec: Spec) -> Array:
        """The levels of grid "table", for coordinates in units of their scales."""
        raise NotImplementedError
