"""Networks, layer by layer, each against what the layers before it have become."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from fractions import Fraction
from typing import Any

import numpy as np

from evenbits import container
from evenbits._arrays import Array, as_array, integer, seed_of, workers_of
from evenbits._tensorfile import Path
from evenbits.encoded import Encoded, decode
from evenbits.models.progress import ProgressBar
from evenbits.models.report import shape_text, table
from evenbits.networks.batches import batches_of
from evenbits.networks.encode import encoder_of
from evenbits.networks.graph import Graph, graph_of_list
from evenbits.networks.layers import Layer
from evenbits.networks.seen import Seen
from evenbits.networks.state import State, fingerprint

Rate = float | Fraction
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class LayerReport:
    """One layer. Errors are |X W^T - Y Q^T| / |X W^T|: of its own output, X seen in the full network, Y in the quantized one.

    ``error`` is over the calibration rows, ``held_out_error`` over rows that had no part in the codes (None: there are none), and
    ``nearest_error`` what it would be there with every weight rounded to the nearest level (None: not known).
    ``saturated`` counts codes at an end of the levels that their method wanted beyond it; ``levels`` is 0 of codings without.
    """

    name: str
    shape: tuple[int, ...]
    method: str
    bits: float
    levels: int
    bits_per_value: float
    rows: int
    error: float
    held_out_error: float | None
    nearest_error: float | None
    saturated: int


@dataclass(frozen=True, eq=False)
class QuantizedNetwork:
    """``model``: a copy of the network with decoded weights. ``encoded``: the codes by the names of the weights.

    ``layers``: what was measured at each. ``biases``: those that bias correction changed.
    """

    model: Any
    encoded: dict[str, Encoded]
    biases: dict[str, Array]
    layers: tuple[LayerReport, ...]
    network: Graph | Any

    @property
    def bits_per_value(self) -> float:
        """Over the quantized weights, everything counted."""
        size = sum(int(np.prod(report.shape)) for report in self.layers)
        return 8 * sum(code.nbytes for code in self.encoded.values()) / size if size else 0.0

    def save(self, path: Path) -> int:
        """Write all tensors of the network to a file, the quantized ones as codes; its size in bytes.

        ``evenbits decode`` makes an ordinary safetensors file of it, with the names and shapes of the network's own tensors.
        """
        shapes = {report.name: report.shape for report in self.layers}
        entries = [
            container.entry_of(name, self.encoded[name], shapes[name] if len(shapes[name]) > 2 else None)
            if name in self.encoded
            else container.entry_of(name, value)
            for name, value in self.network.tensors().items()
        ]
        return container.write(path, entries)

    def text(self) -> str:
        """The layers as a table."""
        rows = [
            [r.name, shape_text(r.shape), r.method, str(r.levels), f"{r.bits_per_value:.3f}", f"{r.error:.4f}",
             "" if r.held_out_error is None else f"{r.held_out_error:.4f}", str(r.saturated)]
            for r in self.layers
        ]  # fmt: skip
        return table(["layer", "shape", "method", "levels", "bits a value", "error", "held out", "saturated"], rows, "lllrrrrr")


def open_network(model: Any, batches: Sequence[tuple[Any, ...]] = (), *, fold: bool = True, trace: bool = True) -> Any:
    """A network's layers (``.layers``, in order), the copy of it that may be changed (``.model``), and ``.walk``.

    ``model``: a module of PyTorch, or a list of layers of NumPy. Each layer has ``name``, ``matrix`` and ``replace``.
    """
    if isinstance(model, (list, tuple)):
        return graph_of_list(model)
    if hasattr(model, "named_modules"):
        from evenbits.networks.modules import network_of_module

        return network_of_module(model, batches, fold=fold, trace=trace)
    raise TypeError(f"model is a {type(model).__name__}; pass a module of PyTorch, or a list of layers of NumPy")


def quantize_network(
    model: Any,
    calibration: Any,
    bits: Rate | Mapping[str, Rate] = 4,
    method: str = "path_following",
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    batch: int = 64,
    rows: int = 16384,
    hold: int = 5,
    bias_correction: bool = True,
    fold: bool = True,
    trace: bool = True,
    portable: bool = True,
    state: Path | None = None,
    progress: Progress | bool | None = None,
    seed: int = 0,
    workers: int = 1,
    **options: Any,
) -> QuantizedNetwork:
    """Quantize the layers of a trained network in their order, each so that its output stays what it was on calibration data.

    With X what a layer W sees in the full network and Y what it sees behind the layers that are quantized already, its codes Q
    make |X W^T - Y Q^T| small. ``calibration``: an array whose first axis is that of the samples (cut into batches of ``batch``),
    or batches, each an array or a tuple of the network's inputs; unlabelled inputs such as the network is made for.

    model: a module of PyTorch (extra "torch"), of which dense layers and convolutions are quantized and embeddings left; or a
    list of layers of NumPy (Dense, Conv, ReLU, Pool, Residual, any function of an array). It is not changed.
    bits: of a code, or a dictionary from shell patterns of names to bits, the first that fits.
    method: "path_following" (``rounding="stochastic"`` for SPFQ), "error_feedback" (as GPTQ), "nearest", "trellis_feedback", or
    any of ``evenbits.methods()``, which look at weights alone; ``options`` are the method's own. Here the first three have
    ``clip="search"`` and ``per="row"`` unless told, and path_following ``columns="norm"`` and ``order=4``.
    include, exclude: shell patterns of the names of weights.
    rows: so many of a layer's inputs (of a convolution: patches, by its own stride) are looked at, drawn at random from all.
    hold: every so many-th batch is held out: the error there is reported, and chooses the step (``clip="search"``). 0: none.
    bias_correction: give what the mean of an output has moved to the layer's bias, or the batch norm's after it, if there is one.
    fold: give weights the factor of a batch norm that follows; it keeps the shift, and all names and shapes stay. Of networks
    that are traced.
    trace: follow the network step by step (torch.fx), with values kept for all batches. Where it can't be traced, or with False,
    it is run up to each layer again: no memory for values, but time quadratic in the depth. A layer that is used several times
    is calibrated where it is used first.
    portable: False leaves sums over data to BLAS, of lists too.
    state: a folder in which each finished layer is kept; the same call goes on from there.
    progress: True draws a bar on a terminal; a function is called with (weights done, of how many, name).

    A list of layers of NumPy, none of them a function of yours, gets the same codes on every machine. PyTorch's products differ
    between machines in their last bits: a module's codes may too, and their specs say so. Decoding is the same everywhere.
    Warns (RuntimeWarning) where a layer's error held out is greater than nearest rounding's. Raises ValueError and TypeError that
    name the argument.
    Sources: Zhang and Saab, arXiv 2309.10975; Lybrand and Saab, arXiv 2010.15979; Frantar et al., arXiv 2210.17323.
    """
    rows, hold = integer(rows, "rows", 1, 2**40), integer(hold, "hold", 0, 2**40)
    seed, workers = seed_of(seed), workers_of(workers)
    batches = batches_of(calibration, integer(batch, "batch", 1, 2**40))
    hold = hold if len(batches) >= hold > 1 else (2 if len(batches) > 1 and hold else 0)
    network = open_network(model, batches, fold=fold, trace=trace)
    chosen = {layer.name: rate for layer in network.layers if (rate := _rate(layer.name, bits, include, exclude)) is not None}
    if not chosen:
        raise ValueError("no layer is left to quantize: bits, include and exclude leave out all of the network's "
                         f"{len(network.layers)} layers with weights")  # fmt: skip
    encode = encoder_of(method, options, seed, workers)
    settings = {"bits": chosen, "method": method, "options": options, "seed": seed, "rows": rows, "hold": hold,
                "bias_correction": bias_correction, "fold": fold, "portable": portable,
                "patches": [layer.patches for layer in network.layers]}  # fmt: skip
    kept = None
    if state is not None:
        arrays = [array for b in batches for array in b] + list(network.tensors().values())
        kept = State(state, fingerprint(settings, arrays))
    total, done = sum(layer.matrix.size for layer in network.layers if layer.name in chosen), 0
    encoded: dict[str, Encoded] = {}
    biases: dict[str, Array] = {}
    reports: list[LayerReport] = []
    with ProgressBar(sys.stderr) if progress is True else nullcontext(progress or None) as shown:
        for number, (layer, pairs) in enumerate(network.walk(batches, set(chosen))):
            if shown:
                shown(done, total, layer.name)
            found = kept.load(layer.name) if kept else None
            if found is None:
                seen = Seen(layer, pairs, len(batches), rows=rows, hold=hold, seed=seed, stream=number,
                            portable=bool(portable), same=network.portable, workers=workers)  # fmt: skip
                found = _quantize_layer(layer, seen, chosen[layer.name], encode, number, bias_correction)
                if kept:
                    kept.save(layer.name, *found)
            code, bias, report = found
            weights = decode(code, workers=workers).reshape(layer.matrix.shape)
            layer.replace(weights if weights.dtype == np.float64 else weights.astype(np.float32), bias)
            encoded[layer.name] = code
            if bias is not None:
                biases[layer.bias_name] = bias
            reports.append(LayerReport(**(report | {"shape": tuple(report["shape"])})))
            done += layer.matrix.size
        if shown:
            shown(done, total, "")
    _warn(reports)
    return QuantizedNetwork(network.model, encoded, biases, tuple(reports), network)


def _warn(reports: Sequence[LayerReport]) -> None:
    """Say so where calibration did harm."""
    pairs = [(r.name, r.held_out_error, r.nearest_error) for r in reports]
    worse = [(name, e, nearest) for name, e, nearest in pairs if e is not None and nearest is not None and e > nearest]
    if worse:
        name, error, nearest = worse[0]
        warnings.warn(
            f"{len(worse)} of {len(reports)} layers have more error on batches held out than with nearest rounding, the first "
            f"{name} ({error:.3g} and {nearest:.3g}): calibrate with more data, or take method='nearest' for them",
            RuntimeWarning,
            stacklevel=3,
        )


def is_chosen(name: str, include: Sequence[str], exclude: Sequence[str]) -> bool:
    """Whether a weight fits a pattern of ``include``, if there are any, and none of ``exclude``."""
    for argument, patterns in (("include", include), ("exclude", exclude)):
        if isinstance(patterns, str):
            raise TypeError(f"{argument} is {patterns!r}; pass a list of patterns")
    return (not include or any(fnmatchcase(name, p) for p in include)) and not any(fnmatchcase(name, p) for p in exclude)


def _rate(name: str, bits: Rate | Mapping[str, Rate], include: Sequence[str], exclude: Sequence[str]) -> Rate | None:
    if not is_chosen(name, include, exclude):
        return None
    if isinstance(bits, Mapping):
        return next((rate for pattern, rate in bits.items() if fnmatchcase(name, pattern)), None)
    return bits


def _quantize_layer(
    layer: Layer, seen: Seen, bits: Rate, encode: Any, number: int, bias_correction: bool
) -> tuple[Encoded, Array | None, dict[str, Any]]:
    try:
        code, saturated, nearest = encode(layer, seen, bits, number)
    except ValueError as error:
        raise ValueError(f"{layer.name}: {error}") from None
    matrix = as_array(decode(code)).astype(np.float64).reshape(layer.matrix.shape)
    bias = layer.bias
    if bias_correction and bias is not None:
        bias = (bias + seen.shift(matrix)).astype(bias.dtype)
    levels = code.spec.get("codes", (0, 0))
    report = LayerReport(
        layer.name, layer.shape, code.method, float(bits), levels[0] + (levels[1] > 0),
        code.bits_per_value, seen.count, seen.error(matrix), seen.held_out_error(matrix),
        None if nearest is None else seen.held_out_error(nearest), saturated,
    )  # fmt: skip
    return code, bias, asdict(report) | {"shape": list(layer.shape)}
