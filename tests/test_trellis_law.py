import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenbits import quantize
from evenbits.trellis import MOST_LEVEL, Model
from evenbits.trellis_law import bytes_of, fitted_law, model_of


@given(st.sampled_from([2, 4, 8]).flatmap(lambda c: st.binary(min_size=bytes_of(c), max_size=bytes_of(c))))
@settings(max_examples=60, deadline=None)
def test_any_bytes_are_a_model(data):
    model = model_of(np.frombuffer(data, np.uint8))
    assert model.contexts == (len(data) - 4) // 2 and 1 <= model.top <= MOST_LEVEL
    assert (model.lengths.min(axis=1) == 0).all() and (model.magnitude_shares >= 1).all() and np.isfinite(model.values).all()


def drawn(curve, rng, n=200_000, top=12):
    """How often symbols of either quantizer came whose magnitudes v have log-likelihoods -curve(v), and what they stood for."""
    counts, sums = np.zeros((2 * top + 1, 2), np.uint64), np.zeros((2 * top + 1, 2))
    for q in (0, 1):
        v = np.concatenate([[0], np.repeat(2.0 * np.arange(1, top + 1) - q, 2)])
        p = np.exp(-curve(v))
        counts[:, q] = rng.multinomial(n, p / p.sum())
        sums[:, q] = counts[:, q] * (v - 0.1 * (v > 0)) * np.where(np.arange(2 * top + 1) % 2, 1, -1)
    return counts.reshape(-1), sums.reshape(-1)


@pytest.mark.parametrize(("law", "curve"), [("gaussian", lambda v: 0.05 * v * v), ("laplacian", lambda v: 0.45 * v)])
def test_a_law_is_found_from_what_came_of_it(law, curve, rng):
    counts, sums = drawn(curve, rng)
    taken = {}
    for tried in ("gaussian", "laplacian", None):
        model = fitted_law(counts, sums, 2, tried)
        n = min(model.symbols, counts.size)
        taken[tried] = (counts[:n] * model.by_symbol(model.bits)[:n]).sum()
    entropy = sum(-(c[c > 0] * np.log2(c[c > 0] / c.sum())).sum() for c in (counts[q::2].astype(float) for q in (0, 1)))
    assert entropy < taken[law] < 1.003 * entropy and taken[None] < 1.003 * entropy
    assert taken["gaussian" if law == "laplacian" else "laplacian"] > 1.008 * entropy
    points = fitted_law(counts, sums, 2, law).points
    np.testing.assert_allclose(points[:, 1:7], np.stack([2.0 * np.arange(1, 7), 2.0 * np.arange(1, 7) - 1]) - 0.1, atol=0.02)


def test_what_never_came_has_a_model():
    counts, sums = np.zeros(14, np.uint64), np.zeros(14)
    counts[:2] = 5
    assert isinstance(fitted_law(counts, sums, 2), Model)


@pytest.mark.parametrize("n", [300, 1000])
@pytest.mark.parametrize("bits", [1, 2, 3])
def test_few_values_cost_less_than_those_of_near_democratic(n, bits, rng):
    """At the same bytes, all counted."""
    x = rng.standard_normal(n).astype(np.float32)
    other = quantize(x, bits, "near_democratic")
    found = quantize(x, method="entropy_trellis", budget=other.bits_per_value)
    assert found.nbytes <= other.nbytes and found.error(x) ** 2 < 0.75 * other.error(x) ** 2
    assert found.planes.keys() == {"stream", "law", "scale"}


@pytest.mark.parametrize("law", ["gaussian", "laplacian", "empirical", "auto"])
def test_the_law_is_a_choice(law, rng):
    x = rng.laplace(size=4000).astype(np.float32)
    e = quantize(x, 2, "entropy_trellis", law=law, rotate=False)
    assert ("law" in e.planes) == (law != "empirical")
    if law in ("gaussian", "laplacian"):
        a, b = e.planes["law"][-4:-2]
        assert (a == 0) == (law == "gaussian") and (b == 0) == (law == "laplacian")
    assert e.error(x) ** 2 < 0.075 and e.spec.get("top", 0) < 20
