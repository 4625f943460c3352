"""Few-bit gradients between the processes of PyTorch's DistributedDataParallel.

    model.register_comm_hook(evenbits.ddp.GradientCodes(2), evenbits.ddp.hook)

Every process sends its codes to all others and takes the mean of what it receives in the order of ranks: all have the same
gradients to the bit, as the codes have one meaning everywhere.
"""

# PyTorch compares the hook's annotations with its own types, so they must not be strings: no import of annotations here.

from fractions import Fraction
from typing import Any

try:
    import torch
    import torch.distributed as dist
except ModuleNotFoundError as error:
    raise ModuleNotFoundError('evenbits.ddp takes torch: pip install "evenbits[torch]"') from error

import numpy as np

from evenbits._arrays import Array
from evenbits.encoded import EncodedError
from evenbits.gradients import Compressor

__all__ = ["GradientCodes", "hook"]


class GradientCodes:
    """What ``hook`` keeps between steps: how gradients are coded, and what their codes have lost.

    bits, method, row, seed, options: of ``evenbits.gradients.Compressor``, the same in all processes.
    feedback: what a code loses is added to the next gradient (default); else codes are unbiased, by stochastic rounding.
    group: the process group, all processes by default. ``sent`` counts the bytes sent to each of the others.

    A bucket that PyTorch lays out anew, as after the first step, starts with no error. Gradients that hold NaN or infinity
    arrive as NaN everywhere, for a ``GradScaler`` to skip the step, and leave the error as it was.
    """

    def __init__(
        self,
        bits: float | Fraction,
        method: str = "near_democratic",
        *,
        feedback: bool = True,
        row: int = 4096,
        seed: int = 0,
        group: dist.ProcessGroup | None = None,
        **options: Any,
    ) -> None:
        self.compressor = Compressor(bits, method, unbiased=not feedback, row=row, seed=seed, **options)
        self.feedback, self.group = feedback, group
        self.sent = 0
        self.errors: dict[int, Array] = {}
        self._turn = 0

    def _code(self, gradient: Array, bucket: int, stream: int) -> Array:
        """The bytes of a gradient, all 255 (their scales are NaN) if it is not finite."""
        error = self.errors.get(bucket)
        wanted = gradient if error is None or error.shape != gradient.shape else gradient + error
        if not np.isfinite(wanted).all():
            return np.full(self.compressor.nbytes(gradient.size), 255, np.uint8)
        data = self.compressor.compress(wanted, stream)
        if self.feedback:
            self.errors[bucket] = wanted - self.compressor.decompress(data, gradient.size, stream)
        return data

    def _mean(self, received: list[Array], size: int, first: int) -> Array:
        total = np.zeros(size, np.float32)
        try:
            for rank, data in enumerate(received):
                total += self.compressor.decompress(data, size, first + rank)
        except EncodedError:
            return np.full(size, np.nan, np.float32)
        return total / np.float32(len(received))


def hook(state: GradientCodes, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
    """A communication hook for ``DistributedDataParallel.register_comm_hook``: the mean of all processes' few-bit gradients."""
    buffer = bucket.buffer()
    world = dist.get_world_size(state.group)
    first = state._turn * world  # of the streams of this turn, one a process; all take part in the same turns
    state._turn += 1
    gradient = buffer.detach().to("cpu", torch.float32).numpy()
    data = state._code(gradient, bucket.index(), first + dist.get_rank(state.group))
    state.sent += data.size
    mine = torch.from_numpy(data).to(buffer.device)
    received = [torch.empty_like(mine) for _ in range(world)]
    work = dist.all_gather(received, mine, group=state.group, async_op=True)

    def mean(_: Any) -> torch.Tensor:
        arrays = [tensor.cpu().numpy() for tensor in received]
        return torch.from_numpy(state._mean(arrays, gradient.size, first)).to(buffer)

    future: torch.futures.Future[torch.Tensor] = work.get_future().then(mean)
    return future
