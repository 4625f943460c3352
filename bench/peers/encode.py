"""Whole encoders and decoders of vectors."""

from __future__ import annotations

import numpy as np

import evenbits
from peers import Rows, Work, case, peer


@case
def encode() -> Rows:
    """Rotation, Lloyd-Max levels, codes: 1024 vectors of 1024; faiss' "HR,EDEN{b}BIASED" has the same error; turbovec
    (2 to 4 bits, no decoder) rotates by a matrix and keeps the codes of an index."""
    faiss, turbovec = peer("faiss"), peer("turbovec")
    x = np.random.default_rng(0).standard_normal((1024, 1024), dtype=np.float32)
    rows = []
    for bits in (1, 2, 3, 4):
        works: dict[str, Work] = {"evenbits": lambda b=bits: evenbits.quantize(x, b)}
        if faiss:
            faiss.omp_set_num_threads(1)
            index = faiss.index_factory(1024, f"HR,EDEN{bits}BIASED")
            index.train(x)
            works["faiss"] = lambda i=index: i.sa_encode(x)
        if turbovec and bits > 1:
            works["turbovec"] = lambda b=bits: turbovec.TurboQuantIndex(dim=1024, bit_width=b).add(x)
        rows.append((f"encode {bits} bits", x.size, works))
        e = evenbits.quantize(x, bits)
        rows.append((f"decode {bits} bits", x.size, {"evenbits": lambda e=e: evenbits.decode(e)}))
    return rows
