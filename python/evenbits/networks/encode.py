"""Codes of one layer by any method: with calibration data where the method takes them, group by group."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from evenbits._arrays import Array
from evenbits.encoded import Encoded, stored_scales
from evenbits.networks.grouped import applies, encode_groups
from evenbits.networks.layers import Layer
from evenbits.networks.seen import Seen
from evenbits.quantizers import calibrated_methods, method_named
from evenbits.quantizers.base import stored_dtype
from evenbits.quantizers.error_feedback import Nearest
from evenbits.quantizers.path_following import PathFollowing
from evenbits.quantizers.trellis_feedback import TrellisFeedback

USUAL: dict[str, Any] = {"clip": "search", "per": "row"}
"""Options that a network has unless told; path following some more. The least error in most of them, and little more work."""
MORE = {"path_following": {"columns": "norm", "order": 4}}


class Coded(NamedTuple):
    """Codes of a layer, how many were clamped, and what nearest rounding with the same steps makes of it, where it is known."""

    encoded: Encoded
    clamped: int = 0
    nearest: Array | None = None


Encode = Callable[[Layer, Seen, Any, int], Coded]
"""Of a layer, what it sees, bits and its number."""


def encoder_of(method: str, options: Mapping[str, Any], seed: int, workers: int) -> Encode:
    """How layers are encoded. Raises ValueError for an unknown method."""
    options = dict(options)
    if method not in calibrated_methods():
        kind = method_named(method)

        def alone(layer: Layer, seen: Seen, bits: Any, number: int) -> Coded:
            quantizer = kind(bits, seed=seed, stream=number, **options)
            return Coded(_of(layer, quantizer.encode(layer.matrix, workers=workers)))

        return alone
    taught = calibrated_methods()[method]
    if issubclass(taught, TrellisFeedback):

        def whole(layer: Layer, seen: Seen, bits: Any, number: int) -> Coded:
            quantizer = taught(bits, seed=seed, stream=number, **options)
            return Coded(_of(layer, quantizer.encode_groups(layer.matrix, seen.groups, workers=workers), seen.same))

        return whole
    options = USUAL | MORE.get(method, {}) | options

    def encode(layer: Layer, seen: Seen, bits: Any, number: int) -> Coded:
        own = options if layer.groups == 1 else {**options, "per": "row"}
        whole = taught(bits, seed=seed, stream=number * 2**24, **own)
        if applies(whole, seen):
            encoded, clamped = encode_groups(whole, seen, workers)
            return Coded(_of(layer, encoded, seen.same), clamped, _rounded(whole, encoded, layer.matrix))
        parts = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # quantize_network warns, once for all layers
            for i, (matrix, data) in enumerate(zip(layer.grouped, seen.groups, strict=True)):
                quantizer = taught(bits, seed=seed, stream=number * 2**24 + i, **own)
                parts.append(quantizer.encode(matrix, data, workers=workers))
        encoded = _joined(parts, layer.matrix)
        clamped = sum(part.report.saturated for part in parts)
        return Coded(_of(layer, encoded, seen.same), clamped, _rounded(whole, encoded, layer.matrix))

    return encode


def _of(layer: Layer, encoded: Encoded, same: bool = True) -> Encoded:
    """The same, to be decoded to the layer's own dtype; marked where codes rest on what differs between machines."""
    spec = encoded.spec | {"dtype": stored_dtype(layer.dtype)}
    return Encoded(encoded.planes, spec if same else spec | {"portable": False})


def _rounded(quantizer: PathFollowing, encoded: Encoded, matrix: Array) -> Array | None:
    if isinstance(quantizer, Nearest) or quantizer.sparsity is not None or quantizer.alphabet == "infinite":
        return None
    scales = stored_scales(encoded.planes["scales"], quantizer.scale_dtype).astype(np.float64)
    return np.asarray(quantizer.levels_around_zero.apply(matrix.astype(np.float64), np.broadcast_to(scales, (len(matrix), 1)))[1])


def _joined(parts: list[Any], matrix: Array) -> Encoded:
    """The rows of all groups as one."""
    planes = {name: np.concatenate([part.planes[name] for part in parts]) for name in parts[0].planes}
    return Encoded(planes, parts[0].spec | {"shape": list(matrix.shape)})
