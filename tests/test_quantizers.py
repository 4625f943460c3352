import hashlib
import math
import platform
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import evenbits
import evenbits.embedding
from evenbits import _chunks, _core, decode, quantize
from evenbits.encoded import canonical_json
from evenbits.quantizers import methods

METHODS = sorted(name for name, kind in methods().items() if kind.fixed)
VARIANTS = [
    ("uniform", {}),
    ("uniform", {"range": "min_max"}),
    ("uniform", {"range": "optimal"}),
    ("uniform", {"per": "tensor"}),
    ("uniform", {"per": "tensor", "range": "optimal"}),
    ("uniform", {"per": 32, "range": "min_max"}),
    ("uniform", {"per": 7, "range": "optimal", "scale_dtype": "float16"}),
    ("uniform", {"rounding": "stochastic"}),
    ("uniform", {"rounding": "stochastic", "range": "min_max", "per": 16}),
    ("uniform", {"grid": "end_point", "fit": "least_squares"}),
    ("lloyd_max", {}),
    ("lloyd_max", {"law": "laplacian", "per": 20}),
    ("lloyd_max", {"law": "empirical"}),
    ("lloyd_max", {"law": "empirical", "per": "tensor"}),
    ("near_democratic", {}),
    ("near_democratic", {"levels": "uniform", "scale_dtype": "bfloat16"}),
    ("near_democratic", {"fit": "unbiased", "rounds": 2}),
    ("near_democratic", {"rounding": "stochastic"}),
    ("near_democratic", {"levels": "uniform", "range": "absmax"}),
    ("democratic", {}),
    ("democratic", {"redundancy": 2, "grid": "end_point"}),
    ("democratic", {"rounding": "stochastic", "redundancy": 1.5}),
    ("democratic", {"fit": "unbiased"}),
    ("democratic", {"solver": "exact", "iterations": 20}),
    ("sign_frame", {"iterations": 8}),
    ("kashin", {}),
    ("kashin", {"refine": False}),
    ("kashin", {"clusters": "joint", "schedule": "greedy"}),
]


def rates_of(options, rates):
    """Those of the rates at which there is a code: a zero point and both ends take three levels."""
    return [b for b in rates if b >= 1.6 or not (options.get("rounding") == "stochastic" and options.get("range") == "min_max")]


every_variant = pytest.mark.parametrize(("method", "options"), VARIANTS, ids=[f"{m}-{o}" for m, o in VARIANTS])


def nmse(x, encoded):
    x = np.asarray(x, np.float64)
    return float(np.mean(((x - decode(encoded)) ** 2).sum(-1) / (x**2).sum(-1)))


@every_variant
def test_more_bits_mean_less_error_and_more_bytes(method, options, rng):
    x = rng.standard_normal((20, 200)).astype(np.float32)
    rates = [0.5, 1, 1.5, 2, 3, 4.25, 6, 8]
    if method in ("uniform", "democratic"):
        rates = rates[3:]  # one bit up to the largest magnitude can be worse than nothing
    elif isinstance(options.get("per"), int):
        rates = rates[1:]
    elif method == "kashin":
        rates = [0.5, 1, 3, 4, 6, 8]  # the fewest levels are best in pairs of two
    encoded = [quantize(x, b, method, **options) for b in rates]
    errors = [nmse(x, e) for e in encoded]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < {"sign_frame": 0.1, "kashin": 5e-3}.get(method, 3e-3)
    sizes = [e.nbytes for e in encoded]
    assert sizes == sorted(sizes)


def digest(encoded):
    planes = b"".join(encoded.planes[name].tobytes() for name in sorted(encoded.planes))
    return hashlib.sha256(planes + decode(encoded).tobytes()).hexdigest()


@pytest.mark.parametrize(
    ("method", "options", "bits"), [(m, o, b) for m, o in VARIANTS for b in rates_of(o, (1, 2.5, 4))], ids=str
)
def test_bytes_do_not_depend_on_instruction_set_workers_or_chunks(method, options, bits, monkeypatch):
    x = np.random.default_rng(1).standard_normal((40, 150)) ** 3
    before, digests = _core.isa(), set()
    try:
        for isa in _core.available_isas():
            _core.use_isa(isa)
            for chunk, workers in ((1 << 18, 1), (1000, 1), (1000, 2), (1000, 7), (450, 3)):
                monkeypatch.setattr(_chunks, "CHUNK", chunk)
                digests.add(digest(quantize(x, bits, method, seed=3, workers=workers, **options)))
    finally:
        _core.use_isa(before)
    assert len(digests) == 1


@every_variant
def test_short_rows_take_every_rate(method, options, rng):
    for d in (1, 2, 3, 5):
        for bits in rates_of(options, (1, 1.0625, 1.5, 2.6, 3.99, 7.5)):
            x = rng.standard_normal((3, d))
            e = methods()[method](bits, **options).encode(x)
            assert e.nbytes == methods()[method](bits, **options).nbytes(x.shape, "float64")
            assert np.isfinite(decode(e)).all()


@every_variant
def test_size_is_known_without_the_values(method, options, rng):
    for bits in rates_of(options, (1, 1.7, 4)):
        for shape in ((7, 100), (3, 5, 48), (64,)):
            cls = methods()[method](bits, seed=1, **options)
            assert cls.nbytes(shape) == cls.encode(rng.standard_normal(shape).astype(np.float32)).nbytes


BUDGETED = [
    *((m, {}) for m in METHODS),
    ("uniform", {"grid": "mid_tread"}),
    ("uniform", {"per": 32, "range": "min_max", "scale_dtype": "float16"}),
    ("uniform", {"per": "tensor"}),
    ("lloyd_max", {"law": "empirical"}),
    ("near_democratic", {"rounding": "stochastic", "scale_dtype": "bfloat16"}),
    ("democratic", {"redundancy": 2}),
]


@pytest.mark.parametrize(("method", "options"), BUDGETED, ids=str)
@settings(deadline=None, max_examples=15)
@given(
    budget=st.floats(0.02, 20),
    rows=st.integers(1, 60),
    d=st.sampled_from([1, 10, 13, 64, 100, 384]),
    dtype=st.sampled_from(["float32", "float64", "float16", "int8", "bool"]),
)
def test_a_budget_is_a_ceiling_and_no_rate_below_it_is_missed(method, options, budget, rows, d, dtype):
    cls, size = methods()[method], rows * d

    def fits(bits):
        try:
            return cls(bits, **options).nbytes((rows, d), dtype) * 8 <= budget * size
        except ValueError:
            return False

    x = np.ones((rows, d), dtype)
    try:
        e = quantize(x, method=method, budget=budget, **options)
    except ValueError as error:
        assert float(str(error).split()[-1]) >= 0.999 * budget
        assert not any(fits(Fraction(s, 16)) for s in range(32, 257))
        return
    assert e.nbytes * 8 <= budget * size
    higher = range(max(int(Fraction(e.spec["bits"]) * 256) + 1, 512), int(min(budget, 16) * 256) + 1)
    assert not any(fits(Fraction(s, 256)) for s in higher)


def test_budgets_far_below_a_bit_are_met(rng):
    x = rng.standard_normal(1 << 20).astype(np.float32)
    for budget in (0.1, 0.01, 0.003):
        assert 0.9 * budget < quantize(x, budget=budget).bits_per_value <= budget


def test_a_budget_may_be_any_kind_of_number():
    x = np.ones((64, 64), np.float32)
    for budget in (20, 20.0, np.float32(20), np.int64(20), Fraction(20), np.inf):
        assert quantize(x, method="uniform", budget=budget).spec["bits"] == "16"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("budget", [0.3, 0.5, 1, 1.37, 2, 3.5, 5.01])
def test_a_budget_is_used_up(method, budget, rng):
    x = rng.standard_normal((256, 1024)).astype(np.float32)
    assert quantize(x, method=method, budget=budget).bits_per_value > budget - 0.04


@pytest.mark.parametrize("method", METHODS)
def test_an_impossible_budget_says_what_is_possible(method):
    with pytest.raises(ValueError, match=r"budget is 0\.1 bits a value: .*the least that method .* can take is \d"):
        quantize(np.ones((2, 64), np.float32), method=method, budget=0.1)


@pytest.mark.parametrize(("bits", "expected"), [(1, 0.3634), (2, 0.1175), (3, 0.03454), (4, 0.009497)])
@pytest.mark.parametrize("law", ["gaussian", "cubed", "student"])
def test_near_democratic_has_lloyd_maxs_error_on_every_law(law, bits, expected):
    rng = np.random.default_rng(5)
    draw = {
        "gaussian": rng.standard_normal,
        "cubed": lambda s: rng.standard_normal(s) ** 3,
        "student": lambda s: rng.standard_t(2, s),
    }
    x = draw[law]((40, 4096))
    # Student's law has no variance: some of its vectors are nearly one value, which a rotation spreads better than evenly.
    assert 0.9 * expected < nmse(x, quantize(x, bits)) < 1.02 * expected


@pytest.mark.parametrize(("bits", "expected"), [(0.5, 0.6804), (1.5, 0.213)])
def test_fractional_rates_have_the_error_of_two_adjacent_level_counts(bits, expected, rng):
    x = rng.standard_normal((40, 4096))
    assert nmse(x, quantize(x, bits)) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(
    ("redundancy", "bits", "expected"), [(1.25, 2, 0.1435), (1.25, 4, 0.01738), (1.5, 3, 0.06257), (2, 2, 0.1787)]
)
def test_democratic_has_the_measured_error(redundancy, bits, expected, rng):
    x = rng.standard_normal((20, 4096)) ** 3
    assert nmse(x, quantize(x, bits, "democratic", redundancy=redundancy)) == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize(("redundancy", "n"), [(1.25, 320), (1.05, 272), (1, 256)])
def test_democratic_takes_plain_codes_of_a_width_and_counts_them(redundancy, n, rng):
    x = rng.standard_normal((50, 256)).astype(np.float32)
    encoded = quantize(x, method="democratic", code_bits=4, redundancy=redundancy)
    assert encoded.spec["codes"] == [16, 0, 1, 4] and encoded.spec["bits"] == "4"
    assert encoded.planes["codes"].shape == (50, n // 2)
    assert encoded.bits_per_value == pytest.approx(4 * n / 256 + (32 + len(canonical_json(encoded.spec)) * 8 / 50) / 256)
    same = quantize(x, Fraction(4 * n, 256), "democratic", redundancy=redundancy)
    np.testing.assert_array_equal(same.planes["codes"], encoded.planes["codes"])
    np.testing.assert_array_equal(decode(same), decode(encoded))


@pytest.mark.parametrize(
    ("redundancy", "bits", "expected"),
    [(1.05, 4, 0.00945), (1.05, 5, 0.00248), (1.05, 6, 6.67e-4), (1.1, 4, 0.00952), (1.1, 3, 0.0357), (1.25, 2, 0.128)],
)
def test_the_exact_solver_makes_uniform_levels_as_good_as_lloyd_maxs(redundancy, bits, expected, rng):
    x = rng.standard_normal((20, 4096))
    error = nmse(x, quantize(x, bits, "democratic", solver="exact", redundancy=redundancy))
    assert error == pytest.approx(expected, rel=0.015)
    assert bits < 4 or redundancy > 1.05 or error < 1.02 * nmse(x, quantize(x, bits))


def test_the_spec_does_not_say_which_solver_chose_the_codes(rng):
    x = rng.standard_normal((3, 100))
    one, other = (quantize(x, 4, "democratic", solver=s, grid="end_point") for s in ("kashin", "exact"))
    assert one.spec == other.spec
    assert nmse(x, other) < nmse(x, one)


@pytest.mark.parametrize("redundancy", [1.25, 2])
@pytest.mark.parametrize("bits", [2, 4])
def test_democratic_obeys_its_bound(redundancy, bits, rng):
    """|x - x'| <= K 2^(-B / redundancy) |x| for nearest rounding on cells of the range (A4.5)."""
    x = rng.standard_t(2, (20, 1000)).astype(np.float32)
    a = evenbits.democratic_embedding(x, redundancy=redundancy, seed=0)
    k = evenbits.embedding.level(a, x)
    error = np.linalg.norm(x - decode(quantize(x, bits, "democratic", redundancy=redundancy, fit="range")), axis=1)
    n = a.shape[1]
    levels = quantize(x, bits, "democratic", redundancy=redundancy).spec["codes"][0]
    assert (error <= k / levels * np.linalg.norm(x, axis=1) * 1.001).all()
    assert levels >= math.floor(2 ** (bits * 1000 / n) * 0.999)


UNBIASED = [
    ("uniform", 1, {"rounding": "stochastic"}),
    ("uniform", 2, {"rounding": "stochastic", "scale_dtype": "bfloat16"}),
    ("uniform", 4, {"rounding": "stochastic", "scale_dtype": "float16"}),
    ("uniform", 2, {"rounding": "stochastic", "grid": "mid_tread"}),
    ("uniform", 2, {"rounding": "stochastic", "range": "min_max"}),
    ("uniform", 3, {"rounding": "stochastic", "range": "min_max", "per": 16}),
    ("uniform", 1.5, {"rounding": "stochastic", "fit": "unbiased"}),
    ("uniform", 0.5, {"rounding": "stochastic", "fit": "unbiased", "scale_dtype": "bfloat16"}),
    ("near_democratic", 2, {"rounding": "stochastic"}),
    ("near_democratic", 0.5, {"rounding": "stochastic"}),
    ("democratic", 3, {"rounding": "stochastic"}),
    ("democratic", 0.6, {"rounding": "stochastic"}),
]


@pytest.mark.parametrize(("method", "bits", "options"), UNBIASED, ids=str)
@pytest.mark.parametrize("law", ["cubed", "lopsided"])
def test_stochastic_codes_average_to_the_vector(method, bits, options, law):
    """The squared distance of a mean of N draws is var / N if they are unbiased, give or take a few per cent."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal(64) ** 3 if law == "cubed" else np.where(np.arange(64) % 7, rng.random(64), -0.05)
    trials = 3000
    draws = np.stack([decode(quantize(x, bits, method, seed=s, **options)) for s in range(trials)])
    # A level that is taken once in thousands of draws has no variance to be seen: a few such draws are allowed for.
    z = (draws.mean(0) - x) / np.maximum(draws.std(0) / np.sqrt(trials), 2 * np.abs(x).max() / trials)
    assert np.abs(z).max() < 5.5
    assert np.sum(z**2) < 64 + 6 * np.sqrt(2 * 64)


def test_edens_scale_keeps_the_product_with_the_vector(rng):
    x = rng.standard_normal((50, 300)) ** 3
    for bits in (0.5, 1, 2, 4):
        y = decode(quantize(x, bits, fit="unbiased"))
        np.testing.assert_allclose((x * y).sum(1), (x * x).sum(1), rtol=1e-4 if bits < 1 else 0.05)


def test_edens_scale_is_unbiased_for_long_vectors():
    x = np.random.default_rng(3).standard_normal(1024) ** 3
    for bits in (1, 2):
        mean = np.mean([decode(quantize(x, bits, fit="unbiased", seed=s)) for s in range(400)], axis=0)
        assert np.dot(mean, x) / np.dot(x, x) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("method", METHODS)
def test_least_squares_is_never_worse_than_the_range(method, rng):
    x = rng.standard_normal((30, 96)) ** 3
    for bits in (1, 2, 3):
        assert nmse(x, quantize(x, bits, method, fit="least_squares")) <= nmse(x, quantize(x, bits, method, fit="range")) * (
            1 + 1e-6
        )


def test_the_optimal_range_is_never_worse_than_the_largest(rng):
    x = rng.standard_normal((30, 96)) ** 3
    for per in ("row", "tensor", 32):
        for bits in (1, 2, 3, 4):
            best, widest = (quantize(x, bits, "uniform", range=r, per=per) for r in ("optimal", "absmax"))
            assert best.error(x) <= widest.error(x)


def test_an_empirical_codebook_beats_the_gaussian_one_on_other_laws(rng):
    x = rng.standard_normal((4, 4096)) ** 3
    for bits in (2, 3, 4):
        assert nmse(x, quantize(x, bits, "lloyd_max", law="empirical")) < nmse(x, quantize(x, bits, "lloyd_max"))


@pytest.mark.parametrize(("bits", "expected"), [(2, 0.1185), (3, 0.03465), (4, 0.009414)])
def test_an_empirical_codebook_has_the_error_of_k_means(bits, expected, rng):
    x = rng.standard_normal((1, 40000))
    assert nmse(x, quantize(x, bits, "lloyd_max", law="empirical")) == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize(
    ("method", "options", "bits"), [(m, o, b) for m, o in VARIANTS for b in rates_of(o, (1, 2.5, 4))], ids=str
)
def test_zeros_come_back_as_zeros(method, options, bits):
    np.testing.assert_array_equal(decode(quantize(np.zeros((3, 40)), bits, method, **options)), np.zeros((3, 40)))


@every_variant
@pytest.mark.parametrize("scale", [1e-38, 1e-20, 1e20, 1e38])
def test_tiny_and_huge_numbers_keep_their_relative_error(method, options, scale, rng):
    if options.get("scale_dtype") == "float16":
        pytest.skip("float16 holds no such scales")
    x = rng.standard_normal((6, 60)) / 4
    wide, plain = (np.asarray(x * s, np.float32) for s in (scale, 1.0))
    error = quantize(wide, 4, method, **options).error(wide)
    assert error <= quantize(plain, 4, method, **options).error(plain) * 1.05 + 1e-3


@every_variant
def test_denormal_rows_stay_within_their_largest_number(method, options, rng):
    if options.get("scale_dtype") == "float16":
        pytest.skip("float16 holds no such scales")
    x = (rng.standard_normal((6, 60)) * 1e-43).astype(np.float32)
    y = decode(quantize(x, 4, method, **options))
    assert (np.abs(y - x).max(axis=1) <= np.abs(x).max(axis=1)).all()


def test_the_largest_floats_stay_finite():
    x = np.full((2, 64), np.finfo(np.float32).max, np.float32)
    x[1, ::2] *= -1
    for method in METHODS:
        y = decode(quantize(x, 4, method))
        assert np.isfinite(y).all()
        assert np.linalg.norm(y / x.max() - x / x.max()) / np.sqrt(128) < 0.4


@pytest.mark.parametrize("method", ["uniform", "lloyd_max", "near_democratic"])
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_the_largest_halves_stay_finite(method, dtype, rng):
    top = float(ml_dtypes.finfo(dtype).max)
    x = (np.sign(rng.standard_normal((4, 64))) * top).astype(dtype)
    for bits in (1, 3, 4.5):
        assert np.isfinite(decode(quantize(x, bits, method)).astype(np.float32)).all()


def test_rows_of_very_different_size_do_not_disturb_each_other(rng):
    x = rng.standard_normal((4, 64)).astype(np.float32)
    mixed = x * np.array([[1], [1e-42], [1e37], [1]], np.float32)
    for method in ("uniform", "lloyd_max", "near_democratic", "democratic", "sign_frame"):  # a scale for each row
        np.testing.assert_array_equal(decode(quantize(mixed, 4, method))[[0, 3]], decode(quantize(x, 4, method))[[0, 3]])


def test_scales_that_their_dtype_cannot_hold_are_refused():
    with pytest.raises(ValueError, match="scale_dtype is 'float16', which can't hold a scale of"):
        quantize(np.full((2, 64), 1e9, np.float32), 4, scale_dtype="float16")
    with pytest.raises(ValueError, match="scale_dtype is 'float16', which can't hold a scale of"):
        quantize(np.full((2, 64), 1e-12, np.float32), 4, scale_dtype="float16")
    for size in (1e200, 1e-60):
        with pytest.raises(ValueError, match="scale_dtype is 'float32'"):
            quantize(np.full((2, 64), size), 4)
    top = np.finfo(np.float64).max
    assert np.isfinite(decode(quantize(np.full((2, 64), top), 4, scale_dtype="float64"))).all()
    assert quantize(np.full((2, 64), 1e200), 4, scale_dtype="float64").error(np.full((2, 64), 1e200)) < 0.3


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(), (1,), (5,), (0,), (0, 5), (5, 0), (2, 3, 10), (1, 1)])
def test_every_shape_has_an_answer(method, shape, rng):
    x = rng.standard_normal(shape)
    e = quantize(x, 4, method)
    assert decode(e).shape == shape
    assert e.error(x) < 0.6


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ml_dtypes.bfloat16])
def test_dtypes_come_back(method, dtype, rng):
    x = rng.standard_normal((4, 64)).astype(dtype)
    y = decode(quantize(x, 8, method))
    assert y.dtype == dtype
    most = 0.3 if method == "sign_frame" else 0.1  # whose bits beyond the third bring little
    np.testing.assert_allclose(y.astype(np.float64), x.astype(np.float64), atol=most)


def test_layouts_and_byte_orders_do_not_matter(rng):
    x = rng.standard_normal((8, 64)).astype(np.float32)
    frozen = x.copy()
    frozen.flags.writeable = False
    expected = digest(quantize(x, 3))
    for same in (np.asfortranarray(x), x.astype(">f4"), frozen, np.repeat(x, 2, axis=1)[:, ::2], memoryview(x)):
        assert digest(quantize(same, 3)) == expected


def test_long_integers_are_taken_if_float32_holds_them():
    assert digest(quantize([[1, 2, 3, 4]], 4)) == digest(quantize(np.float32([[1, 2, 3, 4]]), 4))
    with pytest.raises(TypeError, match="x has dtype int64 and numbers that float32 doesn't hold"):
        quantize(np.array([2**24 + 1]), 4)


def test_flush_to_zero_set_by_others_changes_nothing(rng):
    ctypes = pytest.importorskip("ctypes")
    libm = ctypes.CDLL(None)
    if not hasattr(libm, "fegetenv") or platform.machine() != "x86_64":
        pytest.skip("sets the register through the C library of x86-64 Linux")
    environment = (ctypes.c_uint32 * 8)()
    x = (rng.standard_normal((20, 64)) * np.logspace(-42, -30, 20)[:, None]).astype(np.float32)
    for method in METHODS:
        expected = digest(quantize(x, 3, method))
        libm.fegetenv(environment)
        mxcsr = environment[7]
        environment[7] = mxcsr | 0x8040  # flush to zero, denormals are zero
        libm.fesetenv(environment)
        try:
            found = digest(quantize(x, 3, method))
        finally:
            environment[7] = mxcsr
            libm.fesetenv(environment)
        assert found == expected


def test_integers_are_taken_as_float32():
    x = np.arange(-32, 32, dtype=np.int16).reshape(2, 32)
    assert digest(quantize(x, 4)) == digest(quantize(x.astype(np.float32), 4))


@pytest.mark.parametrize("method", METHODS)
def test_nan_and_infinity_are_refused_with_their_index(method):
    x = np.zeros((3, 8), np.float32)
    x[1, 2] = np.nan
    with pytest.raises(ValueError, match=r"x\[1, 2\] is nan"):
        quantize(x, 4, method)
    x[1, 2], x[2, 0] = 0, -np.inf
    with pytest.raises(ValueError, match=r"x\[2, 0\] is -inf"):
        quantize(x.astype(np.float64), 4, method)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bits": 0}, "bits is 0; it must be above 0"),
        ({"bits": -1.5}, r"bits is -1\.5"),
        ({"bits": 17}, "bits is 17"),
        ({"bits": float("nan")}, "bits is nan"),
        ({"bits": 4, "budget": 4}, "bits is 4 and budget is 4; give one"),
        ({"budget": 0}, "budget is 0"),
        ({"method": "magic"}, "method is 'magic'; known are"),
        ({"seed": -1}, "seed is -1"),
        ({"stream": 2**62}, "stream is"),
        ({"scale_dtype": "int8"}, "scale_dtype is 'int8'"),
        ({"rounding": "up"}, "rounding is 'up'"),
        ({"fit": "least_squares", "rounding": "stochastic"}, "fit is 'least_squares'; stochastic"),
        ({"rounding": "stochastic", "levels": "lloyd_max"}, "rounding is 'stochastic'; it takes"),
        ({"method": "uniform", "per": 0}, "per is 0"),
        ({"method": "uniform", "per": "column"}, "per is 'column'"),
        ({"method": "uniform", "per": 2, "bits": 0.5}, "per is 2; rates below 1 bit"),
        ({"method": "uniform", "grid": "mid_tread", "bits": 1}, "no grid 'mid_tread' of 2 levels"),
        ({"method": "uniform", "range": "min_max", "grid": "mid_rise"}, "grid is 'mid_rise'; range='min_max'"),
        ({"method": "democratic", "code_bits": 4, "bits": 4}, "code_bits is 4; it stands instead of bits"),
        ({"method": "democratic", "code_bits": 17, "bits": None}, "code_bits is 17"),
        ({"method": "uniform", "fit": "unbiased"}, "fit is 'unbiased'"),
        ({"method": "uniform", "rounding": "stochastic", "grid": "mid_rise"}, "grid is 'mid_rise', without levels at"),
        ({"method": "democratic", "rounding": "stochastic", "grid": "mid_rise"}, "grid is 'mid_rise', without levels at"),
        ({"method": "uniform", "rounding": "stochastic", "range": "min_max", "bits": 1}, "take 3 levels"),
        ({"levels": "lloyd_max", "range": "absmax"}, "range is 'absmax'; that is for levels='uniform'"),
        ({"fit": 3}, "fit is 3; known are"),
        ({"method": "democratic", "redundancy": np.nan}, "redundancy is nan"),
        ({"method": "lloyd_max", "bits": 9}, "no grid 'lloyd_max_gaussian' of 512 levels"),
        ({"method": "democratic", "redundancy": 0.5}, r"redundancy is 0\.5"),
        ({"method": "democratic", "eta": 1}, "eta is 1"),
        ({"method": "democratic", "solver": "exact", "eta": 0.5}, "eta is 0.5; only solver 'kashin'"),
        ({"method": "democratic", "solver": "lp"}, "solver is 'lp'"),
        ({"method": "democratic", "range": "min_max"}, "range is 'min_max'"),
        ({"method": "democratic", "rounding": "stochastic", "range": "optimal"}, "range is 'optimal', which clips"),
        ({"bits": 0.01}, "leaves no code in a row of 8"),
        ({"workers": 0}, "workers is 0"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        quantize(np.ones((2, 8)), **arguments)


@pytest.mark.parametrize("bits", ["four", None, [4], 4j])
def test_rates_that_are_no_numbers_are_refused(bits):
    with pytest.raises(TypeError, match="bits is"):
        methods()["uniform"](bits)


@pytest.mark.parametrize("bits", [4, 4.0, Fraction(4), np.float32(4), np.int64(4)])
def test_rates_may_be_any_kind_of_number(bits):
    assert methods()["uniform"](bits).bits == 4


def test_wide_codes_up_to_16_bits_are_exact_to_their_step(rng):
    x = rng.standard_normal((4, 100))
    for bits in (9, 11.3, 12, 16):
        for method in ("uniform", "near_democratic", "democratic"):
            rate = bits if method != "democratic" else bits / 1.3
            assert quantize(x, bits, method).error(x) < 5 * 2.0**-rate


def test_values_on_the_grid_come_back_exactly():
    codes = np.arange(-7, 8, dtype=np.float32)
    x = np.tile(codes, (3, 2)) * np.array([[0.5], [1], [4]], np.float32)
    np.testing.assert_array_equal(decode(quantize(x, 4, "uniform", grid="mid_tread")), x)
    np.testing.assert_array_equal(decode(quantize(np.arange(16, dtype=np.float32), 4, "uniform", range="min_max")), np.arange(16))


def test_zero_stays_zero_where_the_grid_has_it(rng):
    x = rng.standard_normal((10, 64)) * (rng.random((10, 64)) < 0.3)
    for options in ({"grid": "mid_tread"}, {"range": "min_max"}):
        y = decode(quantize(x, 4, "uniform", **options))
        assert (y[x == 0] == 0).all()
