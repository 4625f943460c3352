"""The methods: each turns arrays into ``Encoded``, and nothing of it is needed to decode them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from typing import Any

from numpy.typing import ArrayLike

from evenbits._arrays import as_array
from evenbits.encoded import Encoded
from evenbits.quantizers.base import MOST_BITS, NoSuchRateError, Quantizer, rational, stored_dtype
from evenbits.quantizers.democratic import Democratic
from evenbits.quantizers.kashin import Kashin
from evenbits.quantizers.lloyd_max import LloydMax
from evenbits.quantizers.near_democratic import NearDemocratic
from evenbits.quantizers.path_following import PathFollowing
from evenbits.quantizers.sign_frame import SignFrame
from evenbits.quantizers.uniform import Uniform

__all__ = [
    "Democratic",
    "Kashin",
    "LloydMax",
    "NearDemocratic",
    "PathFollowing",
    "Quantizer",
    "SignFrame",
    "Uniform",
    "methods",
    "quantize",
    "within_budget",
]

STEPS = 256
"""Rates of a bit a coordinate or more that a budget tries are multiples of 1 / STEPS bit."""


def methods() -> dict[str, type[Quantizer]]:
    """The quantizer classes by the name that ``quantize`` and the command take."""
    return {cls.method: cls for cls in (Uniform, LloydMax, NearDemocratic, Democratic, SignFrame, Kashin)}


def method_named(method: str) -> type[Quantizer]:
    """The class of a method. Raises ValueError, naming those there are."""
    known = methods()
    if method not in known:
        raise ValueError(f"method is {method!r}; known are {', '.join(known)}")
    return known[method]


def quantize(
    x: ArrayLike,
    bits: float | Fraction | None = None,
    method: str = "near_democratic",
    *,
    budget: float | Fraction | None = None,
    seed: int = 0,
    workers: int = 1,
    **options: Any,
) -> Encoded:
    """A few-bit form of x: rows are its leading axes, coordinates its last.

    Exactly one of ``bits`` and ``budget`` is given (4 bits if neither is). ``bits=b``, 0 < b <= 16: the width of a code; an
    integer gives plain b-bit codes, another b > 1 two adjacent level counts in mixed radix, b < 1 one bit for a random
    subset; scales come on top and ``bits_per_value`` reports the sum. ``budget=B`` is a ceiling for any B > 0: codes,
    scales, tables and the spec together take at most B bits a value, or a ValueError says why that can't be.
    ``options`` are those of the method's class. The same input, options and seed give the same bytes everywhere.
    Raises ValueError and TypeError that name the argument.
    """
    cls = method_named(method)
    if bits is not None and budget is not None:
        raise ValueError(f"bits is {bits} and budget is {budget}; give one of them")
    if budget is None:
        return cls(4 if bits is None else bits, seed=seed, **options).encode(x, workers=workers)
    a = as_array(x)
    encoded = within_budget(cls, a.shape, stored_dtype(a.dtype), budget, seed=seed, **options).encode(a, workers=workers)
    if encoded.method == method:
        return encoded
    kept = {name: options[name] for name in ("stream", "scale_dtype") if name in options}  # a fallback has a rate of its own
    return quantize(a, method=encoded.method, budget=budget, seed=seed, workers=workers, **kept)


def within_budget(
    cls: type[Quantizer], shape: tuple[int, ...], dtype: str, budget: float | Fraction, **options: Any
) -> Quantizer:
    """The quantizer of the highest rate whose ``Encoded`` of that shape takes at most ``budget`` bits a value.

    Tried are all multiples of 1/256 bit from the budget down to 1 bit a coordinate, then every number of coordinates that
    have a code at all: sizes do not quite grow with the rate, since rows are padded and the spec is text.
    """
    size = math.prod(shape)
    ceiling = rational(2 * MOST_BITS if budget == math.inf else budget, "budget", math.inf)
    allowed = int(ceiling * size) // 8
    for quantizer in _rates(cls, shape, ceiling, allowed, options):
        if quantizer.nbytes(shape, dtype) <= allowed:
            return quantizer
    least = next(_rates(cls, shape, None, 0, options), None)
    what = f"budget is {float(ceiling):g} bits a value: codes, scales and spec of shape {shape} do not fit into it"
    if least is None or not size:
        raise ValueError(what)
    raise ValueError(f"{what}; the least that method {cls.method!r} can take is {8 * least.nbytes(shape, dtype) / size:.4g}")


def _rates(
    cls: type[Quantizer], shape: tuple[int, ...], ceiling: Fraction | None, allowed: int, options: dict[str, Any]
) -> Iterator[Quantizer]:
    """Quantizers that make codes of that shape, of rates that fall from the ceiling, or without one rise from the least."""
    first = cls(1, **options)
    d = (shape[-1] if shape else 1) or 1
    embedding = first.embedding(d)
    length = embedding.length if embedding else d
    whole = first.rate(d, length)  # bits a coordinate at bits=1, a fraction of it in a redundant frame
    lowest = int(STEPS / whole)
    if ceiling is None:
        rates: Iterable[Fraction] = (
            first.bits_for(1, d, length),
            *(Fraction(s, STEPS) for s in range(lowest, MOST_BITS * STEPS + 1)),
        )
    else:
        # Codes alone take kept / 8 bytes a row: counts far above what is allowed need no trial.
        most = min(length - 1, 8 * allowed // max(math.prod(shape[:-1]), 1) + 32)
        steps = range(int(min(ceiling, Fraction(MOST_BITS)) * STEPS), lowest - 1, -1)
        rates = chain((Fraction(s, STEPS) for s in steps), (first.bits_for(k, d, length) for k in range(most, 0, -1)))
    for bits in rates:
        try:
            quantizer = cls(bits, **options)
            quantizer.spec(shape)
        except NoSuchRateError:
            continue
        yield quantizer
