// The base of a Hadamard matrix: element i of a column becomes the sum over groups of four, ascending, of
// b0 ((x0 + b0 b1 x1) + b0 b2 (x2 + b2 b3 x3)), with b = base[i]. A group has 8 such sums up to the sign, one for each pattern of
// the signs b0 b1, b0 b2, b0 b3, made once for all i.
#pragma once

#include "evenbits.h"
#include "sylvester.hpp"

namespace evenbits::EVENBITS_ISA {

template <class T>
EVENBITS_INLINE Vec<T> difference(Vec<T> a, Vec<T> b) {
  return minus<T, (kBytes >= 32)>(a, b);
}

inline constexpr std::size_t kLargestBase = 1024, kSmallBase = 112;

// Bases that the compiler knows: bit j of row i is set where the entry is -1. Row and column 0 are all +1.
template <std::size_t M>
struct Known {};
template <>
struct Known<12> {
  static constexpr std::uint32_t rows[] = {0x000, 0xb8a, 0xdc4, 0x6e2, 0xb70, 0x5b8, 0x2dc, 0x16e, 0x8b6, 0xc5a, 0xe2c, 0x716};
};
template <>
struct Known<20> {
  static constexpr std::uint32_t rows[] = {0x00000, 0x9ea1a, 0xcf50c, 0x67a86, 0xb3d42, 0xd9ea0, 0x6cf50,
                                           0x367a8, 0x1b3d4, 0x0d9ea, 0x86cf4, 0x4367a, 0xa1b3c, 0x50d9e,
                                           0xa86ce, 0xd4366, 0xea1b2, 0xf50d8, 0x7a86c, 0x3d436};
};
template <>
struct Known<28> {
  static constexpr std::uint32_t rows[] = {0x0000000, 0xb5c887a, 0xdaa447c, 0x6f13076, 0x76a928e, 0xbb14b0e, 0xcdc258e,
                                           0xaec53d0, 0xd722be0, 0x79987b0, 0x1edae44, 0x1f6d522, 0x1db7898, 0xa3bb548,
                                           0xc3dd8a4, 0x63e6e12, 0xf457628, 0xf86b914, 0xec3ccc2, 0x910f6d6, 0x488fb6a,
                                           0x260edbc, 0x5251dda, 0x2961eec, 0x84b1f36, 0x8a7a2ba, 0x457c35c, 0x30f61e6};
};
template <std::size_t M>
static bool is_known(const std::int8_t* base) {
  for (std::size_t i = 0; i < M; ++i) {
    std::uint32_t row = 0;
    for (std::size_t j = 0; j < M; ++j) row |= std::uint32_t(base[i * M + j] < 0) << j;
    if (row != Known<M>::rows[i]) return false;
  }
  return true;
}

// p + step. Hides where it came from: the compiler would keep a pointer for every row, and those in memory.
template <class T>
EVENBITS_INLINE T walk(T p, std::size_t step) {
  p += step;
  asm("" : "+r"(p));
  return p;
}
// Adds the sum of pattern P of group G to the totals that it is part of.
template <std::size_t M, std::size_t G, unsigned P, class T, std::size_t... I>
EVENBITS_INLINE void add_sum(Vec<T>* totals, Vec<T> sum, std::index_sequence<I...>) {
  const auto add = [&](auto row) __attribute__((always_inline)) {
    constexpr std::size_t i = decltype(row)::value;
    constexpr unsigned bits = Known<M>::rows[i] >> 4 * G & 15, sign = bits & 1, others = sign ? ~bits : bits;
    constexpr unsigned pattern = (others >> 1 & 1) * 4 + (others >> 2 & 1) * 2 + (others >> 3 & 1);
    if constexpr (pattern == P) totals[i] = G == 0 ? sum : sign ? difference<T>(totals[i], sum) : totals[i] + sum;
  };
  (add(Constant<I>{}), ...);
}
// Adds the sums of four elements of a register of columns; returns the place of the next four.
template <std::size_t M, std::size_t G, class T, class Rows>
EVENBITS_INLINE const T* add_group(const T* x, std::size_t stride, Vec<T>* totals, Rows rows) {
  auto x0 = load(x), x1 = load(x + stride);
  const auto x2 = load(x + 2 * stride), x3 = load(x + 3 * stride);
  const auto a = x0 + x1, c = x2 + x3, d = difference<T>(x2, x3);
  add_sum<M, G, 0b0000, T>(totals, a + c, rows), add_sum<M, G, 0b0011, T>(totals, difference<T>(a, c), rows);
  add_sum<M, G, 0b0001, T>(totals, a + d, rows), add_sum<M, G, 0b0010, T>(totals, difference<T>(a, d), rows);
  if constexpr (M > 20) x = walk(x, 0), x0 = load(x), x1 = load(x + stride);  // no register keeps them meanwhile
  const auto b = difference<T>(x0, x1);
  add_sum<M, G, 0b0100, T>(totals, b + c, rows), add_sum<M, G, 0b0111, T>(totals, difference<T>(b, c), rows);
  add_sum<M, G, 0b0101, T>(totals, b + d, rows), add_sum<M, G, 0b0110, T>(totals, difference<T>(b, d), rows);
  return walk(x, 4 * stride);
}
template <std::size_t M, class T, class F, class Out, std::size_t... G, std::size_t... I>
static void combine_known(const T* x, F* y, std::size_t stride, const Out& out, std::index_sequence<G...>,
                          std::index_sequence<I...> rows) {
  for (std::size_t c = 0; c < stride; c += kLanes<T>) {
    Vec<T> totals[M];
    const T* p = x + c;
    ((p = add_group<M, G, T>(p, stride, totals, rows)), ...);
    std::size_t i = c;
    ((leave(y, i, stride, Block<T, 1>{totals[I]}, out), i = walk(i, stride)), ...);
  }
}
// Whether the compiler knew the base, and it is done.
template <class T, class F, class Out>
static bool combine_known(const T* x, F* y, std::size_t stride, std::size_t known, const Out& out) {
  const auto with = [&](auto m) __attribute__((always_inline)) {
    constexpr std::size_t M = decltype(m)::value;
    combine_known<M>(x, y, stride, out, std::make_index_sequence<M / 4>{}, std::make_index_sequence<M>{});
    return true;
  };
  switch (known) {
    case 12:
      return with(Constant<12>{});
    case 20:
      return with(Constant<20>{});
    case 28:
      return with(Constant<28>{});
  }
  return false;
}

EVENBITS_INLINE unsigned sign_pattern(const std::int8_t* b) { return (b[1] != b[0]) * 4u + (b[2] != b[0]) * 2u + (b[3] != b[0]); }
// The 8 sums of the numbers at x, x + stride, ...: sums[(pattern * R + r) * lanes] for the r-th register of columns.
template <std::size_t R, class T>
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
template <std::size_t R, class T>
EVENBITS_INLINE void combine_small(T* x, std::size_t stride, std::size_t m, const Pattern<T>* patterns) {
  constexpr std::size_t lanes = kLanes<T>, four = 8 * R * lanes;
  alignas(64) T sums[kSmallBase / 4 * 8 * lanes];  // R m / 4 groups; R is chosen so that they are no more
  for (std::size_t g = 0; g < m / 4; ++g) sums_of_four<R>(x + 4 * g * stride, stride, sums + g * four);
  for (std::size_t i = 0; i < m; ++i, patterns += m / 4) {
    const auto total = [&](std::size_t r) __attribute__((always_inline)) {
      auto v = load(sums + (patterns[0].sums * R + r) * lanes) * patterns[0].sign;
      for (std::size_t g = 1; g < m / 4; ++g)
        v = mul_add(load(sums + g * four + (patterns[g].sums * R + r) * lanes), splat(patterns[g].sign), v);
      return v;
    };
    if constexpr (R == 4) write(x + i * stride, lanes, Block<T, 4>{{{total(0)}, {total(1)}}, {{total(2)}, {total(3)}}});
    else store(x + i * stride, total(0));
  }
}
// One register of columns of a base too large for that: group by group.
template <class T>
EVENBITS_INLINE void combine_large(T* x, std::size_t stride, std::size_t m, const std::int8_t* base) {
  constexpr std::size_t lanes = kLanes<T>;
  alignas(64) T totals[kLargestBase * lanes], sums[8 * lanes];
  for (std::size_t g = 0; g < m; g += 4) {
    sums_of_four<1>(x + g * stride, stride, sums);
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

// A base, and what is found out about it once for all rows.
template <class T>
struct Base {
  std::size_t m, known = 0;  // known: m or 0
  const std::int8_t* entries;
  Pattern<T> patterns[kSmallBase * kSmallBase / 4];

  explicit Base(const evenbits_hadamard* h) : m(h->m), entries(h->base) {
    if ((m == 12 && is_known<12>(entries)) || (m == 20 && is_known<20>(entries)) || (m == 28 && is_known<28>(entries))) known = m;
    else if (m > 1 && m <= kSmallBase)
      for (std::size_t i = 0; i < m * m / 4; ++i) patterns[i] = {T(entries[4 * i]), sign_pattern(entries + 4 * i)};
  }
};
// A row of m blocks of `stride` elements, in place.
template <class T>
static void combine(T* x, std::size_t stride, const Base<T>& base) {
  constexpr std::size_t lanes = kLanes<T>;
  const std::size_t m = base.m;
  std::size_t c = 0;
  if (stride < lanes) {
    if (m > kSmallBase) {
      for (; c < stride; ++c) combine_column(x + c, stride, m, base.entries);
      return;
    }
    alignas(64) T columns[kSmallBase * lanes];
    std::memset(columns, 0, m * lanes * sizeof(T));
    for (std::size_t j = 0; j < m; ++j) std::memcpy(columns + j * lanes, x + j * stride, stride * sizeof(T));
    if (!combine_known(columns, columns, lanes, base.known, AsIs{})) combine_small<1>(columns, lanes, m, base.patterns);
    for (std::size_t j = 0; j < m; ++j) std::memcpy(x + j * stride, columns + j * lanes, stride * sizeof(T));
    return;
  }
  if (combine_known(x, x, stride, base.known, AsIs{})) return;
  if (m <= kSmallBase / 4)
    for (; c + 4 * lanes <= stride; c += 4 * lanes) combine_small<4>(x + c, stride, m, base.patterns);
  if (m <= kSmallBase)
    for (; c < stride; c += lanes) combine_small<1>(x + c, stride, m, base.patterns);
  else
    for (; c < stride; c += lanes) combine_large(x + c, stride, m, base.entries);
}

}  // namespace evenbits::EVENBITS_ISA
