"""Calibration data as batches, whatever they came as."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from evenbits._arrays import as_array

Batch = tuple[Any, ...]


def batches_of(calibration: Any, size: int) -> list[Batch]:
    """Arrays are cut along their first axis; of anything else, each item is a batch: an array, or a tuple of a network's inputs.

    Raises ValueError where there is nothing, TypeError for what is no array.
    """
    if isinstance(calibration, (Mapping, str, bytes)):
        raise TypeError(f"calibration is a {type(calibration).__name__}; pass an array, or batches: arrays, or tuples of inputs")
    if hasattr(calibration, "shape"):
        if not calibration.shape:
            raise ValueError("calibration is a single number; its first axis is that of the samples")
        batches: list[Batch] = [(calibration[i : i + size],) for i in range(0, len(calibration), size)]
    elif isinstance(calibration, Iterable):
        batches = [tuple(item) if isinstance(item, (tuple, list)) else (item,) for item in calibration]
    else:
        raise TypeError(f"calibration is a {type(calibration).__name__}; pass an array, or batches")
    batches = [batch for batch in batches if len(batch) and as_array(batch[0], "calibration").size]
    if not batches:
        raise ValueError("calibration is empty; pass some of the inputs that the network is made for")
    return batches
