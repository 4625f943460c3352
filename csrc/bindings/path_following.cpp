#include <type_traits>

#include "arrays.hpp"
#include "scratch.hpp"

namespace evenbits {

constexpr std::size_t kBlock = 128, kProductScratch = 65536;  // of multiply_add: most rows and columns, doubles

// A matrix in the memory of an array, whose elements need not follow one another.
template <class T>
struct Matrix {
  const T* data;
  std::size_t rows, columns, row, column;
  Matrix(const py::array& a, const char* name) {
    constexpr int aligned = py::detail::npy_api::NPY_ARRAY_ALIGNED_;
    if (!py::dtype::of<T>().equal(a.dtype()) || !(a.flags() & aligned) || a.ndim() != 2)
      throw py::type_error(std::string(name) + " must be an aligned matrix of the dtype of the others");
    for (int axis = 0; axis < 2; ++axis)
      if (a.strides(axis) < 0 || a.strides(axis) % py::ssize_t(sizeof(T)))
        throw py::value_error(std::string(name) + " must have strides of whole elements, none below 0");
    data = static_cast<const T*>(a.data());
    rows = std::size_t(a.shape(0)), columns = std::size_t(a.shape(1));
    row = std::size_t(a.strides(0)) / sizeof(T), column = std::size_t(a.strides(1)) / sizeof(T);
  }
};
template <class T>
static auto product_kernel() {
  if constexpr (std::is_same_v<T, float>) return active().multiply_add_f32;
  else return active().multiply_add_f64;
}

// c += a b, tile by tile; with `lower`, of a square c only the tiles that reach below the diagonal.
template <class T>
static void add_product(const Matrix<T>& a, const Matrix<T>& b, double* c, bool lower, std::size_t workers) {
  const auto kernel = product_kernel<T>();
  const std::size_t rows = a.rows, columns = b.columns, depth = a.columns;
  const std::size_t across = (columns + kBlock - 1) / kBlock, tiles = (rows + kBlock - 1) / kBlock * across;
  if (tiles == 0 || depth == 0) return;
  const std::size_t count = thread_count(tiles, kBlock * depth, workers);
  Scratch scratch(2 * kProductScratch, count);
  py::gil_scoped_release unlocked;
  parallel_spans(tiles, count, [&](std::size_t begin, std::size_t end, std::size_t thread) {
    for (std::size_t tile = begin; tile < end; ++tile) {
      const std::size_t i = tile / across * kBlock, j = tile % across * kBlock;
      if (lower && j > i) continue;
      kernel(a.data + i * a.row, a.row, a.column, b.data + j, b.row, std::min(kBlock, rows - i), std::min(kBlock, columns - j),
             depth, c + i * columns + j, columns, reinterpret_cast<double*>(scratch.of(thread)));
    }
  });
}

template <class T>
static void multiply_add_of(const py::array& a, const py::array& b, py::array& c, std::size_t workers) {
  const Matrix<T> left(a, "a"), right(b, "b");
  double* out = elements<double>(c, "c");
  if (left.columns != right.rows) throw py::value_error("a must have as many columns as b has rows");
  if (right.column != 1 && right.columns > 1) throw py::value_error("b must have rows of neighbouring elements");
  if (c.ndim() != 2 || std::size_t(c.shape(0)) != left.rows || std::size_t(c.shape(1)) != right.columns)
    throw py::value_error("c must have the rows of a and the columns of b");
  add_product<T>(left, right, out, false, workers);
}
static void multiply_add(const py::array& a, const py::array& b, py::array c, std::size_t workers) {
  if (py::dtype::of<float>().equal(a.dtype())) multiply_add_of<float>(a, b, c, workers);
  else multiply_add_of<double>(a, b, c, workers);
}

// sums += x^T x.
template <class T>
static void add_gram_of(const py::array& x, py::array& sums, std::size_t workers) {
  const T* in = elements<T>(x, "x");
  double* out = elements<double>(sums, "sums");
  if (x.ndim() != 2) throw py::value_error("x must have two axes");
  const std::size_t rows = std::size_t(x.shape(0)), n = std::size_t(x.shape(1));
  require_size(sums, n * n, "sums");
  Matrix<T> right(x, "x"), left = right;
  left.data = in, left.rows = n, left.columns = rows, left.row = 1, left.column = n;
  right.row = n, right.column = 1;
  add_product<T>(left, right, out, true, workers);
  py::gil_scoped_release unlocked;
  for (std::size_t i = 0; i < n; i += kBlock)  // the same above the diagonal
    for (std::size_t j = i + kBlock; j < n; j += 16)
      for (std::size_t r = i; r < i + kBlock; ++r)
        for (std::size_t s = j; s < std::min(n, j + 16); ++s) out[r * n + s] = out[s * n + r];
}
static void add_gram(const py::array& x, py::array sums, std::size_t workers) {
  if (py::dtype::of<float>().equal(x.dtype())) add_gram_of<float>(x, sums, workers);
  else add_gram_of<double>(x, sums, workers);
}

// The upper triangle of a matrix, as evenbits_path wants it.
template <class T>
static std::vector<T> panels_of(const double* h, std::size_t n, std::size_t workers) {
  const std::size_t count = (n + 7) / 8;
  std::vector<T> panels(32 * count * (count + 1));
  parallel_rows(count, 4 * n, workers, [&](std::size_t begin, std::size_t end) {
    for (std::size_t p = begin; p < end; ++p)
      for (std::size_t s = 0; s < std::min(n, 8 * p + 8); ++s)
        for (std::size_t t = std::max(s, 8 * p); t < std::min(n, 8 * p + 8); ++t)
          panels[32 * p * (p + 1) + 8 * s + t % 8] = T(h[s * n + t]);
  });
  return panels;
}

template <class T>
static const T* optional(const py::object& a, std::size_t count, const char* name) {
  if (a.is_none()) return nullptr;
  const py::array array = a.cast<py::array>();
  require_size(array, count, name);
  return elements<T>(array, name);
}
template <class T>
static T* writable(const py::object& a, std::size_t count, const char* name) {
  if (a.is_none()) return nullptr;
  py::array array = a.cast<py::array>();
  require_size(array, count, name);
  return elements<T>(array, name);
}

template <class T>
static void follow(const evenbits_path& path, const py::array& w, const py::object& base, const py::array& gram,
                   const py::array& pivot, const py::object& step, const py::object& bits, const py::object& codes,
                   const py::object& z, const py::object& clamped, std::size_t workers) {
  const std::size_t n = path.n, rows = rows_of(w, n, "w");
  const T *own = elements<T>(w, "w"), *before = optional<T>(base, rows * n, "base"), *steps = optional<T>(step, rows, "step");
  require_size(gram, n * n, "gram");
  require_size(pivot, n, "pivot");
  const double* h = elements<double>(gram, "gram");
  const T* divisors = elements<T>(pivot, "pivot");
  const std::uint16_t* random = optional<std::uint16_t>(bits, rows * n, "bits");
  std::int32_t* k = writable<std::int32_t>(codes, rows * n, "codes");
  T* out = writable<T>(z, rows * n, "z");
  std::uint32_t* beyond = writable<std::uint32_t>(clamped, rows, "clamped");
  const auto kernel = [] {
    if constexpr (std::is_same_v<T, float>) return active().follow_path_f32;
    else return active().follow_path_f64;
  }();
  if (rows == 0) return;
  py::gil_scoped_release unlocked;
  const std::vector<T> panels = panels_of<T>(h, n, workers);
  const std::size_t threads = thread_count(rows, n * (n / 32 + 1), workers);
  // As many rows together as there are for a thread, in whole tiles, up to 128; nothing depends on it.
  const std::size_t strip = std::min(kBlock, ((rows + threads - 1) / threads + 63) / 64 * 64),
                    strips = (rows + strip - 1) / strip;
  const std::size_t count = std::min(threads, strips);
  Scratch scratch(2 * strip * (n + 202), count);
  parallel_spans(strips, count, [&](std::size_t begin, std::size_t end, std::size_t thread) {
    for (std::size_t i = begin * strip; i < std::min(rows, end * strip); i += strip)
      kernel(&path, panels.data(), divisors, own + i * n, before ? before + i * n : nullptr, steps ? steps + i : nullptr,
             random ? random + i * n : nullptr, std::min(strip, rows - i), k ? k + i * n : nullptr, out ? out + i * n : nullptr,
             beyond ? beyond + i : nullptr, reinterpret_cast<T*>(scratch.of(thread)));
  });
}
static void follow_path(const py::array& w, const py::object& base, const py::array& gram, const py::array& pivot,
                        const py::object& step, const py::object& bits, double low, double high, double offset, double shrink,
                        double gap, const py::object& codes, const py::object& z, const py::object& clamped,
                        std::size_t workers) {
  if (w.ndim() != 2 || w.shape(1) == 0) throw py::value_error("w must have two axes, the last not empty");
  const bool single = py::dtype::of<float>().equal(w.dtype());
  const double most = single ? 1 << 20 : 1 << 30;
  if (!(-most <= low && low <= high && high <= most)) throw py::value_error("low and high are too large");
  const evenbits_path path{std::size_t(w.shape(1)), low, high, offset, shrink, gap};
  if (single) follow<float>(path, w, base, gram, pivot, step, bits, codes, z, clamped, workers);
  else follow<double>(path, w, base, gram, pivot, step, bits, codes, z, clamped, workers);
}

void bind_path_following(py::module_& m) {
  m.def("multiply_add", &multiply_add, "a"_a, "b"_a, "c"_a, "workers"_a);
  m.def("add_gram", &add_gram, "x"_a, "sums"_a, "workers"_a);
  m.def("follow_path", &follow_path, "w"_a, "base"_a, "gram"_a, "pivot"_a, "step"_a, "bits"_a, "low"_a, "high"_a, "offset"_a,
        "shrink"_a, "gap"_a, "codes"_a, "z"_a, "clamped"_a, "workers"_a);
}

}  // namespace evenbits
