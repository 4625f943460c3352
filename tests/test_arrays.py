import ctypes
import gc
import sys
from typing import ClassVar

import ml_dtypes
import numpy as np
import pytest

import evenbits
from evenbits import _core
from evenbits._arrays import as_array

new_capsule = ctypes.pythonapi.PyCapsule_New
new_capsule.restype, new_capsule.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]

DELETER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class DLTensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", ctypes.c_int32 * 2),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class DLManagedTensor(ctypes.Structure):
    _fields_ = (("tensor", DLTensor), ("context", ctypes.c_void_p), ("deleter", DELETER))


class Foreign:
    """An array that only DLPack exports, of a dtype, device and layout to be chosen."""

    exported: ClassVar = []  # who gives memory away keeps it until it is released

    def __init__(self, memory, *, code=4, bits=16, lanes=1, device=1, strided=True, offset=0):
        self.memory, self.kind, self.released = memory, device, 0
        lengths = ctypes.c_int64 * max(memory.ndim, 1)
        self.shape, self.strides = lengths(*memory.shape), lengths(*(s // memory.itemsize for s in memory.strides))
        tensor = DLTensor(memory.ctypes.data - offset, (device, 0), memory.ndim, code, bits, lanes, self.shape, None, offset)
        if strided:
            tensor.strides = self.strides
        self.managed = DLManagedTensor(tensor, None, DELETER(self.release))

    def release(self, _):
        self.released += 1
        self.exported.remove(self)

    def __dlpack_device__(self):
        return self.kind, 0

    def __dlpack__(self, **_):
        self.exported.append(self)
        return new_capsule(ctypes.addressof(self.managed), b"dltensor", None)


class Wrapped:
    """An array that only DLPack exports, by NumPy's own hand."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def bfloat16(shape, rng):
    return rng.standard_normal(shape).astype(ml_dtypes.bfloat16)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int8, np.int32])
def test_arrays_of_other_libraries_come_in_place(dtype, rng):
    x = (9 * rng.standard_normal((4, 64))).astype(dtype)
    for source in (x, x[:, ::2], x.T):
        array = as_array(Wrapped(source))
        assert np.shares_memory(array, x) and array.strides == source.strides
        np.testing.assert_array_equal(array, source)
    np.testing.assert_array_equal(evenbits.hadamard_transform(Wrapped(x)), evenbits.hadamard_transform(x))
    assert evenbits.quantize(Wrapped(x)).planes["codes"].tobytes() == evenbits.quantize(x).planes["codes"].tobytes()


@pytest.mark.parametrize("device", [1, 3, 11, 13])
@pytest.mark.parametrize("options", [{}, {"strided": False}, {"offset": 64}])
def test_bfloat16_comes_in_place(device, options, rng):
    x = bfloat16((3, 4, 8), rng)
    array = as_array(Foreign(x, device=device, **options))
    assert array.dtype == x.dtype and np.shares_memory(array, x) and not array.flags.writeable
    np.testing.assert_array_equal(array, x)


def test_bfloat16_of_any_strides_and_dimensions_comes_in_place(rng):
    x = bfloat16((6, 8), rng)
    for source in (x.T, x[::2, ::-1], x[1], x[1, 1:2].reshape(()), x[:0]):
        array = as_array(Foreign(source))
        assert array.shape == source.shape
        np.testing.assert_array_equal(array, source)
    np.testing.assert_array_equal(evenbits.hadamard_transform(Foreign(x)), evenbits.hadamard_transform(x))


def test_the_owner_is_told_once_that_its_memory_is_free(rng):
    foreign = Foreign(bfloat16(8, rng))
    array = as_array(foreign)
    view = array[2:]
    del array
    gc.collect()
    assert foreign.released == 0
    del view
    gc.collect()
    assert foreign.released == 1


def test_bfloat16_becomes_float32_where_ml_dtypes_is_missing(monkeypatch, rng):
    x = bfloat16((2, 8), rng)
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    array = as_array(Foreign(x))
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, x.astype(np.float32))


def test_arrays_on_other_devices_are_refused(rng):
    x = bfloat16(8, rng)
    with pytest.raises(TypeError, match="x lies on device 2; copy it to the CPU first"):
        evenbits.hadamard_transform(Foreign(x, device=2))
    foreign = Foreign(x, device=2)
    foreign.device = "cuda:0"
    with pytest.raises(TypeError, match="codes lies on cuda:0; copy it to the CPU first"):
        evenbits.pack(foreign, 4)


def test_what_cannot_be_exported_says_why():
    frozen = np.zeros(4, "S4")
    with pytest.raises(TypeError, match="x can't be read as an array: "):
        evenbits.hadamard_transform(Wrapped(frozen))
    with pytest.raises(TypeError, match="x can't be read as an array: "):
        evenbits.quantize(Foreign(np.zeros(4, np.uint16), code=17))  # some later dtype


def test_the_core_leaves_alone_what_is_not_bfloat16(rng):
    x = bfloat16(8, rng)
    for other in ({"code": 2}, {"bits": 8}, {"lanes": 2}, {"device": 2}):
        foreign = Foreign(x, **other)
        assert _core.bfloat16_bits(foreign.__dlpack__()) is None
        assert foreign.released == 0
    capsule = Foreign(x).__dlpack__()
    assert _core.bfloat16_bits(capsule) is not None
    assert _core.bfloat16_bits(capsule) is None  # a capsule is taken once
    with pytest.raises(TypeError):
        _core.bfloat16_bits(x)


def test_subclasses_and_lists_are_arrays(rng):
    x = rng.standard_normal((2, 8))
    for same in (np.ma.masked_array(x), x.tolist(), memoryview(x), x.view(type("Sub", (np.ndarray,), {}))):
        assert type(as_array(same)) is np.ndarray
        np.testing.assert_array_equal(as_array(same), x)
    with pytest.raises(ValueError, match="codes is not an array"):
        as_array([[1], [2, 3]], "codes")


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_the_order_of_bytes_does_not_matter(dtype, rng):
    x = rng.standard_normal((3, 16)).astype(dtype)
    swapped = x.astype(">" + dtype)
    w = evenbits.quantize(rng.standard_normal((4, 16)), 4)
    for function in (
        evenbits.hadamard_transform,
        lambda a: evenbits.randomized_hadamard(a, seed=1),
        lambda a: evenbits.inverse_randomized_hadamard(a, seed=1),
        lambda a: evenbits.democratic_embedding(a, redundancy=1.5, seed=1),
        lambda a: evenbits.linear(a, w),
        lambda a: evenbits.kmeans(a, 4),
        lambda a: evenbits.round_nearest(a, scale=3, zero=7, top=15),
    ):
        expected, result = function(x), function(swapped)
        assert result.dtype == expected.dtype
        np.testing.assert_array_equal(result, expected)


def test_numbers_beyond_float32_stay_float64_in_any_order_of_bytes():
    x = np.array([[1e300, -2e299, 3e-3, 0]])
    options = {"scale_dtype": "float64"}
    e, swapped = evenbits.quantize(x, 8, **options), evenbits.quantize(x.astype(">f8"), 8, **options)
    assert (e.spec, e.planes["scales"].tolist()) == (swapped.spec, swapped.planes["scales"].tolist())


def test_unsigned_integers_of_32_bits_are_refused_in_any_order_of_bytes():
    for dtype in ("<u4", ">u4"):
        with pytest.raises(TypeError, match="integers must fit into int32"):
            evenbits.hadamard_transform(np.full(4, 2**32 - 1, dtype))


def test_an_integer_that_no_float_holds_is_a_value_error():
    with pytest.raises(ValueError, match="scale is too large"):
        evenbits.hadamard_transform(np.ones(4, np.float32), 10**400)
