"""Whole encoders and decoders of vectors."""

from __future__ import annotations

import numpy as np

import evenbits
from peers import Rows, Work, case, peer


@case
def encode() -> Rows:
    """Rotation, Lloyd-Max levels, codes: 4096 vectors of 1024; faiss' "HR,EDEN{b}BIASED" has the same error."""
    faiss = peer("faiss")
    x = np.random.default_rng(0).standard_normal((4096, 1024), dtype=np.float32)
    rows = []
    for bits in (1, 2, 3, 4):
        works: dict[str, Work] = {"evenbits": lambda b=bits: evenbits.quantize(x, b)}
        if faiss:
            faiss.omp_set_num_threads(1)
            index = faiss.index_factory(1024, f"HR,EDEN{bits}BIASED")
            index.train(x)
            works["faiss"] = lambda i=index: i.sa_encode(x)
        rows.append((f"encode {bits} bits", x.size, works))
        e = evenbits.quantize(x, bits)
        rows.append((f"decode {bits} bits", x.size, {"evenbits": lambda e=e: evenbits.decode(e)}))
    return rows
