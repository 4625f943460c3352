"""For those who build against evenbits."""

from __future__ import annotations

from pathlib import Path


def get_include() -> str:
    """The directory of evenbits.h, the C interface of the kernels (capsule ``evenbits._core._api``)."""
    return str(Path(__file__).parent / "include")


def get_cmake_dir() -> str:
    """The directory that CMake's ``find_package(evenbits)`` must be told, as ``evenbits_ROOT`` or ``evenbits_DIR``.

    It finds the target ``evenbits::headers``: the directory of evenbits.h. scikit-build-core tells it by itself.
    """
    return str(Path(__file__).parent / "cmake")


def get_embedded_include() -> str:
    """The directory of evenbits_decode.h and evenbits_decode.c, the decoder for microcontrollers, and of its emulated boards."""
    installed = Path(__file__).parent / "embedded"
    return str(installed if installed.is_dir() else Path(__file__).parents[2] / "csrc" / "embedded")
