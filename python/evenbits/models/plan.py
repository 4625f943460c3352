"""What happens to each tensor of a model, and the code rate that meets a budget; decided before any data is read."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from fractions import Fraction
from functools import lru_cache
from typing import Any

from evenbits import container
from evenbits._tensorfile import Tensor, tensor_like
from evenbits.codings import Coding
from evenbits.encoded import ERRORS
from evenbits.models.read import Model
from evenbits.quantizers import method_named
from evenbits.quantizers.base import Quantizer
from evenbits.spec import Spec

Rate = int | float | Fraction
STEPS, FINE, MOST = 64, 4096, 16  # code rates tried for a budget: multiples of 1/64, or of 1/4096 where all exist, up to 16
NEAR = 16  # steps above the one found that are tried, too
RESERVE = 16  # bytes of a header that an entry may take more than the longest foreseen: digits of sizes
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
    """How each tensor is quantized, and why the others are kept. ``bits`` is the common code rate.

    Where there is a budget, ``ceilings`` are the bytes that each tensor's codes take at most, and ``spare`` is what is left;
    of a file, ``heads`` are the bytes that they take at most in its header.
    """

    bits: Rate
    quantizers: dict[str, Quantizer]
    kept: dict[str, str]
    ceilings: dict[str, int]
    heads: dict[str, int]
    spare: int = 0


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
    certificate: bool = False,
    options: Mapping[str, Any] | None = None,
) -> Plan:
    """Decide for every tensor. Exactly one of ``bits`` and ``budget`` is given.

    For a budget the code rate is the largest multiple of 1/64, or of 1/4096 for methods that have codes of any rate, up to
    16, at which the chosen tensors together (bits a value) or the whole file (a size) stay below it. A row has one code at
    least, whatever the rate. Tensors that codes would not make smaller are kept. Raises ValueError where nothing fits, with
    the least that is possible.
    """
    kept = choose(model.tensors, include, exclude)
    chosen = {name: tensor for name, tensor in model.tensors.items() if name not in kept}
    if not chosen:
        raise ValueError(f"{model.path} has no tensor to quantize; choose some by include patterns")
    layouts = _Layouts(chosen, maker(method, seed, options or {}), STEPS if method_named(method).fixed else FINE, certificate)
    spare = 0
    if budget is None:
        assert bits is not None
        layouts.make(bits, 0)  # raises for what is no rate
    elif budget.bits is not None:
        values = sum(tensor.size for tensor in chosen.values())
        allowed = int(budget.bits * values) // 8

        def bits_a_value(size: int) -> str:
            return f"{math.ceil(Fraction(8000 * size, values)) / 1000:g} bits a value"

        bits, spare = layouts.largest_rate(layouts.nbytes, allowed, budget, bits_a_value)
    else:
        assert budget.size is not None

        def file_size(rate: Rate) -> int:
            longest = layouts.longest(rate)
            entries = [longest.get(name) or container.entry_of(name, tensor) for name, tensor in model.tensors.items()]
            besides = container.file_size(entries, metadata=model.metadata) - sum(entry.nbytes for entry in longest.values())
            digits = 0 if method_named(method).fixed else RESERVE * len(longest)
            return besides + digits + sum(layouts.ceilings(rate).values())

        bits, spare = layouts.largest_rate(file_size, budget.size, budget, lambda size: f"{size} bytes")
        spare -= 7  # headers are padded to whole eights, so that a shorter one may take what a longer one does
    quantizers = {name: layouts.quantizer(name, bits) for name in layouts.specs(bits)}
    kept |= {name: "codes take no less" for name in chosen if name not in quantizers}
    ceilings = layouts.ceilings(bits) if budget else {}
    heads = {name: head_bytes(e) for name, e in layouts.longest(bits).items()} if budget and budget.size else {}
    return Plan(bits, quantizers, kept, ceilings, heads, spare)


def fairer(plan: Plan, model: Model, entries: Iterable[container.Entry], spare: int) -> Plan:
    """The plan with what streams may take in proportion to their values, from what has been taken besides them and was left.

    Before, as much is kept for every tensor as its header could need; the first ones go short of that, the last ones get it.
    """
    made = {entry.name: entry for entry in entries if entry.name in plan.quantizers}
    streams = {name: entry.planes["stream"].nbytes for name, entry in made.items()}
    room, total = spare + sum(streams.values()), sum(model.tensors[name].size for name in made)
    ceilings = {name: e.nbytes - streams[name] + room * model.tensors[name].size // total for name, e in made.items()}
    heads = {name: head_bytes(entry) for name, entry in made.items()} if plan.heads else {}
    return replace(plan, ceilings=ceilings, heads=heads, spare=0)


def head_bytes(entry: container.Entry) -> int:
    """Of a file that holds nothing else: what its header takes besides the spec."""
    return container.file_size([entry]) - entry.nbytes


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
    """The specs of a model's tensors, certified or not, at any rate, of which multiples of 1 / ``steps`` are tried."""

    def __init__(
        self, tensors: Mapping[str, Tensor], make: Callable[[Rate, int], Quantizer], steps: int, certificate: bool
    ) -> None:
        self.tensors, self.make, self.steps, self.certificate = tensors, make, steps, certificate
        # Every tensor draws numbers of its own, so that the errors of two of them have nothing in common.
        self.streams = {name: i for i, name in enumerate(sorted(tensors))}

    def quantizer(self, name: str, rate: Rate) -> Quantizer:
        """At the rate, or one code a row if that is more."""
        return self.make(max(rate, Fraction(1, rows_of(self.tensors[name].shape)[-1])), self.streams[name])

    def specs(self, rate: Rate) -> dict[str, Spec | Coding]:
        """Of the tensors that get smaller."""
        specs: dict[str, Spec | Coding] = {}
        for name, tensor in self.tensors.items():
            quantizer = self.quantizer(name, rate)
            try:
                spec = quantizer.spec(rows_of(tensor.shape), tensor.dtype_name)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
            if spec.nbytes() + self.besides(quantizer, spec) < tensor.nbytes:
                specs[name] = spec
        return specs

    def besides(self, quantizer: Quantizer, spec: Spec | Coding) -> int:
        """Bytes of a certificate."""
        return quantizer.certificate_bytes(spec.shape) if self.certificate else 0

    def longest(self, rate: Rate) -> dict[str, container.Entry]:
        """The longest that their entries in a file can be."""
        entries = {}
        for name, spec in self.specs(rate).items():
            whole = self.quantizer(name, rate).longest(spec.shape, spec.dtype)
            entries[name] = container.entry_of(name, whole, own_shape(self.tensors[name]))
            if self.certificate:
                entries[name].planes[ERRORS] = tensor_like("float32", (spec.rows,))
        return entries

    def ceilings(self, rate: Rate) -> dict[str, int]:
        """Bytes that these tensors take at most."""
        ceilings = {}
        for name, spec in self.specs(rate).items():
            quantizer = self.quantizer(name, rate)
            ceilings[name] = quantizer.nbytes(spec.shape, spec.dtype) + self.besides(quantizer, spec)
        return ceilings

    def nbytes(self, rate: Rate) -> int:
        """Of all tensors, kept ones included."""
        return sum(({name: tensor.nbytes for name, tensor in self.tensors.items()} | self.ceilings(rate)).values())

    def largest_rate(
        self, cost: Callable[[Rate], int], allowed: int, budget: Budget, text: Callable[[int], str]
    ) -> tuple[Rate, int]:
        """The largest rate whose cost in bytes, which grows with it, is allowed, and how many bytes are left."""
        least, most = self._possible()
        cheapest = cost(self._rate(least))
        if cheapest > allowed:
            raise ValueError(f"budget is {budget}, which is impossible; the least for this model is {text(cheapest)}")
        step = _last(lambda step: cost(self._rate(step)) <= allowed, least, most)
        near = range(min(step + NEAR, most), step, -1)  # costs grow but for the padding of rows
        rate = self._rate(next((k for k in near if cost(self._rate(k)) <= allowed), step))
        return rate, allowed - cost(rate)

    def _possible(self) -> tuple[int, int]:
        """The first and the last step at which the method has codes; they have no gap between them."""

        def has(step: int) -> bool:
            try:
                self.specs(self._rate(step))
            except ValueError:
                return False
            return True

        some = next((step for step in range(self.steps, MOST * self.steps + 1, self.steps) if has(step)), None)
        if some is None:
            self.specs(1)  # raises
            raise AssertionError
        return -_last(lambda step: has(-step), -some, -1), _last(has, some, MOST * self.steps)

    def _rate(self, step: int) -> Rate:
        return Fraction(step, self.steps) if step % self.steps else step // self.steps


def _last(true: Callable[[int], bool], low: int, high: int) -> int:
    """The last of low to high at which ``true`` still holds, given that it does at ``low``."""
    while low < high:
        middle = (low + high + 1) // 2
        if true(middle):
            low = middle
        else:
            high = middle - 1
    return low
