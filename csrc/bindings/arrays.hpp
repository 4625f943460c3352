// What every binding needs: the memory of an array, checked. Meaning is checked in Python.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstddef>
#include <string>

#include "dispatch.hpp"
#include "parallel.hpp"

namespace evenbits {

namespace py = pybind11;
using namespace py::literals;

// The elements of a C-contiguous array of T. Cheaper than py::array_t, and it never copies.
template <class T>
const T* elements(const py::array& a, const char* name) {
  constexpr int wanted = py::array::c_style | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
  if (!py::dtype::of<T>().equal(a.dtype()) || (a.flags() & wanted) != wanted)
    throw py::type_error(std::string(name) + " must be an aligned C-contiguous array of " +
                         py::str(py::dtype::of<T>()).cast<std::string>());
  return static_cast<const T*>(a.data());
}
template <class T>
T* elements(py::array& a, const char* name) {
  elements<T>(static_cast<const py::array&>(a), name);
  return static_cast<T*>(a.mutable_data());  // throws if the array is read-only
}
inline std::size_t size(const py::array& a) { return static_cast<std::size_t>(a.size()); }

// Throws unless `a` has exactly `count` elements.
inline void require_size(const py::array& a, std::size_t count, const char* name) {
  if (size(a) != count)
    throw py::value_error(std::string(name) + " must have " + std::to_string(count) + " elements, not " +
                          std::to_string(size(a)));
}
// The rows of an array whose last axis has n elements; 0 if it is empty.
inline std::size_t rows_of(const py::array& a, std::size_t n, const char* name) {
  if (n == 0 || size(a) % n)
    throw py::value_error(std::string(name) + " is not made of rows of " + std::to_string(n) + " elements");
  return size(a) / n;
}
inline std::size_t groups_of(std::size_t n, std::size_t group) {
  if (group == 0) throw py::value_error("group must be positive");
  return n / group + (n % group != 0);
}

// Adds one family of functions to the module.
void bind_transforms(py::module_& m);
void bind_fast_calls(py::module_& m);
void bind_dlpack(py::module_& m);
void bind_embedding(py::module_& m);
void bind_reductions(py::module_& m);
void bind_random(py::module_& m);
void bind_rounding(py::module_& m);
void bind_packing(py::module_& m);
void bind_codebooks(py::module_& m);
void bind_codewords(py::module_& m);
void bind_encode(py::module_& m);
void bind_joint(py::module_& m);
void bind_products(py::module_& m);
void bind_path_following(py::module_& m);
void bind_entropy(py::module_& m);
void bind_bit_shift(py::module_& m);
void bind_trellis(py::module_& m);

}  // namespace evenbits
