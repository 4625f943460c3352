import numpy as np
import pytest

import evenbits
from evenbits.networks import Dense, ReLU, Residual, quantize_loss_aware
from evenbits.networks.loss_aware import activation_clips, network_call
from evenbits.quantizers import LossAware
from evenbits.quantizers.clipping import clipping_level, on_levels, power_error
from evenbits.quantizers.loss_aware import Clipped, bias_shift, parabola_vertex, search_clips
from evenbits.quantizers.powell import minimize


@pytest.mark.parametrize(
    ("law", "levels", "p", "expected"),
    [
        ("normal", 4, 2, 1.497),
        ("normal", 4, 3, 1.705),
        ("normal", 16, 4, 3.24),
        ("laplace", 4, 2, 1.628),
        ("laplace", 4, 4, 2.608),
    ],
)
def test_clips_of_known_laws(law, levels, p, expected):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(100_000) if law == "normal" else rng.laplace(0, 0.5**0.5, 100_000)
    assert clipping_level(x, levels, p=p) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("p", [2, 2.5, 4])
@pytest.mark.parametrize("signed", [True, False])
def test_no_clip_of_a_fine_grid_is_better(rng, p, signed):
    x = rng.standard_t(3, 3000).astype(np.float32)
    x = x if signed else np.abs(x)
    found = clipping_level(x, 5, p=p, signed=signed)
    least = min(power_error(x, on_levels(x, c, 5, signed), p) for c in np.linspace(0.05, 1, 300) * np.abs(x).max())
    assert power_error(x, on_levels(x, found, 5, signed), p) <= least * 1.003
    assert len(np.unique(on_levels(x, found, 5, signed))) == 5


def test_the_codes_are_those_of_the_clip(isa, rng):
    x = rng.standard_normal((30, 50)).astype(np.float32)
    for options, clip in (({"clip": 1.25}, 1.25), ({"p": 2}, clipping_level(x, 8, p=2)), ({}, clipping_level(x, 8, p=3))):
        y = LossAware(3, **options).encode(x).decode()
        assert np.abs(y).max() == pytest.approx(clip, rel=1e-5)
        np.testing.assert_allclose(y, on_levels(x, clip, 8), atol=2 * clip / 7 * 1.001)
        assert np.mean(np.isclose(y, on_levels(x, clip, 8), atol=1e-5)) > 0.99
    assert evenbits.quantize(x, 2, "loss_aware", p=2.5).spec["portable"] is False
    assert "portable" not in evenbits.quantize(x, 2, "loss_aware").spec


def test_powell_finds_the_bottom_of_a_valley():
    target = np.array([0.7, 2.0, 5.0])

    def f(x):
        assert (x > 0).all()
        u = np.log(x / target)
        return float(u @ [[2, 1.5, 0], [1.5, 2, 0.5], [0, 0.5, 1]] @ u)

    start = np.array([1.0, 1.0, 4.0])
    x, value, trace = minimize(f, start, iterations=8)
    assert value == f(x) < 1e-3 * f(start)
    assert (np.diff(trace) <= 0).all() and trace[0] == f(start)
    same, value, _ = minimize(lambda x: 1.0, start)
    assert value == 1 and same.shape == start.shape


def test_the_search_is_never_worse_than_its_starts(rng):
    tensors = [
        Clipped(rng.standard_normal(500).astype(np.float32), 4),
        Clipped(np.abs(rng.standard_normal(500)), 4, signed=False),
    ]
    asked = []

    def loss(clips):
        asked.append(clips)
        return float("nan") if clips[0] > 1.8 else (clips[0] - 1.1) ** 2 + (clips[1] - 2.5) ** 2 + clips[0] * clips[1]

    found = search_clips(tensors, loss, powers=[2, 3, 4])
    assert found.loss <= found.start_loss == min(found.power_losses) and found.evaluations == len(asked)
    assert found.p in found.powers and found.loss == loss(found.clips)
    assert search_clips(tensors, loss, powers=[2], iterations=0).evaluations == 1


def test_a_parabola_names_a_power_only_if_it_has_a_minimum_inside():
    assert parabola_vertex([2, 3, 4], [1, 0, 1]) == pytest.approx(3)
    assert parabola_vertex([2, 3, 4], [0, 1, 0]) is None  # opens downwards
    assert parabola_vertex([2, 3, 4], [9, 4, 1]) is None  # at 5
    assert parabola_vertex([2, 2, 3], [1, 1, 0]) is None


def network(rng):
    sizes = [12, 24, 24, 24, 3]
    shapes = list(zip(sizes[1:], sizes[:-1], strict=True))
    a, b, c, d = (Dense(rng.standard_normal(s) / np.sqrt(s[1]), rng.standard_normal(s[0]) * 0.1) for s in shapes)
    return [a, ReLU(), b, ReLU(), Residual(c, ReLU()), d]


def test_a_network_loses_less_when_clips_are_searched_together(rng):
    model, x = network(rng), rng.standard_normal((200, 12))
    y = network_call(model, (x,))

    def loss(few):
        return float(np.mean((network_call(few, (x,)) - y) ** 2))

    alone = quantize_loss_aware(model, x, loss, 2, 2, powers=[2], iterations=0, bias_correction=False)
    corrected = quantize_loss_aware(model, x, loss, 2, 2, powers=[2], iterations=0)
    together = quantize_loss_aware(model, x, loss, 2, 2, powers=[2, 3], iterations=1)
    assert together.search.loss < corrected.search.loss < alone.search.loss
    assert set(together.encoded) == {"2.weight", "4.0.weight"} and set(together.biases) == {"2.bias", "4.0.bias"}
    assert len(together.clips) == 5 and loss(together.model) == pytest.approx(together.search.loss, rel=0.05)
    np.testing.assert_array_equal(together.model[2].weight, together.encoded["2.weight"].decode().astype(model[2].weight.dtype))
    assert len(np.unique(together.model[1](np.linspace(-1, 50, 99)))) == 4


def test_saved_networks_decode_to_the_models_weights(rng, tmp_path):
    model, x = network(rng), rng.standard_normal((64, 12))
    found = quantize_loss_aware(model, x, lambda few: 0.0, 3, ends=True, exclude=["0.*"], powers=[3], iterations=0)
    assert set(found.encoded) == {"2.weight", "4.0.weight", "5.weight"}
    found.save(tmp_path / "m")
    back = evenbits.load(tmp_path / "m")
    np.testing.assert_array_equal(back["5.weight"].decode().astype(np.float64), found.model[5].weight)
    assert activation_clips(tmp_path / "m") == {}
    with pytest.raises(ValueError, match="no layer is left"):
        quantize_loss_aware(model, x, lambda few: 0.0, exclude=["*"])


def test_saved_networks_know_their_activations_clips(rng, tmp_path):
    model, x = network(rng), rng.standard_normal((64, 12))
    found = quantize_loss_aware(model, x, lambda few: 0.0, 3, 2, powers=[3], iterations=0)
    found.save(tmp_path / "m")
    assert evenbits.container.verify(tmp_path / "m").ok
    clips = activation_clips(tmp_path / "m")
    assert clips and set(clips) == set(found.clips) - set(found.encoded)
    for name, (clip, levels) in clips.items():
        assert clip == found.clips[name] and levels == 4
    y = np.linspace(-1, 50, 99, dtype=np.float32)
    np.testing.assert_array_equal(found.model[1](y), on_levels(np.maximum(y, 0), *clips["1"], signed=False))


def test_modules_of_pytorch_have_their_relus_quantized(rng):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    layers = [torch.nn.Linear(12, 16), torch.nn.ReLU(), torch.nn.Linear(16, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3)]
    model, x = torch.nn.Sequential(*layers), torch.randn(64, 12)
    with torch.no_grad():
        y = model(x)
        found = quantize_loss_aware(model, x, lambda few: float(((few(x) - y) ** 2).mean()), 3, 3, powers=[2, 3], iterations=1)
        assert found.search.loss < float((y**2).mean()) / 4
        assert next(iter(found.clips)) == "2.weight" and len(torch.unique(found.model[:2](x))) <= 8
        torch.testing.assert_close(model(x), y)


def test_biases_take_up_the_mean(rng):
    w, q, x = rng.standard_normal((4, 6)), rng.standard_normal((4, 6)), rng.standard_normal((9, 6)) + 1
    np.testing.assert_allclose((x @ q.T + bias_shift(w, q, x)).mean(axis=0), (x @ w.T).mean(axis=0))


def test_wrong_arguments_are_named(rng):
    for make, message in (
        (lambda: clipping_level([], 4), "x is empty"),
        (lambda: clipping_level([1.0, np.inf], 4), r"x\[1\] is inf"),
        (lambda: clipping_level([1.0], 1), "levels is 1"),
        (lambda: LossAware(2, clip=0), "clip is 0"),
        (lambda: LossAware(2, p=0), "p is 0"),
        (lambda: search_clips([], lambda c: 0.0), "tensors is empty"),
        (lambda: search_clips([Clipped(np.ones(3), 4)], lambda c: 0.0, powers=[]), "powers is empty"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
    assert clipping_level(np.zeros(3), 4) == 0
    assert not LossAware(2).encode(np.zeros((2, 3))).decode().any()


def test_one_pattern_for_weights_is_no_list_of_them(rng):
    with pytest.raises(TypeError, match="include is 'fc'; pass a list of patterns"):
        quantize_loss_aware(network(rng), rng.standard_normal((5, 12)), lambda _: 0.0, include="fc")
