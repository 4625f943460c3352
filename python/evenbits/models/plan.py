"""What happens to each tensor of a model, and the code rate that meets a budget; decided before any data is read."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from fractions import Fraction
from functools import lru_cache
from typing import Any

from evenbits import container
from evenbits._tensorfile import Tensor
from evenbits.models.read import Model
from evenbits.quantizers import method_named
from evenbits.quantizers.base import Quantizer
from evenbits.spec import Spec

Rate = int | float | Fraction
STEPS, MOST = 64, 16  # code rates tried for a budget: multiples of 1/64, up to 16
_UNITS = {"B": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


@dataclass(frozen=True)
class Budget:
    """A ceiling: ``bits`` a value over all quantized tensors, or the ``size`` of the whole file in bytes."""

    bits: Fraction | None = None
    size: int | None = None

    def __str__(self) -> str:
        return f"{float(self.bits):g} bits a value" if self.bits is not None else f"{self.size} bytes"


def parse_budget(budget: Rate | str) -> Budget:
    """2.5 or "2.5" is bits a value; "12MB", "12 MiB" or "500kB" (B, kB, MB, GB, KiB, MiB, GiB) a file size."""
    text = (f"{budget:.12f}" if isinstance(budget, float) else str(budget)).strip()
    sized = re.fullmatch(r"(\d{1,15}\.?\d{0,15}|\.\d{1,15})\s*(?:([kKMG]?)(i?))B", text)
    try:
        if sized:
            number, prefix, binary = sized.groups()
            if binary and not prefix:
                raise ValueError
            unit = prefix.upper() + "i" if binary else prefix.lower() if prefix in "kK" else prefix
            parsed = Budget(size=int(Fraction(number) * _UNITS[unit or "B"]))
        else:
            parsed = Budget(bits=number_of(text))
    except (ValueError, ZeroDivisionError, OverflowError):
        raise ValueError(f"budget is {text!r}; give bits a value, as 2.5, or a file size, as 12MB or 12MiB") from None
    if (parsed.bits or parsed.size or 0) <= 0:
        raise ValueError(f"budget is {text!r}; it must be above 0")
    return parsed


def number_of(text: str) -> Fraction:
    """A number such as 4, 2.5, .75 or 7/3. Raises ValueError for other texts, also for those that would take ages."""
    if not re.fullmatch(r"\d{1,15}(\.\d{0,15}|/\d{1,15})?|\.\d{1,15}", text):
        raise ValueError(f"{text!r} is no number of bits")
    return Fraction(text)


@dataclass(frozen=True)
class Plan:
    """How each tensor is quantized, and why the others are kept. ``bits`` is the common code rate."""

    bits: Rate
    quantizers: dict[str, Quantizer]
    kept: dict[str, str]


def choose(tensors: Mapping[str, Tensor], include: Iterable[str] = (), exclude: Iterable[str] = ()) -> dict[str, str]:
    """Why each kept tensor is kept; the others are to be quantized.

    Matrices of floats are quantized, and what has more axes; vectors and embeddings (by name) are kept. A shell pattern
    in ``include`` overrules this, one in ``exclude`` overrules all. Raises ValueError for a pattern without a match.
    """
    include, exclude = tuple(include), tuple(exclude)
    for word, patterns in (("include", include), ("exclude", exclude)):
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in tensors):
                raise ValueError(f"{word} pattern {pattern!r} matches no tensor; evenbits inspect lists them")
    kept = {}
    for name, tensor in tensors.items():
        if tensor.dtype not in ("F64", "F32", "F16", "BF16"):
            kept[name] = tensor.dtype_name
        elif tensor.size == 0 or not tensor.shape:
            kept[name] = "empty" if tensor.size == 0 else "a scalar"
        elif any(fnmatchcase(name, pattern) for pattern in exclude):
            kept[name] = "excluded"
        elif any(fnmatchcase(name, pattern) for pattern in include):
            continue
        elif len(tensor.shape) < 2:
            kept[name] = "1-D"
        elif "embed" in name.lower():
            kept[name] = "an embedding"
    return kept


def rows_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The rows of a tensor: its leading axis by all the others."""
    return shape if len(shape) <= 2 else (shape[0], math.prod(shape[1:]))


def make_plan(
    model: Model,
    *,
    method: str,
    bits: Rate | None = None,
    budget: Budget | None = None,
    seed: int = 0,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    options: Mapping[str, Any] | None = None,
) -> Plan:
    """Decide for every tensor. Exactly one of ``bits`` and ``budget`` is given.

    For a budget the code rate is the largest multiple of 1/64, up to 16, at which the chosen tensors together (bits a
    value) or the whole file (a size) stay below it. A row has one code at least, whatever the rate. Tensors that codes
    would not make smaller are kept. Raises ValueError where nothing fits, with the least that is possible.
    """
    kept = choose(model.tensors, include, exclude)
    chosen = {name: tensor for name, tensor in model.tensors.items() if name not in kept}
    if not chosen:
        raise ValueError(f"{model.path} has no tensor to quantize; choose some by include patterns")
    layouts = _Layouts(chosen, maker(method, seed, options or {}))
    if budget is None:
        assert bits is not None
        layouts.make(bits, 0)  # raises for what is no rate
    elif budget.bits is not None:
        values = sum(tensor.size for tensor in chosen.values())

        def bits_a_value(rate: Rate) -> Fraction:
            return Fraction(8 * layouts.nbytes(rate), values)

        bits = layouts.largest_rate(bits_a_value, budget.bits, budget)
    else:
        assert budget.size is not None

        def file_size(rate: Rate) -> Fraction:
            tensors = model.tensors | layouts.specs(rate)
            entries = [container.entry_of(name, t, own_shape(model.tensors[name])) for name, t in tensors.items()]
            return Fraction(container.file_size(entries, metadata=model.metadata))

        bits = layouts.largest_rate(file_size, Fraction(budget.size), budget)
    quantizers = {name: layouts.quantizer(name, bits) for name in layouts.specs(bits)}
    kept |= {name: "codes take no less" for name in chosen if name not in quantizers}
    return Plan(bits, quantizers, kept)


def own_shape(tensor: Tensor) -> tuple[int, ...] | None:
    """The shape that the container must remember because the codes have another."""
    return tensor.shape if len(tensor.shape) > 2 else None


def maker(method: str, seed: int, options: Mapping[str, Any]) -> Callable[[Rate, int], Quantizer]:
    """Quantizers of one method for any rate and stream of random numbers. Raises ValueError for an unknown method or option."""
    kind = method_named(method)
    known = [name for name in inspect.signature(kind).parameters if name not in ("bits", "seed", "stream")]
    for option in options:
        if option not in known:
            raise ValueError(f"{method} has no option {option!r}; it has {', '.join(known)}")
    return lru_cache(maxsize=None)(lambda rate, stream: kind(rate, seed=seed, stream=stream, **options))


class _Layouts:
    """The specs of a model's tensors at any rate."""

    def __init__(self, tensors: Mapping[str, Tensor], make: Callable[[Rate, int], Quantizer]) -> None:
        self.tensors, self.make = tensors, make
        # Every tensor draws numbers of its own, so that the errors of two of them have nothing in common.
        self.streams = {name: i for i, name in enumerate(sorted(tensors))}

    def quantizer(self, name: str, rate: Rate) -> Quantizer:
        """At the rate, or one code a row if that is more."""
        return self.make(max(rate, Fraction(1, rows_of(self.tensors[name].shape)[-1])), self.streams[name])

    def specs(self, rate: Rate) -> dict[str, Spec]:
        """Of the tensors that get smaller."""
        specs = {}
        for name, tensor in self.tensors.items():
            quantizer = self.quantizer(name, rate)
            try:
                spec = quantizer.spec(rows_of(tensor.shape), tensor.dtype_name)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
            if spec.nbytes() < tensor.nbytes:
                specs[name] = spec
        return specs

    def nbytes(self, rate: Rate) -> int:
        """Of all tensors, kept ones included."""
        specs = self.specs(rate)
        return sum(specs[name].nbytes() if name in specs else tensor.nbytes for name, tensor in self.tensors.items())

    def largest_rate(self, cost: Callable[[Rate], Fraction], ceiling: Fraction, budget: Budget) -> Rate:
        """The largest rate whose cost, which grows with it, is within the ceiling."""
        least, most = self._possible()
        cheapest = cost(_rate(least))
        if cheapest > ceiling:
            need = f"{cheapest} bytes" if budget.bits is None else f"{math.ceil(1000 * cheapest) / 1000:g} bits a value"
            raise ValueError(f"budget is {budget}, which is impossible; the least for this model is {need}")
        step = _last(lambda step: cost(_rate(step)) <= ceiling, least, most)
        near = range(step + STEPS // 4, step, -1)  # costs grow but for the padding of rows
        return _rate(next((k for k in near if k <= most and cost(_rate(k)) <= ceiling), step))

    def _possible(self) -> tuple[int, int]:
        """The first and the last step at which the method has codes; they have no gap between them."""

        def has(step: int) -> bool:
            try:
                self.specs(_rate(step))
            except ValueError:
                return False
            return True

        some = next((step for step in range(STEPS, MOST * STEPS + 1, STEPS) if has(step)), None)
        if some is None:
            self.specs(1)  # raises
            raise AssertionError
        return -_last(lambda step: has(-step), -some, -1), _last(has, some, MOST * STEPS)


def _last(true: Callable[[int], bool], low: int, high: int) -> int:
    """The last of low to high at which ``true`` still holds, given that it does at ``low``."""
    while low < high:
        middle = (low + high + 1) // 2
        if true(middle):
            low = middle
        else:
            high = middle - 1
    return low


def _rate(step: int) -> Rate:
    return Fraction(step, STEPS) if step % STEPS else step // STEPS
