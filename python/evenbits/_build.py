"""For those who build against evenbits."""

from __future__ import annotations

from pathlib import Path


def get_include() -> str:
    """The directory of evenbits.h, the C interface of the kernels (capsule ``evenbits._core._api``)."""
    return str(Path(__file__).parent / "include")
