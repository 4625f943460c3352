"""The rate that a budget allows, from sizes alone, before any data is seen."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from typing import Any

from evenbits.quantizers.base import MOST_BITS, NoSuchRateError, Quantizer, rational

STEPS = 256
"""Rates of a bit a coordinate or more that a budget tries are multiples of 1 / STEPS bit."""


def within_budget(
    cls: type[Quantizer],
    shape: tuple[int, ...],
    dtype: str,
    budget: float | Fraction,
    *,
    certificate: bool = False,
    **options: Any,
) -> Quantizer:
    """The quantizer of the highest rate whose ``Encoded`` of that shape takes at most ``budget`` bits a value, certified or not.

    Tried are all multiples of 1/256 bit from the budget down to 1 bit a coordinate, then every number of coordinates that
    have a code at all: sizes do not quite grow with the rate, since rows are padded and the spec is text.
    """
    size = math.prod(shape)
    ceiling = rational(2 * MOST_BITS if budget == math.inf else budget, "budget", math.inf)
    besides = cls(1, **options).certificate_bytes(shape) if certificate else 0
    allowed = int(ceiling * size) // 8 - besides
    found = within_bytes(cls, shape, dtype, allowed, ceiling, **options)
    if found is not None:
        found.allowed = allowed
        return found
    least = next(_rates(cls, shape, None, 0, options), None)
    what = f"budget is {float(ceiling):g} bits a value: codes, scales and spec of shape {shape} do not fit into it"
    if least is None or not size:
        raise ValueError(what)
    most = 8 * (least.nbytes(shape, dtype) + besides) / size
    raise ValueError(f"{what}; the least that method {cls.method!r} can take is {most:.4g}")


def within_bytes(
    cls: type[Quantizer], shape: tuple[int, ...], dtype: str, allowed: int, most: Fraction, **options: Any
) -> Quantizer | None:
    """The quantizer of the highest rate up to ``most`` whose ``Encoded`` of that shape takes at most so many bytes."""
    tried = _rates(cls, shape, most, allowed, options)
    return next((quantizer for quantizer in tried if quantizer.nbytes(shape, dtype) <= allowed), None)


def _rates(
    cls: type[Quantizer], shape: tuple[int, ...], ceiling: Fraction | None, allowed: int, options: dict[str, Any]
) -> Iterator[Quantizer]:
    """Quantizers that make codes of that shape, of rates that fall from the ceiling, or without one rise from the least."""
    first = cls(1, **options)
    row = first.row_shape(shape)
    d = math.prod(row) or 1
    embedding = first.embedding_of(row if math.prod(row) else (1,))
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
        most = min(length - 1, 8 * allowed * d // max(math.prod(shape), 1) + 32)
        steps = range(int(min(ceiling, Fraction(MOST_BITS)) * STEPS), lowest - 1, -1)
        rates = chain((Fraction(s, STEPS) for s in steps), (first.bits_for(k, d, length) for k in range(most, 0, -1)))
    for bits in rates:
        try:
            quantizer = cls(bits, **options)
            quantizer.spec(shape)
        except NoSuchRateError:
            continue
        yield quantizer
