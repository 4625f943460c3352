// Democratic embeddings: min |a|_inf subject to F a = x, by the iteration of Douglas and Rachford.
#pragma once

#include "hadamard.hpp"
#include "reduce.hpp"

namespace evenbits::EVENBITS_ISA {

// One step of Newton's method, from t, to the zero of sum max(|v| - t, 0) - excess: what the proximal map of excess * |.|_inf
// clips at. The sum is convex in t, so steps after the first only go up.
EVENBITS_INLINE float newton_step(const float* v, std::size_t n, float t, double excess) {
  Sums sum{};
  Vec<std::int32_t> at_most{};
  const auto add = [&](const float* p) __attribute__((always_inline)) {
    for (std::size_t j = 0; j < Sums::kCount / kLanes<float>; ++j) {
      const auto x = load(p + j * kLanes<float>), size = greatest(x, -x);
      at_most = count_at_most(at_most, size, splat(t));
      for_halves(j, greatest(size - t, Vec<float>{}), [&](std::size_t r, Vec<double> above) { sum.lane[r] += above; });
    }
  };
  std::size_t i = 0, below = 0;
  for (; i + Sums::kCount <= n; i += Sums::kCount) add(v + i);
  if (i < n) {
    float rest[Sums::kCount] = {};
    std::memcpy(rest, v + i, (n - i) * sizeof(float));
    add(rest);
    below = n - i - Sums::kCount;  // zeros that are not there; wraps around
  }
  for (std::size_t l = 0; l < kLanes<float>; ++l) below += std::uint32_t(at_most[l]);
  const double next = below < n ? double(t) + (total(sum) - excess) / double(n - below) : 0;
  return next > 0 ? float(next) : 0;
}

EVENBITS_INLINE void clip(const float* v, float limit, float* p, std::size_t n) {
  std::size_t i = 0;
  for (; i + kLanes<float> <= n; i += kLanes<float>) store(p + i, clamp(load(v + i), splat(-limit), splat(limit)));
  for (; i < n; ++i) p[i] = clamp(v[i], -limit, limit);
}
// z, or the last one, from p. All are in the domain of x.
template <bool Last>
EVENBITS_INLINE void advance(float* z, const float* p, const float* x, const float* signs, std::size_t n) {
  const auto next = [](auto v, auto q, auto s, auto target) __attribute__((always_inline)) {
    if constexpr (Last) return s != 0 ? target : q;
    else return v + 1.5f * (s != 0 ? target - q : q - v);
  };
  std::size_t i = 0;
  for (; i + kLanes<float> <= n; i += kLanes<float>) {
    const auto s = load(signs + i);
    store(z + i, next(load(z + i), load(p + i), s, s * load(x + i)));
  }
  for (; i < n; ++i) z[i] = next(z[i], p[i], signs[i], signs[i] * x[i]);
}

void democratic_f32(const float* x, float* a, std::size_t rows, const evenbits_hadamard* h, const float* signs,
                    std::uint32_t iterations, float* scratch) {
  const std::size_t n = h->n;
  const double root = __builtin_sqrt(double(n));
  const Base<float> base(h);
  const Factors<float> factors{nullptr, nullptr, float(1 / root)};
  float *z = scratch, *p = scratch + n;
  for (; rows; --rows, x += n, a += n) {
    const double norm = __builtin_sqrt(dot(x, x, n)), excess = norm * root / 16;
    float limit = float(norm / root);
    multiply(x, signs, z, n);
    transform(z, a, a, 1, n, base, factors);
    for (std::uint32_t k = 1; k <= iterations; ++k) {
      for (int step = 0; step < 2; ++step) limit = newton_step(a, n, limit, excess);
      clip(a, limit, p, n);
      transform(p, p, p, 1, n, base, factors);
      if (k < iterations) advance<false>(z, p, x, signs, n);
      else advance<true>(z, p, x, signs, n);
      transform(z, a, a, 1, n, base, factors);
    }
  }
}

}  // namespace evenbits::EVENBITS_ISA
