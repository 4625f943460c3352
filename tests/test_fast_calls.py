import platform

import ml_dtypes
import numpy as np
import pytest

import evenbits
from evenbits import _core
from evenbits.matrices import base_matrix

LIMITS = [float(np.finfo(np.float32).max), -float(np.finfo(np.float32).max), 0.0, -0.0, 2.0**-149, 1 / 3]


def general(x, scale=1.0):
    out = np.empty_like(x)
    _core.hadamard(x, out, base_matrix(1), None, None, scale, 1)
    return out


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
@pytest.mark.parametrize("shape", [(1,), (2,), (256,), (3, 16), (2, 3, 8), (40, 1024), (1, 2**15)])
def test_the_short_way_gives_the_bytes_of_the_long_one(isa, dtype, shape, rng):
    x = (1000 * rng.standard_normal(shape)).astype(dtype)
    expected = general(x)
    made = _core.hadamard_plain(x, 1.0, None, 1)
    assert type(made) is np.ndarray and made.dtype == dtype and made.shape == shape
    assert made.flags.carray and made.flags.owndata
    np.testing.assert_array_equal(made, expected)
    out = np.empty_like(x)
    assert _core.hadamard_plain(x, 1, out, 1) is out
    np.testing.assert_array_equal(out, expected)
    assert evenbits.hadamard_transform(x, out=x) is x
    np.testing.assert_array_equal(x, expected)


@pytest.mark.parametrize("scale", LIMITS)
def test_every_scale_of_the_dtype_is_taken(scale, rng):
    for dtype in (np.float32, np.float64):
        x = rng.standard_normal((3, 64)).astype(dtype)
        with np.errstate(over="ignore"):
            assert _core.hadamard_plain(x, scale, None, 1).tobytes() == general(x, scale).tobytes()
    np.testing.assert_array_equal(_core.hadamard_plain(x, np.float64(0.5), None, 1), general(x, 0.5))


class Subclass(np.ndarray):
    pass


@pytest.mark.parametrize(
    "x",
    [
        [1.0, 2.0],
        np.float32(1),
        np.array(1.0),
        np.zeros((2, 0), np.float32),
        np.zeros((0, 4), np.float32),
        np.zeros(12),
        np.zeros(4, np.int64),
        np.zeros(4, np.uint32),
        np.zeros(4, np.complex64),
        np.zeros(4, object),
        np.zeros(4, ">f4"),
        np.zeros(8)[::2],
        np.zeros((4, 4), order="F"),
        np.zeros(33, np.uint8)[1:].view(np.float32),
        np.zeros(4).view(Subclass),
        memoryview(np.zeros(4)),
    ],
)
def test_arrays_out_of_the_ordinary_take_the_long_way(x):
    assert _core.hadamard_plain(x, 1.0, None, 1) is None


def test_outputs_out_of_the_ordinary_take_the_long_way():
    memory = np.zeros(64, np.float32)
    x = memory[:16]
    frozen = np.zeros(16, np.float32)
    frozen.flags.writeable = False
    for out in (
        frozen,
        memory[8:24],
        memory[32:64:2],
        memory[16:24],
        memory[16:32].reshape(2, 8),
        np.zeros(16),
        np.zeros(16, np.int32),
        np.zeros(16, ">f4"),
        np.zeros(65, np.uint8)[1:].view(np.float32),
        np.zeros(16, np.float32).view(Subclass),
        [0.0] * 16,
    ):
        assert _core.hadamard_plain(x, 1.0, out, 1) is None
    assert _core.hadamard_plain(x, 1.0, memory[16:32], 1) is not None  # it begins where x ends
    with pytest.raises(ValueError, match="writeable"):
        evenbits.hadamard_transform(x, out=frozen)


def test_numbers_out_of_the_ordinary_take_the_long_way():
    x, wide, integers = np.zeros(4, np.float32), np.zeros(4), np.zeros(4, np.int32)
    for scale in (np.nan, np.inf, 1e39, "1", None, True, 2, 2**70, np.float32(1)):
        assert _core.hadamard_plain(x, scale, None, 1) is None
    assert _core.hadamard_plain(wide, np.inf, None, 1) is None
    assert _core.hadamard_plain(wide, 1e39, None, 1) is not None
    assert _core.hadamard_plain(integers, 0.5, None, 1) is None
    for workers in (0, -1, 4097, 2**70, -(2**70), True, 1.0, None, np.int64(1)):
        assert _core.hadamard_plain(x, 1.0, None, workers) is None
    assert _core.hadamard_plain(x, 1.0, None, 2) is not None  # too little for two threads
    for shape in ((64, 4096), 2**18):
        assert _core.hadamard_plain(np.zeros(shape), 1.0, None, 2) is None


def test_the_wrong_number_of_arguments_is_an_error():
    with pytest.raises(TypeError, match="takes x, scale, out, workers"):
        _core.hadamard_plain(np.zeros(4))


def test_numbers_and_half_types_that_take_the_long_way_still_work(rng):
    x = rng.standard_normal(16).astype(np.float32)
    np.testing.assert_array_equal(evenbits.hadamard_transform(x, True), evenbits.hadamard_transform(x))
    np.testing.assert_array_equal(evenbits.hadamard_transform(x, 2), evenbits.hadamard_transform(x, 2.0))
    for dtype in (np.float16, ml_dtypes.bfloat16):
        assert evenbits.hadamard_transform(x.astype(dtype)).dtype == dtype


def test_denormals_stay_whatever_the_thread_was_set_to(isa):
    x = np.full(4, 2.0**-149, np.float32)
    state = _core.enter_default_float_state()
    _core.leave_float_state(state | (1 << 24 if platform.machine() in ("aarch64", "arm64") else 0x8040))  # flush to zero
    try:
        product, y = float(x[0] * np.float32(2)), _core.hadamard_plain(x, 1.0, None, 1)
    finally:
        _core.leave_float_state(state)
    assert product == 0
    assert y[0] == 2.0**-147
