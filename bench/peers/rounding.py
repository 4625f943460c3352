"""Numbers to codes."""

from __future__ import annotations

import numpy as np

import evenbits
from peers import Rows, Work, case, peer


@case
def stochastic_rounding() -> Rows:
    """float32 to 4-bit codes, in cache and from memory. "generator": the part of NumPy's time that its random numbers take."""
    torch = peer("torch")
    rows: Rows = []
    for what, n in (("64 Ki values", 1 << 16), ("32 Mi values, DRAM", 1 << 25)):
        x = np.random.default_rng(0).random(n, dtype=np.float32) * 15
        rng, out, u = np.random.default_rng(0), np.empty(n, np.uint8), np.empty(n, np.float32)
        works: dict[str, Work] = {
            "evenbits": lambda x=x, out=out: evenbits.round_stochastic(x, scale=1, zero=0, top=15, seed=0, out=out),
            "numpy": lambda x=x, rng=rng: np.floor(x + rng.random(x.size, dtype=np.float32)).astype(np.uint8),
            "generator": lambda u=u, rng=rng: rng.random(out=u, dtype=np.float32),
        }
        if torch:
            torch.set_num_threads(1)
            t = torch.from_numpy(x)
            works["torch"] = lambda t=t: (t + torch.rand_like(t)).floor_().to(torch.uint8)
        rows.append((f"stochastic rounding, {what}", n, works))
    return rows


@case
def small_calls() -> Rows:
    """256 numbers: what a call costs."""
    x = np.random.default_rng(0).random(256, dtype=np.float32) * 15
    codes = np.empty(256, np.uint8)
    packed = evenbits.pack(np.zeros(256, np.uint8), 4)
    works: dict[str, Work] = {
        "round_nearest": lambda: evenbits.round_nearest(x, scale=1, zero=0, top=15, out=codes),
        "round_stochastic": lambda: evenbits.round_stochastic(x, scale=1, zero=0, top=15, seed=0, out=codes),
        "pack": lambda: evenbits.pack(codes, 4, out=packed),
        "unpack": lambda: evenbits.unpack(packed, 4, 256, out=codes),
    }
    return [(f"{name}, 256 numbers", 256, {"evenbits": work}) for name, work in works.items()]
