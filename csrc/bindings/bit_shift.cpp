#include <algorithm>
#include <memory>

#include "arrays.hpp"
#include "scratch.hpp"

namespace evenbits {

static evenbits_bit_shift bit_shift(std::size_t n, unsigned memory, unsigned bits, unsigned per) {
  if (memory < 8 || memory > 16) throw py::value_error("memory must be 8 to 16");
  if (per == 0 || per > 1 << 16 || bits < per || bits > 4 * per) throw py::value_error("bits / per must be 1 to 4");
  if (n < memory || n > std::size_t(1) << 40) throw py::value_error("rows must have at least `memory` values");
  evenbits_bit_shift t = {};
  t.n = n, t.memory = memory, t.bits = bits, t.per = per;
  return t;
}
static std::size_t row_bytes(const evenbits_bit_shift& t) {
  return (t.n / t.per * t.bits + t.n % t.per * t.bits / t.per + 7) / 8;
}

static void bit_shift_search(const py::array& x, std::size_t n, unsigned memory, unsigned bits, unsigned per, py::array codes,
                             std::size_t workers) {
  const evenbits_bit_shift t = bit_shift(n, memory, bits, per);
  const std::size_t rows = rows_of(x, n, "x"), bytes = row_bytes(t);
  require_size(codes, rows * bytes, "codes");
  const std::int16_t* in = elements<std::int16_t>(x, "x");
  std::uint8_t* out = elements<std::uint8_t>(codes, "codes");
  const evenbits_api& kernels = active();
  py::gil_scoped_release unlocked;
  const std::size_t threads = thread_count(rows, n << (memory - 4), workers), room = kernels.bit_shift_scratch(&t);
  const std::unique_ptr<std::int16_t[]> scratch(new std::int16_t[threads * room]);
  parallel_spans(rows, threads, [&](std::size_t begin, std::size_t end, std::size_t thread) {
    kernels.bit_shift_search(&t, in + begin * n, end - begin, out + begin * bytes, scratch.get() + thread * room);
  });
}

static void bit_shift_decode(const py::array& codes, const py::array& scale, std::size_t n, unsigned memory, unsigned bits,
                             unsigned per, py::array y, std::size_t workers) {
  const evenbits_bit_shift t = bit_shift(n, memory, bits, per);
  const std::size_t rows = rows_of(y, n, "y"), bytes = row_bytes(t);
  require_size(codes, rows * bytes, "codes"), require_size(scale, rows, "scale");
  const std::uint8_t* in = elements<std::uint8_t>(codes, "codes");
  const float* factor = elements<float>(scale, "scale");
  float* out = elements<float>(y, "y");
  const auto kernel = active().bit_shift_decode_f32;
  py::gil_scoped_release unlocked;
  parallel_rows(rows, n, workers, [&](std::size_t begin, std::size_t end) {
    kernel(&t, in + begin * bytes, factor + begin, end - begin, out + begin * n);
  });
}

// y (columns, rows) = x (columns, n) times the rows.
static void bit_shift_product(const py::array& codes, const py::array& scale, std::size_t n, unsigned memory, unsigned bits,
                              unsigned per, const py::array& x, py::array y, std::size_t workers) {
  const evenbits_bit_shift t = bit_shift(n, memory, bits, per);
  const std::size_t bytes = row_bytes(t), rows = size(scale), columns = rows_of(x, n, "x"), length = (n + 127) / 128 * 128;
  require_size(codes, rows * bytes, "codes"), require_size(y, columns * rows, "y");
  const std::uint8_t* in = elements<std::uint8_t>(codes, "codes");
  const float *factor = elements<float>(scale, "scale"), *from = elements<float>(x, "x");
  float* out = elements<float>(y, "y");
  const evenbits_api& api = active();
  constexpr std::size_t block = 64;
  py::gil_scoped_release unlocked;
  Scratch scratch(std::min(columns, block) * length);
  float* prepared = scratch.of(0);
  const DefaultFloatState state;
  for (std::size_t c = 0; c < columns; c += block) {
    const std::size_t count = std::min(block, columns - c);
    api.prepare_f32(from + c * n, count, n, prepared);
    parallel_rows(rows, n * count, workers, [&](std::size_t begin, std::size_t end) {
      api.bit_shift_product_f32(&t, in + begin * bytes, factor + begin, end - begin, prepared, count, out + c * rows + begin,
                                rows);
    });
  }
}

void bind_bit_shift(py::module_& m) {
  m.def("bit_shift_search", &bit_shift_search, "x"_a, "n"_a, "memory"_a, "bits"_a, "per"_a, "codes"_a, "workers"_a);
  m.def("bit_shift_decode", &bit_shift_decode, "codes"_a, "scale"_a, "n"_a, "memory"_a, "bits"_a, "per"_a, "y"_a, "workers"_a);
  m.def("bit_shift_product", &bit_shift_product, "codes"_a, "scale"_a, "n"_a, "memory"_a, "bits"_a, "per"_a, "x"_a, "y"_a,
        "workers"_a);
}

}  // namespace evenbits
