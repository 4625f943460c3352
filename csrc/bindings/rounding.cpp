#include "groups.hpp"

namespace evenbits {

// Calls f(x, codes) with pointers of their types, and refuses all others.
template <class F>
static void with_types(const py::array& x, py::array& codes, std::uint32_t top, F f) {
  require_size(codes, size(x), "codes");
  const auto with = [&](const auto* in) {
    if (py::dtype::of<std::uint8_t>().equal(codes.dtype())) {
      if (top > 255) throw py::value_error("top must be at most 255 for uint8 codes");
      f(in, elements<std::uint8_t>(codes, "codes"));
    } else {
      if (top > 65535) throw py::value_error("top must be at most 65535");
      f(in, elements<std::uint16_t>(codes, "codes"));
    }
  };
  if (py::dtype::of<double>().equal(x.dtype())) with(elements<double>(x, "x"));
  else with(elements<float>(x, "x"));
}

static auto nearest(const float*, std::uint8_t*) { return active().round_nearest_f32_u8; }
static auto nearest(const float*, std::uint16_t*) { return active().round_nearest_f32_u16; }
static auto nearest(const double*, std::uint8_t*) { return active().round_nearest_f64_u8; }
static auto nearest(const double*, std::uint16_t*) { return active().round_nearest_f64_u16; }
static auto stochastic(const float*, std::uint8_t*) { return active().round_stochastic_f32_u8; }
static auto stochastic(const float*, std::uint16_t*) { return active().round_stochastic_f32_u16; }
static auto stochastic(const double*, std::uint8_t*) { return active().round_stochastic_f64_u8; }
static auto stochastic(const double*, std::uint16_t*) { return active().round_stochastic_f64_u16; }

static void round_nearest(const py::array& x, std::size_t n, std::size_t group, const py::array& scale, const py::array& zero,
                          std::uint32_t top, py::array codes, std::size_t workers) {
  const Groups g(x, n, group);
  with_types(x, codes, top, [&](const auto* in, auto* out) {
    using T = std::decay_t<decltype(*in)>;
    const T *scales = g.parameters<T>(scale, "scale"), *zeros = g.parameters<T>(zero, "zero");
    const auto kernel = nearest(in, out);
    py::gil_scoped_release unlocked;
    parallel_groups(g, workers, [&](std::size_t i, std::size_t p, std::size_t rows, std::size_t length) {
      kernel(in + i, rows, length, group, scales + p, zeros + p, top, out + i);
    });
  });
}

static void round_stochastic(const py::array& x, std::size_t n, std::size_t group, const py::array& scale, const py::array& zero,
                             std::uint32_t top, std::uint64_t seed, std::uint64_t stream, std::uint64_t first, py::array codes,
                             std::size_t workers) {
  const Groups g(x, n, group);
  with_types(x, codes, top, [&](const auto* in, auto* out) {
    using T = std::decay_t<decltype(*in)>;
    const T *scales = g.parameters<T>(scale, "scale"), *zeros = g.parameters<T>(zero, "zero");
    const auto kernel = stochastic(in, out);
    py::gil_scoped_release unlocked;
    parallel_groups(g, workers, [&](std::size_t i, std::size_t p, std::size_t rows, std::size_t length) {
      kernel(in + i, rows, length, group, scales + p, zeros + p, top, {seed, stream, first + i}, out + i);
    });
  });
}

template <decltype(evenbits_api::round_bfloat16) evenbits_api::* Kernel>
static void round_format(const py::array& x, std::uint64_t seed, std::uint64_t stream, std::uint64_t first, py::array out,
                         std::size_t workers) {
  const float* in = elements<float>(x, "x");
  require_size(out, size(x), "out");
  std::uint16_t* bits = elements<std::uint16_t>(out, "out");
  const std::size_t n = size(x);
  const auto kernel = active().*Kernel;
  py::gil_scoped_release unlocked;
  parallel_rows(n, 1, workers, [&](std::size_t begin, std::size_t end) {
    kernel(in + begin, end - begin, {seed, stream, first + begin}, bits + begin);
  });
}

static void round_error(const py::array& x, std::size_t n, std::size_t group, const py::array& scale, const py::array& zero,
                        const py::array& step, std::uint32_t top, py::array errors, std::size_t workers) {
  const Groups g(x, n, group);
  if (top > 65535) throw py::value_error("top must be at most 65535");
  const float *in = elements<float>(x, "x"), *scales = g.parameters<float>(scale, "scale"),
              *zeros = g.parameters<float>(zero, "zero"), *steps = g.parameters<float>(step, "step");
  require_size(errors, g.rows * g.count, "errors");
  double* out = elements<double>(errors, "errors");
  const auto kernel = active().round_error_f32;
  py::gil_scoped_release unlocked;
  parallel_rows(g.rows, n, workers, [&](std::size_t begin, std::size_t end) {
    const std::size_t p = begin * g.count;
    kernel(in + begin * n, end - begin, n, group, scales + p, zeros + p, steps + p, top, out + p);
  });
}

void bind_rounding(py::module_& m) {
  m.def("round_nearest", &round_nearest, "x"_a, "n"_a, "group"_a, "scale"_a, "zero"_a, "top"_a, "codes"_a, "workers"_a);
  m.def("round_stochastic", &round_stochastic, "x"_a, "n"_a, "group"_a, "scale"_a, "zero"_a, "top"_a, "seed"_a, "stream"_a,
        "first"_a, "codes"_a, "workers"_a);
  m.def("round_bfloat16", &round_format<&evenbits_api::round_bfloat16>, "x"_a, "seed"_a, "stream"_a, "first"_a, "out"_a,
        "workers"_a);
  m.def("round_float16", &round_format<&evenbits_api::round_float16>, "x"_a, "seed"_a, "stream"_a, "first"_a, "out"_a,
        "workers"_a);
  m.def("round_error", &round_error, "x"_a, "n"_a, "group"_a, "scale"_a, "zero"_a, "step"_a, "top"_a, "errors"_a, "workers"_a);
}

}  // namespace evenbits
