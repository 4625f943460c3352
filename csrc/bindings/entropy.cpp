#include <vector>

#include "arrays.hpp"

namespace evenbits {

static std::size_t encode_levels(const py::array& levels, std::size_t n, py::array out) {
  const std::int16_t* in = elements<std::int16_t>(levels, "levels");
  std::uint8_t* bytes = elements<std::uint8_t>(out, "out");
  const std::size_t rows = rows_of(levels, n, "levels"), capacity = size(out);
  std::vector<std::uint8_t> scratch(n);
  const auto kernel = active().encode_levels;
  py::gil_scoped_release unlocked;
  return kernel(in, rows, n, bytes, capacity, scratch.data());
}

static std::size_t decode_levels(const py::array& stream, std::size_t n, py::array levels) {
  const std::uint8_t* in = elements<std::uint8_t>(stream, "stream");
  std::int16_t* out = elements<std::int16_t>(levels, "levels");
  const std::size_t rows = rows_of(levels, n, "levels"), bytes = size(stream);
  std::vector<std::uint8_t> scratch(n);
  const auto kernel = active().decode_levels;
  py::gil_scoped_release unlocked;
  return kernel(in, bytes, rows, n, out, scratch.data());
}

static evenbits_refinement refinement(const py::array& y, bool passes, double decay, std::uint64_t events) {
  if (size(y) > 0xFFFFFFFE) throw py::value_error("y must have fewer than 2^32 - 1 elements");
  if (!(decay > 0 && decay <= 1)) throw py::value_error("decay must be above 0, at most 1");
  evenbits_refinement r = {};
  r.n = size(y), r.passes = passes, r.decay = decay, r.events = events;
  return r;
}

static py::tuple refine_encode(const py::array& w, py::array y, py::array out, bool passes, double decay, std::size_t count,
                               std::size_t order, std::size_t most, double total, double least, double level, double slack,
                               float first, float smallest) {
  const float* in = elements<float>(w, "w");
  float* grown = elements<float>(y, "y");
  std::uint8_t* bytes = elements<std::uint8_t>(out, "out");
  require_size(w, size(y), "w");
  const std::size_t capacity = size(out);
  evenbits_refinement r = refinement(y, passes, decay, 0);
  const auto sane = [](double x) { return x > 0 && x < 1e300; };
  if (!sane(level) || !sane(slack) || slack > 1 || !sane(smallest))
    throw py::value_error("level, slack, smallest must be positive");
  r.count = count, r.order = order, r.most = most, r.total = total, r.least = least, r.level = level, r.slack = slack;
  r.first = first, r.smallest = smallest;
  if (r.n && active().first_nonfinite_f32(in, r.n) < r.n) throw py::value_error("w must be finite");
  evenbits_refined found;
  {
    py::gil_scoped_release unlocked;
    const DefaultFloatState state;
    std::vector<std::uint64_t> scratch(active().refine_scratch(&r));
    found = active().refine_encode(&r, in, grown, bytes, capacity, scratch.data());
  }
  return py::make_tuple(found.bytes, found.events, found.nonzeros, found.total);
}

static py::object refine_decode(const py::array& stream, py::array y, bool passes, double decay, std::uint64_t events) {
  const std::uint8_t* in = elements<std::uint8_t>(stream, "stream");
  float* grown = elements<float>(y, "y");
  const evenbits_refinement r = refinement(y, passes, decay, events);
  const std::size_t bytes = size(stream);
  evenbits_refined found;
  {
    py::gil_scoped_release unlocked;
    const DefaultFloatState state;
    std::vector<std::uint8_t> scratch(passes ? r.n : 0);
    found = active().refine_decode(&r, in, bytes, grown, scratch.data());
  }
  if (found.total < 0) return py::none();
  return py::int_(found.events);
}

void bind_entropy(py::module_& m) {
  m.def("encode_levels", &encode_levels, "levels"_a, "n"_a, "out"_a);
  m.def("decode_levels", &decode_levels, "stream"_a, "n"_a, "levels"_a);
  m.def("refine_encode", &refine_encode, "w"_a, "y"_a, "out"_a, "passes"_a, "decay"_a, "count"_a, "order"_a, "most"_a, "total"_a,
        "least"_a, "level"_a, "slack"_a, "first"_a, "smallest"_a);
  m.def("refine_decode", &refine_decode, "stream"_a, "y"_a, "passes"_a, "decay"_a, "events"_a);
}

}  // namespace evenbits
