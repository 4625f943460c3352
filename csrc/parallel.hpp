// Rows over threads that are spawned and joined in the call: no pool, so nothing to break at a fork.
#pragma once

#include <algorithm>
#include <cstddef>
#include <exception>
#include <thread>
#include <vector>

#include "float_state.hpp"

namespace evenbits {

// How many threads rows are worth. One gets at least 2^16 elements: starting it costs about as much as working through so many.
inline std::size_t thread_count(std::size_t rows, std::size_t row_elements, std::size_t workers) {
  const std::size_t worthwhile = std::max<std::size_t>(1, rows * row_elements >> 16);
  return std::max<std::size_t>(1, std::min({workers, rows, worthwhile}));
}
// Calls f(begin, end, i) for the i-th of `count` spans that cover rows 0 to `rows`, each on a thread, one of them the caller's.
// f must not throw.
template <class F>
void parallel_spans(std::size_t rows, std::size_t count, F f) {
  const auto span = [&](std::size_t i) {
    const DefaultFloatState state;
    f(rows * i / count, rows * (i + 1) / count, i);
  };
  std::vector<std::thread> threads;
  threads.reserve(count - 1);
  std::size_t started = 1;
  try {
    for (; started < count; ++started) threads.emplace_back(span, started);
  } catch (const std::exception&) {  // no thread to be had: the caller's does the rest
  }
  span(0);
  for (std::size_t i = started; i < count; ++i) span(i);
  for (auto& t : threads) t.join();
}
// Calls f(begin, end) for spans of rows, on at most `workers` threads.
template <class F>
void parallel_rows(std::size_t rows, std::size_t row_elements, std::size_t workers, F f) {
  parallel_spans(rows, thread_count(rows, row_elements, workers),
                 [&](std::size_t begin, std::size_t end, std::size_t) { f(begin, end); });
}

}  // namespace evenbits
