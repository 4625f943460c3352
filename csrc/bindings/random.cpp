#include "arrays.hpp"

namespace evenbits {

static void random_words(std::uint64_t seed, std::uint64_t stream, std::uint64_t first, py::array out) {
  std::uint32_t* words = elements<std::uint32_t>(out, "out");
  const std::size_t count = size(out);
  const auto kernel = active().random_words;
  py::gil_scoped_release unlocked;
  kernel({seed, stream, first}, count, words);
}

void bind_random(py::module_& m) { m.def("random_words", &random_words, "seed"_a, "stream"_a, "first"_a, "out"_a); }

}  // namespace evenbits
