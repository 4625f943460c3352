// Sums and extremes. A sum is 16 interleaved partial sums and one fixed tree, whatever the register width.
#pragma once

#include "simd.hpp"

namespace evenbits::EVENBITS_ISA {

// 16 running sums in doubles.
struct Sums {
  static constexpr std::size_t kCount = 16, kRegisters = kCount / kLanes<double>;
  Vec<double> lane[kRegisters];
};
// Adds x * y to the sums: products of two floats are exact in a double, so they may be fused.
EVENBITS_INLINE void add_products(Sums& s, const float* x, const float* y) {
  for (std::size_t r = 0; r < Sums::kRegisters; ++r)
    s.lane[r] = mul_add(load_as_double(x + r * kLanes<double>), load_as_double(y + r * kLanes<double>), s.lane[r]);
}
// Calls f(r, doubles) for the halves of a register of floats, the j-th that 16 elements take: r is the place in Sums.
template <class F>
EVENBITS_INLINE void for_halves(std::size_t j, Vec<float> x, F f) {
  f(2 * j, half_as_double<false>(x)), f(2 * j + 1, half_as_double<true>(x));
}
// s[j] += s[j + 8], s[j] += s[j + 4], s[j] += s[j + 2], s[0] + s[1].
template <std::size_t R = Sums::kRegisters / 2>
EVENBITS_INLINE double total(Sums s) {
  if constexpr (R > 0) {
    for (std::size_t r = 0; r < R; ++r) s.lane[r] += s.lane[r + R];
    return total<R / 2>(s);
  } else {
    auto v = s.lane[0];
    if constexpr (kLanes<double> > 4) v += swap_lanes<4, double>(v);
    if constexpr (kLanes<double> > 2) v += swap_lanes<2, double>(v);
    return v[0] + v[1];
  }
}
EVENBITS_INLINE double dot(const float* x, const float* y, std::size_t n) {
  Sums s{};
  std::size_t i = 0;
  for (; i + Sums::kCount <= n; i += Sums::kCount) add_products(s, x + i, y + i);
  if (i < n) {
    float a[Sums::kCount] = {}, b[Sums::kCount] = {};
    std::memcpy(a, x + i, (n - i) * sizeof(float)), std::memcpy(b, y + i, (n - i) * sizeof(float));
    add_products(s, a, b);
  }
  return total(s);
}

// Calls f(index of the group, its first element, its length) for every group of every row.
template <class F>
EVENBITS_INLINE void for_each_group(std::size_t rows, std::size_t n, std::size_t group, F f) {
  std::size_t index = 0;
  for (std::size_t row = 0; row < rows; ++row)
    for (std::size_t j = 0; j < n; j += group) f(index++, row * n + j, n - j < group ? n - j : group);
}

void dot_f32(const float* x, const float* y, std::size_t rows, std::size_t n, std::size_t group, double* out) {
  for_each_group(rows, n, group, [&](std::size_t g, std::size_t first, std::size_t count) __attribute__((always_inline)) {
    out[g] = dot(x + first, y + first, count);
  });
}

void extremes_f32(const float* x, std::size_t rows, std::size_t n, std::size_t group, float* lo, float* hi) {
  for_each_group(rows, n, group, [&](std::size_t g, std::size_t first, std::size_t count) __attribute__((always_inline)) {
    const float* p = x + first;
    float a = p[0], b = p[0];
    std::size_t i = 0;
    if (count >= kLanes<float>) {
      auto va = load(p), vb = va;
      for (; i + kLanes<float> <= count; i += kLanes<float>) va = least(load(p + i), va), vb = greatest(load(p + i), vb);
      for (std::size_t l = 0; l < kLanes<float>; ++l) a = va[l] < a ? va[l] : a, b = vb[l] > b ? vb[l] : b;
    }
    for (; i < count; ++i) a = p[i] < a ? p[i] : a, b = p[i] > b ? p[i] : b;
    lo[g] = a + 0.0f, hi[g] = b + 0.0f;  // one zero: which of -0 and +0 came first depends on the width
  });
}

// A NaN or infinity has all exponent bits set: x - x is then a NaN, which differs from itself.
template <class T>
EVENBITS_INLINE std::size_t first_nonfinite(const T* x, std::size_t n) {
  std::size_t i = 0;
  for (; i + 4 * kLanes<T> <= n; i += 4 * kLanes<T>) {
    const auto a = load(x + i), b = load(x + i + kLanes<T>), c = load(x + i + 2 * kLanes<T>), d = load(x + i + 3 * kLanes<T>);
    const auto zero = ((a - a) + (b - b)) + ((c - c) + (d - d));
    if (bits_at_least_zero((Vec<float>)zero) != (1u << kLanes<float>)-1) break;
  }
  for (; i < n; ++i)
    if (!(x[i] - x[i] == 0)) return i;
  return n;
}
std::size_t first_nonfinite_f32(const float* x, std::size_t n) { return first_nonfinite(x, n); }
std::size_t first_nonfinite_f64(const double* x, std::size_t n) { return first_nonfinite(x, n); }

}  // namespace evenbits::EVENBITS_ISA
