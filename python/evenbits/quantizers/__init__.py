"""The methods: each turns arrays into ``Encoded``, and nothing of it is needed to decode them."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from numpy.typing import ArrayLike

from evenbits._arrays import as_array
from evenbits.encoded import Encoded
from evenbits.quantizers.base import Progress, Quantizer, flag, stored_dtype
from evenbits.quantizers.budget import within_budget
from evenbits.quantizers.classification_aware import ClassificationAwareQuantizer
from evenbits.quantizers.dead_zone import DeadZone
from evenbits.quantizers.democratic import Democratic
from evenbits.quantizers.entropy_trellis import EntropyTrellis
from evenbits.quantizers.error_feedback import ErrorFeedback, Nearest
from evenbits.quantizers.kashin import Kashin
from evenbits.quantizers.lloyd_max import LloydMax
from evenbits.quantizers.loss_aware import LossAware
from evenbits.quantizers.magnitude import MagnitudePruning
from evenbits.quantizers.near_democratic import NearDemocratic
from evenbits.quantizers.path_following import PathFollowing
from evenbits.quantizers.pruning import Pruning
from evenbits.quantizers.residual import Residual
from evenbits.quantizers.sign_frame import SignFrame
from evenbits.quantizers.sparq import Sparq
from evenbits.quantizers.trellis import Trellis
from evenbits.quantizers.trellis_feedback import TrellisFeedback
from evenbits.quantizers.uniform import Uniform

__all__ = [
    "ClassificationAwareQuantizer",
    "DeadZone",
    "Democratic",
    "EntropyTrellis",
    "ErrorFeedback",
    "Kashin",
    "LloydMax",
    "LossAware",
    "MagnitudePruning",
    "NearDemocratic",
    "Nearest",
    "PathFollowing",
    "Pruning",
    "Quantizer",
    "Residual",
    "SignFrame",
    "Sparq",
    "Trellis",
    "TrellisFeedback",
    "Uniform",
    "calibrated_methods",
    "methods",
    "quantize",
    "within_budget",
]


OTHERS = {
    "classification_aware": "it takes a decision to keep or labels: evenbits.quantizers.ClassificationAwareQuantizer",
    "sparq": "it is for activations, bytes that are not negative: evenbits.quantizers.Sparq",
}
"""Methods that arrays alone do not suffice for, and what they take."""


def methods() -> dict[str, type[Quantizer]]:
    """The quantizer classes by the name that ``quantize`` and the command take. Not all have a code for every rate."""
    on_grids = (Uniform, LloydMax, NearDemocratic, Democratic, SignFrame, Kashin, LossAware)
    streams = (EntropyTrellis, DeadZone, Pruning, MagnitudePruning)
    return {cls.method: cls for cls in (*on_grids, *streams, Residual, Trellis)}


def calibrated_methods() -> dict[str, type[PathFollowing] | type[TrellisFeedback]]:
    """Those that choose codes by what a layer sees: their ``encode``, and ``quantize``, take ``calibration`` data."""
    return {cls.method: cls for cls in (PathFollowing, ErrorFeedback, Nearest, TrellisFeedback)}


def method_named(method: str) -> type[Quantizer]:
    """The class of a method. Raises ValueError, naming those there are."""
    known: dict[str, type[Quantizer]] = methods() | calibrated_methods()
    if method in OTHERS:
        raise ValueError(f"method is {method!r}, which arrays alone do not suffice for; {OTHERS[method]}")
    if method not in known:
        raise ValueError(f"method is {method!r}; known are {', '.join(known)}")
    return known[method]


def quantize(
    x: ArrayLike,
    bits: float | Fraction | None = None,
    method: str = "near_democratic",
    *,
    budget: float | Fraction | None = None,
    certificate: bool = False,
    seed: int = 0,
    workers: int = 1,
    progress: Progress | None = None,
    **options: Any,
) -> Encoded:
    """A few-bit form of x: rows are its leading axes, coordinates its last.

    Exactly one of ``bits`` and ``budget`` is given (4 bits if neither is, nor an option that stands for them). ``bits=b``,
    0 < b <= 16: the width of a code; an integer gives plain b-bit codes, another b > 1 two adjacent level counts in mixed
    radix, b < 1 one bit for a random subset; scales come on top and ``bits_per_value`` reports the sum. ``budget=B`` is a
    ceiling for any B > 0: codes, scales, tables and the spec together take at most B bits a value, or a ValueError says why
    that can't be.
    ``certificate``: a bound on the error of every row comes with the codes, 4 bytes each, see ``Encoded.certified``.
    ``progress(done, total)`` hears of values: while trellises are searched, of other methods at the end.
    ``options`` are those of the method's class; methods that take ``calibration`` data take them here too. The same input,
    options and seed give the same bytes everywhere.
    Raises ValueError and TypeError that name the argument.
    """
    cls = method_named(method)
    if bits is not None and budget is not None:
        raise ValueError(f"bits is {bits} and budget is {budget}; give one of them")
    data: Any = {name: options.pop(name) for name in ("calibration", "quantized_calibration") if name in options}
    if data and method not in calibrated_methods():
        raise TypeError(f"method is {method!r}, which takes no {next(iter(data))}; {', '.join(calibrated_methods())} do")
    a, certificate = as_array(x), flag(certificate, "certificate")
    if budget is None:
        told = options.get("alphabet") == "infinite" or options.get("code_bits") is not None
        rate: Any = bits if bits is not None or told else 4
        quantizer = cls(rate, seed=seed, **options)
    else:
        quantizer = within_budget(cls, a.shape, stored_dtype(a.dtype), budget, certificate=certificate, seed=seed, **options)
    if progress and cls.reports():
        data["progress"] = progress
    encoded = quantizer.encode(a, workers=workers, **data)
    if progress:
        progress(a.size, a.size)
    if not certificate:
        return encoded
    encoded = encoded.certified(a)
    if quantizer.allowed is not None and encoded.nbytes > quantizer.allowed + quantizer.certificate_bytes(a.shape):
        raise ValueError(f"budget is {budget}; {encoded.method!r}, taken instead, has a larger certificate: take more bits")
    return encoded
