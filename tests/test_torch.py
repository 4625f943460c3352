import importlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

import evenbits

torch = pytest.importorskip("torch")

import evenbits.torch as operators  # noqa: E402

FLOATS = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
CALLS = {
    "transform": lambda x: operators.hadamard_transform(x, 0.5),
    "padded": lambda x: operators.hadamard_transform(x[..., :10], 0.5, pad=True),
    "rotation": lambda x: operators.randomized_hadamard(x[..., :10], seed=2**64 - 1, stream=2**63, rounds=2),
    "inverse": lambda x: operators.inverse_randomized_hadamard(x, seed=3),
    "inverse of padded": lambda x: operators.inverse_randomized_hadamard(x, seed=3, rounds=2, length=9),
}
calls = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


def tensor(shape, dtype=torch.float32, **options):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype).requires_grad_(**options)


def constant(shape, dtype=torch.float32):
    return tensor(shape, dtype, requires_grad=False)


def bits(x):
    """The bytes of a tensor or an array."""
    return (x.contiguous().view(torch.uint8).numpy() if isinstance(x, torch.Tensor) else x).tobytes()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(1,), (256,), (3, 12), (2, 3, 64), (0, 8), (300, 1024)])
def test_values_are_those_of_the_functions_for_numpy(dtype, shape):
    x = constant(shape, dtype)
    for name, options in (
        ("hadamard_transform", {"scale": 0.3}),
        ("randomized_hadamard", {"seed": 2**64 - 1, "stream": 2**63, "rounds": 2}),
        ("inverse_randomized_hadamard", {"seed": 5}),
    ):
        y, expected = getattr(operators, name)(x, **options), getattr(evenbits, name)(x, **options)
        assert y.dtype == dtype and y.shape == expected.shape and y.is_contiguous()
        assert bits(y) == bits(expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_padding_and_its_inverse_are_those_of_numpy(dtype):
    x = constant((4, 10), dtype)
    assert bits(operators.hadamard_transform(x, pad=True)) == bits(evenbits.hadamard_transform(x, pad=True))
    y = operators.randomized_hadamard(x, seed=1)
    assert bits(y) == bits(evenbits.randomized_hadamard(x, seed=1))
    back = operators.inverse_randomized_hadamard(y, seed=1, length=10)
    assert bits(back) == bits(evenbits.inverse_randomized_hadamard(y, seed=1, length=10).copy())


def test_layouts_do_not_matter():
    x = constant((8, 16))
    for same in (x.t().contiguous().t(), x.repeat_interleave(2, 1)[:, ::2], x.flip(0).flip(0), torch._neg_view(-x)):
        assert torch.equal(operators.hadamard_transform(same), operators.hadamard_transform(x))
    row = x[:1].expand(8, 16)
    assert torch.equal(operators.hadamard_transform(row), operators.hadamard_transform(row.contiguous()))


def test_integers_of_up_to_32_bits_give_int32():
    for dtype in (torch.int8, torch.uint8, torch.int16, torch.int32, torch.bool):
        x = torch.ones(8).to(dtype)
        assert torch.equal(operators.hadamard_transform(x), torch.tensor([8] + 7 * [0], dtype=torch.int32))
        assert operators.randomized_hadamard(x, seed=0).dtype == torch.float32


def test_bfloat16_needs_no_ml_dtypes(monkeypatch):
    x = constant((3, 64), torch.bfloat16)
    expected = operators.hadamard_transform(x, 0.3), operators.randomized_hadamard(x, seed=1, rounds=2)
    monkeypatch.setattr(operators, "BFLOAT16", np.dtype(np.float32))
    assert torch.equal(operators.hadamard_transform(x, 0.3), expected[0])
    assert torch.equal(operators.randomized_hadamard(x, seed=1, rounds=2), expected[1])


@calls
def test_gradients_of_first_and_second_order_are_right(call):
    x = tensor((2, 12), torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(call, x)
    assert torch.autograd.gradgradcheck(call, x)


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_gradient_is_the_transform(dtype):
    x, g = tensor((3, 64), dtype, requires_grad=True), constant((64, 3), dtype).t()
    operators.hadamard_transform(x, 0.125).backward(g)
    assert x.grad.dtype == dtype
    assert torch.equal(x.grad, operators.hadamard_transform(g, 0.125))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", [*FLOATS, torch.int32])
def test_operators_keep_their_promises_to_torch(dtype):
    x = constant((3, 12), dtype)
    grad = {"requires_grad": dtype.is_floating_point}
    for operator, arguments in (
        (torch.ops.evenbits.hadamard_transform, (x.clone().requires_grad_(**grad), 1.0, False)),
        (torch.ops.evenbits.hadamard_transform, (x[:, :10].clone().requires_grad_(**grad), 1.0, True)),
        (torch.ops.evenbits.randomized_hadamard, (x[:, :10].clone().requires_grad_(**grad), -1, 2, 2)),
        (torch.ops.evenbits.inverse_randomized_hadamard, (x.t().contiguous().t().requires_grad_(**grad), 1, 2, 1, 9)),
        (torch.ops.evenbits.inverse_randomized_hadamard, (x.clone().requires_grad_(**grad), 1, 2, 1, None)),
    ):
        torch.library.opcheck(operator.default, arguments)


COMPILERS = ["aot_eager", pytest.param("inductor", marks=pytest.mark.skipif(not shutil.which("g++"), reason="takes g++"))]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("backend", COMPILERS)
def test_compiles_as_one_graph(backend):
    def loss(x):
        y = operators.randomized_hadamard(operators.hadamard_transform(2 * x, 0.5)[..., :10], seed=7)
        return (operators.inverse_randomized_hadamard(y + 1, seed=7, length=10) ** 2).sum()

    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True, backend=backend)
    for rows in (3, 5):  # the second makes the number of rows a variable
        x = tensor((rows, 16), requires_grad=True)
        y = tensor((rows, 16), requires_grad=True)
        compiled(x).backward()
        loss(y).backward()
        torch.testing.assert_close(x.grad, y.grad)


@calls
def test_maps_over_another_axis(call):
    x = constant((12, 3, 2))
    expected = torch.stack([call(x[:, i].t()) for i in range(3)])
    assert torch.equal(torch.vmap(lambda x: call(x.t()), in_dims=1)(x), expected)


def test_tensors_without_values_have_shapes():
    x = torch.zeros((3, 10), dtype=torch.float16, device="meta")
    y = operators.randomized_hadamard(x, seed=0)
    assert y.shape == (3, 12) and y.dtype == torch.float16
    assert operators.inverse_randomized_hadamard(y, seed=0, length=10).shape == (3, 10)
    assert operators.hadamard_transform(x, pad=True).shape == (3, 12)


def test_every_number_of_threads_gives_the_same_bytes():
    x, before = constant((300, 1024)), torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 7):
            torch.set_num_threads(count)
            results.append(bits(operators.hadamard_transform(x)))
    finally:
        torch.set_num_threads(before)
    assert len(set(results)) == 1


def test_errors_are_those_of_the_functions_for_numpy():
    with pytest.raises(
        ValueError, match=r"order 10 is known here; the nearest lengths are 8 and 12: pad with zeros \(pad=True\)"
    ):
        operators.hadamard_transform(torch.zeros(10))
    for call in (
        lambda x: operators.hadamard_transform(x, pad=True),
        lambda x: operators.randomized_hadamard(x, seed=0),
        lambda x: operators.inverse_randomized_hadamard(x, seed=0),
    ):
        with pytest.raises(ValueError, match="no axis"):
            call(torch.tensor(1.0))
        with pytest.raises(ValueError, match="length 0"):
            call(torch.zeros(3, 0))
    with pytest.raises(ValueError, match="no axis"):
        torch.vmap(operators.hadamard_transform)(torch.zeros(8))
    with pytest.raises(ValueError, match=r"scale is 0\.5; integers"):
        operators.hadamard_transform(torch.ones(8, dtype=torch.int32), 0.5)
    with pytest.raises(TypeError, match="x has dtype int64"):
        operators.hadamard_transform(torch.ones(8, dtype=torch.int64))
    with pytest.raises(TypeError, match="x has dtype complex64"):
        operators.hadamard_transform(torch.ones(8, dtype=torch.complex64))
    with pytest.raises(ValueError, match="rounds is 0"):
        operators.randomized_hadamard(torch.zeros(8), seed=0, rounds=0)
    with pytest.raises(ValueError, match="stream is -1"):
        operators.randomized_hadamard(torch.zeros(8), seed=0, stream=-1)
    with pytest.raises(ValueError, match="y has rows of 10; randomized_hadamard gives none of that length, the next is 12"):
        operators.inverse_randomized_hadamard(torch.zeros(10), seed=0)
    with pytest.raises(ValueError, match="length is 9"):
        operators.inverse_randomized_hadamard(torch.zeros(8), seed=0, length=9)
    with pytest.raises(TypeError, match="x is a list; pass a tensor"):
        operators.hadamard_transform([1.0])


@pytest.mark.parametrize("dtype", FLOATS)
def test_quantize_takes_tensors(dtype):
    x = constant((6, 64), dtype)
    wide = x.to(torch.float64).numpy()
    encoded = evenbits.quantize(x, 8)
    assert encoded.dtype == str(dtype).removeprefix("torch.")
    assert encoded.error(x) < 0.02
    np.testing.assert_allclose(evenbits.decode(encoded).astype(np.float64), wide, atol=0.05)
    same = evenbits.quantize(wide.astype(evenbits.decode(encoded).dtype), 8)
    assert all(bits(encoded.planes[name]) == bits(plane) for name, plane in same.planes.items())


def test_other_functions_take_tensors():
    x = constant((2, 64), torch.bfloat16)
    assert evenbits.hadamard_transform(x).tobytes() == bits(operators.hadamard_transform(x))
    codes = torch.arange(16, dtype=torch.uint8)
    np.testing.assert_array_equal(evenbits.unpack(evenbits.pack(codes, 4), 4, 16), codes)


def test_tensors_that_need_a_gradient_say_so():
    with pytest.raises(TypeError, match=r"x can't be read as an array: Can't export tensors that require gradient"):
        evenbits.quantize(tensor(8, requires_grad=True))


def test_importing_evenbits_does_not_import_torch():
    subprocess.run([sys.executable, "-c", "import evenbits, sys; assert 'torch' not in sys.modules"], check=True)


def test_without_torch_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "evenbits.torch")
    with pytest.raises(ModuleNotFoundError, match=r'pip install "evenbits\[torch\]"'):
        importlib.import_module("evenbits.torch")
