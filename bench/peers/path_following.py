"""Path-following quantization of a layer: calibration sums and codes."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from evenbits.quantizers import PathFollowing
from peers import Rows, Work, case, peer

BLOCK = 256
ROWS = 1024


def numpy_columns(w: np.ndarray, x: np.ndarray, step: float, top: int) -> np.ndarray:
    """The plain recursion, all neurons at once."""
    u, q = np.zeros((len(w), len(x))), np.empty_like(w)
    for t in range(w.shape[1]):
        u += np.outer(w[:, t], x[:, t])
        q[:, t] = step * np.clip(np.floor(u @ x[:, t] / (x[:, t] @ x[:, t]) / step + 0.5), -top, top)
        u -= np.outer(q[:, t], x[:, t])
    return q


def numpy_blocks(w: np.ndarray, x: np.ndarray, step: float, top: int) -> np.ndarray:
    """The same in blocks of columns, most of it in matrix products."""
    u, q = np.zeros((len(w), len(x))), np.empty_like(w)
    for begin in range(0, w.shape[1], BLOCK):
        part = slice(begin, begin + BLOCK)
        gram = x[:, part].T @ x[:, part]
        along, own, new = u @ x[:, part], w[:, part], q[:, part]
        for t in range(own.shape[1]):
            a = own[:, t] + (along[:, t] + (own[:, :t] - new[:, :t]) @ gram[:t, t]) / gram[t, t]
            new[:, t] = step * np.clip(np.floor(a / step + 0.5), -top, top)
        u += (own - new) @ x[:, part].T
    return q


def brevitas_work(w: np.ndarray, x: np.ndarray) -> Work | None:
    """GPFQ of Brevitas on one layer; it sums up Y^T Y and Y^T X in float32, also where they are the same."""
    torch: Any = peer("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gpfq, nn = (peer("brevitas.graph.gpfq"), peer("brevitas.nn")) if torch else (None, None)
    if gpfq is None or nn is None:
        return None
    torch.set_num_threads(1)
    rows, weights = torch.from_numpy(x), torch.from_numpy(w)

    def work() -> Any:
        model = torch.nn.Sequential(nn.QuantLinear(w.shape[1], w.shape[0], bias=False, weight_bit_width=4))
        model[0].weight.data.copy_(weights)
        with torch.no_grad(), gpfq.gpfq_mode(model) as mode:
            for _ in range(mode.num_layers):
                mode.model(rows)
                mode.update()
        return model[0].quant_weight().value

    return work


@case
def path_following() -> Rows:
    """1024 rows of data, 4 bits. "one input": both networks see the same, "two": the layers before are quantized."""
    rows: Rows = []
    for n in (256, 1024):
        rng = np.random.default_rng(0)
        w, x = rng.standard_normal((n, n), dtype=np.float32), rng.standard_normal((ROWS, n), dtype=np.float32)
        y = x + np.float32(0.05) * rng.standard_normal(x.shape, dtype=np.float32)
        brevitas = brevitas_work(w, x)
        others: dict[str, Work] = {} if brevitas is None else {"brevitas GPFQ": brevitas}
        bare = PathFollowing(4, held_out=0)
        wide, data = w.astype(np.float64), x.astype(np.float64)
        step = float(bare.encode(w, x).report.step)
        numpy: dict[str, Work] = {
            "numpy, blocks": lambda w=wide, x=data, s=step: numpy_blocks(w, x, s, 7),
            "numpy, columns": lambda w=wide, x=data, s=step: numpy_columns(w, x, s, 7),
        }
        ours: dict[str, Work] = {"evenbits": lambda w=w, x=x, q=bare: q.encode(w, x)}
        rows.append((f"layer {n} x {n}, {ROWS} rows, one input", w.size, ours | others | numpy))
        ours = {"evenbits": lambda w=w, x=x, y=y, q=bare: q.encode(w, x, y)}
        rows.append((f"layer {n} x {n}, {ROWS} rows, two inputs", w.size, ours | others))
    return rows
