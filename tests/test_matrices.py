import numpy as np
import pytest

from evenbits.matrices import LARGEST_BASE, base_matrix, base_order, hadamard_length, hadamard_matrix


def orders(largest):
    return [n for n in range(1, largest + 1) if base_order(n)]


@pytest.mark.parametrize("n", orders(420))
def test_rows_are_orthogonal_and_the_matrix_is_symmetric(n):
    h = hadamard_matrix(n).astype(np.float64)  # exact: entries are below 2^53
    assert set(np.unique(h)) <= {-1.0, 1.0}
    np.testing.assert_array_equal(h @ h, n * np.eye(n))
    np.testing.assert_array_equal(h, h.T)


def test_the_orders_that_paley_and_kronecker_give_are_there():
    missing = [n for n in range(4, 257, 4) if not base_order(n)]
    assert missing == [92, 116, 156, 172, 184, 188, 232, 236]


@pytest.mark.parametrize("m", [52, 100, 244, 344])  # fields of 25, 49, 3^5 and 7^3 elements
def test_prime_power_fields_give_bases(m):
    h = base_matrix(m).astype(np.float64)
    np.testing.assert_array_equal(h @ h, m * np.eye(m))


@pytest.mark.parametrize(("n", "m"), [(768, 12), (1536, 12), (2560, 20), (11008, 344), (4096, 1), (24, 12), (144, 36)])
def test_a_length_uses_its_smallest_base(n, m):
    assert base_order(n) == m


@pytest.mark.parametrize("n", [-4, 0, 3, 6, 10, 92, 1000003])
def test_other_orders_are_unknown(n):
    assert base_order(n) is None


def test_the_next_length_is_the_least_one():
    for n in range(1, 2000):
        expected = next(i for i in range(n, 4096) if base_order(i, 128))
        assert hadamard_length(n) == expected
        assert n < 64 or hadamard_length(n) < 1.1 * n


def test_bases_are_read_only_and_of_bounded_order():
    assert not base_matrix(12).flags.writeable
    assert base_order(4 * 1019, LARGEST_BASE) is None
    with pytest.raises(ValueError, match="m is 92"):
        base_matrix(92)
