"""The transforms as operators of PyTorch for the CPU: with gradients, and under torch.compile and torch.vmap.

Gradients are those of torch.autograd, of any order; torch.func.grad does not know operators made in Python.
``evenbits.quantize`` and most other functions take CPU tensors as they are; here are those that gradients go through.
Values are those of the functions of the same names for NumPy, to the bit. A tensor of more than 2^17 elements is worked on by
as many threads as ``torch.get_num_threads()`` says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

try:
    import torch
except ModuleNotFoundError as error:
    raise ModuleNotFoundError('evenbits.torch takes torch: pip install "evenbits[torch]"') from error

from evenbits import transforms
from evenbits._arrays import Array, integer, seed_of
from evenbits.encoded import value_dtype
from evenbits.matrices import hadamard_length

__all__ = ["hadamard_transform", "inverse_randomized_hadamard", "randomized_hadamard"]

BFLOAT16 = value_dtype("bfloat16")
"""float32 where ml_dtypes is missing."""
PARALLEL = 1 << 17
"""Tensors of up to so many elements stay on one thread."""


def hadamard_transform(x: torch.Tensor, scale: float = 1.0, *, pad: bool = False) -> torch.Tensor:
    """Hadamard transform of the last axis times ``scale``: y = scale * H x, H unnormalised. It is its own gradient.

    x: (..., n); lengths, dtypes and errors are those of ``evenbits.hadamard_transform``. ``pad=True`` appends zeros up to
    the next possible length, and the result has that length. Raises TypeError for tensors that are not on the CPU.
    """
    return _hadamard(_on_cpu(x), float(scale), pad)


def randomized_hadamard(x: torch.Tensor, *, seed: int, stream: int = 0, rounds: int = 1) -> torch.Tensor:
    """Random rotation of the last axis: y = R x, as ``evenbits.randomized_hadamard``. The gradient is R^T.

    x: (..., d) -> (..., n), n = ``hadamard_length(d)``. Raises as that does, and TypeError for tensors not on the CPU.
    """
    return _rotate(_on_cpu(x), _signed(seed), _signed(stream, "stream"), rounds)


def inverse_randomized_hadamard(
    y: torch.Tensor, *, seed: int, stream: int = 0, rounds: int = 1, length: int | None = None
) -> torch.Tensor:
    """Inverse of ``randomized_hadamard``: x = R^T y, the first ``length`` coordinates of it. The gradient is R.

    y: (..., n) -> (..., length); ``length`` is n if not given. Raises as ``evenbits.inverse_randomized_hadamard`` does, and
    ValueError for an n that ``randomized_hadamard`` does not give.
    """
    names = _signed(seed), _signed(stream, "stream"), rounds
    return _unrotate(_on_cpu(y, "y"), *names, length)


def _on_cpu(x: torch.Tensor, name: str = "x") -> torch.Tensor:
    if not isinstance(x, torch.Tensor):
        raise TypeError(f"{name} is a {type(x).__name__}; pass a tensor, or take the function of evenbits itself")
    if x.device.type not in ("cpu", "meta"):
        raise TypeError(f"{name} lies on {x.device}; copy it to the CPU first")
    return x


def _signed(value: Any, name: str = "seed") -> int:
    """An unsigned number of 64 bits as operators have them."""
    return (seed_of(value, name) + 2**63) % 2**64 - 2**63


def _run(function: Callable[..., Any], x: torch.Tensor, out: torch.Tensor, *numbers: float, **options: Any) -> torch.Tensor:
    """``out``, filled by a function for NumPy in the memory of the tensors."""
    if x.dtype == torch.bfloat16 and BFLOAT16.itemsize == 4:
        return out.copy_(_run(function, x.float(), out.float(), *numbers, **options))
    workers = torch.get_num_threads() if x.numel() > PARALLEL else 1
    function(_memory(x.contiguous()), *numbers, out=_memory(out), workers=workers, **options)
    return out


def _memory(x: torch.Tensor) -> Array:
    """A contiguous tensor as a NumPy array, in place."""
    array: Array = x.view(torch.int16).numpy().view(BFLOAT16) if x.dtype == torch.bfloat16 else x.numpy()
    return array


def _length(x: torch.Tensor, pad: bool) -> int:
    """The length of transformed rows, where there are any."""
    n = int(x.shape[-1]) if x.ndim else 0
    return hadamard_length(n) if pad and n else n


def _new(x: torch.Tensor, length: int, dtype: torch.dtype) -> torch.Tensor:
    return x.new_empty((*x.shape[:-1], length) if x.ndim else (), dtype=x.dtype if x.dtype.is_floating_point else dtype)


# The operators: what they compute, the shapes alone, the gradient, and what they do to one more axis.


def _new_hadamard(x: torch.Tensor, scale: float, pad: bool) -> torch.Tensor:
    return _new(x, _length(x, pad), torch.int32)


def _compute_hadamard(x: torch.Tensor, scale: float, pad: bool) -> torch.Tensor:
    return _run(transforms.hadamard_transform, x, _new_hadamard(x, scale, pad), scale, pad=pad)


def _new_rotate(x: torch.Tensor, seed: int, stream: int, rounds: int) -> torch.Tensor:
    return _new(x, _length(x, True), torch.float32)


def _compute_rotate(x: torch.Tensor, seed: int, stream: int, rounds: int) -> torch.Tensor:
    names = {"seed": seed % 2**64, "stream": stream % 2**64, "rounds": rounds}
    return _run(transforms.randomized_hadamard, x, _new_rotate(x, seed, stream, rounds), **names)


def _new_unrotate(y: torch.Tensor, seed: int, stream: int, rounds: int, length: int | None) -> torch.Tensor:
    n = _length(y, False)
    if n != _length(y, True):
        raise ValueError(f"y has rows of {n}; randomized_hadamard gives none of that length, the next is {_length(y, True)}")
    return _new(y, n if length is None else integer(length, "length", 1, max(n, 1)), torch.float32)


def _compute_unrotate(y: torch.Tensor, seed: int, stream: int, rounds: int, length: int | None) -> torch.Tensor:
    few = _new_unrotate(y, seed, stream, rounds, length)
    names = {"seed": seed % 2**64, "stream": stream % 2**64, "rounds": rounds}
    whole = _run(transforms.inverse_randomized_hadamard, y, _new(y, _length(y, False), torch.float32), **names)
    return whole if few.shape == whole.shape else few.copy_(whole[..., : few.shape[-1]])


def _keep(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    ctx.n, ctx.numbers = inputs[0].shape[-1], inputs[1:]


def _gradient_hadamard(ctx: Any, g: torch.Tensor) -> tuple[Any, ...]:
    scale, pad = ctx.numbers
    g = _hadamard(g, scale, False)
    return g[..., : ctx.n] if pad else g, None, None


def _gradient_rotate(ctx: Any, g: torch.Tensor) -> tuple[Any, ...]:
    return _unrotate(g, *ctx.numbers, ctx.n), None, None, None


def _gradient_unrotate(ctx: Any, g: torch.Tensor) -> tuple[Any, ...]:
    *names, length = ctx.numbers
    g = g if length is None else torch.nn.functional.pad(g, (0, ctx.n - length))
    return _rotate(g, *names), None, None, None, None


def _operator(
    schema: str, compute: Callable[..., Any], new: Callable[..., Any], gradient: Callable[..., Any]
) -> Callable[..., torch.Tensor]:
    operator: Any = torch.library.custom_op(
        f"evenbits::{schema.split('(')[0]}", compute, mutates_args=(), device_types="cpu", schema=schema[schema.index("(") :]
    )

    def with_one_more_axis(info: Any, axes: tuple[int | None, ...], x: torch.Tensor, *numbers: Any) -> tuple[Any, int]:
        if x.ndim == 1:
            raise ValueError("x has no axis to transform; pass a tensor of one dimension or more")
        return operator(x.movedim(axes[0] or 0, 0), *numbers), 0

    operator.register_fake(new)
    operator.register_autograd(gradient, setup_context=_keep)
    operator.register_vmap(with_one_more_axis)
    made: Callable[..., torch.Tensor] = operator
    return made


_hadamard = _operator(
    "hadamard_transform(Tensor x, float scale, bool pad) -> Tensor", _compute_hadamard, _new_hadamard, _gradient_hadamard
)
_rotate = _operator(
    "randomized_hadamard(Tensor x, int seed, int stream, int rounds) -> Tensor", _compute_rotate, _new_rotate, _gradient_rotate
)
_unrotate = _operator(
    "inverse_randomized_hadamard(Tensor y, int seed, int stream, int rounds, int? length) -> Tensor",
    _compute_unrotate,
    _new_unrotate,
    _gradient_unrotate,
)
