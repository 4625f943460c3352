// Fast Hadamard transforms and the rotations made of them, row by row.
#pragma once

#include "bases.hpp"
#include "evenbits.h"

namespace evenbits::EVENBITS_ISA {

template <class T>
EVENBITS_INLINE void multiply(const T* x, const T* factors, T* y, std::size_t n) {
  std::size_t i = 0;
  for (; i + kLanes<T> <= n; i += kLanes<T>) store(y + i, load(x + i) * load(factors + i));
  for (; i < n; ++i) y[i] = x[i] * factors[i];
}

template <class T>
EVENBITS_INLINE void multiply(const T* x, T factor, T* y, std::size_t n) {
  std::size_t i = 0;
  for (; i + kLanes<T> <= n; i += kLanes<T>) store(y + i, load(x + i) * factor);
  for (; i < n; ++i) y[i] = x[i] * factor;
}

// The transform of rows of n elements from x to y by way of `work`: a row, or y itself if its elements are of that kind.
template <class T, class E>
static void transform(const E* x, E* y, T* work, std::size_t rows, std::size_t n, const Base<T>& base, const Factors<T>& f) {
  if constexpr (!kFuses<T>)
    if (!f.none()) {
      for (; rows; --rows, x += n, y += n) {
        pass(x, y, n, Factors<T>{f.before}), transform(y, y, y, 1, n, base, Factors<T>{});
        pass(y, y, n, Factors<T>{nullptr, f.after, f.scale});
      }
      return;
    }
  if (base.m == 1) return sylvester(x, y, work, rows, n, f);
  const std::size_t block = n / base.m;
  for (; rows; --rows, x += n, y += n) {
    T* w = work;
    if constexpr (std::is_same_v<T, E>) w = y;
    if (block < kLanes<T>) {
      pass(x, w, n, Factors<T>{f.before}), sylvester(w, w, w, base.m, block, Factors<T>{});
    } else if (f.before) {
      if constexpr (kFuses<T>) sylvester_blocks(x, w, n, block, Times<T>{f.before});
    } else sylvester_blocks(x, w, n, block, AsIs{});
    const bool plain = std::is_same_v<T, E> && f.scale == 1 && !f.after;
    if constexpr (kFuses<T>)
      if (!plain && !f.after && block >= kLanes<T> && combine_known(w, y, block, base.known, Scaled<T>{f.scale})) continue;
    combine(w, block, base);
    if (!plain) pass(w, y, n, Factors<T>{nullptr, f.after, f.scale});
  }
}
template <class T>
static void hadamard(const T* x, T* y, std::size_t rows, const evenbits_hadamard* h, const T* before, const T* after, T scale) {
  transform(x, y, y, rows, h->n, Base<T>(h), Factors<T>{before, after, scale});
}
template <class E>
EVENBITS_INLINE void hadamard_half(const std::uint16_t* x, std::uint16_t* y, std::size_t rows, const evenbits_hadamard* h,
                                   const float* before, const float* after, float scale, float* scratch) {
  transform<float, E>(reinterpret_cast<const E*>(x), reinterpret_cast<E*>(y), scratch, rows, h->n, Base<float>(h),
                      {before, after, scale});
}

void hadamard_f32(const float* x, float* y, std::size_t rows, const evenbits_hadamard* h, const float* before, const float* after,
                  float scale) {
  hadamard(x, y, rows, h, before, after, scale);
}
void hadamard_f64(const double* x, double* y, std::size_t rows, const evenbits_hadamard* h, const double* before,
                  const double* after, double scale) {
  hadamard(x, y, rows, h, before, after, scale);
}
void hadamard_i32(const std::int32_t* x, std::int32_t* y, std::size_t rows, const evenbits_hadamard* h) {
  using U = std::uint32_t;  // wraps around, as two's complement does
  hadamard<U>(reinterpret_cast<const U*>(x), reinterpret_cast<U*>(y), rows, h, nullptr, nullptr, 1);
}
void hadamard_f16(const std::uint16_t* x, std::uint16_t* y, std::size_t rows, const evenbits_hadamard* h, const float* before,
                  const float* after, float scale, float* scratch) {
  hadamard_half<Binary16>(x, y, rows, h, before, after, scale, scratch);
}
void hadamard_bf16(const std::uint16_t* x, std::uint16_t* y, std::size_t rows, const evenbits_hadamard* h, const float* before,
                   const float* after, float scale, float* scratch) {
  hadamard_half<Brain16>(x, y, rows, h, before, after, scale, scratch);
}

// Several transforms of a few rows at a time, each with its n factors before it or, backwards, behind it.
template <class T>
static void rotate(const T* x, T* y, std::size_t rows, const evenbits_hadamard* h, const T* factors, std::size_t rounds,
                   int inverse) {
  const Base<T> base(h);
  const std::size_t n = h->n, batch = n < 2048 ? 2048 / n : 1;  // rows that stay in the first cache
  for (std::size_t row = 0, count; row < rows; row += count, x += count * n, y += count * n) {
    count = rows - row < batch ? rows - row : batch;
    for (std::size_t r = 0; r < rounds; ++r) {
      const T* round = factors + (inverse ? rounds - 1 - r : r) * n;
      transform(r ? y : x, y, y, count, n, base, inverse ? Factors<T>{nullptr, round} : Factors<T>{round});
    }
  }
}
template <class E>
static void rotate_half(const std::uint16_t* from, std::uint16_t* to, std::size_t rows, const evenbits_hadamard* h,
                        const float* factors, std::size_t rounds, int inverse, float* scratch) {
  const E* x = reinterpret_cast<const E*>(from);
  E* y = reinterpret_cast<E*>(to);
  if (rounds == 1) {
    const Factors<float> f = inverse ? Factors<float>{nullptr, factors} : Factors<float>{factors};
    return transform<float, E>(x, y, scratch, rows, h->n, Base<float>(h), f);
  }
  for (std::size_t row = 0; row < rows; ++row, x += h->n, y += h->n) {
    pass(x, scratch, h->n, Factors<float>{});
    rotate(scratch, scratch, 1, h, factors, rounds, inverse);
    pass(scratch, y, h->n, Factors<float>{});
  }
}

void rotate_f32(const float* x, float* y, std::size_t rows, const evenbits_hadamard* h, const float* factors, std::size_t rounds,
                int inverse) {
  rotate(x, y, rows, h, factors, rounds, inverse);
}
void rotate_f64(const double* x, double* y, std::size_t rows, const evenbits_hadamard* h, const double* factors,
                std::size_t rounds, int inverse) {
  rotate(x, y, rows, h, factors, rounds, inverse);
}
void rotate_f16(const std::uint16_t* x, std::uint16_t* y, std::size_t rows, const evenbits_hadamard* h, const float* factors,
                std::size_t rounds, int inverse, float* scratch) {
  rotate_half<Binary16>(x, y, rows, h, factors, rounds, inverse, scratch);
}
void rotate_bf16(const std::uint16_t* x, std::uint16_t* y, std::size_t rows, const evenbits_hadamard* h, const float* factors,
                 std::size_t rounds, int inverse, float* scratch) {
  rotate_half<Brain16>(x, y, rows, h, factors, rounds, inverse, scratch);
}

}  // namespace evenbits::EVENBITS_ISA
