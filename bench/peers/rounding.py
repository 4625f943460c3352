"""Numbers to codes."""

from __future__ import annotations

import numpy as np

import evenbits
from peers import Rows, Work, case


@case
def stochastic_rounding() -> Rows:
    """float32 to 4-bit codes, 64 Ki values."""
    x = np.random.default_rng(0).random(65536, dtype=np.float32) * 15
    rng, out = np.random.default_rng(0), np.empty(x.size, np.uint8)
    works: dict[str, Work] = {
        "evenbits": lambda: evenbits.round_stochastic(x, scale=1, zero=0, top=15, seed=0, out=out),
        "numpy": lambda: np.floor(x + rng.random(x.size, dtype=np.float32)).astype(np.uint8),
    }
    return [("stochastic rounding", x.size, works)]
