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
// The levels at distances h, 2h, ..., n / 2, for n / h <= 8 or, with registers to spare and lines that do not
// fall on each other in the cache, 16.
template <class T>
EVENBITS_INLINE void last_sweep(T* x, std::size_t n, std::size_t h) {
  switch (n / h) {
    case 16:
      if constexpr (kRegisters >= 32) return sweep<T, 16>(x, n, h);
      return;
    case 8:
      return sweep<T, 8>(x, n, h);
    case 4:
      return sweep<T, 4>(x, n, h);
    case 2:
      return sweep<T, 2>(x, n, h);
  }
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
// Registers of a base block, the first sweep over a row: as many as leave some for other use.
inline constexpr std::size_t kBase = kRegisters / 2;

// A row that fits into half of a 32 KiB first cache: base blocks in the order of memory, then few wide sweeps.
template <class T>
EVENBITS_INLINE void cached_row(T* x, std::size_t n) {
  constexpr std::size_t first = kBase * kLanes<T>;
  base_blocks<T, kBase>(x, n);
  std::size_t h = first;
  while (n / h > kBase || (n / h > 8 && h * sizeof(T) >= 4096)) sweep<T, 8>(x, n, h), h *= 8;
  last_sweep(x, n, h);
}
// Longer rows: an eighth after the other, each while it is in the nearest cache that holds it, then the last three levels.
// Bottoms at a length from which sweeps of 8 lead up to n.
template <class T>
static void long_row(T* x, std::size_t n) {
  constexpr std::size_t cached = 16384 / sizeof(T);
  if (n <= cached) return cached_row(x, n);
  for (std::size_t i = 0; i < n; i += n / 8) long_row(x + i, n / 8);
  sweep<T, 8>(x, n, n / 8);
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
  switch (n / lanes) {
    case 1:
      return base_blocks<T, 1>(x, rows * n);
    case 2:
      return base_blocks<T, 2>(x, rows * n);
    case 4:
      return base_blocks<T, 4>(x, rows * n);
    case 8:
      if constexpr (kBase == 16) return base_blocks<T, 8>(x, rows * n);
  }
  for (T* end = x + rows * n; x != end; x += n) long_row(x, n);
}

// The base: element i of a column becomes the sum over groups of four, ascending, of b0 ((x0 + b0 b1 x1) + b0 b2 (x2 + b2 b3
// x3)), with b = base[i]. A group has 8 such sums up to the sign, one for each pattern of the signs b0 b1, b0 b2, b0 b3, made
// once for all i.
inline constexpr std::size_t kLargestBase = 1024, kSmallBase = 112;

EVENBITS_INLINE unsigned sign_pattern(const std::int8_t* b) { return (b[1] != b[0]) * 4u + (b[2] != b[0]) * 2u + (b[3] != b[0]); }
// The 8 sums of the numbers at x, x + stride, ...: sums[(pattern * R + r) * lanes] for the r-th register of columns.
template <class T, std::size_t R>
EVENBITS_INLINE void sums_of_four(const T* x, std::size_t stride, T* sums) {
  constexpr std::size_t lanes = kLanes<T>;
  for (std::size_t r = 0; r < R; ++r, x += lanes) {
    const auto x0 = load(x), x1 = load(x + stride), x2 = load(x + 2 * stride), x3 = load(x + 3 * stride);
    const auto a = x0 + x1, b = x0 - x1, c = x2 + x3, d = x2 - x3;
    const auto put = [&](unsigned pattern, Vec<T> v)
                         __attribute__((always_inline)) { store(sums + (pattern * R + r) * lanes, v); };
    put(0b0000, a + c), put(0b0011, a - c), put(0b0001, a + d), put(0b0010, a - d);
    put(0b0100, b + c), put(0b0111, b - c), put(0b0101, b + d), put(0b0110, b - d);
  }
}
template <class T>
struct Pattern {
  T sign;
  std::uint32_t sums;
};
// R registers of columns. All sums are made first, so that the column may be overwritten.
template <class T, std::size_t R>
EVENBITS_INLINE void combine_small(T* x, std::size_t stride, std::size_t m, const Pattern<T>* patterns) {
  constexpr std::size_t lanes = kLanes<T>, four = 8 * R * lanes;
  alignas(64) T sums[kSmallBase / 4 * 8 * lanes];  // R m / 4 groups; R is chosen so that they are no more
  for (std::size_t g = 0; g < m / 4; ++g) sums_of_four<T, R>(x + 4 * g * stride, stride, sums + g * four);
  for (std::size_t i = 0; i < m; ++i, patterns += m / 4) {
    const auto total = [&](std::size_t r) __attribute__((always_inline)) {
      auto v = load(sums + (patterns[0].sums * R + r) * lanes) * patterns[0].sign;
      for (std::size_t g = 1; g < m / 4; ++g)
        v = mul_add(load(sums + g * four + (patterns[g].sums * R + r) * lanes), splat(patterns[g].sign), v);
      return v;
    };
    if constexpr (R == 4) {
      const auto a = total(0), b = total(1), c = total(2), d = total(3);
      T* y = x + i * stride;
      store(y, a), store(y + lanes, b), store(y + 2 * lanes, c), store(y + 3 * lanes, d);
    } else {
      for (std::size_t r = 0; r < R; ++r) store(x + i * stride + r * lanes, total(r));
    }
  }
}
// One register of columns of a base too large for that: group by group.
template <class T>
EVENBITS_INLINE void combine_large(T* x, std::size_t stride, std::size_t m, const std::int8_t* base) {
  constexpr std::size_t lanes = kLanes<T>;
  alignas(64) T totals[kLargestBase * lanes], sums[8 * lanes];
  for (std::size_t g = 0; g < m; g += 4) {
    sums_of_four<T, 1>(x + g * stride, stride, sums);
    for (std::size_t i = 0; i < m; ++i) {
      const std::int8_t* b = base + i * m + g;
      const auto v = load(sums + sign_pattern(b) * lanes), sign = splat(T(b[0]));
      store(totals + i * lanes, g ? mul_add(v, sign, load(totals + i * lanes)) : v * sign);
    }
  }
  for (std::size_t i = 0; i < m; ++i) store(x + i * stride, load(totals + i * lanes));
}
template <class T>
EVENBITS_INLINE void combine_column(T* x, std::size_t stride, std::size_t m, const std::int8_t* base) {
  T column[kLargestBase];
  for (std::size_t j = 0; j < m; ++j) column[j] = x[j * stride];
  for (std::size_t i = 0; i < m; ++i, base += m) {
    T total = 0;
    for (std::size_t j = 0; j < m; j += 4) {
      const std::int8_t* b = base + j;
      const T* v = column + j;
      const T p = v[0] + T(b[0] * b[1]) * v[1], q = v[2] + T(b[2] * b[3]) * v[3];
      const T four = T(b[0]) * (p + T(b[0] * b[2]) * q);
      total = j ? total + four : four;
    }
    x[i * stride] = total;
  }
}
template <class T>
EVENBITS_INLINE void combine(T* x, std::size_t stride, const evenbits_hadamard* h, const Pattern<T>* patterns) {
  constexpr std::size_t lanes = kLanes<T>;
  const std::size_t m = h->m;
  std::size_t c = 0;
  if (m <= kSmallBase / 4)
    for (; c + 4 * lanes <= stride; c += 4 * lanes) combine_small<T, 4>(x + c, stride, m, patterns);
  if (m <= kSmallBase)
    for (; c + lanes <= stride; c += lanes) combine_small<T, 1>(x + c, stride, m, patterns);
  else
    for (; c + lanes <= stride; c += lanes) combine_large(x + c, stride, m, h->base);
  if (c < stride && m <= kSmallBase) {  // what is left is narrower than a register
    alignas(64) T columns[kSmallBase * lanes];
    const std::size_t width = (stride - c) * sizeof(T);
    std::memset(columns, 0, m * lanes * sizeof(T));
    for (std::size_t j = 0; j < m; ++j) std::memcpy(columns + j * lanes, x + j * stride + c, width);
    combine_small<T, 1>(columns, lanes, m, patterns);
    for (std::size_t j = 0; j < m; ++j) std::memcpy(x + j * stride + c, columns + j * lanes, width);
    return;
  }
  for (; c < stride; ++c) combine_column(x + c, stride, m, h->base);
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
  Pattern<T> patterns[kSmallBase * kSmallBase / 4];
  if (h->m > 1 && h->m <= kSmallBase)
    for (std::size_t i = 0; i < h->m * h->m / 4; ++i) patterns[i] = {T(h->base[4 * i]), sign_pattern(h->base + 4 * i)};
  for (std::size_t row = 0; row < rows; row += batch) {
    const std::size_t count = rows - row < batch ? rows - row : batch;
    const T* in = x + row * n;
    T* out = y + row * n;
    if (before)
      for (std::size_t i = 0; i < count; ++i) multiply(in + i * n, before, out + i * n, n);
    else if (in != out) std::memcpy(out, in, count * n * sizeof(T));
    sylvester(out, count * h->m, block);
    if (h->m > 1)
      for (std::size_t i = 0; i < count; ++i) combine(out + i * n, block, h, patterns);
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
