"""The methods: each turns arrays into ``Encoded``, and nothing of it is needed to decode them."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from numpy.typing import ArrayLike

from evenbits._arrays import as_array
from evenbits.encoded import Encoded
from evenbits.quantizers.base import MOST_BITS, Quantizer, rational
from evenbits.quantizers.democratic import Democratic
from evenbits.quantizers.lloyd_max import LloydMax
from evenbits.quantizers.near_democratic import NearDemocratic
from evenbits.quantizers.uniform import Uniform

__all__ = ["Democratic", "LloydMax", "NearDemocratic", "Quantizer", "Uniform", "methods", "quantize", "within_budget"]

STEPS = 256
"""Rates that a budget tries are multiples of 1 / STEPS bit."""


def methods() -> dict[str, type[Quantizer]]:
    """The quantizer classes by the name that ``quantize`` and the command take."""
    return {cls.method: cls for cls in (Uniform, LloydMax, NearDemocratic, Democratic)}


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
    return within_budget(cls, a.shape, a.dtype.name, budget, seed=seed, **options).encode(a, workers=workers)


def within_budget(
    cls: type[Quantizer], shape: tuple[int, ...], dtype: str, budget: float | Fraction, **options: Any
) -> Quantizer:
    """The quantizer of the highest rate whose ``Encoded`` of that shape takes at most ``budget`` bits a value."""
    ceiling = rational(min(budget, MOST_BITS) if isinstance(budget, (int, float, Fraction)) else budget, "budget")
    size = 1
    for n in shape:
        size *= n
    allowed = ceiling * size / 8

    def fits(steps: int) -> bool:
        try:
            return cls(Fraction(steps, STEPS), **options).nbytes(shape, dtype) <= allowed
        except ValueError as error:
            if "bits" in str(error):  # no code of that rate exists, for this grid or this length
                return False
            raise

    # Sizes grow with the rate but for the padding of rows: find where they cross, then look a little further.
    low, high = 0, min(MOST_BITS * STEPS, int(ceiling * STEPS))
    best = next((s for s in range(high, max(high - 8, 0), -1) if fits(s)), 0)
    while not best and low < high:
        middle = (low + high + 1) // 2
        if fits(middle):
            low = middle
        else:
            high = middle - 1
    best = best or next((s for s in range(low + 8, 0, -1) if s <= low or fits(s)), 0)
    if best and fits(best):
        return cls(Fraction(best, STEPS), **options)
    raise ValueError(_too_small(cls, shape, dtype, ceiling, size, options))


def _too_small(
    cls: type[Quantizer], shape: tuple[int, ...], dtype: str, budget: Fraction, size: int, options: dict[str, Any]
) -> str:
    least = None
    for steps in range(1, 2 * STEPS):
        try:
            least = cls(Fraction(steps, STEPS), **options).nbytes(shape, dtype)
            break
        except ValueError:
            continue
    need = f"; the least that method {cls.method!r} can take is {8 * least / size:.4g}" if least and size else ""
    return f"budget is {float(budget):g} bits a value: codes, scales and spec of shape {shape} do not fit into it{need}"
