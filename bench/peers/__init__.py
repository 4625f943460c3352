"""What evenbits is compared on, one module a subject. A case gives rows (what, elements, {"evenbits" and peers: work})."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any

# One thread each; read by packages as they are imported.
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"), "1")
os.environ.pop("OPENBLAS_CORETYPE", None)

import numpy as np

Work = Callable[[], Any]
Rows = list[tuple[str, int, dict[str, Work]]]
CASES: dict[str, Callable[[], Rows]] = {}


def case(f: Callable[[], Rows]) -> Callable[[], Rows]:
    CASES[f.__name__] = f
    return f


def peer(name: str) -> Any:
    """The module, or None where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def aligned(shape: tuple[int, ...]) -> np.ndarray:
    """float32 zeros that start on a cache line."""
    size = int(np.prod(shape)) * 4
    memory = np.zeros(size + 64, np.uint8)
    first = -memory.ctypes.data % 64
    return memory[first : first + size].view(np.float32).reshape(shape)
