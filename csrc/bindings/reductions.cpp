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

static std::size_t first_nonfinite(const py::array& x) {
  if (py::dtype::of<double>().equal(x.dtype())) {
    const double* a = elements<double>(x, "x");
    return active().first_nonfinite_f64(a, size(x));
  }
  const float* a = elements<float>(x, "x");
  return active().first_nonfinite_f32(a, size(x));
}

void bind_reductions(py::module_& m) {
  m.def("dot", &dot, "x"_a, "y"_a, "n"_a, "group"_a, "out"_a, "workers"_a);
  m.def("extremes", &extremes, "x"_a, "n"_a, "group"_a, "least"_a, "greatest"_a, "workers"_a);
  m.def("first_nonfinite", &first_nonfinite, "x"_a);
}

}  // namespace evenbits
