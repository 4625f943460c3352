import numpy as np
import pytest

from evenbits.quantizers import MagnitudePruning


@pytest.mark.parametrize("values", ["float32", "float64", "float16", "bfloat16"])
def test_the_largest_values_survive_as_they_are(values, rng):
    x = rng.laplace(size=(20, 50)).astype(np.float32)
    y = MagnitudePruning(16, sparsity=0.9, values=values).encode(x).decode()
    assert np.count_nonzero(y) == 100
    assert np.abs(x[y == 0]).max() < np.abs(x[y != 0]).min()
    np.testing.assert_allclose(y[y != 0], x[y != 0], rtol={"float32": 0, "float64": 0, "float16": 1e-3}.get(values, 4e-3))


@pytest.mark.parametrize("bits", [0.3, 1, 5])
def test_as_many_survive_as_bits_allow(bits, rng):
    x = rng.laplace(size=(50, 100)).astype(np.float32)
    e = MagnitudePruning(bits).encode(x)
    room = MagnitudePruning(bits).nbytes(x.shape) - e.nbytes
    assert 0 <= room < 16 and np.count_nonzero(e.decode()) > 0


def test_of_equal_magnitudes_the_first_survive():
    np.testing.assert_array_equal(
        MagnitudePruning(16, sparsity=0.75).encode([1, -2, 2, 2, 1, 1, 1, -2.0]).decode(), [0, -2, 2] + [0] * 5
    )


def test_what_the_type_of_values_cannot_hold_is_refused():
    with pytest.raises(ValueError, match="values is 'float16', which can't hold 1e"):
        MagnitudePruning(8, values="float16").encode([1.0, 1e6])
    with pytest.raises(ValueError, match="sparsity is 2"):
        MagnitudePruning(8, sparsity=2)
