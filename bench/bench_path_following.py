"""Path following: sums over data, recursions, whole layers: ``pytest bench/bench_path_following.py``.

Against Brevitas and NumPy: ``python bench/compare.py --rounds 3 path_following``. Growth with the size of the layer, and peak
memory: ``python bench/bench_path_following.py``.
"""

import resource
import time
import warnings

import numpy as np
import pytest

from evenbits import path_following
from evenbits.quantizers import PathFollowing

N, ROWS = 1024, 1024


def layer(n, rows=ROWS):
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, n), dtype=np.float32), rng.standard_normal((rows, n), dtype=np.float32)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_sums_of_products(benchmark, kind, isa):
    benchmark.group = f"Y^T Y of {ROWS} rows of {N}"
    x, sums = layer(N)[1].astype(kind), np.zeros((N, N))
    benchmark(path_following.add_gram, x, sums)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_recursion(benchmark, kind, isa):
    benchmark.group = f"codes of {N} x {N} weights from Y^T Y"
    w, x = layer(N)
    gram, step = np.zeros((N, N)), np.full(N, 0.5, kind)
    path_following.add_gram(x, gram)
    benchmark(path_following.recursion, w.astype(kind), None, gram, np.ones(N, bool), step, path_following.Rounding(-7, 7))


@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
def test_layer(benchmark, rounding):
    benchmark.group = f"a layer of {N} x {N}, {ROWS} rows"
    w, x = layer(N)
    benchmark(PathFollowing(4, rounding=rounding, held_out=0).encode, w, x)


def main() -> None:
    """Seconds of the processor, on one thread, and the most memory so far."""
    warnings.simplefilter("ignore")
    print("| weights | form | s | ns a weight | peak MB |\n|---|---|---|---|---|")
    for n in (256, 512, 1024, 2048, 4096):
        w, x = layer(n)
        for form in ("gram", "samples") if n < 4096 else ("samples",):
            quantizer, best = PathFollowing(4, held_out=0, form=form), float("inf")
            for _ in range(max(1, 4096 // n)):
                start = time.process_time()
                quantizer.encode(w, x)
                best = min(best, time.process_time() - start)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"| {n} x {n} | {form} | {best:.3f} | {best / w.size * 1e9:.1f} | {peak:.0f} |", flush=True)


if __name__ == "__main__":
    main()
