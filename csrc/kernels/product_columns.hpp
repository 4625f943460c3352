// Products of some rows of levels with several columns, in floats.
#pragma once

#include "octets.hpp"

namespace evenbits::EVENBITS_ISA {

inline constexpr std::size_t kAcross = 4;                          // columns that are multiplied together
inline constexpr std::size_t kDecodedRows = 8, kDecodedSteps = 4;  // whose levels are kept for several columns
// From row to row, in floats: not powers of 2, whose multiples compete for a place in the cache.
inline constexpr std::size_t kLevelRow = kDecodedSteps * kStep + kOctets, kTotalRow = (kManyColumns + 1) * kOctets;

// total[o] += scale * (the sum of the octet's products), step by step, for kTile rows of levels and kAcross columns x, the rows
// being kDecodedSteps steps apart.
EVENBITS_INLINE void multiply_tile(const float* levels, const float* scale, const float* const* x, std::size_t steps,
                                   float* total) {
  for (std::size_t o = 0; o < kOctets; o += kFloats) {
    Vec<float> t[kTile][kAcross];
    const auto for_tile = [](auto f) __attribute__((always_inline)) {
      unroll<kTile>([&](auto r) __attribute__((always_inline)) {
        unroll<kAcross>([&](auto c) __attribute__((always_inline)) { f(r, c); });
      });
    };
    for_tile([&](auto r, auto c) __attribute__((always_inline)) { t[r][c] = load(total + r * kTotalRow + c * kOctets + o); });
    for (std::size_t i = 0; i < steps; ++i) {
      Vec<float> sum[kTile][kAcross];
      unroll<8>([&](auto s) __attribute__((always_inline)) {
        const std::size_t at = i * kStep + s * kOctets + o;
        Vec<float> level[kTile], v[kAcross];
        unroll<kTile>([&](auto r) __attribute__((always_inline)) { level[r] = load(levels + r * kLevelRow + at); });
        unroll<kAcross>([&](auto c) __attribute__((always_inline)) { v[c] = load(x[c] + at); });
        for_tile([&](auto r, auto c) __attribute__((always_inline)) {
          if constexpr (s == 0) sum[r][c] = level[r] * v[c];
          else sum[r][c] += level[r] * v[c];
          in_order(sum[r][c]);
        });
      });
      for_tile([&](auto r, auto c) __attribute__((always_inline)) {
        t[r][c] += load(scale + r * kDecodedSteps * kOctets + i * kOctets + o) * sum[r][c];
      });
    }
    for_tile([&](auto r, auto c) __attribute__((always_inline)) { store(total + r * kTotalRow + c * kOctets + o, t[r][c]); });
  }
}

// Up to kManyColumns columns: rows are decoded a few steps at a time, for all of them. decode(row, first step, steps, zeros of
// octets, levels) gives levels less the zeros, in the order of prepare_f32. Of w it is the shape and the parameters that count.
template <class Decode>
EVENBITS_INLINE void multiply_columns(const evenbits_packed& w, const float* x, std::size_t columns, float* y, std::size_t stride,
                                      Decode decode) {
  const std::size_t groups = (w.n + w.group - 1) / w.group;
  const std::size_t steps = steps_of(w.n), length = steps * kStep;
  alignas(64) float levels[kDecodedRows * kLevelRow], scale[kDecodedRows * kDecodedSteps * kOctets];
  alignas(64) float zero[kDecodedSteps * kOctets] = {}, total[kDecodedRows * kTotalRow];
  for (std::size_t row = 0; row < w.rows; row += kDecodedRows) {
    const std::size_t rows = w.rows - row < kDecodedRows ? w.rows - row : kDecodedRows;
    const std::size_t tiled = (rows + kTile - 1) / kTile * kTile, across = (columns + kAcross - 1) / kAcross * kAcross;
    for (std::size_t r = 0; r < tiled; ++r) std::memset(total + r * kTotalRow, 0, across * kOctets * sizeof(float));
    for (std::size_t first = 0; first < steps; first += kDecodedSteps) {
      const std::size_t count = steps - first < kDecodedSteps ? steps - first : kDecodedSteps;
      for (std::size_t r = 0; r < tiled; ++r) {
        const std::size_t at = row + (r < rows ? r : rows - 1);
        if (w.zero) parameters_of_octets(w.zero + at * groups, groups, w.group / 8, first, count, zero);
        parameters_of_octets(w.scale + at * groups, groups, w.group / 8, first, count, scale + r * kDecodedSteps * kOctets);
        decode(at, first, count, zero, levels + r * kLevelRow);
      }
      for (std::size_t c = 0; c < columns; c += kAcross) {
        const float* some[kAcross];
        for (std::size_t k = 0; k < kAcross; ++k) some[k] = x + (c + k < columns ? c + k : columns - 1) * length + first * kStep;
        for (std::size_t r = 0; r < tiled; r += kTile)
          multiply_tile(levels + r * kLevelRow, scale + r * kDecodedSteps * kOctets, some, count,
                        total + r * kTotalRow + c * kOctets);
      }
    }
    for (std::size_t c = 0; c < columns; ++c) sums_of_totals(total + c * kOctets, kTotalRow, rows, 1, y + c * stride + row);
  }
}

}  // namespace evenbits::EVENBITS_ISA
