// Codes of a row that are decided together.
#include "base.hpp"

namespace evenbits {

static void sign_frame(const py::array& x, py::array out, const py::array& base, const py::array& signs, const py::array& box,
                       std::uint32_t iterations, double level, float momentum, double concavity, std::size_t workers) {
  const float* in = elements<float>(x, "x");
  float* a = elements<float>(out, "out");
  const std::size_t n = size(signs), rows = rows_of(x, n, "x");
  const float *f = elements<float>(signs, "signs"), *most = elements<float>(box, "box");
  require_size(out, rows * n, "out");
  require_size(box, n, "box");
  const evenbits_hadamard h = matrix_of(n, base);
  const auto kernel = active().sign_frame_f32;
  const std::size_t count = thread_count(rows, n * (2 * std::size_t(iterations) + 1), workers);
  std::vector<float> scratch(4 * n * count);
  py::gil_scoped_release unlocked;
  parallel_spans(rows, count, [&](std::size_t begin, std::size_t end, std::size_t thread) {
    kernel(in + begin * n, a + begin * n, end - begin, &h, f, most, iterations, level, momentum, concavity,
           scratch.data() + 4 * n * thread);
  });
}

void bind_joint(py::module_& m) {
  m.def("sign_frame", &sign_frame, "x"_a, "out"_a, "base"_a, "signs"_a, "box"_a, "iterations"_a, "level"_a, "momentum"_a,
        "concavity"_a, "workers"_a);
}

}  // namespace evenbits
