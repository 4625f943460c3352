"""Democratic embeddings and their inverse: ``pytest bench/bench_embedding.py``.

Against NumPy: ``python bench/compare.py kashin exact``.
"""

import numpy as np
import pytest

import evenbits

ROWS = 64


@pytest.mark.parametrize("iterations", [3, 16])
@pytest.mark.parametrize("d", [256, 1024, 4096])
def test_embedding(benchmark, d, iterations, isa):
    benchmark.group = f"Kashin embedding of {d}, redundancy 2, {iterations} iterations"
    x = np.random.default_rng(0).standard_normal((ROWS, d), dtype=np.float32)
    benchmark(evenbits.democratic_embedding, x, redundancy=2, seed=0, iterations=iterations)


@pytest.mark.parametrize(("d", "redundancy"), [(384, 1.1), (4096, 1.05), (4096, 1.1), (4096, 2)])
def test_exact_embedding(benchmark, d, redundancy, isa):
    benchmark.group = f"exact embedding of {d}, redundancy {redundancy}, 100 iterations"
    x = np.random.default_rng(0).standard_normal((ROWS, d), dtype=np.float32)
    benchmark(evenbits.democratic_embedding, x, redundancy=redundancy, seed=0, solver="exact")


@pytest.mark.parametrize("d", [256, 1024, 4096])
def test_inverse(benchmark, d, isa):
    benchmark.group = f"inverse of the embedding of {d}, redundancy 2"
    x = np.random.default_rng(0).standard_normal((ROWS, d), dtype=np.float32)
    a = evenbits.democratic_embedding(x, redundancy=2, seed=0)
    benchmark(evenbits.democratic_inverse, a, length=d, seed=0)
