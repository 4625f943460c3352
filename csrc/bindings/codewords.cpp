#include <vector>

#include "arrays.hpp"

namespace evenbits {

static void nearest_codeword(py::array x, std::size_t stride, const py::array& columns, const py::array& half, bool subtract,
                             py::array codes, std::size_t workers) {
  const std::size_t count = size(half);
  if (count == 0 || count % 16 || count > 256) throw py::value_error("half must have a multiple of 16 elements, up to 256");
  const std::size_t n = count ? size(columns) / count : 0, rows = rows_of(x, stride, "x");
  require_size(columns, n * count, "columns"), require_size(codes, rows, "codes");
  if (n > stride) throw py::value_error("columns has more rows than x has elements a row");
  float* in = elements<float>(x, "x");
  const float *c = elements<float>(columns, "columns"), *h = elements<float>(half, "half");
  std::uint8_t* out = elements<std::uint8_t>(codes, "codes");
  const auto kernel = active().nearest_codeword_f32;
  py::gil_scoped_release unlocked;
  parallel_rows(rows, n * count / 16 + 1, workers, [&](std::size_t begin, std::size_t end) {
    kernel(in + begin * stride, end - begin, stride, c, h, n, count, subtract, out + begin);
  });
}

// Books follow each other, 2^bits[l] codewords of widths[l] numbers each; codes has a row a layer.
static void sum_codewords(const py::array& codes, std::size_t first, std::size_t last, const py::array& books,
                          const py::array& widths, const py::array& bits, std::size_t n, py::array y, std::size_t workers) {
  const std::size_t layers = size(widths), columns = layers ? size(codes) / layers : 0;
  require_size(codes, layers * columns, "codes"), require_size(bits, layers, "bits");
  if (first > last || (layers && last > columns)) throw py::value_error("codes does not have the rows asked for");
  if (n == 0) throw py::value_error("n must be positive");
  if (last - first > std::size_t(-1) / n) throw py::value_error("y is too small");
  require_size(y, (last - first) * n, "y");
  const std::uint8_t* in = elements<std::uint8_t>(codes, "codes");
  const float* table = elements<float>(books, "books");
  const std::uint64_t *wide = elements<std::uint64_t>(widths, "widths"), *width_bits = elements<std::uint64_t>(bits, "bits");
  float* out = elements<float>(y, "y");
  std::vector<const float*> starts(layers);
  std::vector<std::size_t> lengths(layers);
  std::size_t used = 0;
  for (std::size_t l = 0; l < layers; ++l) {
    if (wide[l] % 64 || width_bits[l] > 8) throw py::value_error("widths must be multiples of 64, and bits at most 8");
    const std::size_t count = std::size_t(1) << width_bits[l];
    if (wide[l] > (size(books) - used) / count) throw py::value_error("books is too small");
    starts[l] = table + used, lengths[l] = wide[l];
    used += count * wide[l];
    std::uint8_t all = 0;
    for (std::size_t i = first; i < last; ++i) all |= in[l * columns + i];
    if (all >= count) throw py::value_error("codes has a code that its book lacks");
  }
  const auto kernel = active().sum_codewords_f32;
  py::gil_scoped_release unlocked;
  parallel_rows(last - first, n, workers, [&](std::size_t begin, std::size_t end) {
    kernel(in + first + begin, end - begin, columns, layers, starts.data(), lengths.data(), n, out + begin * n);
  });
}

// Throws unless all entries are below `count`.
static const std::uint32_t* indices(const py::array& a, std::size_t rows, std::size_t count, const char* name) {
  require_size(a, rows, name);
  const std::uint32_t* p = elements<std::uint32_t>(a, name);
  std::uint32_t most = 0;
  for (std::size_t i = 0; i < rows; ++i) most = p[i] > most ? p[i] : most;
  if (rows && most >= count) throw py::value_error(std::string(name) + " has an entry that is too large");
  return p;
}

static void group_sums(const py::array& x, std::size_t n, const py::array& group, py::array sums) {
  const std::size_t rows = rows_of(x, n, "x");
  const std::uint32_t* g = indices(group, rows, rows_of(sums, n, "sums"), "group");
  const double* in = elements<double>(x, "x");
  double* out = elements<double>(sums, "sums");
  const auto kernel = active().group_sums_f64;
  py::gil_scoped_release unlocked;
  const DefaultFloatState state;
  kernel(in, g, rows, n, out);
}

static void indexed_product(const py::array& x, std::size_t n, const py::object& index, const py::array& matrices, std::size_t m,
                            py::array y, std::size_t workers) {
  const std::size_t rows = rows_of(x, n, "x");
  if (m == 0 || m > std::size_t(-1) / n) throw py::value_error("m is not a number of columns");
  const std::size_t count = rows_of(matrices, n * m, "matrices");
  require_size(y, rows * m, "y");
  const std::uint32_t* which = index.is_none() ? nullptr : indices(index.cast<py::array>(), rows, count, "index");
  if (rows && !count) throw py::value_error("matrices is empty");
  const double *in = elements<double>(x, "x"), *a = elements<double>(matrices, "matrices");
  double* out = elements<double>(y, "y");
  const auto kernel = active().indexed_product_f64;
  py::gil_scoped_release unlocked;
  parallel_rows(rows, n * m, workers, [&](std::size_t begin, std::size_t end) {
    kernel(in + begin * n, which ? which + begin : nullptr, end - begin, n, a, m, out + begin * m);
  });
}

static void windows(const py::array& x, const py::array& narrow, const py::object& wide, py::array y, std::size_t workers) {
  const std::uint8_t *in = elements<std::uint8_t>(x, "x"), *few = elements<std::uint8_t>(narrow, "narrow"), *many = nullptr;
  const std::size_t n = size(x);
  require_size(narrow, 256, "narrow"), require_size(y, n, "y");
  if (!wide.is_none()) {
    const py::array a = wide.cast<py::array>();
    require_size(a, 256, "wide");
    many = elements<std::uint8_t>(a, "wide");
    if (n % 2) throw py::value_error("x must be pairs");
  }
  std::uint8_t* out = elements<std::uint8_t>(y, "y");
  const auto kernel = active().windows_u8;
  py::gil_scoped_release unlocked;
  parallel_rows((n + 1) / 2, 2, workers, [&](std::size_t begin, std::size_t end) {
    kernel(in + 2 * begin, std::min(2 * end, n) - 2 * begin, few, many, out + 2 * begin);
  });
}

void bind_codewords(py::module_& m) {
  m.def("nearest_codeword", &nearest_codeword, "x"_a, "stride"_a, "columns"_a, "half"_a, "subtract"_a, "codes"_a, "workers"_a);
  m.def("sum_codewords", &sum_codewords, "codes"_a, "first"_a, "last"_a, "books"_a, "widths"_a, "bits"_a, "n"_a, "y"_a,
        "workers"_a);
  m.def("group_sums", &group_sums, "x"_a, "n"_a, "group"_a, "sums"_a);
  m.def("indexed_product", &indexed_product, "x"_a, "n"_a, "index"_a, "matrices"_a, "m"_a, "y"_a, "workers"_a);
  m.def("windows", &windows, "x"_a, "narrow"_a, "wide"_a, "y"_a, "workers"_a);
}

}  // namespace evenbits
