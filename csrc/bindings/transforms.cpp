#include <type_traits>

#include "base.hpp"

namespace evenbits {

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
  const std::size_t n = x.ndim() ? static_cast<std::size_t>(x.shape(x.ndim() - 1)) : 0, rows = rows_of(x, n, "x");
  const evenbits_hadamard h = matrix_of(n, base);
  const T *b = optional_elements<T>(before, n, "before"), *a = optional_elements<T>(after, n, "after");
  py::gil_scoped_release unlocked;
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

void bind_transforms(py::module_& m) {
  m.def("hadamard", &hadamard, "x"_a, "out"_a, "base"_a, "before"_a, "after"_a, "scale"_a, "workers"_a);
}

}  // namespace evenbits
