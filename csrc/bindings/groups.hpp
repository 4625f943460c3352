// Rows in groups, as evenbits.h cuts them, and their way over threads.
#pragma once

#include <algorithm>

#include "arrays.hpp"

namespace evenbits {

// Rows of n elements in groups, and a parameter array that fits them.
struct Groups {
  std::size_t rows, n, group, count;  // count: groups a row
  Groups(const py::array& x, std::size_t length, std::size_t size) : rows(rows_of(x, length, "x")), n(length), group(size) {
    if (group > n) throw py::value_error("group must be at most n");
    count = groups_of(n, group);
  }
  template <class T>
  const T* parameters(const py::array& a, const char* name) const {
    require_size(a, rows * count, name);
    return elements<T>(a, name);
  }
};

// Calls f(first element, its group, rows, n) for parts that have the same groups as the whole: rows, or stretches of a row.
template <class F>
void parallel_groups(const Groups& g, std::size_t workers, F f) {
  if (g.rows >= workers)
    return parallel_rows(g.rows, g.n, workers,
                         [&](std::size_t begin, std::size_t end) { f(begin * g.n, begin * g.count, end - begin, g.n); });
  const std::size_t unit = g.count > 1 ? g.group : std::min<std::size_t>(g.n, 64), units = (g.n + unit - 1) / unit;
  for (std::size_t row = 0; row < g.rows; ++row)
    parallel_rows(units, unit, workers, [&](std::size_t begin, std::size_t end) {
      if (begin == end) return;
      f(row * g.n + begin * unit, row * g.count + (g.count > 1 ? begin : 0), 1, std::min(end * unit, g.n) - begin * unit);
    });
}

}  // namespace evenbits
