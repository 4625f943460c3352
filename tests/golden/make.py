"""Writes the golden files of format version 1: python tests/golden/make.py. Files that are there are never overwritten.

Every file holds encoded arrays and, under the same name with ``:decoded`` behind it, what they decode to. Later versions
of evenbits must decode them to the same bytes.
"""

import warnings
from pathlib import Path

import numpy as np

import evenbits
from evenbits import quantizers
from evenbits.quantizers import ClassificationAwareQuantizer

HERE = Path(__file__).parent
CASES = {
    "uniform": [{}, {"range": "min_max", "per": 16}, {"range": "optimal", "per": "tensor"}, {"rounding": "stochastic"}],
    "lloyd_max": [{}, {"law": "laplacian", "scale_dtype": "bfloat16"}, {"law": "empirical", "per": 16}],
    "near_democratic": [
        {},
        {"fit": "unbiased", "rounds": 2, "stream": 7},
        {"levels": "uniform", "scale_dtype": "float16"},
    ],
    "democratic": [{}, {"redundancy": 2, "grid": "end_point"}, {"rounding": "stochastic", "stream": 3}],
    "sign_frame": [{}, {"iterations": 5, "fit": "range", "scale_dtype": "float16", "stream": 2}],
    "kashin": [
        {},
        {"refine": False, "scale_dtype": "bfloat16", "stream": 2},
        {"clusters": "joint", "schedule": "greedy"},
        {"second": 4, "iterations": 9, "fit": "range"},
        {"form": "matrix", "refine": False, "codebook": "row"},
        {"form": "tensor", "transform": "butterfly", "iterations": 9, "stream": 1},
        {"transform": "dense", "rotate": False, "clusters": "joint", "codebook": "row"},
        {"transform": "householder", "form": "matrix", "iterations": 5, "codebook": "row"},
    ],
    "dead_zone": [{}, {"loss": "absolute"}, {"distortion": 0.05, "dead": 0.5}],
    "pruning": [
        {},
        {"schedule": "stable", "normalize": "l1"},
        {"schedule": "paper", "per": "row", "normalize": "mean"},
        {"schedule": "public", "distortion": 0.3, "normalize": "none", "scale_dtype": "float64"},
        {"sparsity": 0.8, "share": 0.05},
    ],
    "residual": [{}, {"width": 5, "stream": 3}],
    "entropy_trellis": [
        {},
        {"states": 8, "rotate": False},
        {"per": "row", "fit": "unbiased", "rows_per_block": 1, "stream": 3},
    ],
    "loss_aware": [{}, {"p": 2, "scale_dtype": "bfloat16"}, {"clip": 1.5}],
    "magnitude": [{}, {"values": "float16", "sparsity": 0.7}, {"values": "bfloat16"}],
    "trellis": [{}, {"memory": 9, "rotate": False, "fit": "unbiased", "scale_dtype": "float16"}, {"memory": 14, "stream": 3}],
}

CALIBRATED = {
    "path_following": [
        {"bits": 3},
        {"bits": 2, "rounding": "stochastic", "per": "row", "stream": 3, "order": 3, "columns": "norm"},
        {"bits": 3, "alphabet": "mid_tread", "form": "samples", "clip": "search", "scale_dtype": "float16"},
        {"bits": 4, "alphabet": "twos_complement", "radius": "mean_maximum", "quantile": 0.9, "precision": "float32"},
        {"bits": 1, "alphabet": "mid_rise", "scale_dtype": "bfloat16", "order": 2, "form": "samples", "rounding": "stochastic"},
        {"bits": None, "alphabet": "infinite", "step": 0.25},
        {"bits": 4, "sparsity": "soft", "threshold": 0.2},
        {"bits": 4, "sparsity": "hard", "threshold": 0.3},
    ],
    "error_feedback": [{"bits": 3}, {"bits": 2, "per": "row", "columns": "norm"}],
    "nearest": [{"bits": 3, "clip": "search"}, {"bits": 2, "alphabet": "mid_rise", "per": "row"}],
    "trellis_feedback": [
        {"bits": 2, "memory": 10},
        {"bits": 2.5, "memory": 8, "rotate": False, "columns": "natural", "damping": 0.2, "fit": "unbiased", "stream": 3},
        {"bits": 1, "memory": 12, "scale_dtype": "float16"},
    ],
}
"""Methods that take calibration data; each encodes a few rows of inputs, in the quantized network a little other ones."""


def arrays(method: str) -> dict[str, evenbits.Encoded | np.ndarray]:
    """The arrays of one file: some sizes are awkward, so that tails and padding are in it."""
    out: dict[str, evenbits.Encoded | np.ndarray] = {}
    for i, options in enumerate(CASES[method]):
        for bits in (1, 1.5, 2, 2.5, 3, 4) if method == "trellis" else (0.5, 1, 1.5, 3, 4, 5.25, 8):
            if bits < 1 and isinstance(options.get("per"), int):
                continue
            u = np.random.default_rng(i).random((3, 50)) - 0.5
            x = (u / (0.26 - u * u)).astype(np.float32)  # heavy tails, and no power or logarithm: those differ between systems
            encoded = evenbits.quantize(x, bits, method, seed=2**63 + i, **options)
            out[f"{i}-{bits:g}"] = encoded
            out[f"{i}-{bits:g}:decoded"] = evenbits.decode(encoded)
    return out


def calibrated(method: str) -> dict[str, evenbits.Encoded | np.ndarray]:
    """The same for methods that take calibration data: more inputs than a block has."""
    rng, out = np.random.default_rng(11), {}
    w, x = rng.random((5, 150)) - 0.5, (rng.random((60, 150)) - 0.4).astype(np.float32)
    y = (x + (rng.random(x.shape) - 0.5) / 16).astype(np.float32)
    for i, options in enumerate(CALIBRATED[method]):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # few rows, of course
            encoded = evenbits.quantize(w, method=method, calibration=x, quantized_calibration=y, seed=2**63 + i, **options)
        out[f"{i}"], out[f"{i}:decoded"] = encoded, evenbits.decode(encoded)
    return out


def fitted(method: str) -> dict[str, evenbits.Encoded | np.ndarray]:
    """The same for methods that ``quantize`` does not have."""
    u = np.random.default_rng(5).random((37, 5))
    if method == "sparq":
        kinds = [(4, 5, False), (4, 2, True), (3, 6, True), (2, 7, True), (6, 3, False)]
        made = [quantizers.Sparq(bits, places, pairs=pairs).encode(np.maximum(u - 0.4, 0)) for bits, places, pairs in kinds]
    else:
        kept = ClassificationAwareQuantizer([1, 1.585, 2], 0.5, blocks=[[0], [1, 2], [3, 4]], prototypes=9)
        made = [kept.fit(u, w=[1, -1, 0.5, 2, -1], intercept=-0.7).encode(u.astype(np.float16))]
    return {k: v for i, e in enumerate(made) for k, v in ((f"{i}", e), (f"{i}:decoded", evenbits.decode(e)))}


if __name__ == "__main__":
    for method in [*CASES, *CALIBRATED, "classification_aware", "sparq"]:
        path = HERE / f"v1-{method}.safetensors"
        if not path.exists():
            make = arrays if method in CASES else calibrated if method in CALIBRATED else fitted
            evenbits.save(path, make(method))
