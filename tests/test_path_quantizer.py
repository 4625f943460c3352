import hashlib

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import evenbits
from evenbits.path_following import Calibration, StoredRows
from evenbits.quantizers import PathFollowing
from evenbits.quantizers.path_forms import least_maximum

quiet = pytest.mark.filterwarnings("ignore:on rows held out")


def low_rank(m=300, n=64, rank=8, neurons=10, seed=0, noise=0.05):
    """Weights, and data of few directions, where path following helps."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((m, rank)) @ rng.standard_normal((rank, n)) / np.sqrt(rank) + noise * rng.standard_normal((m, n))
    return rng.standard_normal((neurons, n)), x


def relative(w, q, x, y=None):
    return np.linalg.norm(x @ w.T - (x if y is None else y) @ q.T) / np.linalg.norm(x @ w.T)


@pytest.mark.parametrize(
    ("alphabet", "bits", "levels", "stored"),
    [
        ("symmetric", 2, 3, 1.6),
        ("symmetric", 3, 7, 17 / 6),
        ("symmetric", np.log2(3), 3, 1.6),
        ("symmetric", np.log2(5), 5, 7 / 3),
        ("mid_tread", 1, 3, 1.6),
        ("mid_tread", 2, 5, 7 / 3),
        ("mid_tread", 3, 9, 16 / 5),
        ("twos_complement", 2, 4, 2),
        ("twos_complement", 8, 256, 8),
        ("mid_rise", 1, 2, 1),
        ("mid_rise", 3, 8, 3),
    ],
)
def test_levels_are_counted_as_they_are(alphabet, bits, levels, stored):
    w, x = low_rank(n=64 * 60)
    encoded = PathFollowing(bits, alphabet=alphabet, held_out=0).encode(w, x[:20])
    assert encoded.report.levels == PathFollowing(bits, alphabet=alphabet).levels == levels
    assert len(np.unique(encoded.decode())) <= levels
    assert 8 * encoded.planes["codes"].size / w.size == pytest.approx(stored, rel=0.03)
    assert encoded.nbytes == PathFollowing(bits, alphabet=alphabet).nbytes(w.shape, "float64")


@quiet
@pytest.mark.parametrize("per", ["tensor", "row"])
@pytest.mark.parametrize("scale_dtype", ["float32", "float64", "float16", "bfloat16"])
def test_decoding_gives_the_very_levels_that_codes_were_chosen_for(per, scale_dtype):
    w, x = low_rank()
    encoded = PathFollowing(4, per=per, scale_dtype=scale_dtype, held_out=0).encode(w, x)
    q = encoded.decode()
    assert q.dtype == np.float64
    k = np.rint(q / np.abs(q[q != 0]).min()) if per == "tensor" else None
    if k is not None:
        np.testing.assert_array_equal(k * np.abs(q[q != 0]).min(), q)
    assert encoded.report.calibration_error == pytest.approx(relative(w, q, x[:128]), rel=1e-9)


def test_low_rank_data_at_2_bits_keep_their_outputs_where_nearest_rounding_loses_a_quarter():
    rng = np.random.default_rng(2)
    basis = rng.standard_normal((32, 1024)) / np.sqrt(32)
    x, fresh = (rng.standard_normal((m, 32)) @ basis + 0.05 * rng.standard_normal((m, 1024)) for m in (256, 512))
    w = rng.standard_normal((64, 1024))
    data = Calibration(held_out=0).update(x).hold_out(fresh)
    path = PathFollowing(2, alphabet="mid_tread", clip="search").encode(w, data)
    nearest = evenbits.quantize(w, 2, "nearest", calibration=data, alphabet="mid_tread", clip="search")
    assert path.report.fresh_error < 0.06 and nearest.report.fresh_error == pytest.approx(0.28, abs=0.02)
    assert path.report.fresh_error == pytest.approx(relative(w, path.decode(), fresh), rel=1e-9)


def test_a_warning_says_where_fresh_rows_do_worse_than_with_nearest_rounding():
    rng = np.random.default_rng(0)
    w, x = rng.standard_normal((8, 256)), rng.standard_normal((64, 256))
    with pytest.warns(RuntimeWarning, match=r"on rows held out the error is .*56 rows of 256 inputs are too few"):
        report = PathFollowing(4).encode(w, x).report
    assert report.fresh_error > report.nearest_fresh_error and report.calibration_error < report.nearest_calibration_error


@quiet
def test_codes_do_not_depend_on_workers_rows_or_batches(isa):
    w, x = low_rank(neurons=150, n=70)
    y = x + 0.01
    for options in ({"rounding": "stochastic", "seed": 5}, {"order": 2}, {"form": "samples", "rounding": "stochastic"}):
        quantizer = PathFollowing(3, step=0.5, **options)
        whole = quantizer.encode(w, x, y)
        assert quantizer.encode(w, x, y, workers=3).planes["codes"].tobytes() == whole.planes["codes"].tobytes()
        assert quantizer.encode(w[:11], x, y).planes["codes"].tobytes() == whole.planes["codes"][:11].tobytes()
    data = Calibration()
    for part in np.array_split(np.arange(len(x)), 9):
        data.update(x[part], y[part], workers=2)
    one = Calibration().update(x, y)
    assert data.gram.tobytes() == one.gram.tobytes() and data.cross.tobytes() == one.cross.tobytes()
    assert PathFollowing(3).encode(w, data).report == PathFollowing(3).encode(w, one).report


@quiet
def test_bytes_are_the_same_on_every_machine(isa):
    rng = np.random.default_rng(1)
    w, x = rng.integers(-64, 65, (20, 100)) / 64, (rng.integers(-64, 65, (150, 100)) / 64).astype(np.float32)
    digest = hashlib.sha256()
    for form in ("gram", "samples"):
        for rounding in ("nearest", "stochastic"):
            options = {"form": form, "rounding": rounding, "columns": "norm", "clip": "search"}
            encoded = PathFollowing(3, **options).encode(w, x, x + np.float32(1 / 64))
            assert "portable" not in encoded.spec
            digest.update(b"".join(encoded.planes[name].tobytes() for name in sorted(encoded.planes)))
    assert digest.hexdigest()[:16] == "26c90220e0f0909f"


def test_sums_left_to_blas_are_marked():
    w, x = low_rank()
    for encoded in (
        PathFollowing(3, portable=False, held_out=0).encode(w, x),
        PathFollowing(3).encode(w, Calibration(held_out=0, portable=False).update(x)),
    ):
        assert encoded.spec["portable"] is False
        np.testing.assert_array_equal(encoded.decode(), PathFollowing(3, held_out=0).encode(w, x).decode())


@pytest.mark.parametrize("form", ["gram", "samples"])
def test_dead_and_nearly_dead_columns_change_nothing_for_the_others(form):
    w, x = low_rank(noise=0.2)
    x[:, 5], x[:, 9] = 0, 1e-7 * x[:, 9]
    y = x * 1.01
    for order in (1, 4):
        encoded = PathFollowing(3, order=order, form=form, radius_of="aligned", held_out=0).encode(w, x, y)
        assert encoded.report.ignored == 2 and encoded.report.step < 2 * np.abs(w).max() / 3
        rest = np.setdiff1d(np.arange(64), [5, 9])
        same = {"order": order, "form": form, "held_out": 0, "step": encoded.report.step}
        kept = PathFollowing(3, **same).encode(np.ascontiguousarray(w[:, rest]), x[:, rest], y[:, rest])
        step = encoded.report.step
        alike = kept.decode() == encoded.decode()[:, rest]
        assert alike.mean() > 0.99
        np.testing.assert_array_equal(encoded.decode()[:, 5], np.clip(np.floor(w[:, 5] / step + 0.5), -3, 3) * step)


def test_alignment_takes_the_mismatch_out_and_the_linear_program_the_largest_codes():
    pytest.importorskip("scipy")
    rng = np.random.default_rng(1)
    w, x = rng.standard_normal((4, 96)), rng.standard_normal((24, 96))
    y = x + 0.1 * rng.standard_normal(x.shape)
    found = {}
    for order in (1, 4, "perfect"):
        options = {"alphabet": "infinite", "step": 0.25, "held_out": 0}
        found[order] = PathFollowing(order=order, **options).encode(w, x, y)
    errors = [e.report.calibration_error for e in found.values()]
    assert errors[1] < 0.8 * errors[0] and errors[2] < 1.1 * errors[1]
    assert found["perfect"].report.levels < 0.6 * found[1].report.levels
    assert found["perfect"].spec["portable"] is False
    v = least_maximum(w, x, y, np.ones(96, bool))
    np.testing.assert_allclose(y @ v.T, x @ w.T, atol=1e-8)
    with pytest.raises(ValueError, match=r"no weights have the outputs of row 0 on 200 quantized rows of 96 inputs"):
        least_maximum(w, rng.standard_normal((200, 96)), rng.standard_normal((200, 96)), np.ones(96, bool))


def test_columns_by_norm_do_better_on_data_of_unequal_columns():
    rng = np.random.default_rng(5)
    q, _ = np.linalg.qr(rng.standard_normal((64, 64)))
    x = rng.standard_normal((128, 64)) * np.arange(1, 65) ** -0.5 @ q.T * np.exp(rng.standard_normal(64))
    w = rng.standard_normal((32, 64))
    natural, norm = (PathFollowing(3, columns=c, held_out=0).encode(w, x).report.calibration_error for c in ("natural", "norm"))
    assert norm < natural


@quiet
def test_sparse_variants_give_more_zeros():
    w, x = low_rank()
    plain = PathFollowing(4).encode(w, x)
    for sparsity in ("soft", "hard"):
        encoded = PathFollowing(4, sparsity=sparsity, threshold=0.4).encode(w, x)
        assert (encoded.decode() == 0).mean() > (plain.decode() == 0).mean() + 0.05
        assert encoded.report.levels == 15
    size = np.unique(np.abs(encoded.decode()))
    assert size[0] == 0 and size[1] == pytest.approx(0.4, abs=0.002)
    np.testing.assert_allclose(np.diff(size[1:]), encoded.report.step, rtol=1e-6)


@pytest.mark.parametrize(("weights", "data"), [(2.0**660, 1.0), (1.0, 2.0**-400), (2.0**600, 2.0**-500)])
def test_errors_are_those_of_weights_and_data_of_any_size(weights, data):
    w, x = low_rank()
    usual, report = (
        PathFollowing(4, step=0.25 * size, scale_dtype="float64").encode(w * size, x * scale).report
        for size, scale in ((1.0, 1.0), (weights, data))
    )
    assert report.calibration_error == usual.calibration_error and report.fresh_error == usual.fresh_error


def test_a_search_leaves_out_clippings_below_the_threshold():
    w, x = low_rank()
    encoded = PathFollowing(3, sparsity="hard", threshold=0.5 * np.abs(w).max(), clip="search").encode(w, x)
    assert encoded.report.levels == 7 and 0 < np.abs(encoded.decode()).max() <= 1.5 * np.abs(w).max()


@quiet
def test_16_bits_have_all_levels_that_fit():
    w, x = low_rank()
    encoded = PathFollowing(16, alphabet="twos_complement").encode(w, x)
    assert encoded.report.levels == 65536 and encoded.report.calibration_error < 1e-4


@quiet
@pytest.mark.parametrize("scale_dtype", ["float32", "float16"])
def test_rows_that_training_has_given_up_do_not_stop_the_others(scale_dtype):
    w, x = low_rank()
    options = {"per": "row", "scale_dtype": scale_dtype}
    alone = PathFollowing(3, **options).encode(w[1:], x).decode()
    w[0] *= 1e-39
    decoded = PathFollowing(3, **options).encode(w, x).decode()
    np.testing.assert_array_equal(decoded[1:], alone)
    assert np.abs(decoded[0]).max() < 1e-30


def test_what_was_clamped_is_counted():
    w, x = low_rank()
    none = PathFollowing(4, clip=2, held_out=0).encode(w, x).report
    many = PathFollowing(4, clip=0.3, held_out=0).encode(w, x).report
    assert none.saturated == 0 and many.saturated > 0.05 * w.size


@pytest.mark.parametrize("form", ["gram", "samples"])
def test_single_precision_makes_nearly_the_same_codes(form):
    w, x = low_rank(n=200, neurons=40)
    options = {"form": form, "held_out": 0, "rounding": "stochastic"}
    double, single = (PathFollowing(4, precision=p, **options).encode(w, x) for p in ("float64", "float32"))
    assert (double.decode() == single.decode()).mean() > 0.98
    assert single.report.calibration_error == pytest.approx(double.report.calibration_error, rel=0.05)


@pytest.mark.parametrize("law", ["normal", "laplace"])
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_the_step_that_rounds_weights_best_needs_no_search(law, bits):
    w, x = low_rank(n=200, neurons=40)
    w = getattr(np.random.default_rng(3), law)(size=w.shape)
    own = PathFollowing(bits, held_out=0).encode(w, x).report.calibration_error
    tried = [PathFollowing(bits, held_out=0, clip=i / 8).encode(w, x).report.calibration_error for i in range(4, 13)]
    assert own < 1.1 * min(tried)
    papers = PathFollowing(bits, held_out=0, radius="mean_maximum").encode(w, x).report.calibration_error
    assert own < papers


@settings(max_examples=20)
@given(
    n=st.integers(1, 40),
    m=st.integers(1, 20),
    bits=st.sampled_from([1.6, 2, 3, 5]),
    rounding=st.sampled_from(["nearest", "stochastic"]),
    per=st.sampled_from(["tensor", "row"]),
    seed=st.integers(0, 1000),
)
def test_weights_on_the_levels_stay(n, m, bits, rounding, per, seed):
    rng = np.random.default_rng(seed)
    top = PathFollowing(bits).levels // 2
    w = rng.integers(-top, top + 1, (3, n)) * 0.25
    encoded = PathFollowing(bits, step=0.25, rounding=rounding, per=per, held_out=0).encode(w, rng.standard_normal((m, n)))
    np.testing.assert_array_equal(encoded.decode(), w)
    assert encoded.report.saturated == 0 and encoded.report.calibration_error == 0


@quiet
@pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16, ">f4"], ids=str)
def test_dtypes_and_shapes_of_weights_and_data(kind):
    w, x = low_rank()
    encoded = PathFollowing(3).encode(w.astype(kind).reshape(2, 5, 64), x.astype(kind).reshape(3, 100, 64))
    assert encoded.shape == (2, 5, 64) and encoded.report.rows == 300 - 37
    assert encoded.report.fresh_error < 0.5
    assert PathFollowing(3).encode(w[:, ::2], x[:, ::2]).shape == (10, 32)
    assert PathFollowing(3).encode(w[0], x).shape == (64,)


@pytest.mark.parametrize("shape", [(0, 5), (3, 1), (1, 1), (1, 7)])
def test_small_and_empty_weights(shape, tmp_path):
    x = np.ones((4, shape[1]))
    for alphabet, options in (("symmetric", {"bits": 3}), ("mid_rise", {"bits": 2}), ("infinite", {"step": 0.5})):
        encoded = PathFollowing(alphabet=alphabet, held_out=0, **options).encode(np.zeros(shape), x)
        assert encoded.decode().shape == shape and np.abs(encoded.decode()).max(initial=0) <= 0.25
        evenbits.save(tmp_path / "a.safetensors", {"w": encoded})
        again = evenbits.load(tmp_path / "a.safetensors", verify=True)["w"]
        assert again.decode().tobytes() == encoded.decode().tobytes()


def test_quantize_takes_calibration_and_budgets():
    w, x = low_rank(neurons=64)
    encoded = evenbits.quantize(w, method="path_following", calibration=x, budget=4, per="row")
    assert 3.5 < encoded.bits_per_value <= 4 and encoded.report.levels == 7
    with pytest.raises(TypeError, match="method is 'uniform', which takes no calibration; path_following, error_feedback"):
        evenbits.quantize(w, method="uniform", calibration=x)


def test_kept_rows_are_bounded_and_stored_ones_are_all():
    _, x = low_rank(m=2000)
    data = Calibration(held_out=4, kept=16).update(x[:900], x[:900] + 1).update(x[900:])
    assert data.samples("fresh")[0].shape == data.samples("calibration")[1].shape == (16, 64)
    assert data.rows == 2000 - 16
    np.testing.assert_array_equal(data.samples("fresh")[0], x[3:64:4])
    np.testing.assert_array_equal(data.samples("fresh")[1], x[3:64:4] + 1)
    rows = StoredRows(held_out=4, kept=16).update(x[:900], x[:900] + 1).update(x[900:])
    first, second = rows.stored()
    np.testing.assert_allclose(second.T @ second, data.gram, rtol=1e-9)
    np.testing.assert_allclose(first.T @ second, data.cross, rtol=1e-9)
    assert StoredRows().update(x).stored()[0] is not None and StoredRows(5).stored()[0].shape == (0, 5)
    late = Calibration(held_out=0).update(x[:5]).update(x[5:9], x[5:9] + 1)
    np.testing.assert_allclose(late.cross, x[:5].T @ x[:5] + x[5:9].T @ (x[5:9] + 1))


W, X = low_rank(m=40, n=16)


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: PathFollowing(3).encode(W), ValueError, "calibration is missing"),
        (lambda: PathFollowing(3).encode(W, Calibration()), ValueError, "calibration has no rows"),
        (lambda: PathFollowing(3).encode(W, X[:, :5]), ValueError, "calibration has 5 inputs, and the weights have 16"),
        (lambda: PathFollowing(3).encode(W, np.zeros((0, 16))), ValueError, "calibration has no rows"),
        (lambda: PathFollowing(3).encode(W, X, X[:3]), ValueError, "quantized has 3 rows of 16 and x 40 of 16"),
        (lambda: PathFollowing(3).encode(W, X, X[:, :3]), ValueError, "quantized has 40 rows of 3 and x 40 of 16"),
        (lambda: PathFollowing(3).encode(W, Calibration().update(X), X), ValueError, "give quantized_calibration to its update"),
        (lambda: PathFollowing(3).encode(W, X * np.nan), ValueError, r"x\[0, 0\] is nan"),
        (lambda: PathFollowing(3).encode(W * np.inf, X), ValueError, r"x\[0, 0\] is"),
        (lambda: PathFollowing(3).encode(W, X * 1e200), ValueError, "sums of products overflow"),
        (lambda: PathFollowing(3), None, ""),
        (lambda: PathFollowing(), ValueError, "alphabet is 'symmetric' and bits is None"),
        (lambda: PathFollowing(3, alphabet="infinite", step=1), ValueError, "has no bits"),
        (lambda: PathFollowing(alphabet="infinite"), ValueError, "step is None"),
        (lambda: PathFollowing(1).levels, ValueError, "alphabet 'symmetric' has 1 levels then, of 3 to 65536"),
        (lambda: PathFollowing(3, step=0), ValueError, "step is 0; it must be positive"),
        (lambda: PathFollowing(3, step=[1, 2]), ValueError, "step has 2 entries; more than one takes per='row'"),
        (lambda: PathFollowing(3, step=[1, 2], per="row").encode(W, X), ValueError, "step has 2 entries, and the weights"),
        (lambda: PathFollowing(3, sparsity="soft"), ValueError, "give both, or neither"),
        (lambda: PathFollowing(3, threshold=1), ValueError, "give both, or neither"),
        (lambda: PathFollowing(3, sparsity="hard", threshold=1, per="row"), ValueError, "sparsity is 'hard'; that is for"),
        (lambda: PathFollowing(3, sparsity="hard", threshold=9).encode(W, X), ValueError, "threshold is 9"),
        (lambda: PathFollowing(3, order="perfect", form="gram"), ValueError, "needs rows"),
        (lambda: PathFollowing(3, form="samples").encode(W, Calibration().update(X)), ValueError, "form is 'samples'"),
        (lambda: PathFollowing(3, order="perfect").encode(W, Calibration().update(X)), ValueError, "'perfect', which needs"),
        (lambda: PathFollowing(3, scale_dtype="float16").encode(W * 1e9, X), ValueError, "scale_dtype is 'float16', which can't"),
        (lambda: PathFollowing(3, scale_dtype="float16").encode(W * 1e-9, X), ValueError, "scale the weights"),
        (lambda: PathFollowing(alphabet="infinite", step=1e-6).encode(W, X), ValueError, "levels; take a larger one"),
        (lambda: PathFollowing(3, precision="float32").encode(W, X * 1e60), ValueError, "precision is 'float32', which can't"),
        (lambda: PathFollowing(3, precision="float32").encode(W * 1e35, X), ValueError, "precision is 'float32', which can't"),
        (lambda: PathFollowing(3, order=0), ValueError, "order is 0"),
        (lambda: PathFollowing(3, clip="best"), ValueError, "clip is 'best'"),
        (lambda: Calibration(held_out=1), ValueError, "held_out is 1, which leaves no row"),
        (lambda: Calibration(5).update(X), ValueError, r"x has shape \(40, 16\); its last axis must be the 5's inputs"),
    ],
)
@quiet
def test_arguments_are_checked(make, error, says):
    if error is None:
        make()
        return
    with pytest.raises(error, match=says):
        make()
