import hashlib
import io

import numpy as np
import pytest

import evenbits
import evenbits.networks.grouped
from evenbits.models import decode_model
from evenbits.networks import Conv, Dense, Flatten, Pool, ReLU, Residual, open_network, quantize_network
from evenbits.networks.layers import Layer, Patches
from evenbits.networks.seen import Seen
from evenbits.quantizers.path_following import PathFollowing

pytestmark = pytest.mark.filterwarnings("ignore:.* than with nearest rounding:RuntimeWarning")


def numbers(*shape, scale=1.0, seed=0):
    return (np.random.default_rng([seed, *shape]).standard_normal(shape) * scale).astype(np.float32)


def network():
    return [
        Conv(numbers(6, 2, 3, 3, scale=0.3), numbers(6), padding=1),
        ReLU(),
        Pool(2),
        Residual(Conv(numbers(6, 3, 3, 3, scale=0.2), numbers(6), padding=1, groups=2), ReLU(6)),
        Conv(numbers(6, 1, 3, 3, scale=0.5), None, stride=2, padding=(0, (1, 1)), groups=6),
        Flatten(),
        Dense(numbers(5, 12, scale=0.3), numbers(5), name="last"),
    ]


def outputs(layers, x):
    for layer in layers:
        x = layer(x)
    return x


NAMES = ["0.weight", "3.0.weight", "4.weight", "last.weight"]
IMAGES = numbers(60, 2, 8, 8)
DIGESTS = {"path_following": "4e327c8508130949", "error_feedback": "36392e98335bb903", "nearest": "95b9cdb5e5f1af90"}


def relative(y, z):
    return np.linalg.norm(y - z) / np.linalg.norm(y)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("stride, padding, dilation", [(1, 0, 1), (2, 1, 1), ((1, 2), ((0, 1), (2, 0)), (2, 1)), (3, 2, 2)])
def test_convolutions_are_sums_over_windows(groups, stride, padding, dilation):
    x, w, b = numbers(2, 4, 9, 8), numbers(8, 4 // groups, 3, 2), numbers(8)
    layer = Conv(w, b, stride=stride, padding=padding, dilation=dilation, groups=groups)
    y = layer(x)
    (sh, sw), (dh, dw) = layer.patches.stride, layer.patches.dilation
    padded = np.pad(x, ((0, 0), (0, 0), *layer.patches.padding))
    for n, o, i, j in [(0, 0, 0, 0), (1, 7, y.shape[2] - 1, y.shape[3] - 1), (1, 3, 1, 1)]:
        channels = slice(o // (8 // groups) * (4 // groups), (o // (8 // groups) + 1) * (4 // groups))
        window = padded[n, channels, i * sh : i * sh + 2 * dh + 1 : dh, j * sw : j * sw + dw + 1 : dw]
        np.testing.assert_allclose(y[n, o, i, j], (window * w[o]).sum() + b[o], rtol=1e-5, atol=1e-5)
    height = (9 + sum(layer.patches.padding[0]) - 2 * dh - 1) // sh + 1
    assert y.shape == (2, 8, height, (8 + sum(layer.patches.padding[1]) - dw - 1) // sw + 1)


@pytest.mark.parametrize("method", ["path_following", "error_feedback", "nearest"])
def test_lists_of_layers_have_the_same_codes_on_every_machine(isa, method):
    rng = np.random.default_rng(7)

    def fractions(*shape):  # no logarithm: it differs between systems
        return (rng.integers(-64, 65, shape) / 64).astype(np.float32)

    layers = [
        Conv(fractions(6, 2, 3, 3), fractions(6), padding=1, stride=2),
        ReLU(),
        Residual(Conv(fractions(6, 1, 3, 3), fractions(6), padding=1, groups=6), ReLU(6)),
        Pool(2, kind="mean"),
        Flatten(),
        Dense(fractions(7, 54), fractions(7)),
    ]
    made = quantize_network(layers, fractions(60, 2, 12, 12), 3, method, batch=12, rows=600)
    digest = hashlib.sha256()
    for name, code in made.encoded.items():
        assert "portable" not in code.spec
        digest.update(b"".join([code.planes[plane].tobytes() for plane in sorted(code.planes)]))
        digest.update(made.biases[name.replace("weight", "bias")].tobytes())
    assert digest.hexdigest()[:16] == DIGESTS[method]


def test_codes_that_rest_on_other_products_are_marked():
    data = numbers(40, 6)
    for layers, options in (([Dense(numbers(4, 6))], {"portable": False}), ([np.tanh, Dense(numbers(4, 6))], {})):
        made = quantize_network(layers, data, 4, clip=1.0, batch=10, **options)
        assert [code.spec["portable"] for code in made.encoded.values()] == [False]
    assert "portable" not in quantize_network([np.tanh, Dense(numbers(4, 6))], data, 4, "uniform").encoded["1.weight"].spec


def test_layers_compute_in_the_wider_dtype():
    weight = numbers(4, 6)
    for kind, expected in ((np.float16, np.float32), (np.uint8, np.float32), (np.int64, np.float64), (np.float64, np.float64)):
        x = np.abs(numbers(5, 6, scale=9)).astype(kind)
        y = Dense(weight)(x)
        assert y.dtype == expected
        np.testing.assert_allclose(y, x.astype(float) @ weight.T.astype(float), rtol=1e-5, atol=1e-4)
    with pytest.raises(ValueError, match="the input of last has 5 values; it takes 6"):
        Dense(weight, name="last")(numbers(2, 5))


def test_convolutions_have_any_number_of_axes():
    assert Conv(numbers(3, 2, 4))(numbers(5, 2, 9)).shape == (5, 3, 6)
    assert Conv(numbers(3, 2, 2, 2, 2))(numbers(1, 2, 4, 3, 3)).shape == (1, 3, 3, 2, 2)


def test_pools_take_the_greatest_or_the_mean():
    x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    np.testing.assert_array_equal(Pool(2)(x)[0, 0], [[5, 7], [13, 15]])
    np.testing.assert_array_equal(Pool(2, stride=1, kind="mean")(x)[0, 0, 0], [2.5, 3.5, 4.5])


@pytest.mark.parametrize("method", ["path_following", "error_feedback", "nearest", "uniform", "near_democratic"])
def test_a_list_of_layers_is_quantized_and_the_list_stays_as_it_was(method, tmp_path):
    layers = network()
    full = outputs(layers, IMAGES)
    before = [layer.weight.copy() for layer in layers if hasattr(layer, "weight")]
    made = quantize_network(layers, IMAGES, 6, method, batch=20)
    for layer, weight in zip([layer for layer in layers if hasattr(layer, "weight")], before, strict=True):
        np.testing.assert_array_equal(layer.weight, weight)
    assert [report.name for report in made.layers] == NAMES
    assert all(0 < report.error < 0.2 and report.held_out_error < 0.3 and report.method == method for report in made.layers)
    assert relative(full, outputs(made.model, IMAGES)) < 0.2
    for name, code in made.encoded.items():
        index = {"0.weight": 0, "4.weight": 4, "last.weight": 6}.get(name)
        if index is not None:
            decoded = evenbits.decode(code).reshape(made.model[index].weight.shape)
            np.testing.assert_array_equal(decoded, made.model[index].weight)
    size = made.save(tmp_path / "codes.safetensors")
    assert size == (tmp_path / "codes.safetensors").stat().st_size
    decode_model(tmp_path / "codes.safetensors", tmp_path / "floats.safetensors")
    floats = evenbits._tensorfile.open_file(tmp_path / "floats.safetensors")[0]
    np.testing.assert_array_equal(floats["3.0.weight"].array(), made.model[3].layers[0].weight)
    np.testing.assert_array_equal(floats["last.bias"].array(), made.biases["last.bias"])
    assert floats["4.weight"].shape == (6, 1, 3, 3)


def test_layers_are_calibrated_with_what_quantized_layers_before_them_give():
    layers = [Dense(numbers(16, 8)), ReLU(), Dense(numbers(4, 16))]
    x = numbers(200, 8)
    made = quantize_network(layers, x, 3, hold=0, batch=200, bias_correction=False, clip=1.0, order=1, per="tensor")
    first = evenbits.decode(made.encoded["0.weight"])
    seen, few = np.maximum(x @ layers[0].weight.T, 0), np.maximum(x @ first.T, 0)
    second = evenbits.decode(made.encoded["2.weight"])
    alone = PathFollowing(3, columns="norm", stream=2**24, portable=False, held_out=0).encode(layers[2].weight, seen, few)
    np.testing.assert_array_equal(second, evenbits.decode(alone))
    report = made.layers[1]
    expected = relative(seen @ layers[2].weight.T, few @ second.T)
    assert report.error == pytest.approx(expected, rel=1e-4)
    assert report.held_out_error is None


def test_float64_stays_float64():
    layers, x = [Dense(numbers(6, 8).astype(np.float64), numbers(6).astype(np.float64))], numbers(50, 8).astype(np.float64)
    made = quantize_network(layers, x, 4, clip=1.0, batch=10)
    assert made.model[0].weight.dtype == made.model[0].bias.dtype == evenbits.decode(made.encoded["0.weight"]).dtype == np.float64
    np.testing.assert_array_equal(made.model[0].weight, evenbits.decode(made.encoded["0.weight"]))


def test_grouped_convolutions_are_coded_group_by_group():
    layer = Conv(numbers(4, 2, 3), groups=2)
    x = numbers(30, 4, 10)
    made = quantize_network([layer], x, 4, hold=0, clip=1.0, batch=30)
    decoded = evenbits.decode(made.encoded["0.weight"])
    for group in range(2):
        own = slice(2 * group, 2 * group + 2)
        alone = quantize_network([Conv(layer.weight[own])], x[:, own], 4, hold=0, clip=1.0, per="row", batch=30)
        np.testing.assert_array_equal(decoded[own], evenbits.decode(alone.encoded["0.weight"]))


@pytest.mark.parametrize(
    "method, options",
    [
        ("path_following", {"order": 3}),
        ("path_following", {"order": 1, "columns": "natural", "alphabet": "mid_rise"}),
        ("path_following", {"alphabet": "mid_tread", "scale_dtype": "float16"}),
        ("error_feedback", {"damping": 0.1}),
        ("error_feedback", {"columns": "norm"}),
        ("nearest", {"alphabet": "twos_complement"}),
    ],
)
def test_small_groups_all_at_once_have_the_codes_of_each_alone(method, options, monkeypatch):
    layers = [Conv(numbers(6, 2, 3)), ReLU(), Conv(numbers(6, 2, 3), groups=3), Conv(numbers(6, 1, 2), groups=6)]
    x = numbers(60, 2, 12)
    x[:, :, 3] *= 5
    together = quantize_network(layers, x, 3, method, clip=0.75, batch=20, **options)
    monkeypatch.setattr(evenbits.networks.grouped, "MOST", 0)
    alone = quantize_network(layers, x, 3, method, clip=0.75, batch=20, **options)
    for name, code in together.encoded.items():
        for plane in code.planes:
            np.testing.assert_array_equal(code.planes[plane], alone.encoded[name].planes[plane])
        assert code.spec == alone.encoded[name].spec
    assert [report.saturated for report in together.layers] == [report.saturated for report in alone.layers]


def test_every_neuron_of_a_small_group_has_the_step_of_least_error():
    layers, x = [Conv(numbers(8, 1, 3, 3), groups=8)], numbers(40, 8, 7, 7)
    made = [quantize_network(layers, x, 2, clip=clip, batch=10, hold=4) for clip in ("search", 0.5, 0.75, 1.0)]
    errors = [network.layers[0].held_out_error for network in made]
    assert errors[0] < min(errors[1:])
    unbiased = quantize_network(layers, x, 4, clip=1.0, batch=10, rounding="stochastic")
    assert 0 < unbiased.layers[0].error < 0.5


def test_bias_correction_keeps_the_mean_of_outputs():
    layers = [Dense(numbers(6, 8), numbers(6))]
    x = np.abs(numbers(300, 8))
    made = quantize_network(layers, x, 2, hold=0, batch=300)
    np.testing.assert_allclose(outputs(made.model, x).mean(axis=0), outputs(layers, x).mean(axis=0), atol=1e-4)
    kept = quantize_network(layers, x, 2, hold=0, batch=300, bias_correction=False)
    np.testing.assert_array_equal(kept.model[0].bias, layers[0].bias)


def test_layers_may_have_bits_of_their_own_or_none():
    made = quantize_network(network(), IMAGES, {"0.*": 8, "last*": 5, "3*": 2}, "nearest", exclude=["3*"], clip=1.0)
    assert {report.name: report.bits for report in made.layers} == {"0.weight": 8, "last.weight": 5}
    assert {report.name: report.levels for report in made.layers} == {"0.weight": 255, "last.weight": 31}
    assert set(made.encoded) == {"0.weight", "last.weight"}
    only = quantize_network(network(), IMAGES, 4, "nearest", include=["l*"], clip=1.0)
    assert set(only.encoded) == {"last.weight"}


def test_a_run_goes_on_where_it_was_stopped(tmp_path):
    whole = quantize_network(network(), IMAGES, 4, clip=1.0)

    def stop(done, total, name):
        if name == "4.weight":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quantize_network(network(), IMAGES, 4, clip=1.0, state=tmp_path / "run", progress=stop)
    kept = sorted((tmp_path / "run").iterdir())
    assert len(kept) == 2
    times = [path.stat().st_mtime_ns for path in kept]
    resumed = quantize_network(network(), IMAGES, 4, clip=1.0, state=tmp_path / "run")
    assert [path.stat().st_mtime_ns for path in kept] == times and len(list((tmp_path / "run").iterdir())) == 4
    again = quantize_network(network(), IMAGES, 4, clip=1.0, state=tmp_path / "run")
    for made in (resumed, again):
        assert made.layers == whole.layers
        for name, code in whole.encoded.items():
            for plane in code.planes:
                np.testing.assert_array_equal(made.encoded[name].planes[plane], code.planes[plane])
        np.testing.assert_array_equal(outputs(made.model, IMAGES), outputs(whole.model, IMAGES))


def test_the_state_of_another_run_is_refused_and_damaged_files_are_made_again(tmp_path):
    quantize_network(network(), IMAGES, 4, "nearest", clip=1.0, state=tmp_path)
    with pytest.raises(ValueError, match=r"state is .* another run"):
        quantize_network(network(), IMAGES, 3, "nearest", clip=1.0, state=tmp_path)
    path = sorted(tmp_path.iterdir())[0]
    path.write_bytes(path.read_bytes()[:-1])
    quantize_network(network(), IMAGES, 4, "nearest", clip=1.0, state=tmp_path)


def test_the_state_of_a_network_with_other_biases_or_strides_is_refused(tmp_path):
    def layers(bias=0.0, stride=1):
        return [Conv(numbers(3, 2, 3, 3), np.full(3, bias, np.float32), stride=stride), ReLU(), Flatten()]

    quantize_network(layers(), IMAGES, 4, "nearest", clip=1.0, state=tmp_path)
    for other in (layers(bias=1.0), layers(stride=2)):
        with pytest.raises(ValueError, match=r"state is .* another run"):
            quantize_network(other, IMAGES, 4, "nearest", clip=1.0, state=tmp_path)


def test_a_layer_used_twice_is_calibrated_once_and_has_one_code():
    shared = Dense(numbers(6, 6), numbers(6))
    made = quantize_network([shared, ReLU(), shared], numbers(50, 6), 4, "nearest", clip=1.0)
    assert [report.name for report in made.layers] == ["0.weight"] and made.model[0] is made.model[2]
    np.testing.assert_array_equal(made.model[2].weight, evenbits.decode(made.encoded["0.weight"]))


def test_a_layer_without_neurons_is_a_layer():
    made = quantize_network([Dense(numbers(0, 3))], numbers(20, 3), 4, batch=5)
    assert evenbits.decode(made.encoded["0.weight"]).shape == (0, 3) and made.layers[0].error == 0


def test_progress_counts_weights():
    calls = []
    quantize_network(network(), IMAGES, 4, "nearest", clip=1.0, progress=lambda *call: calls.append(call))
    assert calls == [(n, 384, name) for n, name in zip((0, 108, 270, 324, 384), [*NAMES, ""], strict=True)]


def test_a_bar_is_drawn_on_terminals_alone(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for stream, drawn in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr("sys.stderr", stream)
        quantize_network(network(), IMAGES, 4, "nearest", clip=1.0, progress=True)
        assert ("100 %" in stream.getvalue()) == drawn


def test_no_more_than_so_many_rows_are_looked_at():
    made = quantize_network(network(), IMAGES, 4, "nearest", clip=1.0, rows=100, batch=10, hold=3)
    assert all(report.rows == (68 if report.name != "last.weight" else 40) for report in made.layers)


def test_errors_are_those_of_the_rows_and_of_rows_held_out():
    x = numbers(40, 6)
    layer = open_network([Dense(numbers(3, 6))], ()).layers[0]
    seen = Seen(layer, iter([(x[:20], x[:20] * 1.1), (x[20:], x[20:])]), 2, rows=40, hold=2, seed=0, stream=0)
    q = np.rint(layer.matrix)
    assert seen.error(q) == pytest.approx(relative(x[:20] @ layer.matrix.T, 1.1 * x[:20] @ q.T), rel=1e-6)
    assert seen.held_out_error(q) == pytest.approx(relative(x[20:] @ layer.matrix.T, x[20:] @ q.T), rel=1e-6)
    np.testing.assert_allclose(seen.shift(q), x[:20].mean(0) @ layer.matrix.T - 1.1 * x[:20].mean(0) @ q.T, rtol=1e-4, atol=1e-6)


def test_too_few_data_are_warned_of():
    layers, x = [Dense(numbers(20, 60))], numbers(40, 60)
    with pytest.warns(RuntimeWarning, match=r"1 of 1 layers have more error .* the first 0.weight \(0\..* and 0\."):
        made = quantize_network(layers, x, 4, batch=8, clip=1.0)
    assert made.layers[0].held_out_error > made.layers[0].nearest_error
    found = quantize_network(layers, x, 4, "nearest", batch=8, clip=1.0).layers[0]
    assert found.nearest_error is None and found.held_out_error == pytest.approx(made.layers[0].nearest_error, rel=1e-5)


@pytest.mark.filterwarnings("error")
def test_data_of_low_rank_are_not():
    x = (np.random.default_rng(0).standard_normal((60, 4)) @ np.random.default_rng(1).standard_normal((4, 60))).astype(np.float32)
    made = quantize_network([Dense(numbers(20, 60))], x, 2, batch=12)
    assert made.layers[0].held_out_error < 0.5 * made.layers[0].nearest_error


def test_layers_are_open_to_other_searches():
    opened = open_network(network(), ())
    assert [layer.name for layer in opened.layers] == NAMES
    assert all(isinstance(layer, Layer) for layer in opened.layers)
    opened.layers[3].replace(np.zeros((5, 12), np.float32), np.ones(5, np.float32))
    np.testing.assert_array_equal(outputs(opened.model, IMAGES), np.ones((60, 5)))


def test_the_text_has_a_line_for_each_layer():
    made = quantize_network(network(), IMAGES, 4, "nearest", clip=1.0)
    lines = made.text().splitlines()
    assert len(lines) == 6 and "held out" in lines[0] and "6 × 2 × 3 × 3" in lines[2]
    assert made.bits_per_value == pytest.approx(8 * sum(code.nbytes for code in made.encoded.values()) / 384)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"calibration": np.zeros((0, 2, 8, 8))}, "calibration is empty"),
        ({"calibration": []}, "calibration is empty"),
        ({"calibration": 3.0}, "calibration is a float; pass an array"),
        ({"calibration": {"x": IMAGES}}, "calibration is a dict; pass an array"),
        ({"calibration": np.float32(3)}, "calibration is a single number"),
        ({"calibration": [(IMAGES, IMAGES)]}, "calibration has 2 arrays a batch; the network takes 1"),
        ({"calibration": IMAGES * np.nan}, "the input of 0.weight holds NaN"),
        ({"calibration": IMAGES[:, :1]}, "has 1 channels; it takes 2|must be|cannot reshape|inputs"),
        ({"method": "none"}, "method is 'none'"),
        ({"include": "last*"}, "include is 'last\\*'; pass a list"),
        ({"include": ["x"]}, "no layer is left"),
        ({"bits": 40}, "bits is 40"),
        ({"rows": 0}, "rows is 0"),
        ({"model": 3}, "model is a int"),
        ({"model": [3]}, "model is a list in which not everything can be called"),
        ({"model": [Dense(numbers(2, 2), name="a"), Dense(numbers(2, 2), name="a")]}, "two layers are called 'a'"),
    ],
)
def test_mistakes_are_explained(change, message):
    arguments = {"model": network(), "calibration": IMAGES, "bits": 4, "method": "nearest", "clip": 1.0} | change
    with pytest.raises((ValueError, TypeError), match=message):
        quantize_network(**arguments)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Dense(numbers(3)), "weight has shape"),
        (lambda: Dense(numbers(3, 2), numbers(2)), "bias has shape"),
        (lambda: Conv(numbers(3, 2)), "weight has shape"),
        (lambda: Conv(numbers(3, 2, 3), groups=2), "groups is 2; it must divide the 3"),
        (lambda: Conv(numbers(3, 2, 3), stride=(1, 2)), "stride is"),
        (lambda: Conv(numbers(3, 2, 3), padding=(1, 2)), "padding is"),
        (lambda: Pool(2, kind="least"), "kind is 'least'"),
        (lambda: Patches((3,), (1,), ((0, 0),), (1,)).windows(IMAGES), "the input of a convolution has shape"),
        (lambda: Conv(numbers(3, 2, 9, 9))(IMAGES), r"has shape \(60, 2, 8, 8\) .* windows reach over \(9, 9\)"),
    ],
)
def test_layers_refuse_what_makes_no_layer(make, message):
    with pytest.raises(ValueError, match=message):
        make()
