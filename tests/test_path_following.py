import numpy as np
import pytest

from evenbits import _core
from evenbits.path_following import Calibration, Rounding, multiply_add, recursion
from evenbits.quantizers import PathFollowing
from evenbits.random import random_bits
from evenbits.reference import path_following as reference
from evenbits.spec import DITHER

ALPHABETS = [
    {"alphabet": "infinite", "step": 0.4},
    {"bits": 2},
    {"bits": 3, "alphabet": "mid_tread"},
    {"bits": 3, "alphabet": "twos_complement", "per": "row"},
    {"bits": 3, "alphabet": "mid_rise"},
]


def layer(rows=24, inputs=150, neurons=12, seed=0, mismatch=0.1):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, inputs))
    return rng.standard_normal((neurons, inputs)), x, x + mismatch * rng.standard_normal(x.shape)


@pytest.mark.parametrize("options", ALPHABETS, ids=str)
@pytest.mark.parametrize(
    ("rounding", "order", "quantized"),
    [("nearest", 1, False), ("stochastic", 1, True), ("nearest", 3, True), ("stochastic", 2, True), ("stochastic", 2, False)],
)
@pytest.mark.parametrize("form", ["gram", "samples"])
def test_codes_are_those_of_the_plain_recursion(options, rounding, order, quantized, form):
    w, x, y = layer()
    options = options | {"rounding": rounding, "order": order, "form": form, "held_out": 0, "seed": 3}
    encoded = PathFollowing(**options).encode(w, x, y if quantized else None)
    y = y if quantized else x
    step = np.broadcast_to(encoded.planes["scales"].astype(float).reshape(-1), len(w))
    count, infinite = encoded.report.levels, options.get("alphabet") == "infinite"
    bits = random_bits(3, DITHER, w.size).reshape(w.shape)

    def rounded(a, t):
        return reference.levels(
            a,
            step,
            low=-(2**30) if infinite else -(count // 2),
            high=2**30 if infinite else count - count // 2 - 1,
            offset=0.5 if options.get("alphabet") == "mid_rise" else 0.0,
            bits=bits[:, t] if rounding == "stochastic" else None,
        )[1]

    live = np.ones(w.shape[1], bool)
    v, _ = reference.aligned(w, x, y, order, live)
    q, _ = reference.follow_aligned(v, y, rounded, live)
    np.testing.assert_array_equal(encoded.decode(), q)
    if order == 1:
        np.testing.assert_array_equal(encoded.decode(), reference.follow(w, x, y, rounded)[0])


@pytest.mark.filterwarnings("ignore:on rows held out")
def test_calibration_in_batches_gives_the_codes_of_all_rows_at_once():
    w, x, y = layer()
    whole = PathFollowing(3, held_out=5).encode(w, x, y)
    data = Calibration(held_out=5)
    for part in np.array_split(np.arange(len(x)), 7):
        data.update(x[part], y[part])
    parts = PathFollowing(3).encode(w, data)
    assert parts.planes["codes"].tobytes() == whole.planes["codes"].tobytes()
    assert parts.report.rows == whole.report.rows == 20


SHAPES = [(1, 1, 1), (3, 7, 5), (20, 70, 33)]  # rows of weights, inputs, rows of data


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize(("rows", "n", "m"), [*SHAPES, (1, 130, 300)])
def test_sums_of_products_are_those_of_the_reference(isa, rng, rows, n, m, kind):
    x, y = rng.standard_normal((2, m, n)).astype(kind)
    gram, sums = np.zeros((n, n)), rng.standard_normal((n, n))
    _core.add_gram(x, gram, 2)
    np.testing.assert_array_equal(gram, reference.multiply_add(x.T, x, np.zeros((n, n))))
    expected = reference.multiply_add(x.T, y, sums)
    np.testing.assert_array_equal(multiply_add(x.T, y, sums, workers=2), expected)


@pytest.mark.parametrize(
    "rounding", [None, Rounding(-1, 1), Rounding(-4, 3, 0.5), Rounding(shrink=0.1), Rounding(-5, 5, gap=0.75)], ids=str
)
@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize(("rows", "n", "m"), SHAPES)
def test_recursions_are_those_of_the_reference(isa, rng, rows, n, m, kind, rounding):
    x = rng.standard_normal((m, n))
    gram, live = x.T @ x, rng.random(n) < 0.9
    w, base = rng.standard_normal((2, rows, n)).astype(kind)
    pivot, step = np.where(live, gram.diagonal(), 0).astype(kind), (0.2 + rng.random(rows)).astype(kind)
    if rounding is None:
        expected = reference.recursion(w, base, gram.astype(kind), pivot, None)[1]
        np.testing.assert_array_equal(recursion(w, base, gram, live)[0], expected)
        return
    most = 2**20 if kind == np.float32 else 2**30
    grid = {"low": max(rounding.low, -most), "high": min(rounding.high, most)}
    grid |= {key: getattr(rounding, key) for key in ("offset", "shrink", "gap")}
    for bits in (None, rng.integers(0, 65536, w.shape).astype(np.uint16))[: 1 if rounding.gap else 2]:
        codes, clamped, error = np.zeros(w.shape), np.zeros(rows, int), np.empty_like(w)

        def rounded(a, t, bits=bits, codes=codes, clamped=clamped):
            codes[:, t], q, beyond = reference.levels(a, step, bits=None if bits is None else bits[:, t], **grid)
            clamped += beyond
            return q

        z = reference.recursion(w, base, gram.astype(kind), pivot, rounded)[1]
        found = recursion(w, base, gram, live, step, rounding, bits, error=error, workers=2)
        for one, other in zip((*found, error), (codes, clamped, z), strict=True):
            np.testing.assert_array_equal(one, other)


def test_long_and_many_rows_go_through_pieces_as_short_ones_do(isa, rng):
    x = rng.standard_normal((20, 270))
    gram, live, w = x.T @ x, np.ones(270, bool), rng.standard_normal((131, 270))
    step = np.full(131, 0.5)

    def rounded(a, t):
        return reference.levels(a, step, low=-9, high=9)[1]

    z = np.empty_like(w)
    recursion(w, None, gram, live, step, Rounding(-9, 9), error=z, workers=2)
    few = [0, 63, 64, 127, 128, 130]
    step = step[few]
    expected = reference.recursion(w[few], np.zeros((6, 270)), gram, gram.diagonal(), rounded)[1]
    np.testing.assert_array_equal(z[few], expected)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"w": np.zeros(5)}, ValueError),
        ({"w": np.zeros((2, 5), np.int32)}, TypeError),
        ({"w": np.zeros((5, 4)).T}, TypeError),
        ({"base": np.zeros((2, 4))}, ValueError),
        ({"base": np.zeros((2, 5), np.float32)}, TypeError),
        ({"gram": np.zeros((5, 4))}, ValueError),
        ({"gram": np.zeros((5, 5), np.float32)}, TypeError),
        ({"pivot": np.zeros(4)}, ValueError),
        ({"step": np.zeros(3)}, ValueError),
        ({"bits": np.zeros((2, 4), np.uint16)}, ValueError),
        ({"bits": np.zeros((2, 5), np.uint8)}, TypeError),
        ({"codes": np.zeros((2, 4), np.int32)}, ValueError),
        ({"z": np.zeros((1, 5))}, ValueError),
        ({"clamped": np.zeros(1, np.uint32)}, ValueError),
        ({"high": 2.0**31}, ValueError),
        ({"low": np.nan}, ValueError),
        ({"low": 3.0, "high": 2.0}, ValueError),
    ],
)
def test_the_extension_refuses_memory_that_does_not_fit(change, error):
    fits = {
        "w": np.zeros((2, 5)), "base": None, "gram": np.eye(5), "pivot": np.ones(5), "step": np.ones(2), "bits": None,
        "low": -1.0, "high": 1.0, "offset": 0.0, "shrink": 0.0, "gap": 0.0, "codes": np.zeros((2, 5), np.int32),
        "z": np.zeros((2, 5)), "clamped": np.zeros(2, np.uint32), "workers": 1,
    }  # fmt: skip
    _core.follow_path(*fits.values())
    with pytest.raises(error):
        _core.follow_path(*(fits | change).values())


def test_products_of_memory_that_does_not_fit_are_refused():
    a, c = np.zeros((3, 4)), np.zeros((3, 3))
    _core.multiply_add(a[:, ::2], a.T[::2].copy(), c, 1)
    frozen = c.copy()
    frozen.flags.writeable = False
    for wrong in ((a, a, c), (a, a.T, c), (a, np.zeros((4, 3), np.float32), c), (a[::-1], a.T.copy(), c),
                  (a, a.T.copy(), np.zeros((6, 3))[::2]), (a, a.T.copy(), frozen), (a[0], a.T.copy(), c),
                  (a, a.T.copy(), np.zeros((3, 2)))):  # fmt: skip
        with pytest.raises((ValueError, TypeError)):
            _core.multiply_add(*wrong, 1)
    right = np.zeros((4, 4))
    for x, sums in ((a, c), (a[:, ::2], np.zeros((2, 2))), (a[0], right), (a, right.astype(np.float32))):
        with pytest.raises((ValueError, TypeError)):
            _core.add_gram(x, sums, 1)
