// Democratic embeddings: min |a|_inf subject to F a = x, by the iteration of Douglas and Rachford.
#pragma once

#include "kashin.hpp"

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

// What becomes of the transformed numbers v at place i, as in kashin.hpp. The steps are taken in the domain of x.
struct Advance {
  float scale, *z;
  const float *x, *signs;
};
template <class V>
EVENBITS_INLINE void take(V v, std::size_t i, const Advance& s) {
  const V p = v * s.scale, sign = at<V>(s.signs + i), z = at<V>(s.z + i);
  set(s.z + i, z + 1.5f * (sign != 0 ? sign * at<V>(s.x + i) - p : p - z));
}
struct Finish {
  float scale, *z;
  const float *x, *signs;
};
template <class V>
EVENBITS_INLINE void take(V v, std::size_t i, const Finish& s) {
  const V p = v * s.scale, sign = at<V>(s.signs + i);
  set(s.z + i, sign != 0 ? sign * at<V>(s.x + i) : p);
}

void democratic_f32(const float* x, float* a, std::size_t rows, const evenbits_hadamard* h, const float* signs,
                    std::uint32_t iterations, float* scratch) {
  const std::size_t n = h->n;
  const double root = __builtin_sqrt(double(n));
  const float scale = float(1 / root);
  const Base<float> base(h);
  float *z = scratch, *p = scratch + n;
  for (; rows; --rows, x += n, a += n) {
    const double norm = __builtin_sqrt(dot(x, x, n)), excess = norm * root / 16;
    float limit = float(norm / root);
    multiply(x, signs, z, n);
    transform(z, a, a, 1, n, base, Factors<float>{nullptr, nullptr, scale});
    for (std::uint32_t k = 1; k <= iterations; ++k) {
      for (int step = 0; step < 2; ++step) limit = newton_step(a, n, limit, excess);
      std::size_t i = 0;
      for (; i + kLanes<float> <= n; i += kLanes<float>) store(p + i, clamp(load(a + i), splat(-limit), splat(limit)));
      for (; i < n; ++i) p[i] = clamp(a[i], -limit, limit);
      if (k < iterations) transform_into(p, p, n, base, nullptr, Advance{scale, z, x, signs});
      else transform_into(p, p, n, base, nullptr, Finish{scale, z, x, signs});
      transform(z, a, a, 1, n, base, Factors<float>{nullptr, nullptr, scale});
    }
  }
}

}  // namespace evenbits::EVENBITS_ISA
