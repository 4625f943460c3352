#include <atomic>

#include "arrays.hpp"

namespace evenbits {

static void dot(const py::array& x, const py::array& y, std::size_t n, std::size_t group, py::array out, std::size_t workers) {
  const float *a = elements<float>(x, "x"), *b = elements<float>(y, "y");
  require_size(y, size(x), "y");
  const std::size_t rows = rows_of(x, n, "x"), groups = groups_of(n, group);
  require_size(out, rows * groups, "out");
  double* sums = elements<double>(out, "out");
  const auto kernel = active().dot_f32;
  py::gil_scoped_release unlocked;
  parallel_rows(rows, n, workers, [&](std::size_t begin, std::size_t end) {
    kernel(a + begin * n, b + begin * n, end - begin, n, group, sums + begin * groups);
  });
}

static void extremes(const py::array& x, std::size_t n, std::size_t group, py::array least, py::array greatest,
                     std::size_t workers) {
  const float* a = elements<float>(x, "x");
  const std::size_t rows = rows_of(x, n, "x"), groups = groups_of(n, group);
  require_size(least, rows * groups, "least"), require_size(greatest, rows * groups, "greatest");
  float *lo = elements<float>(least, "least"), *hi = elements<float>(greatest, "greatest");
  const auto kernel = active().extremes_f32;
  py::gil_scoped_release unlocked;
  parallel_rows(rows, n, workers, [&](std::size_t begin, std::size_t end) {
    kernel(a + begin * n, end - begin, n, group, lo + begin * groups, hi + begin * groups);
  });
}

template <class T, class Kernel>
static std::size_t first_nonfinite_of(const py::array& x, std::size_t workers, Kernel kernel) {
  const T* a = elements<T>(x, "x");
  const std::size_t n = size(x);
  std::atomic<std::size_t> first{n};
  py::gil_scoped_release unlocked;
  parallel_rows(n, 1, workers, [&](std::size_t begin, std::size_t end) {
    const std::size_t found = begin + kernel(a + begin, end - begin);
    std::size_t least = first;
    while (found < end && found < least && !first.compare_exchange_weak(least, found)) {}
  });
  return first;
}
static std::size_t first_nonfinite(const py::array& x, std::size_t workers) {
  if (py::dtype::of<double>().equal(x.dtype())) return first_nonfinite_of<double>(x, workers, active().first_nonfinite_f64);
  return first_nonfinite_of<float>(x, workers, active().first_nonfinite_f32);
}

void bind_reductions(py::module_& m) {
  m.def("dot", &dot, "x"_a, "y"_a, "n"_a, "group"_a, "out"_a, "workers"_a);
  m.def("extremes", &extremes, "x"_a, "n"_a, "group"_a, "least"_a, "greatest"_a, "workers"_a);
  m.def("first_nonfinite", &first_nonfinite, "x"_a, "workers"_a = 1);
}

}  // namespace evenbits
