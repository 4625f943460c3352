from fractions import Fraction

import numpy as np
import pytest

import evenbits
from evenbits import EncodedError, bit_shift
from evenbits.networks import Conv, Dense, ReLU, quantize_network
from evenbits.path_following import Calibration, StoredRows
from evenbits.quantizers import TrellisFeedback
from evenbits.quantizers.error_feedback import damped
from evenbits.quantizers.feedback import Columns
from evenbits.reference import bit_shift as trellises
from evenbits.reference import feedback as reference
from evenbits.reference.reductions import dot

RNG = np.random.default_rng(0)
MIX = RNG.standard_normal((20, 20)) * np.geomspace(1, 0.05, 20)
DATA = RNG.standard_normal((200, 20)) @ MIX
WEIGHTS = RNG.standard_normal((32, 20)).astype(np.float32)
SHORT = {"memory": 8}


def coded(target, rate, memory):
    """A row of ``Trellis`` that is not rotated: its codes, its scale, and what they mean."""
    y = target.astype(np.float32)
    factor = np.interp(float(rate), *bit_shift.GAINS) * bit_shift.DEVIATION * bit_shift.unit(rate)
    steps = np.rint(np.clip(y * np.float32(factor / np.sqrt(dot(y, y) / y.size)), -32767, 32767))
    codes = trellises.search(steps, memory, rate.numerator, rate.denominator)
    found = trellises.decode(codes, y.size, memory, rate.numerator, rate.denominator).astype(np.float32)
    scale = np.float32(dot(y, found) / dot(found, found))
    return codes, scale, found * scale


@pytest.mark.parametrize("columns", ["natural", "norm"])
def test_codes_are_those_of_the_reference(isa, columns, rng):
    x, w, rate = rng.integers(-9, 9, (90, 70)) * 1.0, rng.standard_normal((16, 70)), Fraction(5, 2)
    gram = damped(x.T @ x, 0.2)
    order = np.argsort(-np.diag(gram), kind="stable") if columns == "norm" else np.arange(70)
    found = {}

    def code(t, target):
        *found[order[t]], q = coded(target, rate, 8)
        return q

    q = reference.follow(w[:, order], gram[np.ix_(order, order)], code)
    e = TrellisFeedback(rate, rotate=False, columns=columns, **SHORT).encode(w, x)
    np.testing.assert_array_equal(e.planes["codes"], [found[t][0] for t in range(70)])
    np.testing.assert_array_equal(e.planes["scales"][:, 0], [found[t][1] for t in range(70)])
    np.testing.assert_array_equal(evenbits.decode(e)[:, order], q)


@pytest.mark.parametrize("bits", [1, 2.5])
def test_inputs_that_have_nothing_in_common_give_the_trellis_of_the_transpose(bits):
    e = evenbits.quantize(WEIGHTS, bits, "trellis_feedback", calibration=3 * np.eye(20), seed=5, **SHORT)
    plain = evenbits.quantize(np.ascontiguousarray(WEIGHTS.T), bits, "trellis", seed=5, **SHORT)
    for name, plane in plain.planes.items():
        np.testing.assert_array_equal(e.planes[name], plane)
    np.testing.assert_array_equal(evenbits.decode(e), evenbits.decode(plain).T)
    assert e.method == "trellis_feedback" and e.shape == (32, 20)


@pytest.mark.parametrize("bits", [1, 2, 3])
def test_outputs_are_nearer_than_those_of_the_trellis_alone(bits, rng):
    fresh = rng.standard_normal((100, 20)) @ MIX
    own = evenbits.quantize(WEIGHTS, bits, "trellis_feedback", calibration=DATA, damping=0.01, **SHORT).decode()
    plain = evenbits.quantize(np.ascontiguousarray(WEIGHTS.T), bits, "trellis", **SHORT).decode().T
    assert np.linalg.norm(fresh @ (WEIGHTS - own).T) < 0.75 * np.linalg.norm(fresh @ (WEIGHTS - plain).T)


def test_targets_have_the_outputs_of_the_full_network(rng):
    y = DATA @ (np.eye(20) + 0.1 * rng.standard_normal((20, 20)))
    w = WEIGHTS.astype(np.float64)
    data = Calibration(20, held_out=0).update(DATA, y)
    for columns in ("natural", "norm"):
        made = Columns(w, [data], 1e-9, columns, 1)
        best = np.linalg.lstsq(y, DATA @ w.T, rcond=None)[0]
        np.testing.assert_allclose(made.targets[0], best[made.order], atol=1e-3)
    both = evenbits.quantize(w, 3, "trellis_feedback", calibration=DATA, quantized_calibration=y, **SHORT).decode()
    alone = evenbits.quantize(w, 3, "trellis_feedback", calibration=y, **SHORT).decode()
    assert np.linalg.norm(DATA @ w.T - y @ both.T) < 0.9 * np.linalg.norm(DATA @ w.T - y @ alone.T)


def test_workers_and_instruction_sets_do_not_matter(isa):
    one, three = (
        evenbits.quantize(WEIGHTS, 2, "trellis_feedback", calibration=DATA, workers=n, scale_dtype="float16", **SHORT)
        for n in (1, 3)
    )
    assert one.spec == three.spec
    for name, plane in one.planes.items():
        np.testing.assert_array_equal(plane, three.planes[name])
    np.testing.assert_array_equal(evenbits.decode(one), evenbits.decode(three, workers=2))


@pytest.mark.parametrize("shape", [(), (1,), (0, 4), (7, 5), (2, 3, 4)])
@pytest.mark.parametrize("dtype", ["float64", "float16", ">f4", "int16"])
def test_every_shape_and_dtype_has_an_answer(shape, dtype, rng):
    x = (9 * rng.standard_normal(shape)).astype(dtype)
    rows = np.ones((2, *(shape[-1:] or (1,))))
    e = evenbits.quantize(x, 3, "trellis_feedback", calibration=rows)
    y = evenbits.decode(e)
    assert y.shape == shape
    assert y.dtype == (np.dtype(dtype).newbyteorder("=") if np.dtype(dtype).kind == "f" else np.float32)
    assert e.nbytes == TrellisFeedback(3).nbytes(shape, dtype)
    norm = np.linalg.norm(x.astype(float))
    assert e.error(x) == (pytest.approx(np.linalg.norm(y.astype(float) - x) / norm, rel=1e-3) if norm else 0)


def test_neurons_in_groups_have_inputs_of_their_own():
    """As each group alone, where a column is not rotated and so short that its codes are known."""
    data = [Calibration(20, held_out=0).update(DATA[:, ::k]) for k in (1, -1)]
    made = Columns(WEIGHTS.astype(np.float64), data, 0.1, "natural", 1)
    alone = [Columns(w.astype(np.float64), [own], 0.1, "natural", 1) for w, own in zip(np.split(WEIGHTS, 2), data, strict=True)]
    seen = [[], []]
    made.follow(lambda t, target: (seen[0].append(target), np.rint(target))[1])
    for columns in alone:
        seen[1].append([])
        columns.follow(lambda t, target: (seen[1][-1].append(target), np.rint(target))[1])
    np.testing.assert_array_equal(seen[0], np.concatenate(seen[1], axis=1))
    e = TrellisFeedback(3, **SHORT).encode_groups(WEIGHTS, data)
    plain = evenbits.quantize(np.ascontiguousarray(WEIGHTS.T), 3, "trellis", **SHORT).decode().T
    for rows, x in ((slice(16), DATA), (slice(16, 32), DATA[:, ::-1])):
        errors = [np.linalg.norm(x @ (WEIGHTS - q)[rows].T) for q in (evenbits.decode(e), plain)]
        assert errors[0] < errors[1]


def test_networks_are_quantized_by_it(tmp_path, rng):
    layers = [
        Conv(rng.standard_normal((16, 2, 3, 3))),
        ReLU(),
        Conv(rng.standard_normal((16, 1, 3, 3)), groups=16),
        Dense(rng.standard_normal((12, 4))),
    ]
    images = rng.standard_normal((40, 2, 8, 8)).astype(np.float32)
    made = quantize_network(layers, images, 4, "trellis_feedback", batch=10, **SHORT)
    assert [report.method for report in made.layers] == ["trellis_feedback"] * 3
    assert all(0 < report.error < 0.25 and report.held_out_error < 0.4 for report in made.layers)
    made.save(tmp_path / "codes.safetensors")
    loaded = evenbits.load(tmp_path / "codes.safetensors", verify=True)
    np.testing.assert_array_equal(loaded["2.weight"].decode().reshape(16, 1, 3, 3), made.model[2].weight)
    again = quantize_network(layers, images, 4, "trellis_feedback", batch=10, workers=2, portable=False, **SHORT)
    assert again.encoded["0.weight"].spec["portable"] is False and "portable" not in made.encoded["0.weight"].spec
    assert again.layers[0].error == pytest.approx(made.layers[0].error, rel=0.3)


def test_it_reports_its_progress():
    heard = []
    evenbits.quantize(WEIGHTS, 2, "trellis_feedback", calibration=DATA, progress=lambda *at: heard.append(at), **SHORT)
    assert heard[:20] == [(32 * t, 640) for t in range(1, 21)] and set(heard[20:]) <= {(640, 640)}


def test_a_budget_is_never_exceeded():
    for budget in (4.5, 6):
        e = evenbits.quantize(WEIGHTS, method="trellis_feedback", budget=budget, calibration=DATA, scale_dtype="float16", **SHORT)
        assert budget - 0.3 < e.bits_per_value <= budget


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"of": "levels"}, "of is 'levels'; known are trellis"),
        ({"memory": 7}, "memory is 7"),
        ({"portable": 0}, "portable is 0; it must be true or false"),
        ({"more": 1}, "more is unknown"),
        ({"shape": [20, 32]}, "plane 'codes' is"),
    ],
)
def test_specs_that_mean_nothing_are_refused(change, message):
    e = evenbits.quantize(WEIGHTS, 2, "trellis_feedback", calibration=DATA, **SHORT)
    with pytest.raises(EncodedError, match=message):
        evenbits.decode(evenbits.Encoded(e.planes, e.spec | change))


def test_what_it_cannot_do_is_said():
    with pytest.raises(ValueError, match="calibration is missing"):
        TrellisFeedback(2).encode(WEIGHTS)
    with pytest.raises(ValueError, match="calibration has 19 inputs, and the weights have 20"):
        TrellisFeedback(2).encode(WEIGHTS, DATA[:, 1:])
    with pytest.raises(TypeError, match="calibration is a StoredRows, and trellis_feedback takes sums of products"):
        TrellisFeedback(2).encode(WEIGHTS, StoredRows().update(DATA))
    with pytest.raises(ValueError, match="bits is 5; a trellis takes 1 to 4"):
        TrellisFeedback(5)
    with pytest.raises(ValueError, match="damping is -1"):
        TrellisFeedback(2, damping=-1)
    with pytest.raises(ValueError, match="columns is 'size'"):
        TrellisFeedback(2, columns="size")
    with pytest.raises(TypeError, match=r"method is 'trellis', which takes no calibration; .*trellis_feedback do"):
        evenbits.quantize(WEIGHTS, 2, "trellis", calibration=DATA)
    with pytest.raises(ValueError, match="scale_dtype is 'float16', which can't hold a scale of "):
        huge = np.where(np.arange(20) == 3, 1e12, 1) * WEIGHTS
        TrellisFeedback(2, scale_dtype="float16", columns="natural", **SHORT).encode(huge, np.eye(20))
    with pytest.raises(ValueError, match="its last axis must be"):
        TrellisFeedback(2).encode(np.ones((3, 0)), np.ones((3, 0)))
    with pytest.raises(ValueError, match="no positive pivot"):
        TrellisFeedback(2, damping=0).encode(WEIGHTS, np.ones((3, 20)))
    with pytest.raises(ValueError, match=r"x\[0, 1\] is nan"):
        TrellisFeedback(2).encode([[1.0, np.nan]], np.eye(2))


def test_weights_of_any_size_keep_their_error():
    for size in (1e-30, 1e30, 1e250):
        e = TrellisFeedback(3, scale_dtype="float64", **SHORT).encode(WEIGHTS.astype(np.float64) * size, DATA)
        assert e.error(WEIGHTS.astype(np.float64) * size) < 0.6
    with pytest.raises(ValueError, match="beyond float64; scale x down"):
        TrellisFeedback(2, scale_dtype="float64", **SHORT).encode(np.sign(WEIGHTS.astype(np.float64)) * 1.7e308, DATA)
    zero = TrellisFeedback(3, **SHORT).encode(np.zeros((32, 20)), DATA)
    np.testing.assert_array_equal(evenbits.decode(zero), np.zeros((32, 20)))
