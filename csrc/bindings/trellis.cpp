#include <memory>

#include "arrays.hpp"

namespace evenbits {

static constexpr std::size_t kShares = 1 << 14;

static evenbits_trellis trellis(std::size_t n, std::size_t lanes, unsigned order, unsigned contexts = 2) {
  if (n == 0 || lanes == 0 || lanes > 16 || order < 2 || order > 8)
    throw py::value_error("there must be values, 1 to 16 lanes, and an order of 2 to 8");
  if ((contexts != 2 && contexts != 4 && contexts != 8) || contexts > 1u << order)
    throw py::value_error("there must be 2, 4 or 8 contexts, at most as many as states");
  evenbits_trellis t = {};
  t.n = n, t.lanes = std::uint32_t(lanes), t.order = order, t.contexts = contexts;
  return t;
}

static void trellis_search(const py::array& x, std::size_t lanes, unsigned order, unsigned contexts, float fineness,
                           const py::array& points, const py::array& prices, const py::array& magnitudes, py::array symbols,
                           py::array counts, py::array sums) {
  evenbits_trellis t = trellis(size(x), lanes, order, contexts);
  const std::size_t n = t.n, each = 2 * contexts, bins = size(points) / each;
  if (bins == 0 || bins > 1 << 24 || !(fineness > 0 && fineness < 1e6f))
    throw py::value_error("there must be 1 to 2^24 bins, of positive size");
  require_size(points, each * bins, "points"), require_size(prices, each * bins, "prices");
  require_size(magnitudes, each * bins, "magnitudes"), require_size(symbols, n, "symbols");
  require_size(sums, size(counts), "sums");
  t.bins = std::uint32_t(bins), t.fineness = fineness;
  t.points = elements<float>(points, "points"), t.prices = elements<float>(prices, "prices");
  t.magnitudes = elements<std::uint16_t>(magnitudes, "magnitudes");
  std::size_t most = 0;
  for (std::size_t i = 0; i < each * bins; ++i) most = std::max<std::size_t>(most, t.magnitudes[i]);
  if ((2 * most + 1) * contexts > std::min<std::size_t>(size(counts), 1 << 16))
    throw py::value_error("magnitudes is beyond what counts can hold");
  const float* in = elements<float>(x, "x");
  std::uint16_t* out = elements<std::uint16_t>(symbols, "symbols");
  std::uint64_t* seen = elements<std::uint64_t>(counts, "counts");
  double* added = elements<double>(sums, "sums");
  const evenbits_api& kernels = active();
  py::gil_scoped_release unlocked;
  const DefaultFloatState state;
  const std::unique_ptr<std::uint32_t[]> scratch(new std::uint32_t[kernels.trellis_scratch(&t)]);
  kernels.trellis_search_f32(&t, in, out, scratch.get());
  kernels.trellis_tally(out, in, n, seen, added);
}

// The shares of symbols and where they start, all of them within the slots.
static void take_shares(evenbits_trellis& t, const py::array& shares, const py::array& starts) {
  require_size(starts, size(shares), "starts");
  t.shares = elements<std::uint32_t>(shares, "shares"), t.starts = elements<std::uint32_t>(starts, "starts");
  for (std::size_t i = 0; i < size(shares); ++i)
    if (t.shares[i] == 0 || t.shares[i] > kShares || t.starts[i] > kShares - t.shares[i])
      throw py::value_error("shares must be positive and, from their starts on, within 2^14");
}

static std::size_t trellis_write(const py::array& symbols, std::size_t lanes, unsigned order, const py::array& shares,
                                 const py::array& starts, py::array out) {
  const std::size_t n = size(symbols), capacity = size(out);
  evenbits_trellis t = trellis(n, lanes, order);
  take_shares(t, shares, starts);
  const std::uint16_t* in = elements<std::uint16_t>(symbols, "symbols");
  std::uint8_t* bytes = elements<std::uint8_t>(out, "out");
  std::uint16_t most = 0;
  for (std::size_t i = 0; i < n; ++i) most = std::max(most, in[i]);
  if (most >= size(shares)) throw py::value_error("symbols has one that shares lacks");
  const auto kernel = active().trellis_write;
  py::gil_scoped_release unlocked;
  return kernel(&t, in, bytes, capacity);
}

static bool trellis_read(const py::array& stream, std::size_t lanes, unsigned order, unsigned contexts, const py::array& shares,
                         const py::array& starts, const py::array& slots, const py::array& values, py::array y) {
  const std::size_t bytes = size(stream);
  evenbits_trellis t = trellis(size(y), lanes, order, contexts);
  take_shares(t, shares, starts);
  require_size(slots, contexts * kShares, "slots"), require_size(values, size(shares), "values");
  t.slots = elements<std::uint16_t>(slots, "slots"), t.values = elements<float>(values, "values");
  std::uint16_t most = 0;
  for (std::size_t i = 0; i < contexts * kShares; ++i) most = std::max(most, t.slots[i]);
  if (most >= size(shares)) throw py::value_error("slots has a symbol that shares lacks");
  const std::uint8_t* in = elements<std::uint8_t>(stream, "stream");
  float* out = elements<float>(y, "y");
  const auto kernel = active().trellis_read;
  py::gil_scoped_release unlocked;
  return kernel(&t, in, bytes, out) != 0;
}

void bind_trellis(py::module_& m) {
  m.def("trellis_search", &trellis_search, "x"_a, "lanes"_a, "order"_a, "contexts"_a, "fineness"_a, "points"_a, "prices"_a,
        "magnitudes"_a, "symbols"_a, "counts"_a, "sums"_a);
  m.def("trellis_write", &trellis_write, "symbols"_a, "lanes"_a, "order"_a, "shares"_a, "starts"_a, "out"_a);
  m.def("trellis_read", &trellis_read, "stream"_a, "lanes"_a, "order"_a, "contexts"_a, "shares"_a, "starts"_a, "slots"_a,
        "values"_a, "y"_a);
}

}  // namespace evenbits
