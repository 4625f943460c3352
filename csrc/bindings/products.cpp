#include <memory>
#include <new>

#include "arrays.hpp"

namespace evenbits {

// Memory that begins with a cache line, as the kernels like it.
struct AlignedDelete {
  void operator()(float* p) const { ::operator delete[](p, std::align_val_t(64)); }
};
static std::unique_ptr<float[], AlignedDelete> aligned(std::size_t n) {
  return std::unique_ptr<float[], AlignedDelete>(static_cast<float*>(::operator new[](n * sizeof(float), std::align_val_t(64))));
}

// The matrix that the arrays make, checked: `rows` of n codes each.
static evenbits_packed packed_of(const py::array& codes, std::size_t rows, std::size_t n, std::uint32_t bits,
                                 const py::array& levels, const py::array& scale, const py::object& zero, std::size_t group) {
  if ((bits < 1 || bits > 8) && bits != 32) throw py::value_error("bits must be from 1 to 8, or 32");
  if (n > std::size_t(-1) / 64) throw py::value_error("n is too large");
  const bool numbers = bits == 32;
  const std::uint8_t* first =
      numbers ? reinterpret_cast<const std::uint8_t*>(elements<float>(codes, "codes")) : elements<std::uint8_t>(codes, "codes");
  const std::size_t row_bytes = rows ? size(codes) * (numbers ? sizeof(float) : 1) / rows : 0;
  if (rows && (size(codes) % rows || row_bytes < (n * bits + 7) / 8))
    throw py::value_error("codes does not have " + std::to_string(rows) + " rows of " + std::to_string(n) + " codes");
  require_size(levels, 256, "levels");
  const std::size_t groups = groups_of(n, group);
  require_size(scale, rows * groups, "scale");
  const float* z = nullptr;
  if (!zero.is_none()) {
    const py::array a = zero.cast<py::array>();
    require_size(a, rows * groups, "zero");
    z = elements<float>(a, "zero");
  }
  return {rows, n, first, row_bytes, bits, elements<float>(levels, "levels"), elements<float>(scale, "scale"), z, group};
}
// The same matrix from row `begin` to `end`.
static evenbits_packed rows_between(const evenbits_packed& w, std::size_t begin, std::size_t end) {
  evenbits_packed part = w;
  const std::size_t entries = begin * (w.n / w.group + (w.n % w.group != 0));
  part.rows = end - begin, part.codes += begin * w.row_bytes, part.scale += entries;
  if (w.zero) part.zero += entries;
  return part;
}

// y[:, first : first + rows] = the products of x, rows of n floats, with the `rows` rows of the matrix.
static void product(const py::array& codes, std::size_t rows, std::size_t n, std::uint32_t bits, const py::array& levels,
                    const py::array& scale, const py::object& zero, std::size_t group, const py::array& x, py::array y,
                    std::size_t first, std::size_t workers) {
  const evenbits_packed w = packed_of(codes, rows, n, bits, levels, scale, zero, group);
  const float* in = elements<float>(x, "x");
  float* out = elements<float>(y, "y");
  const std::size_t columns = y.ndim() == 2 ? static_cast<std::size_t>(y.shape(0)) : 0;
  const std::size_t stride = columns ? size(y) / columns : 0;
  if (y.ndim() != 2 || (columns && (first > stride || rows > stride - first)))
    throw py::value_error("y does not have columns for " + std::to_string(rows) + " rows from " + std::to_string(first) + " on");
  require_size(x, columns * n, "x");
  if (rows == 0 || columns == 0) return;
  const std::size_t length = (n + 127) / 128 * 128, block = 64;  // columns prepared at a time
  const auto& api = active();
  py::gil_scoped_release unlocked;
  const auto prepared = aligned(std::min(columns, block) * length);
  const DefaultFloatState state;
  for (std::size_t c = 0; c < columns; c += block) {
    const std::size_t count = std::min(block, columns - c);
    api.prepare_f32(in + c * n, count, n, prepared.get());
    parallel_rows(rows, n * count, workers, [&](std::size_t begin, std::size_t end) {
      const evenbits_packed part = rows_between(w, begin, end);
      api.product_f32(&part, prepared.get(), count, out + c * stride + first + begin, stride);
    });
  }
}

void bind_products(py::module_& m) {
  m.def("product", &product, "codes"_a, "rows"_a, "n"_a, "bits"_a, "levels"_a, "scale"_a, "zero"_a, "group"_a, "x"_a, "y"_a,
        "first"_a, "workers"_a);
}

}  // namespace evenbits
