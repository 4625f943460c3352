// Matrix products in double precision whose every element is summed in the order of the contraction index: the same bits for
// every instruction set, tile and number of threads.
#pragma once

#include "evenbits.h"
#include "simd.hpp"

namespace evenbits::EVENBITS_ISA {

inline constexpr std::size_t kPanel = 8;           // rows of a tile
inline constexpr std::size_t kProductDepth = 256;  // of packed operands: a tile's columns stay in the first cache
inline constexpr std::size_t kProductBlock = 128;  // rows and columns that are packed together
// Columns of a tile.
template <class T>
inline constexpr std::size_t kWide = kRegisters / 16 * kLanes<T>;

// c += a b, or -=, for a tile: a has kPanel rows, at a[k * kPanel + row], b and c kWide columns; c's rows are `stride` apart.
// Multiplications and additions are apart, since the products of doubles are not exact.
template <bool Minus, class T>
EVENBITS_INLINE void multiply_tile(const T* a, const T* b, std::size_t depth, T* c, std::size_t stride) {
  constexpr std::size_t across = kWide<T> / kLanes<T>;
  Vec<T> sum[kPanel][across];
  const auto for_tile = [](auto f) __attribute__((always_inline)) {
    unroll<kPanel>(
        [&](auto r) __attribute__((always_inline)) { unroll<across>([&](auto j) __attribute__((always_inline)) { f(r, j); }); });
  };
  for_tile([&](auto r, auto j) __attribute__((always_inline)) { sum[r][j] = load(c + r * stride + j * kLanes<T>); });
  for (std::size_t k = 0; k < depth; ++k, a += kPanel, b += kWide<T>) {
    Vec<T> v[across];
    unroll<across>([&](auto j) __attribute__((always_inline)) { v[j] = load(b + j * kLanes<T>); });
    for_tile([&](auto r, auto j) __attribute__((always_inline)) {
      if constexpr (Minus) sum[r][j] -= a[r] * v[j];
      else sum[r][j] += a[r] * v[j];
    });
  }
  for_tile([&](auto r, auto j) __attribute__((always_inline)) { store(c + r * stride + j * kLanes<T>, sum[r][j]); });
}

// A matrix as strips of `width` columns, each with its rows one after the other, the last one filled up with zeros: element
// (k, i) of the source stands at from[k * step + i * next].
template <class T>
EVENBITS_INLINE void pack_strips(const T* from, std::size_t step, std::size_t next, std::size_t depth, std::size_t count,
                                 std::size_t width, double* to) {
  for (std::size_t i = 0; i < count; i += width) {
    const std::size_t here = count - i < width ? count - i : width;
    for (std::size_t k = 0; k < depth; ++k, to += width) {
      const T* p = from + k * step + i * next;
      if (here == width && next == 1)
        for (std::size_t j = 0; j < width; ++j) to[j] = double(p[j]);
      else
        for (std::size_t j = 0; j < width; ++j) to[j] = j < here ? double(p[j * next]) : 0;
    }
  }
}

template <class T>
EVENBITS_INLINE void multiply_add(const T* a, std::size_t a_row, std::size_t a_step, const T* b, std::size_t b_step,
                                  std::size_t rows, std::size_t columns, std::size_t depth, double* c, std::size_t c_row,
                                  double* scratch) {
  constexpr std::size_t wide = kWide<double>;
  double *panels = scratch, *strips = scratch + kProductBlock * kProductDepth;
  for (std::size_t k = 0; k < depth; k += kProductDepth) {
    const std::size_t deep = depth - k < kProductDepth ? depth - k : kProductDepth;
    pack_strips(a + k * a_step, a_step, a_row, deep, rows, kPanel, panels);
    pack_strips(b + k * b_step, b_step, 1, deep, columns, wide, strips);
    for (std::size_t j = 0; j < columns; j += wide)
      for (std::size_t i = 0; i < rows; i += kPanel) {
        const double *p = panels + i * deep, *s = strips + j * deep;
        if (i + kPanel <= rows && j + wide <= columns) {
          multiply_tile<false>(p, s, deep, c + i * c_row + j, c_row);
          continue;
        }
        const std::size_t high = rows - i < kPanel ? rows - i : kPanel, across = columns - j < wide ? columns - j : wide;
        alignas(64) double edge[kPanel * wide] = {};
        for (std::size_t r = 0; r < high; ++r) std::memcpy(edge + r * wide, c + (i + r) * c_row + j, across * sizeof(double));
        multiply_tile<false>(p, s, deep, edge, wide);
        for (std::size_t r = 0; r < high; ++r) std::memcpy(c + (i + r) * c_row + j, edge + r * wide, across * sizeof(double));
      }
  }
}
void multiply_add_f32(const float* a, std::size_t a_row, std::size_t a_step, const float* b, std::size_t b_step, std::size_t rows,
                      std::size_t columns, std::size_t depth, double* c, std::size_t c_row, double* scratch) {
  multiply_add(a, a_row, a_step, b, b_step, rows, columns, depth, c, c_row, scratch);
}
void multiply_add_f64(const double* a, std::size_t a_row, std::size_t a_step, const double* b, std::size_t b_step,
                      std::size_t rows, std::size_t columns, std::size_t depth, double* c, std::size_t c_row, double* scratch) {
  multiply_add(a, a_row, a_step, b, b_step, rows, columns, depth, c, c_row, scratch);
}

}  // namespace evenbits::EVENBITS_ISA
