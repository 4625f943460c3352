import hashlib
import sys

import numpy as np
import pytest

from evenbits.axes import APART
from evenbits.decomposition import SECOND, Transform
from evenbits.orthogonal import KINDS, PORTABLE, nearly_gaussian, no_transform, transform_of
from evenbits.random import random_bits, random_signs
from evenbits.reference import orthogonal as reference

LAWS = {
    "gaussian": lambda rng, shape: rng.standard_normal(shape),
    "gaussian cubed": lambda rng, shape: rng.standard_normal(shape) ** 3,
    "student": lambda rng, shape: rng.standard_t(2, shape),
}
BYTES = {
    "involution": "0d462cc90b981fff",
    "butterfly": "d9a359cd2467c647",
    "householder": "dda8d175648ff8dd",
    "dense": "42bd9c66b6958dea",
}
"""SHA-256 of a result, its first digits."""
AXES = [(1,), (2,), (7,), (24,), (100,), (8, 8), (24, 16), (12, 12), (6, 5, 4), (1, 3)]


def possible(kind, axes):
    if kind == "dct":
        pytest.importorskip("scipy")
    if any(no_transform(kind, n) for n in axes):
        pytest.skip("no Hadamard matrix")


def matrix_of(transform):
    return transform(np.eye(transform.n, dtype=np.float32)).T


@pytest.mark.parametrize("axes", AXES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_transforms_are_orthogonal_and_their_adjoint_is_the_inverse(kind, axes):
    possible(kind, axes)
    t = transform_of(kind, axes, 3, 1)
    p = matrix_of(t)
    np.testing.assert_allclose(p @ p.T, np.eye(t.n), atol=4e-6)
    np.testing.assert_allclose(t.adjoint(np.eye(t.n, dtype=np.float32)), p, atol=1e-6)
    if kind not in ("butterfly", "dense"):
        np.testing.assert_allclose(p, p.T, atol=2e-6)


@pytest.mark.parametrize("axes", [(8, 8), (24, 16), (12, 12), (6, 5, 4)], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_a_product_is_the_kronecker_product_of_its_factors(kind, axes):
    possible(kind, axes)
    expected = np.ones((1, 1))
    for k, n in enumerate(axes):
        expected = np.kron(expected, matrix_of(KINDS[kind](n, 5, 0, k << APART)))
    np.testing.assert_allclose(matrix_of(transform_of(kind, axes, 5)), expected, atol=1e-6)


def test_factors_of_a_product_differ():
    assert not np.array_equal(*(matrix_of(KINDS["dense"](8, 0, 0, k << APART)) for k in (0, 1)))


@pytest.mark.parametrize("n", [1, 5, 32])
def test_matrices_are_those_of_the_reference(n):
    seed, stream = 9, 2 + SECOND
    pytest.importorskip("scipy")
    signs = random_signs(seed, stream, n)
    np.testing.assert_allclose(matrix_of(transform_of("dct", (n,), 9, 2)), reference.cosine_involution(signs), atol=1e-6)
    w = nearly_gaussian(seed, stream, n)
    np.testing.assert_allclose(matrix_of(transform_of("householder", (n,), 9, 2)), reference.reflection(w), atol=1e-6)
    vectors = [nearly_gaussian(seed, stream, n - k, k * n) for k in range(n)]
    expected = reference.dense(vectors, random_signs(seed, stream, n, first=n * n))
    np.testing.assert_allclose(matrix_of(transform_of("dense", (n,), 9, 2)).T, expected.T, atol=2e-6)


def test_the_butterfly_is_that_of_the_reference():
    n, place, orders, pairs = 12, 0, [], []
    for _ in range(3):
        orders.append(np.argsort(random_bits(9, 2 + SECOND, n, bits=32, first=place), kind="stable"))
        place += n
        pairs.append([])
        for h in (1, 2, 4, 8):
            count = sum(i // h % 2 == 0 for i in range(n - h))
            pairs[-1].append(nearly_gaussian(9, 2 + SECOND, 2 * count, place).reshape(2, -1))
            place += 2 * count
    np.testing.assert_allclose(matrix_of(transform_of("butterfly", (n,), 9, 2)), reference.butterfly(orders, pairs), atol=1e-6)


@pytest.mark.parametrize("kind", PORTABLE)
def test_portable_transforms_give_the_same_bytes_on_every_instruction_set(isa, kind):
    y = transform_of(kind, (40,), 1)(np.arange(-40, 40, dtype=np.float32).reshape(2, 40))
    assert hashlib.sha256(y.tobytes()).hexdigest()[:16] == BYTES[kind]


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("kind", [k for k in KINDS if k != "householder"])
def test_vectors_decompose_with_every_transform_but_householders(kind, law, rng):
    possible(kind, ())
    x = LAWS[law](rng, (3, 512)).astype(np.float32)
    t = transform_of(kind, (512,), 3)
    for schedule in ("greedy", "alternating"):
        u, v, left = t.split(x, schedule, 120, 1e-6)
        assert (left <= 1e-6).all()
        back = (u + t(v)) * np.sqrt((x.astype(np.float64) ** 2).mean(axis=1, keepdims=True))
        np.testing.assert_allclose(back, x, atol=4e-6 * np.linalg.norm(x, axis=1).max())
        assert max(np.abs(u).max(), np.abs(v).max()) < 6


def test_a_reflection_is_too_near_to_the_identity(rng):
    left = transform_of("householder", (512,), 3).split(rng.standard_normal((4, 512)).astype(np.float32), "greedy", 70, 1e-6)[2]
    assert (left > 1e-3).all()


@pytest.mark.parametrize("schedule", ["greedy", "alternating"])
def test_the_general_way_is_the_kernels(schedule, rng):
    """Codes bit for bit; factors of the split up to the signs of what is all but zero."""
    x, t = rng.standard_normal((3, 160)).astype(np.float32), transform_of("involution", (160,), 3)
    x[1] = 0
    for steps in (1, 2, 5, 12):
        for a, b in zip(t.split(x, schedule, steps, 1e-6), Transform.split(t, x, schedule, steps, 1e-6), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)
    arguments = x, 100, (4, 2, 3, 2), (0.9, 0.6, 1.2, 0.5), 9
    np.testing.assert_array_equal(t.joint_codes(*arguments), Transform.joint_codes(t, *arguments))


def test_cosines_without_scipy_name_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(ModuleNotFoundError, match=r"evenbits\[scipy\]"):
        transform_of("dct", (8,), 0)(np.ones((1, 8), np.float32))
