"""Weights and activations of a network clipped together, where its own loss on calibration data is low."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from evenbits import container
from evenbits._arrays import Array, integer
from evenbits._tensorfile import Path
from evenbits.encoded import Encoded
from evenbits.networks.batches import batches_of
from evenbits.networks.layers import Layer, ReLU, Residual
from evenbits.networks.quantize import is_chosen, open_network
from evenbits.quantizers.base import rational
from evenbits.quantizers.clipping import on_levels
from evenbits.quantizers.loss_aware import Clipped, ClipSearch, LossAware, bias_shift, search_clips

CLIPS = "evenbits.activation_clips"
"""The key of a file's metadata."""
SAMPLE = 1 << 16
"""Values of an activation that its clips are first chosen by."""


@dataclass(frozen=True, eq=False)
class LossAwareNetwork:
    """``model``: a copy of the network with decoded weights, whose ReLUs round to few levels if they were asked to.

    ``encoded``: codes by the names of the weights. ``clips``: of weights by their names, then of ReLUs by theirs. ``search``: how
    they were found, with the loss at the end. ``biases``: those that took up what the mean of an output had moved.
    """

    model: Any
    encoded: dict[str, Encoded]
    clips: dict[str, float]
    biases: dict[str, Array]
    search: ClipSearch
    network: Any
    activation_levels: int = 0

    def save(self, path: Path) -> int:
        """Write all tensors to a file, the quantized ones as codes; its size. ``activation_clips`` reads those of ReLUs."""
        entries = [container.entry_of(n, self.encoded.get(n, value)) for n, value in self.network.tensors().items()]
        gates = {name: [clip, self.activation_levels] for name, clip in self.clips.items() if name not in self.encoded}
        return container.write(path, entries, metadata={CLIPS: json.dumps(gates)} if gates else None)


def activation_clips(path: Path) -> dict[str, tuple[float, int]]:
    """Clip and number of levels of each ReLU of a file that ``LossAwareNetwork.save`` wrote: y becomes the nearest of so many
    equal steps from 0 to the clip."""
    text = container.read(path)[1].get(CLIPS, "{}")
    return {name: (float(clip), int(levels)) for name, (clip, levels) in json.loads(text).items()}


class _Gate:
    """What stands behind a ReLU of the copied network: nothing, a recorder, or a quantizer."""

    def __init__(self, name: str, levels: int) -> None:
        self.name, self.levels, self.clip = name, levels, 0.0
        self.seen: list[Array] | None = None

    def __call__(self, y: Any) -> Any:
        if self.seen is not None:
            self.seen.append(_thinned(np.asarray(y.detach() if hasattr(y, "detach") else y, np.float32)))
        if not self.clip:
            return y
        if isinstance(y, np.ndarray):
            return on_levels(y, self.clip, self.levels, signed=False).astype(y.dtype, copy=False)
        step = self.clip / (self.levels - 1)
        return (y / step).round().clamp(0, self.levels - 1) * step


def quantize_loss_aware(
    model: Any,
    calibration: Any,
    loss: Callable[[Any], float],
    bits: float | Fraction = 4,
    activation_bits: int | None = None,
    *,
    ends: bool = False,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    powers: Sequence[float] | None = None,
    iterations: int = 2,
    bias_correction: bool = True,
    batch: int = 64,
) -> LossAwareNetwork:
    """Quantize weights, and what ReLUs give, in equal steps whose clips are searched together by a loss.

    model: a module of PyTorch, or a list of layers of NumPy, as for ``quantize_network``. It is not changed.
    calibration: samples to see activations and their means on. loss: a function of a network such as ``model``, for example its
    cross-entropy on some labelled samples; take these from the training set, never from those the result is measured on.
    bits: of weights, one clip a tensor, 2^bits levels without 0; activation_bits: of ReLU's outputs, levels from 0 on; None:
    floats.
    ends: also the first and the last layer (by default left as they are); include, exclude: shell patterns of weights' names.
    powers, iterations: of ``search_clips``. bias_correction: the biases take up what the mean of an output has moved.
    Source: Nahshan et al., "Loss aware post-training quantization", arXiv 1911.07190, which corrects the mean of the weights.
    """
    batches = batches_of(calibration, integer(batch, "batch", 1, 2**40))
    levels = 0 if activation_bits is None else 1 << integer(activation_bits, "activation_bits", 1, 8)
    network = open_network(model, batches, fold=False)
    names = [layer.name for layer in network.layers][slice(None) if ends else slice(1, -1)]
    layers = [layer for layer in network.layers if layer.name in names and is_chosen(layer.name, include, exclude)]
    gates = _gates(network.model, levels) if levels else []
    if not layers and not gates:
        raise ValueError("no layer is left to quantize; the first and the last are left out unless ends=True")
    inputs = _means(network, batches, layers) if bias_correction else {}
    for gate in gates:
        gate.seen = []
    for given in batches if gates else ():
        network_call(network.model, given)
    tensors = [Clipped(layer.matrix, int(2 ** float(rational(bits)) + 1e-9)) for layer in layers]
    tensors += [Clipped(np.concatenate(gate.seen or [np.zeros(0, np.float32)]), levels, signed=False) for gate in gates]
    for gate in gates:
        gate.seen = None

    def apply(clips: Array) -> None:
        for layer, tensor, clip in zip(layers, tensors, clips[: len(layers)], strict=False):
            _put(layer, on_levels(layer.matrix, float(clip), tensor.levels), inputs)
        for gate, clip in zip(gates, clips[len(layers) :], strict=True):
            gate.clip = float(clip)

    def loss_at(clips: Array) -> float:
        apply(clips)
        return loss(network.model)

    options = {} if powers is None else {"powers": powers}
    search = search_clips(tensors, loss_at, iterations=iterations, **options)
    apply(search.clips)
    encoded: dict[str, Encoded] = {}
    biases: dict[str, Array] = {}
    for layer, clip in zip(layers, search.clips[: len(layers)], strict=True):
        encoded[layer.name] = LossAware(bits, clip=float(clip)).encode(layer.matrix.reshape(layer.shape))
        bias = _put(layer, encoded[layer.name].decode().reshape(layer.matrix.shape), inputs)
        if bias is not None and layer.name in inputs:
            biases[layer.bias_name] = bias
    named = [layer.name for layer in layers] + [gate.name for gate in gates]
    return LossAwareNetwork(
        network.model, encoded, dict(zip(named, map(float, search.clips), strict=True)), biases, search, network, levels
    )


def network_call(model: Any, given: tuple[Any, ...]) -> Any:
    """A network's outputs: of a list of layers, one after the other."""
    if not isinstance(model, (list, tuple)):
        return model(*given)
    (y,) = given
    for layer in model:
        y = layer(y)
    return y


def _put(layer: Layer, matrix: Array, inputs: dict[str, Array]) -> Array | None:
    """Give the layer of the copy that matrix, and the bias that keeps its mean; returns this."""
    bias = layer.bias
    if bias is not None and layer.name in inputs:
        moved = bias_shift(layer.grouped, matrix.reshape(layer.grouped.shape), inputs[layer.name])
        bias = (bias + moved.reshape(-1)).astype(bias.dtype)
    layer.replace(matrix.astype(np.float32), bias)
    return bias


def _means(network: Any, batches: Sequence[tuple[Any, ...]], layers: Sequence[Layer]) -> dict[str, Array]:
    """The mean input of each layer in the full network, (groups, inputs)."""
    means = {}
    for layer, pairs in network.walk(batches, {layer.name for layer in layers}):
        total, count = 0.0, 0
        for full, _ in pairs:
            rows = layer.rows(np.asarray(full.detach() if hasattr(full, "detach") else full))
            total, count = total + rows.sum(axis=1, dtype=np.float64), count + rows.shape[1]
        means[layer.name] = np.asarray(total / max(count, 1))
    return means


def _gates(model: Any, levels: int) -> list[_Gate]:
    """A gate behind each ReLU of the copied network."""
    gates: list[_Gate] = []
    if isinstance(model, (list, tuple)):
        _wrap(model, levels, gates, "")
        return gates
    import torch

    for name, module in model.named_modules():
        if isinstance(module, (torch.nn.ReLU, torch.nn.ReLU6)):
            gate = _Gate(name, levels)
            module.register_forward_hook(lambda _, __, y, gate=gate: gate(y))
            gates.append(gate)
    return gates


class _Behind:
    def __init__(self, layer: ReLU, gate: _Gate) -> None:
        self.layer, self.gate = layer, gate

    def __call__(self, x: Array) -> Array:
        y: Array = self.gate(self.layer(x))
        return y


def _wrap(layers: Any, levels: int, gates: list[_Gate], prefix: str) -> None:
    for i, layer in enumerate(layers):
        if isinstance(layer, ReLU):
            gates.append(_Gate(f"{prefix}{i}", levels))
            layers[i] = _Behind(layer, gates[-1])
        elif isinstance(layer, Residual):
            layer.layers = list(layer.layers)  # type: ignore[assignment]
            _wrap(layer.layers, levels, gates, f"{prefix}{i}.")


def _thinned(y: Array) -> Array:
    flat = y.reshape(-1)
    return flat[:: -(-flat.size // SAMPLE)] if flat.size else flat
