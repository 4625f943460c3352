#include <cstring>

#include "base.hpp"
#include "scratch.hpp"

namespace evenbits {

// The d coordinates of n that hold a vector, each below n.
static const std::uint32_t* support_of(const py::array& support, std::size_t n) {
  const std::uint32_t* s = elements<std::uint32_t>(support, "support");
  for (std::size_t i = 0; i < size(support); ++i)
    if (s[i] >= n)
      throw py::value_error("support[" + std::to_string(i) + "] is " + std::to_string(s[i]) + ", not below " + std::to_string(n));
  return s;
}
// Rows of d numbers in the places that the support names in rows of n, zero elsewhere.
static void spread(const py::array& x, const py::array& support, py::array out, std::size_t n, std::size_t workers) {
  const float* in = elements<float>(x, "x");
  float* y = elements<float>(out, "out");
  const std::size_t rows = rows_of(out, n, "out"), d = size(support);
  const std::uint32_t* s = support_of(support, n);
  require_size(x, rows * d, "x");
  py::gil_scoped_release unlocked;
  parallel_rows(rows, n, workers, [&](std::size_t begin, std::size_t end) {
    std::memset(y + begin * n, 0, (end - begin) * n * sizeof(float));
    for (std::size_t row = begin; row < end; ++row)
      for (std::size_t i = 0; i < d; ++i) y[row * n + s[i]] = in[row * d + i];
  });
}
// The numbers in those places: the inverse, if all others are zero.
static void gather(const py::array& y, const py::array& support, py::array out, std::size_t n, std::size_t workers) {
  const float* in = elements<float>(y, "y");
  float* x = elements<float>(out, "out");
  const std::size_t rows = rows_of(y, n, "y"), d = size(support);
  const std::uint32_t* s = support_of(support, n);
  require_size(out, rows * d, "out");
  py::gil_scoped_release unlocked;
  parallel_rows(rows, n, workers, [&](std::size_t begin, std::size_t end) {
    for (std::size_t row = begin; row < end; ++row)
      for (std::size_t i = 0; i < d; ++i) x[row * d + i] = in[row * n + s[i]];
  });
}

// Rows of d numbers, embedded by kernel(row of n numbers, coefficients, frame, signs, scratch of 2 n floats), which makes about
// `transforms` transforms.
template <class F>
static void embed(const py::array& x, const py::array& support, py::array& out, const py::array& base, const py::array& signs,
                  std::size_t transforms, std::size_t workers, F kernel) {
  const float* in = elements<float>(x, "x");
  float* a = elements<float>(out, "out");
  const std::size_t n = size(signs), rows = rows_of(out, n, "out"), d = size(support);
  const float* f = elements<float>(signs, "signs");
  const std::uint32_t* s = support_of(support, n);
  require_size(x, rows * d, "x");
  const evenbits_hadamard h = matrix_of(n, base);
  const std::size_t count = thread_count(rows, n * transforms, workers);
  Scratch scratch(3 * n, count);
  py::gil_scoped_release unlocked;
  parallel_spans(rows, count, [&](std::size_t begin, std::size_t end, std::size_t thread) {
    float* wide = scratch.of(thread);  // zero off the support, whatever the row
    for (std::size_t row = begin; row < end; ++row) {
      for (std::size_t i = 0; i < d; ++i) wide[s[i]] = in[row * d + i];
      kernel(wide, a + row * n, &h, f, wide + n);
    }
  });
}
static void kashin(const py::array& x, const py::array& support, py::array out, const py::array& base, const py::array& signs,
                   std::uint32_t iterations, float eta, float delta, bool closing, std::size_t workers) {
  const auto kernel = active().kashin_f32;
  embed(x, support, out, base, signs, 2 * std::size_t(iterations) + 1, workers,
        [=](const float* row, float* a, const evenbits_hadamard* h, const float* f, float* scratch) {
          kernel(row, a, 1, h, f, iterations, eta, delta, closing, scratch);
        });
}
static void democratic(const py::array& x, const py::array& support, py::array out, const py::array& base, const py::array& signs,
                       std::uint32_t iterations, std::size_t workers) {
  const auto kernel = active().democratic_f32;
  embed(x, support, out, base, signs, 2 * std::size_t(iterations) + 1, workers,
        [=](const float* row, float* a, const evenbits_hadamard* h, const float* f, float* scratch) {
          kernel(row, a, 1, h, f, iterations, scratch);
        });
}

void bind_embedding(py::module_& m) {
  m.def("spread", &spread, "x"_a, "support"_a, "out"_a, "n"_a, "workers"_a);
  m.def("gather", &gather, "y"_a, "support"_a, "out"_a, "n"_a, "workers"_a);
  m.def("kashin", &kashin, "x"_a, "support"_a, "out"_a, "base"_a, "signs"_a, "iterations"_a, "eta"_a, "delta"_a, "closing"_a,
        "workers"_a);
  m.def("democratic", &democratic, "x"_a, "support"_a, "out"_a, "base"_a, "signs"_a, "iterations"_a, "workers"_a);
}

}  // namespace evenbits
