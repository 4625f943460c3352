#include <algorithm>

#include "arrays.hpp"
#include "scratch.hpp"

namespace evenbits {

// The matrix that the arrays make, checked: `rows` of n codes each.
static evenbits_packed packed_of(const py::array& codes, std::size_t rows, std::size_t n, std::uint32_t bits,
                                 const py::array& scale, const py::object& zero, std::size_t group) {
  if ((bits < 1 || bits > 8) && bits != 32) throw py::value_error("bits must be from 1 to 8, or 32");
  if (n > std::size_t(-1) / 64) throw py::value_error("n is too large");
  const bool numbers = bits == 32;
  const std::uint8_t* first =
      numbers ? reinterpret_cast<const std::uint8_t*>(elements<float>(codes, "codes")) : elements<std::uint8_t>(codes, "codes");
  const std::size_t row_bytes = rows ? size(codes) * (numbers ? sizeof(float) : 1) / rows : 0;
  if (rows && (size(codes) % rows || row_bytes < (n * bits + 7) / 8))
    throw py::value_error("codes does not have " + std::to_string(rows) + " rows of " + std::to_string(n) + " codes");
  const std::size_t groups = groups_of(n, group);
  require_size(scale, rows * groups, "scale");
  const float* z = nullptr;
  if (!zero.is_none()) {
    const py::array a = zero.cast<py::array>();
    require_size(a, rows * groups, "zero");
    z = elements<float>(a, "zero");
  }
  return {rows, n, first, row_bytes, bits, nullptr, elements<float>(scale, "scale"), z, group};
}
// The same matrix from row `begin` to `end`.
static evenbits_packed rows_between(const evenbits_packed& w, std::size_t begin, std::size_t end) {
  evenbits_packed part = w;
  const std::size_t entries = begin * (w.n / w.group + (w.n % w.group != 0));
  part.rows = end - begin, part.codes += begin * w.row_bytes, part.scale += entries;
  if (w.zero) part.zero += entries;
  return part;
}

// Where the products go: y[:, first : first + rows] for the rows of x, of n floats each.
struct Target {
  const float* x;
  float* y;
  std::size_t columns, stride;
  Target(const py::array& in, py::array& out, const evenbits_packed& w, std::size_t first)
      : x(elements<float>(in, "x")), y(elements<float>(out, "y")) {
    if (out.ndim() != 2) throw py::value_error("y must have two axes");
    columns = static_cast<std::size_t>(out.shape(0)), stride = static_cast<std::size_t>(out.shape(1));
    if (first > stride || w.rows > stride - first)
      throw py::value_error("y does not have columns for " + std::to_string(w.rows) + " rows from " + std::to_string(first) +
                            " on");
    require_size(in, columns * w.n, "x");
    y += first;
  }
};

// Calls prepare(x, columns, memory) and multiply(rows of w, memory, columns, y), a few columns at a time, with `floats` floats a
// column.
template <class Prepare, class Multiply>
static void for_columns(const evenbits_packed& w, const Target& t, std::size_t floats, std::size_t workers, Prepare prepare,
                        Multiply multiply) {
  if (w.rows == 0 || t.columns == 0) return;
  constexpr std::size_t block = 64;
  py::gil_scoped_release unlocked;
  Scratch scratch(std::min(t.columns, block) * floats);
  float* prepared = scratch.of(0);
  const DefaultFloatState state;
  for (std::size_t c = 0; c < t.columns; c += block) {
    const std::size_t count = std::min(block, t.columns - c);
    prepare(t.x + c * w.n, count, prepared);
    parallel_rows(w.rows, w.n * count, workers, [&](std::size_t begin, std::size_t end) {
      const evenbits_packed part = rows_between(w, begin, end);
      multiply(part, prepared, count, t.y + c * t.stride + begin);
    });
  }
}

static void product(const py::array& codes, std::size_t rows, std::size_t n, std::uint32_t bits, const py::array& levels,
                    const py::array& scale, const py::object& zero, std::size_t group, const py::array& x, py::array y,
                    std::size_t first, std::size_t workers) {
  require_size(levels, 256, "levels");
  evenbits_packed w = packed_of(codes, rows, n, bits, scale, zero, group);
  w.levels = elements<float>(levels, "levels");
  const Target t(x, y, w, first);
  const auto& api = active();
  for_columns(
      w, t, (n + 127) / 128 * 128, workers,
      [&](const float* from, std::size_t count, float* prepared) { api.prepare_f32(from, count, n, prepared); },
      [&](const evenbits_packed& part, const float* prepared, std::size_t count, float* to) {
        api.product_f32(&part, prepared, count, to, t.stride);
      });
}

static void product_bytes(const py::array& codes, std::size_t rows, std::size_t n, std::uint32_t bits, const py::array& units,
                          float center, float step, const py::array& scale, const py::object& zero, std::size_t group,
                          const py::array& x, py::array y, std::size_t first, std::size_t workers) {
  const evenbits_packed w = packed_of(codes, rows, n, bits, scale, zero, group);
  if (bits > 8) throw py::value_error("bits must be from 1 to 8");
  if (group % 8 && group < n) throw py::value_error("group must be a multiple of 8 or at least n");
  evenbits_units u = {{}, center, step};
  require_size(units, sizeof u.unit, "units");
  std::copy_n(elements<std::uint8_t>(units, "units"), sizeof u.unit, u.unit);
  const Target t(x, y, w, first);
  const auto& api = active();
  for_columns(
      w, t, (n + 511) / 512 * 256, workers,
      [&](const float* from, std::size_t count, float* prepared) { api.prepare_i8(from, count, n, bits, group, prepared); },
      [&](const evenbits_packed& part, const float* prepared, std::size_t count, float* to) {
        api.product_i8(&part, &u, prepared, count, to, t.stride);
      });
}

void bind_products(py::module_& m) {
  m.def("product", &product, "codes"_a, "rows"_a, "n"_a, "bits"_a, "levels"_a, "scale"_a, "zero"_a, "group"_a, "x"_a, "y"_a,
        "first"_a, "workers"_a);
  m.def("product_bytes", &product_bytes, "codes"_a, "rows"_a, "n"_a, "bits"_a, "units"_a, "center"_a, "step"_a, "scale"_a,
        "zero"_a, "group"_a, "x"_a, "y"_a, "first"_a, "workers"_a);
}

}  // namespace evenbits
