#include "groups.hpp"

namespace evenbits {

static void nearest_level(const py::array& x, std::size_t n, std::size_t group, const py::array& scale,
                          const py::array& thresholds, py::array codes, std::size_t workers) {
  const float *in = elements<float>(x, "x"), *t = elements<float>(thresholds, "thresholds");
  const std::size_t count = size(thresholds);
  if (count > 255) throw py::value_error("thresholds must be at most 255");
  require_size(codes, size(x), "codes");
  std::uint8_t* out = elements<std::uint8_t>(codes, "codes");
  const Groups g(x, n, group);
  const float* scales = g.parameters<float>(scale, "scale");
  const auto kernel = active().nearest_level_f32;
  py::gil_scoped_release unlocked;
  parallel_groups(g, workers, [&](std::size_t i, std::size_t p, std::size_t rows, std::size_t length) {
    kernel(in + i, rows, length, group, scales + p, t, count, out + i);
  });
}

// A table of as many entries as there are values of the code's type: no code leaves it.
template <class Code, class Kernel>
static void dequantize_with(Kernel kernel, const py::array& codes, std::size_t n, std::size_t group, const py::array& table,
                            const py::array& scale, const py::object& zero, py::array& y, std::size_t workers) {
  const Code* in = elements<Code>(codes, "codes");
  require_size(table, std::size_t(1) << 8 * sizeof(Code), "table");
  require_size(y, size(codes), "y");
  const float* t = elements<float>(table, "table");
  float* out = elements<float>(y, "y");
  const Groups g(codes, n, group);
  const float *scales = g.parameters<float>(scale, "scale"), *zeros = nullptr;
  if (!zero.is_none()) {
    if (!py::isinstance<py::array>(zero)) throw py::type_error("zero must be an array or None");
    zeros = g.parameters<float>(static_cast<const py::array&>(zero), "zero");
  }
  py::gil_scoped_release unlocked;
  parallel_groups(g, workers, [&](std::size_t i, std::size_t p, std::size_t rows, std::size_t length) {
    kernel(in + i, rows, length, group, t, scales + p, zeros ? zeros + p : nullptr, out + i);
  });
}

static void dequantize(const py::array& codes, std::size_t n, std::size_t group, const py::array& table, const py::array& scale,
                       const py::object& zero, py::array y, std::size_t workers) {
  if (py::dtype::of<std::uint16_t>().equal(codes.dtype()))
    dequantize_with<std::uint16_t>(active().dequantize_u16, codes, n, group, table, scale, zero, y, workers);
  else dequantize_with<std::uint8_t>(active().dequantize_u8, codes, n, group, table, scale, zero, y, workers);
}

void bind_codebooks(py::module_& m) {
  m.def("nearest_level", &nearest_level, "x"_a, "n"_a, "group"_a, "scale"_a, "thresholds"_a, "codes"_a, "workers"_a);
  m.def("dequantize", &dequantize, "codes"_a, "n"_a, "group"_a, "table"_a, "scale"_a, "zero"_a, "y"_a, "workers"_a);
}

}  // namespace evenbits
