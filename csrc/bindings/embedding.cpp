#include "base.hpp"

namespace evenbits {

static void kashin(const py::array& x, py::array out, const py::array& base, const py::array& signs, std::uint32_t iterations,
                   float eta, float delta, bool closing, std::size_t workers) {
  const float* in = elements<float>(x, "x");
  float* a = elements<float>(out, "out");
  require_size(out, size(x), "out");
  const std::size_t n = size(signs), rows = rows_of(x, n, "x");
  const float* s = elements<float>(signs, "signs");
  const evenbits_hadamard h = matrix_of(n, base);
  const auto kernel = active().kashin_f32;
  const std::size_t count = thread_count(rows, n * (2 * std::size_t(iterations) + 1), workers);
  std::vector<float> scratch(2 * n * count);
  py::gil_scoped_release unlocked;
  parallel_spans(rows, count, [&](std::size_t begin, std::size_t end, std::size_t i) {
    kernel(in + begin * n, a + begin * n, end - begin, &h, s, iterations, eta, delta, closing, scratch.data() + 2 * n * i);
  });
}

void bind_embedding(py::module_& m) {
  m.def("kashin", &kashin, "x"_a, "out"_a, "base"_a, "signs"_a, "iterations"_a, "eta"_a, "delta"_a, "closing"_a, "workers"_a);
}

}  // namespace evenbits
