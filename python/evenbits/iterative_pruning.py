"""Pruning of PyTorch models in stages, with training in between: successive refinement to a sparsity, training of what is left.

Which epoch of training is kept is decided by ``validate``, which must not see the images or texts that results are reported
for: the authors' program selects by its test set, and its accuracies are those of the best of many epochs there.
Source: Isik, Weissman and No, arXiv 2102.08329, and their program (BerivanIsik/SuRP).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

try:
    import torch
except ModuleNotFoundError as error:
    raise ModuleNotFoundError('evenbits.iterative_pruning takes torch: pip install "evenbits[torch]"') from error

import numpy as np

from evenbits._arrays import Array, integer, real
from evenbits.encoded import Encoded
from evenbits.quantizers.pruning import Pruning, decode_tensors

__all__ = ["LADDER", "Stage", "load_weights", "prunable", "prune"]

LADDER = (0.2, 0.36, 0.488, 0.5904, 0.67232, 0.737856, 0.7903, 0.83224, 0.8658, 0.893, 0.92, 0.94, 0.96, 0.97, 0.98, 0.99)
"""Sparsities of the authors' stages, to .99."""
Weights = dict[str, torch.nn.Parameter]


@dataclass(frozen=True)
class Stage:
    """What a stage leaves: the share of zeros, the weights as one stream, and the score of the model they decode to."""

    sparsity: float
    encoded: Encoded
    score: float


def prunable(model: torch.nn.Module) -> Weights:
    """The parameters of two axes or more that are trained: weights of linear and convolutional layers, not biases."""
    return {name: p for name, p in model.named_parameters() if p.ndim >= 2 and p.requires_grad}


def prune(
    model: torch.nn.Module,
    train: Callable[[torch.nn.Module], Any],
    validate: Callable[[torch.nn.Module], float],
    *,
    sparsities: Sequence[float] = LADDER,
    epochs: int = 5,
    distortion: float = 0.01,
    weights: Weights | None = None,
    **options: Any,
) -> Iterator[Stage]:
    """Prune a model step by step; after each stage it has the weights that the stage's stream decodes to.

    For each of the rising ``sparsities``: refine all weights together from 0 until only so many zeros are left (``options`` are
    those of ``Pruning``); call ``train(model)`` up to ``epochs`` times, one epoch each, with any optimizer made anew, while
    weights that are 0 stay 0; keep the epoch of the best ``validate(model)``, higher being better, the first of equal ones;
    encode what is left to a mean absolute error of ``distortion`` mean magnitudes, which makes zeros of very small weights.
    weights: those to prune, by default ``prunable(model)``. Raises ValueError for sparsities that do not rise within 0 to 1.
    """
    weights = prunable(model) if weights is None else weights
    if not weights:
        raise ValueError("model has no weights to prune: no trained parameters of two axes or more")
    epochs = integer(epochs, "epochs", 0, 10**6)
    previous = 0.0
    for sparsity in sparsities:
        if not previous <= real(sparsity, "sparsities", 0, 1):
            raise ValueError(f"sparsities has {sparsity} after {previous}; they must not fall")
        previous = sparsity
        load_weights(weights, Pruning(16, sparsity=sparsity, **options).encode_tensors(_arrays(weights)))
        _train(model, train, validate, weights, epochs)
        encoded = Pruning(16, distortion=distortion, **options).encode_tensors(_arrays(weights))
        load_weights(weights, encoded)
        yield Stage(_zeros(weights), encoded, float(validate(model)))


def load_weights(weights: Weights, encoded: Encoded, *, bits: float | None = None) -> None:
    """Give parameters the values of a stream of theirs, or of its first ``bits`` bits a value."""
    back = decode_tensors(encoded, {name: tuple(p.shape) for name, p in weights.items()}, bits=bits)
    with torch.no_grad():
        for name, p in weights.items():
            p.copy_(torch.from_numpy(np.ascontiguousarray(back[name])))


def _train(
    model: torch.nn.Module,
    train: Callable[[torch.nn.Module], Any],
    validate: Callable[[torch.nn.Module], float],
    weights: Weights,
    epochs: int,
) -> None:
    """The model as it was after the best epoch, with all its buffers; the start is the epoch 0."""
    best, kept = -math.inf, _state(model)
    with _pruned_stay_zero(weights) as mask:
        for epoch in range(epochs + 1):
            if epoch:
                train(model)
                mask()
            score = float(validate(model))
            if score > best:
                best, kept = score, _state(model)
    model.load_state_dict(kept)


@contextmanager
def _pruned_stay_zero(weights: Weights) -> Iterator[Callable[[], None]]:
    """Weights that are 0 get gradients of 0; what is yielded sets them to 0, whatever an optimizer has made of them."""
    masks = {name: (p != 0).to(p.dtype) for name, p in weights.items()}
    hooks = []
    for name, p in weights.items():

        def masked(gradient: torch.Tensor, mask: torch.Tensor = masks[name]) -> torch.Tensor:
            return gradient * mask

        hooks.append(p.register_hook(masked))  # type: ignore[no-untyped-call, unused-ignore]

    def mask() -> None:
        with torch.no_grad():
            for name, p in weights.items():
                p.mul_(masks[name])

    try:
        yield mask
    finally:
        for hook in hooks:
            hook.remove()


def _state(model: torch.nn.Module) -> dict[str, Any]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _arrays(weights: Weights) -> dict[str, Array]:
    return {name: p.detach().cpu().float().numpy() for name, p in weights.items()}


def _zeros(weights: Weights) -> float:
    zeros = sum(int((p == 0).sum().item()) for p in weights.values())
    return float(zeros / max(sum(p.numel() for p in weights.values()), 1))
