"""The codings: what an encoded array can be besides digits on a grid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evenbits.codings.base import Coding
from evenbits.codings.bit_shift import BitShift
from evenbits.codings.residual import ResidualLayers
from evenbits.codings.streams import LevelStream, RefinementStream, SurvivorStream
from evenbits.codings.transposed import Transposed
from evenbits.codings.trellis import EntropyTrellisStream
from evenbits.codings.tuples import Tuples
from evenbits.codings.windows import Windows
from evenbits.spec import Reader, Spec

__all__ = ["CODINGS", "Coding", "parse"]

KINDS: tuple[type[Coding], ...] = (
    LevelStream, SurvivorStream, RefinementStream, ResidualLayers, Tuples, Windows, EntropyTrellisStream, BitShift, Transposed
)  # fmt: skip
CODINGS = {kind.coding: kind for kind in KINDS}
"""By the word under "coding" in their specs."""


def parse(spec: Mapping[str, Any]) -> Spec | Coding:
    """The meaning of a spec. Raises EncodedError that names the key for anything it does not mean."""
    if not isinstance(spec, Mapping) or "coding" not in spec:
        return Spec.parse(spec)
    reader = Reader(spec, "spec")
    reader.format()
    return CODINGS[reader.choice("coding", tuple(CODINGS))].parse(reader)
