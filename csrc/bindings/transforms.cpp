#include <cstdint>
#include <type_traits>

#include "base.hpp"
#include "long_rows.hpp"
#include "scratch.hpp"

namespace evenbits {

static std::size_t last_axis(const py::array& x) { return x.ndim() ? static_cast<std::size_t>(x.shape(x.ndim() - 1)) : 0; }
// Factors of n elements, or none.
template <class T>
static const T* optional_elements(const py::object& a, std::size_t n, const char* name) {
  if (a.is_none()) return nullptr;
  if (!py::isinstance<py::array>(a)) throw py::type_error(std::string(name) + " must be an array or None");
  const auto& array = static_cast<const py::array&>(a);
  require_size(array, n, name);
  return elements<T>(array, name);
}

template <class T, class Transform>
static void transform(const py::array& x, py::array& out, const py::array& base, const py::object& before,
                      const py::object& after, T scale, std::size_t workers, Transform kernel) {
  const T* in = elements<T>(x, "x");
  T* y = elements<T>(out, "out");
  require_size(out, size(x), "out");
  const std::size_t n = last_axis(x), rows = rows_of(x, n, "x");
  const evenbits_hadamard h = matrix_of(n, base);
  const T *b = optional_elements<T>(before, n, "before"), *a = optional_elements<T>(after, n, "after");
  py::gil_scoped_release unlocked;
  if (const std::size_t pieces = piece_count(n, workers); rows == 1 && h.m == 1 && pieces > 1)
    return transform_long_row(in, y, h, b, a, scale, pieces, kernel);
  parallel_rows(rows, n, workers,
                [&](std::size_t begin, std::size_t end) { kernel(in + begin * n, y + begin * n, end - begin, &h, b, a, scale); });
}

static void hadamard(const py::array& x, py::array out, const py::array& base, const py::object& before, const py::object& after,
                     double scale, std::size_t workers) {
  const auto& kernels = active();
  const py::dtype dtype = x.dtype();
  if (dtype.equal(py::dtype::of<float>()))
    transform<float>(x, out, base, before, after, float(scale), workers, kernels.hadamard_f32);
  else if (dtype.equal(py::dtype::of<double>()))
    transform<double>(x, out, base, before, after, scale, workers, kernels.hadamard_f64);
  else
    transform<std::int32_t>(x, out, base, py::none(), py::none(), 1, workers,
                            [&](auto in, auto y, auto rows, auto h, auto, auto, auto) { kernels.hadamard_i32(in, y, rows, h); });
}

// Rows of 16-bit floats over threads, a row of floats for each: kernel(first row, its place, rows, floats).
template <class Kernel>
static void half_rows(std::size_t rows, std::size_t n, std::size_t workers, Kernel kernel) {
  const std::size_t count = thread_count(rows, n, workers);
  Scratch scratch(n, count);
  py::gil_scoped_release unlocked;
  parallel_spans(rows, count, [&](std::size_t begin, std::size_t end, std::size_t thread) {
    kernel(begin * n, end - begin, scratch.of(thread));
  });
}

// x and out are the bits of float16 or bfloat16.
static void hadamard_half(const py::array& x, py::array out, const py::array& base, float scale, bool bfloat16,
                          std::size_t workers) {
  const std::uint16_t* in = elements<std::uint16_t>(x, "x");
  std::uint16_t* y = elements<std::uint16_t>(out, "out");
  require_size(out, size(x), "out");
  const std::size_t n = last_axis(x), rows = rows_of(x, n, "x");
  const evenbits_hadamard h = matrix_of(n, base);
  const auto kernel = bfloat16 ? active().hadamard_bf16 : active().hadamard_f16;
  half_rows(rows, n, workers, [&](std::size_t first, std::size_t count, float* scratch) {
    kernel(in + first, y + first, count, &h, nullptr, nullptr, scale, scratch);
  });
}

// The rounds of factors for rows of n elements.
template <class T>
static std::size_t rounds_of(const py::array& factors, std::size_t n) {
  elements<T>(factors, "factors");
  if (n == 0 || size(factors) == 0 || size(factors) % n)
    throw py::value_error("factors must have " + std::to_string(n) + " elements for each of one or more rounds");
  return size(factors) / n;
}
template <class T, class Kernel>
static void rotate_rows(const py::array& x, py::array& out, const py::array& base, const py::array& factors, bool inverse,
                        std::size_t workers, Kernel kernel) {
  const T* in = elements<T>(x, "x");
  T* y = elements<T>(out, "out");
  require_size(out, size(x), "out");
  const std::size_t n = last_axis(x), rows = rows_of(x, n, "x"), rounds = rounds_of<T>(factors, n);
  const evenbits_hadamard h = matrix_of(n, base);
  const T* f = elements<T>(factors, "factors");
  py::gil_scoped_release unlocked;
  parallel_rows(rows, n * rounds, workers, [&](std::size_t begin, std::size_t end) {
    kernel(in + begin * n, y + begin * n, end - begin, &h, f, rounds, inverse);
  });
}
static void rotate(const py::array& x, py::array out, const py::array& base, const py::array& factors, bool inverse,
                   std::size_t workers) {
  if (x.dtype().equal(py::dtype::of<float>())) rotate_rows<float>(x, out, base, factors, inverse, workers, active().rotate_f32);
  else rotate_rows<double>(x, out, base, factors, inverse, workers, active().rotate_f64);
}
static void rotate_half(const py::array& x, py::array out, const py::array& base, const py::array& factors, bool inverse,
                        bool bfloat16, std::size_t workers) {
  const std::uint16_t* in = elements<std::uint16_t>(x, "x");
  std::uint16_t* y = elements<std::uint16_t>(out, "out");
  require_size(out, size(x), "out");
  const std::size_t n = last_axis(x), rows = rows_of(x, n, "x"), rounds = rounds_of<float>(factors, n);
  const evenbits_hadamard h = matrix_of(n, base);
  const float* f = elements<float>(factors, "factors");
  const auto kernel = bfloat16 ? active().rotate_bf16 : active().rotate_f16;
  half_rows(rows, n, workers, [&](std::size_t first, std::size_t count, float* scratch) {
    kernel(in + first, y + first, count, &h, f, rounds, inverse, scratch);
  });
}

void bind_transforms(py::module_& m) {
  m.def("hadamard", &hadamard, "x"_a, "out"_a, "base"_a, "before"_a, "after"_a, "scale"_a, "workers"_a);
  m.def("hadamard_half", &hadamard_half, "x"_a, "out"_a, "base"_a, "scale"_a, "bfloat16"_a, "workers"_a);
  m.def("rotate", &rotate, "x"_a, "out"_a, "base"_a, "factors"_a, "inverse"_a, "workers"_a);
  m.def("rotate_half", &rotate_half, "x"_a, "out"_a, "base"_a, "factors"_a, "inverse"_a, "bfloat16"_a, "workers"_a);
}

}  // namespace evenbits
