#include <pybind11/stl.h>

#include <mutex>
#include <utility>
#include <vector>

#include "base.hpp"
#include "scratch.hpp"

namespace evenbits {

// The rotation of rows of d values, its arrays checked. Without thresholds it serves decoding only.
static evenbits_rotation rotation_of(std::size_t d, const py::array& base, const py::array& signs, float scale,
                                     const py::array& levels, const py::array* thresholds, std::uint32_t bits) {
  const std::size_t n = size(signs);
  if (d < 1 || d > n) throw py::value_error("x must have rows of 1 to " + std::to_string(n) + " elements");
  if (bits < 1 || bits > 8) throw py::value_error("bits must be from 1 to 8");
  require_size(levels, 256, "levels");
  if (thresholds) require_size(*thresholds, (std::size_t(1) << bits) - 1, "thresholds");
  return {matrix_of(n, base),
          d,
          elements<float>(signs, "signs"),
          scale,
          bits,
          elements<float>(levels, "levels"),
          thresholds ? elements<float>(*thresholds, "thresholds") : nullptr};
}
static std::size_t last_axis(const py::array& x) { return x.ndim() ? static_cast<std::size_t>(x.shape(x.ndim() - 1)) : 0; }
// Bytes of a packed row.
static std::size_t row_bytes_of(const py::array& packed, std::size_t rows, const evenbits_rotation& r) {
  const std::size_t bytes = rows ? size(packed) / rows : 0;
  if (bytes * rows != size(packed) || (rows && bytes < (r.h.n * r.bits + 7) / 8))
    throw py::value_error("packed does not have " + std::to_string(rows) + " rows of equal and sufficient size");
  return bytes;
}

using Spans = std::vector<std::pair<std::size_t, std::size_t>>;

// Calls work(begin, end, scratch) for spans of rows, on at most `workers` threads; it tells how many rows it did. Returns the
// rest.
template <class F>
static Spans rows_left(std::size_t rows, std::size_t n, std::size_t workers, F work) {
  const std::size_t count = thread_count(rows, n, workers);
  Spans left;
  left.reserve(4 * count);  // a span each at most, so that no thread allocates
  std::mutex lock;
  Scratch scratch(n, count);
  parallel_spans(rows, count, [&](std::size_t begin, std::size_t end, std::size_t thread) {
    const std::size_t done = begin + work(begin, end, scratch.of(thread));
    if (done == end) return;
    const std::lock_guard<std::mutex> held(lock);
    left.emplace_back(done, end);
  });
  return left;
}

static Spans encode_rotated(const py::array& x, const py::array& base, const py::array& signs, float scale,
                            const py::array& levels, const py::array& thresholds, std::uint32_t bits, int fit, py::array packed,
                            py::array scales, std::size_t workers) {
  const float* in = elements<float>(x, "x");
  std::uint8_t* out = elements<std::uint8_t>(packed, "packed");
  float* s = elements<float>(scales, "scales");
  const evenbits_rotation r = rotation_of(last_axis(x), base, signs, scale, levels, &thresholds, bits);
  const std::size_t rows = rows_of(x, r.d, "x"), row_bytes = row_bytes_of(packed, rows, r);
  require_size(scales, rows, "scales");
  if (fit < EVENBITS_FIT_NONE || fit > EVENBITS_FIT_UNBIASED) throw py::value_error("fit must be from 0 to 2");
  const auto kernel = active().encode_rotated_f32;
  py::gil_scoped_release unlocked;
  return rows_left(rows, r.h.n, workers, [&](std::size_t begin, std::size_t end, float* scratch) {
    return kernel(in + begin * r.d, end - begin, &r, fit, out + begin * row_bytes, row_bytes, s + begin, scratch);
  });
}

static Spans decode_rotated(const py::array& packed, const py::array& scales, const py::array& base, const py::array& signs,
                            float scale, const py::array& levels, std::uint32_t bits, py::array x, std::size_t workers) {
  const std::uint8_t* in = elements<std::uint8_t>(packed, "packed");
  const float* s = elements<float>(scales, "scales");
  float* out = elements<float>(x, "x");
  const evenbits_rotation r = rotation_of(last_axis(x), base, signs, scale, levels, nullptr, bits);
  const std::size_t rows = rows_of(x, r.d, "x"), row_bytes = row_bytes_of(packed, rows, r);
  require_size(scales, rows, "scales");
  const auto kernel = active().decode_rotated_f32;
  py::gil_scoped_release unlocked;
  return rows_left(rows, r.h.n, workers, [&](std::size_t begin, std::size_t end, float* scratch) {
    return kernel(in + begin * row_bytes, row_bytes, s + begin, end - begin, &r, out + begin * r.d, scratch);
  });
}

void bind_encode(py::module_& m) {
  m.def("encode_rotated", &encode_rotated, "x"_a, "base"_a, "signs"_a, "scale"_a, "levels"_a, "thresholds"_a, "bits"_a, "fit"_a,
        "packed"_a, "scales"_a, "workers"_a);
  m.def("decode_rotated", &decode_rotated, "packed"_a, "scales"_a, "base"_a, "signs"_a, "scale"_a, "levels"_a, "bits"_a, "x"_a,
        "workers"_a);
}

}  // namespace evenbits
