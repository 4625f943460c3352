// Rows beside codewords: the nearest one, sums of chosen ones, and the tables from which encoders of rows are trained.
#pragma once

#include "simd.hpp"

namespace evenbits::EVENBITS_ISA {

inline constexpr std::size_t kColumns = 16;  // codewords are padded to a multiple of this, whatever the register

// The best codewords of a register's lanes so far: the first of those with the least score.
struct Best {
  Vec<float> score = splat(__builtin_inff());
  Vec<std::int32_t> word{};
  EVENBITS_INLINE void meet(Best& b, Vec<float> score, Vec<std::int32_t> word) {
    const auto less = score < b.score;
    b.score = less ? score : b.score, b.word = less ? word : b.word;
  }
  EVENBITS_INLINE std::uint8_t first(const Best& b) {
    float score = b.score[0];
    std::int32_t word = b.word[0];
    for (std::size_t i = 1; i < kLanes<float>; ++i)
      if (b.score[i] < score || (b.score[i] == score && b.word[i] < word)) score = b.score[i], word = b.word[i];
    return std::uint8_t(word);
  }
};

// Scores of R registers of codewords from `from` on, for one row: half - x_0 c_0 - x_1 c_1 - ...
template <std::size_t R>
EVENBITS_INLINE void meet_block(const float* x, std::size_t n, const float* columns, const float* half, std::size_t count,
                                std::size_t from, Best& best) {
  Vec<float> score[R];
  unroll<R>([&](auto r) __attribute__((always_inline)) { score[r] = load(half + from + r * kLanes<float>); });
  for (std::size_t j = 0; j < n; ++j) {
    const auto v = splat(x[j]);
    const float* c = columns + j * count + from;
    unroll<R>([&](auto r) __attribute__((always_inline)) { score[r] -= v * load(c + r * kLanes<float>); });
  }
  const auto lane = iota<std::int32_t>(EVENBITS_ALL_LANES(std::int32_t));
  unroll<R>([&](auto r)
                __attribute__((always_inline)) { Best::meet(best, score[r], lane + std::int32_t(from + r * kLanes<float>)); });
}

void nearest_codeword_f32(float* x, std::size_t rows, std::size_t stride, const float* columns, const float* half, std::size_t n,
                          std::size_t count, int subtract, std::uint8_t* codes) {
  constexpr std::size_t R = kRegisters / 2;
  for (std::size_t row = 0; row < rows; ++row, x += stride) {
    Best best;
    std::size_t from = 0;
    for (; from + R * kLanes<float> <= count; from += R * kLanes<float>) meet_block<R>(x, n, columns, half, count, from, best);
    for (; from < count; from += kLanes<float>) meet_block<1>(x, n, columns, half, count, from, best);
    const std::uint8_t code = Best::first(best);
    codes[row] = code;
    if (subtract)
      for (std::size_t j = 0; j < n; ++j) x[j] -= columns[j * count + code];
  }
}

// Four registers of all rows at a time, for which first layers that end before them are not looked at.
void sum_codewords_f32(const std::uint8_t* codes, std::size_t rows, std::size_t stride, std::size_t layers,
                       const float* const* books, const std::size_t* widths, std::size_t n, float* y) {
  constexpr std::size_t block = 4 * kLanes<float>;
  for (std::size_t j = 0; j < n; j += block) {
    const std::size_t length = n - j < block ? n - j : block;
    std::size_t first = 0;
    while (first < layers && widths[first] <= j) ++first;
    for (std::size_t row = 0; row < rows; ++row) {
      Vec<float> a{}, b{}, c{}, d{};
      for (std::size_t l = first; l < layers; ++l) {
        if (widths[l] <= j) continue;
        const float* p = books[l] + codes[l * stride + row] * widths[l] + j;
        a += load(p), b += load(p + kLanes<float>), c += load(p + 2 * kLanes<float>), d += load(p + 3 * kLanes<float>);
      }
      float rest[block], *out = length == block ? y + row * n + j : rest;
      store(out, a), store(out + kLanes<float>, b), store(out + 2 * kLanes<float>, c), store(out + 3 * kLanes<float>, d);
      if (length < block) std::memcpy(y + row * n + j, rest, length * sizeof(float));
    }
  }
}

void group_sums_f64(const double* x, const std::uint32_t* group, std::size_t rows, std::size_t n, double* sums) {
  for (std::size_t row = 0; row < rows; ++row) {
    double* sum = sums + group[row] * n;
    for (std::size_t j = 0; j < n; ++j) sum[j] += x[row * n + j];
  }
}

// y of one row is a register of doubles at a time: a matrix of few columns is most of what is asked for.
void indexed_product_f64(const double* x, const std::uint32_t* index, std::size_t rows, std::size_t n, const double* matrices,
                         std::size_t m, double* y) {
  for (std::size_t row = 0; row < rows; ++row, x += n, y += m) {
    const double* a = matrices + (index ? index[row] : 0) * n * m;
    std::size_t i = 0;
    for (; i + kLanes<double> <= m; i += kLanes<double>) {
      Vec<double> sum{};
      for (std::size_t j = 0; j < n; ++j) sum += splat(x[j]) * load(a + j * m + i);
      store(y + i, sum);
    }
    for (; i < m; ++i) {
      double sum = 0;
      for (std::size_t j = 0; j < n; ++j) sum += x[j] * a[j * m + i];
      y[i] = sum;
    }
  }
}

}  // namespace evenbits::EVENBITS_ISA
