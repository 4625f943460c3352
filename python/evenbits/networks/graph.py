"""A network as steps, each a function of earlier values, walked once with full and once with few-bit weights side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

from evenbits._arrays import Array, as_floats
from evenbits.networks.layers import Conv, Dense, Flatten, Layer, Pool, ReLU, Residual

Pair = tuple[Any, Any]
"""A value of the network as it was, and of the one whose earlier layers are quantized."""


class Node(NamedTuple):
    """A step: the values it takes by number (those of the network's inputs come first), and what it makes of them.

    ``own`` is whether the few-bit network may make something else of the same values.
    """

    inputs: tuple[int, ...]
    full: Callable[..., Any]
    few: Callable[..., Any]
    layer: Layer | None = None
    own: bool = False


class Graph:
    """A network whose steps are known: one pass, in which the values that are still needed are kept for all batches.

    portable: whether all steps give the same numbers on every machine.
    """

    def __init__(
        self, nodes: Sequence[Node], inputs: int, model: Any, tensors: Callable[[], dict[str, Array]], portable: bool = False
    ) -> None:
        self.nodes, self.inputs, self.model, self.tensors, self.portable = list(nodes), inputs, model, tensors, portable
        self.layers = [node.layer for node in nodes if node.layer is not None]

    def walk(self, batches: Sequence[tuple[Any, ...]], chosen: set[str]) -> Iterator[tuple[Layer, Iterator[Pair]]]:
        """The chosen layers in their order, each with what goes into it in every batch; replace its weights before the next."""
        for batch in batches:
            if len(batch) != self.inputs:
                raise ValueError(f"calibration has {len(batch)} arrays a batch; the network takes {self.inputs}")
        ends = {number: at for at, node in enumerate(self.nodes) for number in node.inputs}
        stop = max((at for at, node in enumerate(self.nodes) if node.layer and node.layer.name in chosen), default=-1)
        live: dict[int, list[Pair]] = {i: [(batch[i], batch[i]) for batch in batches] for i in range(self.inputs)}
        for at, node in enumerate(self.nodes[: stop + 1]):
            if node.layer is not None and node.layer.name in chosen:
                yield node.layer, iter(live[node.inputs[0]])
            if at < stop:
                given = [live[number] for number in node.inputs]
                live[self.inputs + at] = [_step(node, [pairs[k] for pairs in given]) for k in range(len(batches))]
            for number in node.inputs:
                if ends[number] == at:
                    live.pop(number, None)


def _step(node: Node, pairs: Sequence[Pair]) -> Pair:
    full = node.full(*(pair[0] for pair in pairs))
    if not node.own and all(pair[0] is pair[1] for pair in pairs):
        return full, full
    return full, node.few(*(pair[1] for pair in pairs))


def graph_of_list(layers: Sequence[Callable[[Array], Array]]) -> Graph:
    """The graph of a list of layers of NumPy (any functions of an array among them), and a copy that may be changed."""
    if not all(map(callable, layers)):
        raise TypeError("model is a list in which not everything can be called; it is made of layers such as Dense, Conv, ReLU")
    few = deepcopy(list(layers))
    nodes: list[Node] = []
    weighted: dict[str, Dense | Conv] = {}
    _append(nodes, weighted, list(layers), few, "", 0)

    def tensors() -> dict[str, Array]:
        found = {f"{name}.{key}": getattr(layer, key) for name, layer in weighted.items() for key in ("weight", "bias")}
        return {name: value for name, value in found.items() if value is not None}

    return Graph(nodes, 1, few, tensors, _portable(layers))


def _portable(layers: Sequence[Any]) -> bool:
    """Whether no function is among them but those known here."""
    own = (Dense, Conv, ReLU, Pool, Flatten)
    return all(_portable(layer.layers) if type(layer) is Residual else type(layer) in own for layer in layers)


def _append(nodes: list[Node], weighted: dict[str, Any], full: list[Any], few: list[Any], prefix: str, value: int) -> int:
    """Append the steps of a list that begins with a value; the number of the value it ends with."""
    for i, (layer, copy) in enumerate(zip(full, few, strict=True)):
        name = getattr(layer, "name", "") or f"{prefix}{i}"
        if isinstance(layer, Residual):
            end = _append(nodes, weighted, list(layer.layers), list(copy.layers), f"{name}.", value)
            nodes.append(Node((value, end), _add, _add))
        elif isinstance(layer, (Dense, Conv)):
            if any(copy is other for other in weighted.values()):  # used again: calibrated where it is used first
                nodes.append(Node((value,), layer, copy, own=True))
                value = len(nodes)
                continue
            if name in weighted:
                raise ValueError(f"two layers are called {name!r}; names must differ")
            weighted[name] = copy
            nodes.append(Node((value,), layer, copy, _numpy_layer(name, layer, copy), own=True))
        else:
            nodes.append(Node((value,), layer, copy))
        value = len(nodes)
    return value


def _add(x: Array, y: Array) -> Array:
    return x + y


def _numpy_layer(name: str, layer: Dense | Conv, copy: Dense | Conv) -> Layer:
    def replace(matrix: Array, bias: Array | None) -> None:
        copy.weight = matrix.reshape(layer.weight.shape).astype(layer.weight.dtype)
        copy.bias = None if bias is None else bias.astype(layer.weight.dtype)

    weight = layer.weight
    matrix = as_floats(weight.reshape(len(weight), math.prod(weight.shape[1:])))
    own = f"{name}.weight", matrix, layer.bias, weight.shape, weight.dtype.name
    return Layer(*own, replace, layer.patches, f"{name}.bias")
