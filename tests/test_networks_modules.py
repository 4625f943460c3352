import numpy as np
import pytest

import evenbits
from evenbits.models import decode_model
from evenbits.networks import open_network, quantize_network

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from evenbits.networks.modules import patches_of  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:.* than with nearest rounding:RuntimeWarning")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Net(nn.Module):
    """All that is not a plain chain: batch norms, a residual, groups, changes in place, an embedding, a weight shared with it."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, 6, 3, padding="same", bias=False), nn.BatchNorm2d(6), nn.ReLU(inplace=True))
        self.depth = nn.Conv2d(6, 6, 3, 2, 1, groups=6)
        self.norm = nn.BatchNorm2d(6)
        self.branch = nn.Conv2d(6, 6, 1)
        self.table = nn.Embedding(6, 24)
        self.inner = nn.Linear(6 * 16, 24)
        self.tied = nn.Linear(24, 6, bias=False)
        self.tied.weight = self.table.weight
        self.scale = nn.Parameter(torch.ones(24))

    def forward(self, x, index):
        x = self.stem(x)
        x = self.norm(self.depth(x)).relu_()
        y = x
        y += self.branch(x)
        y = functional.relu(y, inplace=True)
        h = self.inner(y.flatten(1)) * self.scale + self.table(index)
        return self.tied(h)


class Branching(Net):
    """torch.fx can't trace what looks at values."""

    def forward(self, x, index):
        return super().forward(x, index) if x.sum() > -1e9 else x


def net(kind=Net):
    torch.manual_seed(0)
    made = kind()
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    return made.eval()


def data(count=40):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, 2, 8, 8, generator=generator)
    return [(x[i : i + 10], torch.arange(i, i + 10) % 6) for i in range(0, count, 10)]


def run(model, batches=None):
    with torch.no_grad():
        return torch.cat([model(*batch) for batch in batches or data()])


def relative(y, z):
    return float((y - z).norm() / y.norm())


NAMES = ["stem.0.weight", "depth.weight", "branch.weight", "inner.weight"]


@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize("trace", [True, False])
def test_folding_and_tracing_change_no_outputs(fold, trace):
    model = net()
    opened = open_network(model, data(), fold=fold, trace=trace)
    torch.testing.assert_close(run(opened.model), run(model), rtol=1e-4, atol=1e-4)
    assert [layer.name for layer in opened.layers] == NAMES
    assert set(opened.tensors()) == set(model.state_dict())
    folded = fold and trace
    assert opened.layers[0].bias_name == ("stem.1.bias" if folded else "stem.0.bias")
    assert (opened.layers[0].bias is None) == (not folded)


@pytest.mark.parametrize("trace", [True, False])
def test_a_module_is_quantized_and_stays_as_it_was(trace, tmp_path):
    model = net()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    made = quantize_network(model, data(), 7, clip=1.0, trace=trace)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)
    assert isinstance(made.model, Net) and [report.name for report in made.layers] == NAMES
    assert relative(run(model), run(made.model)) < 0.1
    torch.testing.assert_close(made.model.table.weight, model.table.weight, rtol=0, atol=0)
    made.save(tmp_path / "codes.safetensors")
    decode_model(tmp_path / "codes.safetensors", tmp_path / "floats.safetensors")
    from safetensors.torch import load_file

    loaded = net()
    loaded.load_state_dict(load_file(tmp_path / "floats.safetensors"))
    torch.testing.assert_close(run(loaded), run(made.model), rtol=0, atol=0)


def test_a_module_that_cannot_be_traced_gives_the_same_codes():
    traced = quantize_network(net(), data(), 4, clip=1.0, fold=False, bias_correction=False)
    hooked = quantize_network(net(Branching), data(), 4, clip=1.0, fold=False, bias_correction=False)
    assert traced.layers == hooked.layers
    for name in NAMES:
        np.testing.assert_array_equal(traced.encoded[name].planes["codes"], hooked.encoded[name].planes["codes"])


def test_the_error_of_a_layer_is_that_of_its_outputs():
    made = quantize_network(net(), data(), 3, clip=1.0, hold=0, bias_correction=False)
    found = {}
    for model, key in ((open_network(net(), data()).model, "full"), (made.model, "few")):

        def keep(module, args, out, key=key):
            found.setdefault(key, []).append(out.detach() - module.bias)

        model.inner.register_forward_hook(keep)
        run(model)
    error = relative(torch.cat(found["full"]), torch.cat(found["few"]))
    assert made.layers[-1].error == pytest.approx(error, rel=1e-3)


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("padding", [0, 1, (2, 1), "same", "valid"])
def test_windows_are_those_of_torch(mode, padding):
    generator = torch.Generator().manual_seed(0)
    stride = 1 if padding == "same" else (2, 1)
    module = nn.Conv2d(4, 6, (3, 2), stride, padding, dilation=(1, 2), groups=2, padding_mode=mode)
    x = torch.randn(3, 4, 8, 7, generator=generator)
    with torch.no_grad():
        y = module(x)
        rows = patches_of(module).rows(x.numpy(), lambda count: None)
        weight = module.weight.reshape(2, 3, -1).numpy()
        made = (rows @ weight.swapaxes(1, 2)).swapaxes(0, 1).reshape(3, *y.shape[2:], 6)
    np.testing.assert_allclose(np.moveaxis(made, -1, 1) + module.bias.detach().numpy()[:, None, None], y.numpy(), atol=1e-5)


def test_one_and_three_axes():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(3, 4, 3, bias=False), nn.BatchNorm1d(4), nn.ReLU(), nn.Flatten(), nn.Linear(24, 5)).eval()
    x = torch.randn(50, 3, 8)
    made = quantize_network(model, x, 6, clip=1.0, batch=10)
    assert relative(run(model, [(x,)]), run(made.model, [(x,)])) < 0.1
    volume = nn.Sequential(nn.Conv3d(2, 3, 2), nn.BatchNorm3d(3, affine=False)).eval()
    x = torch.randn(8, 2, 4, 4, 4)
    made = quantize_network(volume, x, 6, clip=1.0, batch=4)
    assert relative(run(volume, [(x,)]), run(made.model, [(x,)])) < 0.1


def test_a_layer_used_twice_is_calibrated_once():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(8, 8)

        def forward(self, x):
            return self.layer(self.layer(x))

    x = torch.randn(40, 8, generator=torch.Generator().manual_seed(0))
    for trace in (True, False):
        made = quantize_network(Twice(), x, 6, clip=1.0, batch=8, trace=trace)
        assert [report.name for report in made.layers] == ["layer.weight"]


def normed(*layers):
    """Layers, the batch norms among them with numbers as after training."""
    model = nn.Sequential(*layers)
    for module in model:
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.normal_()
            nn.init.normal_(module.weight)
    return model.eval()


def tied():
    first, second = nn.Linear(8, 8), nn.Linear(8, 8)
    second.weight = first.weight
    return normed(first, nn.BatchNorm1d(8), nn.ReLU(), second, nn.BatchNorm1d(8), nn.Linear(8, 3))


@pytest.mark.parametrize(
    "make, shape, names",
    [
        (lambda: normed(nn.Linear(8, 5), nn.BatchNorm1d(5)), (40, 8), ["0.weight"]),
        (lambda: normed(nn.Linear(8, 5), nn.BatchNorm1d(5)), (40, 5, 8), ["0.weight"]),
        (lambda: normed(nn.Linear(8, 7), nn.BatchNorm1d(5)), (40, 5, 8), ["0.weight"]),
        (tied, (40, 8), ["5.weight"]),
        (lambda: normed(nn.utils.parametrizations.weight_norm(nn.Linear(8, 5)), nn.BatchNorm1d(5), nn.Linear(5, 3)), (40, 8),
         ["2.weight"]),
        (lambda: nn.Linear(8, 5), (40, 8), ["weight"]),
    ],
)  # fmt: skip
def test_only_what_may_be_folded_is_folded_and_only_what_may_be_replaced_is_quantized(make, shape, names):
    torch.manual_seed(0)
    model, x = make(), torch.randn(shape)
    opened = open_network(model, [(x,)])
    torch.testing.assert_close(run(opened.model, [(x,)]), run(model, [(x,)]), rtol=1e-4, atol=1e-4)
    made = quantize_network(model, x, 7, clip=1.0, batch=10)
    assert [report.name for report in made.layers] == names
    assert 0 < relative(run(model, [(x,)]), run(made.model, [(x,)])) < 0.1
    for name in names:
        np.testing.assert_array_equal(made.model.state_dict()[name].numpy(), evenbits.decode(made.encoded[name]))
        assert made.encoded[name].spec["portable"] is False


def test_inputs_may_be_named():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x):
            return self.layer(input=x)

    torch.manual_seed(0)
    model, x = Named(), torch.randn(30, 4)
    traced, hooked = (quantize_network(model, x, 4, clip=1.0, batch=6, trace=trace) for trace in (True, False))
    assert traced.layers == hooked.layers


def test_halves_are_decoded_to_halves():
    model = nn.Sequential(nn.Linear(8, 4)).to(torch.bfloat16)
    x = torch.randn(40, 8, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    made = quantize_network(model, x, 5, clip=1.0, batch=8)
    assert made.model[0].weight.dtype == torch.bfloat16
    assert relative(run(model, [(x,)]).float(), run(made.model, [(x,)]).float()) < 0.1


def test_a_layer_that_some_batches_leave_out_is_named():
    class Some(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x):
            return self.layer(x) if x.sum() > 0 else x

    with pytest.raises(ValueError, match="layer is not called for every batch"):
        quantize_network(Some(), [torch.ones(3, 4), -torch.ones(3, 4)], 4, clip=1.0)


def test_methods_that_look_at_weights_alone_work_too():
    made = quantize_network(net(), data(), 5, "near_democratic", exclude=["depth*"])
    assert [report.name for report in made.layers] == ["stem.0.weight", "branch.weight", "inner.weight"]
    assert evenbits.decode(made.encoded["inner.weight"]).shape == (24, 96)
