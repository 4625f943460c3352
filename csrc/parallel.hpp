// Rows over threads that are spawned and joined in the call: no pool, so nothing to break at a fork.
#pragma once

#include <algorithm>
#include <cstddef>
#include <system_error>
#include <thread>
#include <vector>

#include "float_state.hpp"

namespace evenbits {

// Calls f(begin, end) for spans that cover rows 0 to `rows`, on at most `workers` threads, one of them the caller's.
// A thread gets at least 2^16 elements: starting one costs about as much as working through so many.
template <class F>
void parallel_rows(std::size_t rows, std::size_t row_elements, std::size_t workers, F f) {
  const std::size_t worthwhile = std::max<std::size_t>(1, rows * row_elements >> 16);
  const std::size_t count = std::max<std::size_t>(1, std::min({workers, rows, worthwhile}));
  const auto span = [&](std::size_t i) {
    const DefaultFloatState state;
    f(rows * i / count, rows * (i + 1) / count);
  };
  std::vector<std::thread> threads;
  threads.reserve(count - 1);
  std::size_t started = 1;
  try {
    for (; started < count; ++started) threads.emplace_back(span, started);
  } catch (const std::system_error&) {  // no thread to be had: the caller's does the rest
  }
  span(0);
  for (std::size_t i = started; i < count; ++i) span(i);
  for (auto& t : threads) t.join();
}

}  // namespace evenbits
