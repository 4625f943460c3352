"""What a run has done so far, on the disk: a file a layer, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from evenbits import container
from evenbits._arrays import Array, as_array
from evenbits._tensorfile import Path
from evenbits.encoded import Encoded, EncodedError, canonical_json

KEY = "network"


class State:
    """A folder with the layers that are done. ``run`` says what they depend on: a folder of another run is refused."""

    def __init__(self, folder: Path, run: str) -> None:
        self.folder, self.run = os.fspath(folder), run
        os.makedirs(self.folder, exist_ok=True)

    def _path(self, name: str) -> str:
        return os.path.join(self.folder, f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.safetensors")

    def load(self, name: str) -> tuple[Encoded, Array | None, dict[str, Any]] | None:
        """Codes, bias and report of a layer, or None where it is still to be done, or its file is damaged."""
        path = self._path(name)
        if not os.path.exists(path):
            return None
        try:
            entries, metadata = container.read(path)
            container.require_intact(path, entries)
        except EncodedError:
            return None
        kept = json.loads(metadata.get(KEY, "{}"))
        if kept.get("run") != self.run or kept.get("name") != name:
            raise ValueError(f"state is {self.folder!r}, which holds another run; name another folder, or remove it")
        encoded = entries["weight"].encoded()
        copied = Encoded({key: np.array(plane) for key, plane in encoded.planes.items()}, encoded.spec)
        bias = np.array(entries["bias"].value()) if "bias" in entries else None
        return copied, bias, kept["report"]

    def save(self, name: str, encoded: Encoded, bias: Array | None, report: Mapping[str, Any]) -> None:
        entries = [container.entry_of("weight", encoded)] + ([] if bias is None else [container.entry_of("bias", bias)])
        metadata = {KEY: canonical_json({"run": self.run, "name": name, "report": dict(report)})}
        container.write(self._path(name), entries, metadata=metadata)


def fingerprint(settings: Mapping[str, Any], arrays: Iterable[Any]) -> str:
    """A hash of all that a run depends on."""
    text = json.dumps(settings, sort_keys=True, default=lambda v: v.tolist() if isinstance(v, np.ndarray) else str(v))
    digest = hashlib.sha256(text.encode())
    for value in arrays:
        a = np.ascontiguousarray(as_array(value))
        digest.update(f"{a.dtype}{a.shape}".encode())
        digest.update(a.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
