// Rows over threads that are spawned and joined in the call: no pool, so nothing to break at a fork.
#pragma once

#include <algorithm>
#include <atomic>
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
// Calls f(begin, end, i) for spans that cover rows 0 to `rows`, on `count` threads, of which the caller's is the 0th; i is the
// thread's number. There are more spans than threads: one whose processor has other work to do takes fewer. No more threads run
// than there are processors, where they would only wait for each other. f must not throw.
template <class F>
void parallel_spans(std::size_t rows, std::size_t count, F f) {
  const std::size_t spans = count > 1 ? std::min(rows, 4 * count) : 1;
  std::atomic<std::size_t> next{0};
  const auto work = [&](std::size_t thread) {
    const DefaultFloatState state;
    for (std::size_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < spans;)
      f(rows * i / spans, rows * (i + 1) / spans, thread);
  };
  const std::size_t running = count > 1 ? std::min<std::size_t>(count, std::max(1u, std::thread::hardware_concurrency())) : 1;
  std::vector<std::thread> threads;
  threads.reserve(running - 1);
  try {
    for (std::size_t i = 1; i < running; ++i) threads.emplace_back(work, i);
  } catch (const std::exception&) {  // no thread to be had: those there are do the rest
  }
  work(0);
  for (auto& t : threads) t.join();
}
// Calls f(begin, end) for spans of rows, on at most `workers` threads.
template <class F>
void parallel_rows(std::size_t rows, std::size_t row_elements, std::size_t workers, F f) {
  parallel_spans(rows, thread_count(rows, row_elements, workers),
                 [&](std::size_t begin, std::size_t end, std::size_t) { f(begin, end); });
}

}  // namespace evenbits
