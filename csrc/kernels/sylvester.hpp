// Sylvester's matrices. Every level adds and subtracts the same pairs in the same order whatever the register width, so
// results are equal bit for bit on every instruction set.
#pragma once

#include "simd.hpp"
#include "simd/halves.hpp"

namespace evenbits::EVENBITS_ISA {

// What is done to a row on its way in, times `before`, and out, times `scale` and `after`. A null pointer stands for ones.
template <class T>
struct Factors {
  const T *before = nullptr, *after = nullptr;
  T scale = 1;
  bool none() const { return !before && !after && scale == 1; }
};
// Whether the first and the last sweep do that on the way; rows of other numbers are gone over once more.
template <class T>
inline constexpr bool kFuses = std::is_same_v<T, float>;

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
// a - b. As a product where that is done beside additions and not among them; sweeps of 64 bytes a register wait for memory
// anyway, and then the shorter way counts.
template <class T, bool Product = kBytes == 32>
EVENBITS_INLINE Vec<T> minus(Vec<T> a, Vec<T> b) {
  if constexpr (Product && std::is_floating_point_v<T>) return mul_add(b, splat(T(-1)), a);
  else return a - b;
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
  if constexpr (R == 1) return {minus<T>(a.v, b.v)};
  else return {a.lo - b.lo, a.hi - b.hi};
}
template <class T, std::size_t R>
EVENBITS_INLINE Block<T, R> operator*(Block<T, R> a, Block<T, R> b) {
  if constexpr (R == 1) return {a.v * b.v};
  else return {a.lo * b.lo, a.hi * b.hi};
}
template <class T, std::size_t R>
EVENBITS_INLINE Block<T, R> operator*(Block<T, R> a, T b) {
  if constexpr (R == 1) return {a.v * b};
  else return {a.lo * b, a.hi * b};
}
template <class T, std::size_t R, class E>
EVENBITS_INLINE Block<T, R> read(const E* x, std::size_t stride) {
  if constexpr (R == 1) return {fetch(x)};
  else return {read<T, R / 2>(x, stride), read<T, R / 2>(x + R / 2 * stride, stride)};
}
template <class T, std::size_t R, class E>
EVENBITS_INLINE void write(E* x, std::size_t stride, Block<T, R> b) {
  if constexpr (R == 1) put(x, b.v);
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
// The ways in and out, at place i of the row: as it is, times numbers, times one number, or all that Factors have.
struct AsIs {};
template <class T>
struct Times {
  const T* numbers;
};
template <class T>
struct Scaled {
  T scale;
};
template <class T, std::size_t R, class E, class Way>
EVENBITS_INLINE Block<T, R> enter(const E* x, std::size_t i, std::size_t stride, const Way& way) {
  const auto b = read<T, R>(x + i, stride);
  if constexpr (std::is_same_v<Way, Times<T>>) return b * read<T, R>(way.numbers + i, stride);
  if constexpr (std::is_same_v<Way, Factors<T>>) return way.before ? b * read<T, R>(way.before + i, stride) : b;
  return b;
}
template <std::size_t R>
EVENBITS_INLINE Vec<float> sum(Block<float, R> b) {
  if constexpr (R == 1) return b.v;
  else return sum(b.lo + b.hi);
}
template <std::size_t R>
EVENBITS_INLINE Block<float, R> one_nan(Block<float, R> b) {
  if constexpr (R == 1) return {one_nan(b.v)};
  else return {one_nan(b.lo), one_nan(b.hi)};
}
template <class T, std::size_t R, class E, class Way>
EVENBITS_INLINE void leave(E* y, std::size_t i, std::size_t stride, Block<T, R> b, const Way& way) {
  if constexpr (std::is_same_v<Way, Times<T>>) b = b * read<T, R>(way.numbers + i, stride);
  if constexpr (std::is_same_v<Way, Scaled<T>>) b = b * way.scale;
  if constexpr (std::is_same_v<Way, Factors<T>>)
    b = way.after ? b * way.scale * read<T, R>(way.after + i, stride) : b * way.scale;
  if constexpr (!std::is_same_v<T, E>)
    if (!all_finite(sum(b))) b = one_nan(b);
  write(y + i, stride, b);
}
// n elements from x to y.
template <class T, class E, class F>
static void pass(const E* x, F* y, std::size_t n, const Factors<T>& f) {
  constexpr std::size_t lanes = kLanes<T>;
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) leave(y, i, lanes, enter<T, 1>(x, i, lanes, f), f);
  if (i == n) return;
  const std::size_t rest = n - i;
  E in[lanes] = {};
  F out[lanes];
  T before[lanes] = {}, after[lanes] = {};
  if (f.before) std::memcpy(before, f.before + i, rest * sizeof(T));
  if (f.after) std::memcpy(after, f.after + i, rest * sizeof(T));
  const Factors<T> g{f.before ? before : nullptr, f.after ? after : nullptr, f.scale};
  std::memcpy(in, x + i, rest * sizeof(E));
  leave(out, 0, lanes, enter<T, 1>(in, 0, lanes, g), g);
  std::memcpy(y + i, out, rest * sizeof(F));
}

// log2(R) levels, at distances h, 2h, ..., in one sweep from x to y.
template <std::size_t R, class T, class E, class Out>
EVENBITS_INLINE void sweep(const T* x, E* y, std::size_t n, std::size_t h, const Out& out) {
  for (std::size_t i = 0; i < n; i += R * h)
    for (std::size_t j = i; j < i + h; j += kLanes<T>) leave(y, j, h, across(read<T, R>(x + j, h)), out);
}
// The levels of blocks at distances h, 2h, ..., block / 2 = 8h at most. (With 16 registers some are put aside for the widest
// sweep, which still costs less than another one.)
template <class T, class E, class Out>
EVENBITS_INLINE void last_sweep_to(const T* x, E* y, std::size_t n, std::size_t block, std::size_t h, const Out& out) {
  if (block == 2 * h) sweep<2>(x, y, n, h, out);
  else if (block == 4 * h) sweep<4>(x, y, n, h, out);
  else if (block == 8 * h) sweep<8>(x, y, n, h, out);
  else sweep<16>(x, y, n, h, out);
}
template <class T, class Out>
static void last_sweep(T* x, std::size_t n, std::size_t block, std::size_t h, const Out& out) {
  last_sweep_to(x, x, n, block, h, out);
}
// All levels of each block of R registers.
template <std::size_t R, class T, class E, class F, class In, class Out>
EVENBITS_INLINE void base_blocks(const E* x, F* y, std::size_t n, const In& in, const Out& out) {
  constexpr std::size_t lanes = kLanes<T>;
  for (std::size_t i = 0; i != n; i += R * lanes) leave(y, i, lanes, across(within_each(enter<T, R>(x, i, lanes, in))), out);
}
// Registers of a base block, the first sweep over a row: as many as leave some for other use.
inline constexpr std::size_t kBase = kRegisters / 2;

// The blocks of n elements from x to y, all but the last sweep over a block: base blocks in the order of memory, then few wide
// sweeps in half of a 32 KiB first cache, none of 16 lines that would fall on each other there; of longer blocks one eighth
// after the other, each while it is in the nearest cache that holds it. Returns the distance from which `last_sweep` goes on.
template <class T, class E, class In>
__attribute__((noinline)) static std::size_t first_sweeps(const E* x, T* y, std::size_t n, std::size_t block, In in) {
  if (block > 16384 / sizeof(T)) {
    const std::size_t part = block / 8;
    for (std::size_t i = 0; i < n; i += part) {
      last_sweep(y + i, part, part, first_sweeps(x + i, y + i, part, part, in), AsIs{});
      if constexpr (std::is_same_v<In, Times<T>>) in.numbers += part;
    }
    return part;
  }
  base_blocks<kBase, T>(x, y, n, in, AsIs{});
  std::size_t h = kBase * kLanes<T>;
  while (block > 16 * h || (block > 8 * h && h * sizeof(T) >= 4096)) sweep<8>(y, y, n, h, AsIs{}), h *= 8;
  return h;
}

// Rows of R base blocks: while a row's last sweep goes over the first cache, base blocks of the next fetch from farther away.
template <std::size_t R, class T, class In, class Out>
static void mixed_rows(const T* x, T* y, std::size_t rows, const In& in, const Out& out) {
  constexpr std::size_t lanes = kLanes<T>, h = kBase * lanes, n = R * h;
  base_blocks<kBase, T>(x, y, n, in, AsIs{});
  for (; rows; --rows, x += n, y += n)
    for (std::size_t j = 0, done = 0; j < h;) {
      leave(y, j, h, across(read<T, R>(y + j, h)), out), j += lanes;
      for (; rows > 1 && done + h <= j * R; done += h)
        leave(y + n, done, lanes, across(within_each(enter<T, kBase>(x + n, done, lanes, in))), AsIs{});
    }
}
// Whether they were of that kind. Fewer blocks, and 16 of 64 bytes a register, are not worth it.
template <class T, class In, class Out>
static bool mixed(const T* x, T* y, std::size_t rows, std::size_t n, const In& in, const Out& out) {
  constexpr std::size_t h = kBase * kLanes<T>;
  if (n == 4 * h) return mixed_rows<4>(x, y, rows, in, out), true;
  if (n == 8 * h) return mixed_rows<8>(x, y, rows, in, out), true;
  if constexpr (kBytes < 64)
    if (n == 16 * h) return mixed_rows<16>(x, y, rows, in, out), true;
  return false;
}

// Rows shorter than a register: several of them in one.
template <std::size_t N, class T, class E>
EVENBITS_INLINE void short_rows(const E* x, E* y, std::size_t count, const Factors<T>& f) {
  constexpr std::size_t lanes = kLanes<T>;
  if constexpr (N < lanes) {
    T before[lanes], after[lanes];
    for (std::size_t i = 0; i < lanes; ++i) before[i] = f.before ? f.before[i % N] : 1, after[i] = f.after ? f.after[i % N] : 1;
    const Factors<T> repeated{before, after, f.scale};
    const auto one = [&](const E* from, E* to) __attribute__((always_inline)) {
      leave(to, 0, lanes, Block<T, 1>{within<1, N, T>(enter<T, 1>(from, 0, lanes, repeated).v)}, repeated);
    };
    std::size_t i = 0;
    for (; i + lanes <= count; i += lanes) one(x + i, y + i);
    if (i == count) return;
    E rest[lanes] = {};
    std::memcpy(rest, x + i, (count - i) * sizeof(E)), one(rest, rest), std::memcpy(y + i, rest, (count - i) * sizeof(E));
  }
}
// Rows of R registers.
template <std::size_t R, class T, class E>
EVENBITS_INLINE void base_rows(const E* x, E* y, std::size_t rows, const Factors<T>& f) {
  constexpr std::size_t n = R * kLanes<T>;
  if constexpr (std::is_same_v<T, E>) {
    if (f.none()) return base_blocks<R, T>(x, y, rows * n, AsIs{}, AsIs{});
    if (!f.after && f.scale == 1) {
      if constexpr (kFuses<T>)
        for (; rows; --rows, x += n, y += n) base_blocks<R, T>(x, y, n, Times<T>{f.before}, AsIs{});
      return;
    }
  }
  if constexpr (kFuses<T>)
    for (; rows; --rows, x += n, y += n) base_blocks<R, T>(x, y, n, f, f);
}
// Calls f(the number of registers that a block of n elements takes), up to 16, with some put aside where there are no more;
// whether it did.
template <class T, class F>
EVENBITS_INLINE bool in_registers(std::size_t n, F f) {
  switch (n / kLanes<T>) {
    case 1:
      return f(Constant<1>{}), true;
    case 2:
      return f(Constant<2>{}), true;
    case 4:
      return f(Constant<4>{}), true;
    case 8:
      return f(Constant<8>{}), true;
    case 16:
      return f(Constant<16>{}), true;
  }
  return false;
}
// The Sylvester matrix of order n = 2^k, applied to each of `rows` rows, from x to y by way of `work`: a row, or y itself if its
// elements are of that kind.
template <class T, class E>
static void sylvester(const E* x, E* y, T* work, std::size_t rows, std::size_t n, const Factors<T>& f) {
  if (n < kLanes<T>) switch (n) {
      case 1:
        return short_rows<1>(x, y, rows, f);
      case 2:
        return short_rows<2>(x, y, rows * n, f);
      case 4:
        return short_rows<4>(x, y, rows * n, f);
      default:
        return short_rows<8>(x, y, rows * n, f);
    }
  if (in_registers<T>(n, [&](auto r) __attribute__((always_inline)) { base_rows<decltype(r)::value>(x, y, rows, f); })) return;
  if constexpr (kFuses<T> && std::is_same_v<T, E>)
    if (!f.after && (f.before       ? f.scale == 1 && mixed(x, y, rows, n, Times<T>{f.before}, AsIs{})
                     : f.scale == 1 ? mixed(x, y, rows, n, AsIs{}, AsIs{})
                                    : mixed(x, y, rows, n, AsIs{}, Scaled<T>{f.scale})))
      return;
  for (; rows; --rows, x += n, y += n) {
    if constexpr (!kFuses<T>) {
      last_sweep(y, n, n, first_sweeps(x, y, n, n, AsIs{}), AsIs{});
    } else {
      T* w = work;
      if constexpr (std::is_same_v<T, E>) w = y;
      const std::size_t h = f.before ? first_sweeps(x, w, n, n, Times<T>{f.before}) : first_sweeps(x, w, n, n, AsIs{});
      if constexpr (!std::is_same_v<T, E>) last_sweep_to(w, y, n, n, h, f);
      else if (f.scale != 1) last_sweep(y, n, n, h, f);
      else if (f.after) last_sweep(y, n, n, h, Times<T>{f.after});
      else last_sweep(y, n, n, h, AsIs{});
    }
  }
}
// A row of n elements as blocks of at least a register, from x to y.
template <class T, class E, class In>
static void sylvester_blocks(const E* x, T* y, std::size_t n, std::size_t block, const In& in) {
  const auto base = [&](auto r) __attribute__((always_inline)) { base_blocks<decltype(r)::value, T>(x, y, n, in, AsIs{}); };
  if (!in_registers<T>(block, base)) last_sweep(y, n, block, first_sweeps(x, y, n, block, in), AsIs{});
}

}  // namespace evenbits::EVENBITS_ISA
