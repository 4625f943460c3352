// Codes of a row that are decided together.
#include <pybind11/stl.h>

#include <array>

#include "base.hpp"
#include "scratch.hpp"

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
  Scratch scratch(4 * n, count);
  py::gil_scoped_release unlocked;
  parallel_spans(rows, count, [&](std::size_t begin, std::size_t end, std::size_t thread) {
    kernel(in + begin * n, a + begin * n, end - begin, &h, f, most, iterations, level, momentum, concavity, scratch.of(thread));
  });
}

static void kashin_split(const py::array& x, py::array u, py::array v, const py::array& base, const py::array& signs, bool greedy,
                         std::uint32_t most, double tolerance, py::array residuals, std::size_t workers) {
  const float *in = elements<float>(x, "x"), *f = elements<float>(signs, "signs");
  float *first = elements<float>(u, "u"), *second = elements<float>(v, "v");
  double* left = elements<double>(residuals, "residuals");
  const std::size_t n = size(signs), rows = rows_of(x, n, "x");
  require_size(u, rows * n, "u");
  require_size(v, rows * n, "v");
  require_size(residuals, rows, "residuals");
  const evenbits_hadamard h = matrix_of(n, base);
  const auto kernel = active().kashin_split_f32;
  const std::size_t count = thread_count(rows, 64 * n, workers);
  Scratch scratch(3 * n, count);
  py::gil_scoped_release unlocked;
  parallel_spans(rows, count, [&](std::size_t begin, std::size_t end, std::size_t thread) {
    kernel(in + begin * n, first + begin * n, second + begin * n, end - begin, &h, f, greedy, most, tolerance, left + begin,
           scratch.of(thread));
  });
}

static void kashin_joint(const py::array& x, py::array codes, const py::array& base, const py::array& signs, std::size_t split,
                         std::array<std::uint32_t, 4> levels, std::array<float, 4> peaks, std::uint32_t iterations,
                         float momentum, double concavity, std::size_t workers) {
  const float *in = elements<float>(x, "x"), *f = elements<float>(signs, "signs");
  std::uint8_t* out = elements<std::uint8_t>(codes, "codes");
  const std::size_t n = size(signs), rows = rows_of(x, n, "x");
  require_size(codes, rows * n, "codes");
  if (split > n) throw py::value_error("split must be at most " + std::to_string(n));
  evenbits_alphabet alphabets[4];
  for (std::size_t i = 0; i < 4; ++i) {
    if (levels[i] < 1 || levels[i] > 256 || !(peaks[i] >= 0 && peaks[i] < 1e6f) || (levels[i] == 1) != (peaks[i] == 0))
      throw py::value_error("levels must be from 1 to 256, and peaks positive, or 0 for one level");
    alphabets[i] = {levels[i], peaks[i]};
  }
  const evenbits_hadamard h = matrix_of(n, base);
  const auto kernel = active().kashin_joint_f32;
  const std::size_t count = thread_count(rows, n * (4 * std::size_t(iterations) + 1), workers);
  Scratch scratch(8 * n, count);
  py::gil_scoped_release unlocked;
  parallel_spans(rows, count, [&](std::size_t begin, std::size_t end, std::size_t thread) {
    kernel(in + begin * n, out + begin * n, end - begin, &h, f, split, alphabets, iterations, momentum, concavity,
           scratch.of(thread));
  });
}

void bind_joint(py::module_& m) {
  m.def("kashin_split", &kashin_split, "x"_a, "u"_a, "v"_a, "base"_a, "signs"_a, "greedy"_a, "most"_a, "tolerance"_a,
        "residuals"_a, "workers"_a);
  m.def("kashin_joint", &kashin_joint, "x"_a, "codes"_a, "base"_a, "signs"_a, "split"_a, "levels"_a, "peaks"_a, "iterations"_a,
        "momentum"_a, "concavity"_a, "workers"_a);
  m.def("sign_frame", &sign_frame, "x"_a, "out"_a, "base"_a, "signs"_a, "box"_a, "iterations"_a, "level"_a, "momentum"_a,
        "concavity"_a, "workers"_a);
}

}  // namespace evenbits
