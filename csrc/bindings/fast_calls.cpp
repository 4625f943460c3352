// Small calls without pybind11's conversions: an argument's dtype is a comparison of pointers, its memory a field of a struct.
#include <algorithm>
#include <cfloat>
#include <cmath>

#include "arrays.hpp"

namespace evenbits {

using Numpy = py::detail::npy_api;

namespace {

// Up to so many elements other threads may wait for the interpreter.
constexpr std::size_t kShort = std::size_t{1} << 14;

const Numpy& numpy() {
  static const Numpy& api = Numpy::get();
  return api;
}

// The dtypes of native arrays: NumPy has one object for each, which lives as long as the process.
struct Dtypes {
  PyObject* f32 = numpy().PyArray_DescrFromType_(Numpy::NPY_FLOAT_);
  PyObject* f64 = numpy().PyArray_DescrFromType_(Numpy::NPY_DOUBLE_);
  PyObject* i32 = numpy().PyArray_DescrFromType_(Numpy::NPY_INT32_);
};
const Dtypes& dtypes() {
  static const Dtypes all;
  return all;
}

struct Array {
  const py::detail::PyArray_Proxy* array;
  std::size_t size = 1;

  // Takes an array of NumPy's own class, C-contiguous and aligned, that is neither a scalar nor empty.
  bool holds(PyObject* object) {
    if (Py_TYPE(object) != numpy().PyArray_Type_) return false;
    array = py::detail::array_proxy(object);
    for (int i = 0; i < array->nd; ++i) size *= static_cast<std::size_t>(array->dimensions[i]);
    return array->nd && size && has(Numpy::NPY_ARRAY_C_CONTIGUOUS_ | Numpy::NPY_ARRAY_ALIGNED_);
  }
  bool has(int flags) const { return (array->flags & flags) == flags; }
  std::size_t last() const { return static_cast<std::size_t>(array->dimensions[array->nd - 1]); }
};
bool same_shape(const Array& x, const Array& y) {
  return x.array->nd == y.array->nd && std::equal(x.array->dimensions, x.array->dimensions + x.array->nd, y.array->dimensions);
}
bool equal_or_apart(const char* x, const char* y, std::size_t bytes) { return x == y || x + bytes <= y || y + bytes <= x; }

void transform(PyObject* type, const void* x, void* y, std::size_t rows, std::size_t n, double scale) {
  static constexpr std::int8_t one = 1;
  const evenbits_hadamard h = {n, 1, &one};
  const auto& kernels = active();
  const DefaultFloatState state;
  if (type == dtypes().f32)
    kernels.hadamard_f32(static_cast<const float*>(x), static_cast<float*>(y), rows, &h, nullptr, nullptr, float(scale));
  else if (type == dtypes().f64)
    kernels.hadamard_f64(static_cast<const double*>(x), static_cast<double*>(y), rows, &h, nullptr, nullptr, scale);
  else kernels.hadamard_i32(static_cast<const std::int32_t*>(x), static_cast<std::int32_t*>(y), rows, &h);
}

// The value of an int that is no bool, or -1.
long int_of(PyObject* object) {
  int overflow;
  return PyLong_CheckExact(object) ? PyLong_AsLongAndOverflow(object, &overflow) : -1;
}

PyObject* hadamard_plain(PyObject*, PyObject* const* args, Py_ssize_t count) {
  if (count != 4) {
    PyErr_SetString(PyExc_TypeError, "hadamard_plain takes x, scale, out, workers");
    return nullptr;
  }
  PyObject* result = args[2];
  Array x, y;
  const long workers = int_of(args[3]);
  if (!x.holds(args[0]) || workers < 1 || workers > 4096) Py_RETURN_NONE;
  const std::size_t n = x.last();
  if (workers > 1 && thread_count(x.size, 1, 2) > 1) Py_RETURN_NONE;
  PyObject* const type = x.array->descr;
  const double scale = PyFloat_Check(args[1]) ? PyFloat_AS_DOUBLE(args[1]) : int_of(args[1]) == 1 ? 1 : NAN;
  const bool possible = type == dtypes().f32   ? std::fabs(scale) <= FLT_MAX
                        : type == dtypes().f64 ? std::fabs(scale) <= DBL_MAX
                                               : type == dtypes().i32 && scale == 1;
  if ((n & (n - 1)) || !possible) Py_RETURN_NONE;
  if (result == Py_None) {
    Py_INCREF(type);  // which the new array takes over
    result = numpy().PyArray_NewFromDescr_(numpy().PyArray_Type_, type, x.array->nd, x.array->dimensions, nullptr, nullptr, 0,
                                           nullptr);
    if (!result) return nullptr;
    y.array = py::detail::array_proxy(result);
  } else {
    if (!y.holds(result) || y.array->descr != type || !y.has(Numpy::NPY_ARRAY_WRITEABLE_) || !same_shape(x, y) ||
        !equal_or_apart(x.array->data, y.array->data, x.size * (type == dtypes().f64 ? 8 : 4)))
      Py_RETURN_NONE;
    Py_INCREF(result);
  }
  PyThreadState* const unlocked = x.size > kShort ? PyEval_SaveThread() : nullptr;
  transform(type, x.array->data, y.array->data, x.size / n, n, scale);
  if (unlocked) PyEval_RestoreThread(unlocked);
  return result;
}

PyMethodDef functions[] = {
    {"hadamard_plain", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(hadamard_plain)), METH_FASTCALL,
     "hadamard_plain($module, x, scale, out, workers, /)\n--\n\n"
     "The transform of a NumPy array that needs no conversion and one thread, or None if anything is out of the ordinary."},
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

void bind_fast_calls(py::module_& m) {
  dtypes();  // now, while one thread alone is here: a later first use might wait for the interpreter inside the guard
  if (PyModule_AddFunctions(m.ptr(), functions) != 0) throw py::error_already_set();
}

}  // namespace evenbits
