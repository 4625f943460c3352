// Fast Hadamard transform. Every level adds and subtracts the same pairs in the same order
// whatever the register width, so results are equal bit for bit on every instruction set.
#pragma once

#include "evenbits.h"
#include "simd.hpp"

namespace evenbits::EVENBITS_ISA {

template <class T, std::size_t H, std::size_t... I>
EVENBITS_INLINE Vec<T> alternating(std::index_sequence<I...>) {
  return Vec<T>{((I & H) ? T(-1) : T(1))...};
}
// Lanes a distance H apart become (a + b, a - b); then distances 2H, 4H, ... below `end`.
template <std::size_t H, std::size_t End, class T>
EVENBITS_INLINE Vec<T> within(Vec<T> v) {
  if constexpr (H >= End) return v;
  else return within<2 * H, End, T>(mul_add(v, alternating<T, H>(EVENBITS_ALL_LANES(T)), swap_lanes<H, T>(v)));
}

// R registers as a binary tree. Not an array: GCC keeps an array of registers in memory.
template <class T, std::size_t R>
struct Block {
  Block<T, R / 2> lo, hi;
};
template <class T>
struct Block<T, 1> {
  Vec<T> v;
};

template <class T, std::size_t R>
EVENBITS_INLINE Block<T, R> operator+(Block<T, R> a, Block<T, R> b) {
  if constexpr (R == 1) return {a.v + b.v};
  else return {a.lo + b.lo, a.hi + b.hi};
}
template <class T, std::size_t R>
EVENBITS_INLINE Block<T, R> operator-(Block<T, R> a, Block<T, R> b) {
  if constexpr (R == 1) return {a.v - b.v};
  else return {a.lo - b.lo, a.hi - b.hi};
}
template <class T, std::size_t R>
EVENBITS_INLINE Block<T, R> read(const T* x, std::size_t stride) {
  if constexpr (R == 1) return {load(x)};
  else return {read<T, R / 2>(x, stride), read<T, R / 2>(x + R / 2 * stride, stride)};
}
template <class T, std::size_t R>
EVENBITS_INLINE void write(T* x, std::size_t stride, Block<T, R> b) {
  if constexpr (R == 1) store(x, b.v);
  else write(x, stride, b.lo), write(x + R / 2 * stride, stride, b.hi);
}
template <class T, std::size_t R>
EVENBITS_INLINE Block<T, R> within_each(Block<T, R> b) {
  if constexpr (R == 1) return {within<1, kLanes<T>, T>(b.v)};
  else return {within_each(b.lo), within_each(b.hi)};
}
// S(2R) = [[S, S], [S, -S]].
template <class T, std::size_t R>
EVENBITS_INLINE Block<T, R> across(Block<T, R> b) {
  if constexpr (R == 1) return b;
  else {
    const auto lo = across(b.lo), hi = across(b.hi);
    return {lo + hi, lo - hi};
  }
}

// log2(R) levels, at distances h, 2h, ..., in one sweep over x.
template <class T, std::size_t R>
EVENBITS_INLINE void sweep(T* x, std::size_t n, std::size_t h) {
  for (std::size_t i = 0; i < n; i += R * h)
    for (std::size_t j = i; j < i + h; j += kLanes<T>) write(x + j, h, across(read<T, R>(x + j, h)));
}
// All levels at distances h, 2h, ..., n / 2.
template <class T>
EVENBITS_INLINE void sweeps(T* x, std::size_t n, std::size_t h) {
  for (; 8 * h <= n; h *= 8) sweep<T, 8>(x, n, h);
  if (4 * h == n) sweep<T, 4>(x, n, h);
  if (2 * h == n) sweep<T, 2>(x, n, h);
}

// One level at distance h, one element at a time.
template <class T>
EVENBITS_INLINE void level(T* x, std::size_t n, std::size_t h) {
  for (std::size_t i = 0; i < n; i += 2 * h)
    for (std::size_t j = i; j < i + h; ++j) {
      const T a = x[j], b = x[j + h];
      x[j] = a + b, x[j + h] = a - b;
    }
}
// Rows shorter than a register: several of them in one.
template <class T, std::size_t N>
EVENBITS_INLINE void short_rows(T* x, std::size_t count) {
  std::size_t i = 0;
  for (; i + kLanes<T> <= count; i += kLanes<T>) store(x + i, within<1, (N < kLanes<T> ? N : kLanes<T>), T>(load(x + i)));
  for (std::size_t h = 1; h < N; h *= 2) level(x + i, count - i, h);
}
template <class T, std::size_t R>
EVENBITS_INLINE void base_blocks(T* x, std::size_t n) {
  constexpr std::size_t lanes = kLanes<T>;
  for (T* end = x + n; x != end; x += R * lanes) write(x, lanes, across(within_each(read<T, R>(x, lanes))));
}
template <class T>
EVENBITS_INLINE void long_row(T* x, std::size_t n) {
  constexpr std::size_t first = 8 * kLanes<T>, cached = 16384 / sizeof(T);  // half of a 32 KiB L1
  const std::size_t tile = n < cached ? n : cached;
  for (T* t = x; t != x + n; t += tile) {
    base_blocks<T, 8>(t, tile);
    sweeps(t, tile, first);
  }
  sweeps(x, n, tile);
}
// The Sylvester matrix of order n = 2^k, applied to each of `rows` rows in place.
template <class T>
EVENBITS_INLINE void sylvester(T* x, std::size_t rows, std::size_t n) {
  constexpr std::size_t lanes = kLanes<T>;
  if (n == 1) return;
  if (n < lanes) switch (n) {
      case 2:
        return short_rows<T, 2>(x, rows * n);
      case 4:
        return short_rows<T, 4>(x, rows * n);
      default:
        return short_rows<T, 8>(x, rows * n);
    }
  if (n == lanes) return base_blocks<T, 1>(x, rows * n);
  if (n == 2 * lanes) return base_blocks<T, 2>(x, rows * n);
  if (n == 4 * lanes) return base_blocks<T, 4>(x, rows * n);
  for (T* end = x + rows * n; x != end; x += n) long_row(x, n);
}

// R registers a column of x, for the m x m base: element i becomes the sum of base[i][j] x[j], j ascending.
inline constexpr std::size_t kLargestBase = 1024;
template <class T>
EVENBITS_INLINE void combine_columns(T* x, std::size_t stride, std::size_t m, const std::int8_t* base) {
  alignas(64) T column[kLargestBase * kLanes<T>];
  for (std::size_t j = 0; j < m; ++j) store(column + j * kLanes<T>, load(x + j * stride));
  std::size_t i = 0;
  for (; i + 4 <= m; i += 4) {  // orders above 2 are multiples of 4
    const std::int8_t *p = base + i * m, *q = p + m, *r = q + m, *s = r + m;
    Vec<T> a{}, b{}, c{}, d{};
    for (std::size_t j = 0; j < m; ++j) {
      const auto v = load(column + j * kLanes<T>);
      a = mul_add(v, splat(T(p[j])), a), b = mul_add(v, splat(T(q[j])), b);
      c = mul_add(v, splat(T(r[j])), c), d = mul_add(v, splat(T(s[j])), d);
    }
    store(x + i * stride, a), store(x + (i + 1) * stride, b), store(x + (i + 2) * stride, c), store(x + (i + 3) * stride, d);
  }
}
template <class T>
EVENBITS_INLINE void combine(T* x, std::size_t stride, std::size_t m, const std::int8_t* base) {
  std::size_t c = 0;
  for (; c + kLanes<T> <= stride; c += kLanes<T>) combine_columns(x + c, stride, m, base);
  T column[kLargestBase];
  for (; c < stride; ++c) {
    for (std::size_t j = 0; j < m; ++j) column[j] = x[c + j * stride];
    for (std::size_t i = 0; i < m; ++i) {
      T sum = 0;
      for (std::size_t j = 0; j < m; ++j) sum = base[i * m + j] < 0 ? sum - column[j] : sum + column[j];
      x[c + i * stride] = sum;
    }
  }
}

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

template <class T>
EVENBITS_INLINE void hadamard(const T* x, T* y, std::size_t rows, const evenbits_hadamard* h, const T* before, const T* after,
                              T scale) {
  const std::size_t n = h->n, block = n / h->m;
  const std::size_t batch = n < 2048 ? 2048 / n : 1;  // rows that stay in L1 through all steps
  for (std::size_t row = 0; row < rows; row += batch) {
    const std::size_t count = rows - row < batch ? rows - row : batch;
    const T* in = x + row * n;
    T* out = y + row * n;
    if (before)
      for (std::size_t i = 0; i < count; ++i) multiply(in + i * n, before, out + i * n, n);
    else if (in != out) std::memcpy(out, in, count * n * sizeof(T));
    sylvester(out, count * h->m, block);
    if (h->m > 1)
      for (std::size_t i = 0; i < count; ++i) combine(out + i * n, block, h->m, h->base);
    if (scale != T(1)) multiply(out, scale, out, count * n);
    if (after)
      for (std::size_t i = 0; i < count; ++i) multiply(out + i * n, after, out + i * n, n);
  }
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

}  // namespace evenbits::EVENBITS_ISA
