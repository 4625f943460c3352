// One long row over threads: the transforms of its pieces, then the levels between the pieces, column by column.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "evenbits.h"
#include "parallel.hpp"

namespace evenbits {

// How many pieces a row of n elements is worth: a power of two, at most 8, which is as many as a cache set has ways.
inline std::size_t piece_count(std::size_t n, std::size_t workers) {
  std::size_t pieces = 1;
  while (2 * pieces <= std::min<std::size_t>(workers, 8) && n / pieces >> 17) pieces *= 2;
  return pieces;
}

// The levels of a Sylvester transform between pieces of `length`, for columns `begin` to `end`; scale and factors after the last.
template <class T>
void join_pieces(T* y, std::size_t length, std::size_t pieces, std::size_t begin, std::size_t end, const T* after, T scale) {
  constexpr std::size_t width = 256;  // columns that stay in the first cache from level to level
  for (; begin < end; begin += width) {
    const std::size_t count = std::min(width, end - begin);
    for (std::size_t distance = 1; distance < pieces; distance *= 2)
      for (std::size_t i = 0; i < pieces; ++i) {
        if (i & distance) continue;
        T *u = y + i * length + begin, *v = u + distance * length;
        for (std::size_t j = 0; j < count; ++j) {
          const T sum = u[j] + v[j], difference = u[j] - v[j];
          u[j] = sum, v[j] = difference;
        }
      }
    for (std::size_t i = 0; i < pieces; ++i) {
      T* u = y + i * length + begin;
      if (scale != T(1))
        for (std::size_t j = 0; j < count; ++j) u[j] *= scale;
      if (after)
        for (std::size_t j = 0; j < count; ++j) u[j] *= after[i * length + begin + j];
    }
  }
}

// The Sylvester transform of one row, the same bytes as kernel(x, y, 1, {n, 1, base}, before, after, scale).
template <class T, class Kernel>
void transform_long_row(const T* x, T* y, const evenbits_hadamard& h, const T* before, const T* after, T scale,
                        std::size_t pieces, Kernel kernel) {
  using Word = std::conditional_t<std::is_same_v<T, std::int32_t>, std::uint32_t, T>;  // integers wrap around
  const std::size_t length = h.n / pieces;
  const evenbits_hadamard piece = {length, 1, h.base};
  parallel_spans(pieces, pieces, [&](std::size_t i, std::size_t end, std::size_t) {
    for (; i < end; ++i) kernel(x + i * length, y + i * length, 1, &piece, before ? before + i * length : nullptr, nullptr, T(1));
  });
  parallel_spans(length, pieces, [&](std::size_t begin, std::size_t end, std::size_t) {
    join_pieces(reinterpret_cast<Word*>(y), length, pieces, begin, end, reinterpret_cast<const Word*>(after), Word(scale));
  });
}

}  // namespace evenbits
