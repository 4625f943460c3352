"""Networks of PyTorch: layers, batch norms and the order of the steps."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import Any

try:
    import torch
except ModuleNotFoundError as error:
    raise ModuleNotFoundError('networks of PyTorch take torch: pip install "evenbits[torch]"') from error
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from evenbits._arrays import Array, as_array
from evenbits.networks.graph import Graph, Node, Pair
from evenbits.networks.layers import Layer, Patches

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
WEIGHTED = (nn.Linear, *CONVOLUTIONS)
MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def network_of_module(model: nn.Module, batches: Sequence[tuple[Any, ...]], *, fold: bool, trace: bool) -> Graph | Hooked:
    """The steps of a module, as torch.fx finds them; a module it can't trace is run as a whole, again for every layer.

    Works on copies in evaluation mode, on the CPU. With ``fold`` batch norms that follow a layer give it their factor.
    """
    full = deepcopy(model).eval().cpu()
    for module in full.modules():
        if getattr(module, "inplace", False) is True:
            module.inplace = False  # values of earlier steps are still needed
    traced = _trace(full) if trace and not isinstance(full, WEIGHTED) else None
    norms = _fold(full, traced, batches) if fold and traced is not None else {}
    few = deepcopy(full)
    make = _Layers(full, few, norms)
    if traced is None:
        return Hooked(full, few, make, batches)
    nodes, inputs = _nodes(traced, full, few, make)
    return Graph(nodes, inputs, few, lambda: _tensors(few))


def _trace(model: nn.Module) -> fx.Graph | None:
    try:
        return fx.Tracer().trace(model)
    except Exception:  # whatever the module's own code does with a proxy
        return None


def _tensors(model: nn.Module) -> dict[str, Array]:
    return {name: as_array(tensor.detach()) for name, tensor in model.state_dict().items()}


class _Layers:
    """Makes layers of modules, each the first time that it is met."""

    def __init__(self, full: nn.Module, few: nn.Module, norms: dict[str, str]) -> None:
        self.full, self.few, self.norms = full, few, norms
        owners: dict[int, list[str]] = {}
        for name, module in full.named_modules():
            for parameter in module.parameters(recurse=False):
                owners.setdefault(id(parameter), []).append(name)
        self.shared = {key for key, names in owners.items() if len(names) > 1}
        self.met: set[str] = set()

    def __call__(self, name: str) -> Layer | None:
        """The layer of a module, or None: it has no weights of the kind (or makes them of others, as with weight_norm), shares
        them (as with an embedding), or was met."""
        full, few = self.full.get_submodule(name), self.few.get_submodule(name)
        own = isinstance(full, WEIGHTED) and "weight" in dict(full.named_parameters(recurse=False))
        if not own or id(full.weight) in self.shared or name in self.met:
            return None
        self.met.add(name)
        shifting = self.norms.get(name, name) if full.bias is None else name
        shift = self.full.get_submodule(shifting).bias

        def replace(matrix: Array, bias: Array | None) -> None:
            with torch.no_grad():
                few.weight.copy_(torch.from_numpy(matrix.reshape(few.weight.shape)))
                if bias is not None:
                    self.few.get_submodule(shifting).bias.copy_(torch.from_numpy(bias))

        weight = full.weight.detach()
        return Layer(
            f"{name}.weight" if name else "weight",
            weight.reshape(len(weight), -1).float().numpy().copy(),
            None if shift is None else shift.detach().float().numpy().copy(),
            tuple(weight.shape),
            str(weight.dtype).removeprefix("torch."),
            replace,
            patches_of(full) if isinstance(full, CONVOLUTIONS) else None,
            f"{shifting}.bias" if shifting else "bias",
        )


def patches_of(module: Any) -> Patches:
    """What a convolution sees."""
    kernel, dilation = tuple(module.kernel_size), tuple(module.dilation)
    if module.padding == "same":
        total = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        padding = tuple((n // 2, n - n // 2) for n in total)
    elif module.padding == "valid":
        padding = ((0, 0),) * len(kernel)
    else:
        padding = tuple((n, n) for n in module.padding)
    return Patches(kernel, tuple(module.stride), padding, dilation, module.groups, MODES[module.padding_mode])


def _fold(model: nn.Module, graph: fx.Graph, batches: Sequence[tuple[Any, ...]]) -> dict[str, str]:
    """Give each layer the factor of the batch norm after it; the norm keeps the shift. Names of norms by those of layers.

    Names and shapes of all tensors stay, so that the folded network is loaded as the original is. Layers that share weights are
    left, and dense ones unless a batch shows that their outputs lie on the axis that is normalized.
    """
    owners = Counter(id(parameter) for module in model.modules() for parameter in module.parameters(recurse=False))
    flat = _flat(model, batches)
    calls = [str(node.target) for node in graph.nodes if node.op == "call_module"]
    folded: dict[str, str] = {}
    for node in graph.nodes:
        before = node.args[0] if node.op == "call_module" and node.args else None
        if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) != 1:
            continue
        name, norm_name = str(before.target), str(node.target)
        layer, norm = model.get_submodule(name), model.get_submodule(norm_name)
        once = calls.count(name) == calls.count(norm_name) == 1
        if not (once and isinstance(layer, WEIGHTED) and isinstance(norm, _BatchNorm)) or norm.running_mean is None:
            continue
        names = dict(layer.named_parameters(recurse=False))
        alone = all(owners[id(parameter)] == 1 for module in (layer, norm) for parameter in module.parameters(recurse=False))
        if not alone or "weight" not in names or (isinstance(layer, nn.Linear) and name not in flat):
            continue
        _fold_into(layer, norm)
        folded[name] = norm_name
    return folded


def _flat(model: nn.Module, batches: Sequence[tuple[Any, ...]]) -> set[str]:
    """The dense layers whose outputs have two axes, as the first batch shows."""
    found: set[str] = set()
    hooks = [
        module.register_forward_hook(lambda _, __, y, name=name: found.add(name) if y.ndim == 2 else None)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
    ]
    try:
        with torch.no_grad():
            for batch in batches[:1] if hooks else ():
                model(*batch)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _fold_into(layer: Any, norm: Any) -> None:
    with torch.no_grad():
        _scale(layer, norm)


def _scale(layer: Any, norm: Any) -> None:
    factor = torch.rsqrt(norm.running_var + norm.eps)
    if not norm.affine:
        norm.affine = True
        norm.weight, norm.bias = nn.Parameter(torch.ones_like(factor)), nn.Parameter(torch.zeros_like(factor))
    factor = factor * norm.weight
    layer.weight.mul_(factor.reshape(-1, *[1] * (layer.weight.ndim - 1)))
    if layer.bias is not None:
        layer.bias.mul_(factor)
    norm.bias.sub_(norm.running_mean * factor)
    norm.running_mean.zero_()
    norm.running_var.fill_(1)
    norm.weight.fill_((1 + norm.eps) ** 0.5)


def _nodes(graph: fx.Graph, full: nn.Module, few: nn.Module, make: _Layers) -> tuple[list[Node], int]:
    numbers: dict[fx.Node, int] = {}
    for node in graph.nodes:
        if node.op == "placeholder":
            numbers[node] = len(numbers)
    inputs, nodes = len(numbers), []
    for node in graph.nodes:
        if node.op in ("placeholder", "output"):
            continue
        needed = tuple(dict.fromkeys(node.all_input_nodes))
        layer = make(str(node.target)) if node.op == "call_module" else None
        given = tuple(numbers[other] for other in needed)
        own = node.op == "get_attr" or (node.op == "call_module" and _weighs(full.get_submodule(str(node.target))))
        nodes.append(Node(given, _runner(node, needed, full), _runner(node, needed, few), layer, own))
        numbers[node] = inputs + len(nodes) - 1
    return nodes, inputs


def _weighs(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None


def _runner(node: fx.Node, needed: tuple[fx.Node, ...], model: nn.Module) -> Callable[..., Any]:
    """What a step computes from the values of the steps it needs. Steps that change a value in place make a new one."""
    function: Callable[..., Any]
    if node.op == "call_module":
        function = model.get_submodule(str(node.target))
    elif node.op == "get_attr":
        function = operator.attrgetter(str(node.target))
        return lambda: function(model)
    elif node.op == "call_method":
        name = str(node.target)
        name = name[:-1] if name.endswith("_") and not name.endswith("__") and hasattr(torch.Tensor, name[:-1]) else name
        function = _method(name)
    else:
        target: Any = node.target
        function = IN_PLACE.get(target, target)
    kwargs = {key: False if key == "inplace" else value for key, value in node.kwargs.items()}

    def run(*values: Any) -> Any:
        known = dict(zip(needed, values, strict=True))
        given: Any = fx.node.map_arg((node.args, kwargs), known.__getitem__)
        with torch.no_grad():
            return function(*given[0], **given[1])

    return run


IN_PLACE: dict[Any, Callable[..., Any]] = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
}


def _method(name: str) -> Callable[..., Any]:
    return lambda value, *args, **kwargs: getattr(value, name)(*args, **kwargs)


class Reached(Exception):
    """The layer that was waited for has been called."""


class Hooked:
    """A module run as a whole, up to each layer in turn: takes no memory for values, and time quadratic in the depth."""

    portable = False

    def __init__(self, full: nn.Module, few: nn.Module, make: _Layers, batches: Sequence[tuple[Any, ...]]) -> None:
        self.full, self.model = full, few
        names = {module: name for name, module in full.named_modules()}
        order: dict[str, None] = {}
        hooks = [
            module.register_forward_pre_hook(lambda module, args: order.setdefault(names[module]))
            for module in names
            if isinstance(module, WEIGHTED)
        ]
        try:
            with torch.no_grad():
                full(*batches[0])
        finally:
            for hook in hooks:
                hook.remove()
        found = {name: make(name) for name in order}
        self.names = {layer.name: name for name, layer in found.items() if layer}
        self.layers = [layer for layer in found.values() if layer]

    def tensors(self) -> dict[str, Array]:
        return _tensors(self.model)

    def walk(self, batches: Sequence[tuple[Any, ...]], chosen: set[str]) -> Iterator[tuple[Layer, Iterator[Pair]]]:
        for layer in self.layers:
            if layer.name in chosen:
                yield layer, self._reach(self.names[layer.name], batches)

    def _reach(self, name: str, batches: Sequence[tuple[Any, ...]]) -> Iterator[Pair]:
        for batch in batches:
            yield _input_of(self.full, name, batch), _input_of(self.model, name, batch)


def _input_of(model: nn.Module, name: str, batch: tuple[Any, ...]) -> Any:
    found: list[Any] = []

    def stop(module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        found.append(args[0] if args else named["input"])
        raise Reached

    hook = model.get_submodule(name).register_forward_pre_hook(stop, with_kwargs=True)
    try:
        with torch.no_grad():
            model(*batch)
    except Reached:
        return found[0]
    finally:
        hook.remove()
    raise ValueError(f"{name} is not called for every batch of calibration; leave it out")
