// Kashin representations by Lyubarskii and Vershynin's iteration.
#pragma once

#include "hadamard.hpp"
#include "reduce.hpp"

namespace evenbits::EVENBITS_ISA {

// Registers of floats or, at the end of a row, single ones.
template <class V>
EVENBITS_INLINE V at(const float* p) {
  if constexpr (std::is_same_v<V, float>) return *p;
  else return load(p);
}
template <class V>
EVENBITS_INLINE void set(float* p, V v) {
  if constexpr (std::is_same_v<V, float>) *p = v;
  else store(p, v);
}

// What becomes of the transformed numbers v at place i.
struct Clip {  // they are clipped and added to a
  float scale, limit, *clipped, *a;
};
template <class V>
EVENBITS_INLINE void take(V v, std::size_t i, const Clip& c) {
  const V clipped = clamp(v * c.scale, V{} - c.limit, V{} + c.limit);
  set(c.clipped + i, clipped), set(c.a + i, at<V>(c.a + i) + clipped);
}
struct Close {  // they are added to a
  float scale, *a;
};
template <class V>
EVENBITS_INLINE void take(V v, std::size_t i, const Close& c) {
  set(c.a + i, at<V>(c.a + i) + v * c.scale);
}
struct Reduce {  // what they stand for is taken from the residual
  float scale;
  const float* signs;
  float* residual;
};
template <class V>
EVENBITS_INLINE void take(V v, std::size_t i, const Reduce& r) {
  set(r.residual + i, at<V>(r.residual + i) - v * r.scale * at<V>(r.signs + i));
}

// A way out of the last sweep, which has them in registers.
template <class Step>
struct Into {
  Step step;
};
template <std::size_t R, class Step>
EVENBITS_INLINE void leave(float*, std::size_t i, std::size_t stride, Block<float, R> b, const Into<Step>& into) {
  if constexpr (R == 1) take(b.v, i, into.step);
  else leave(nullptr, i, stride, b.lo, into), leave(nullptr, i + R / 2 * stride, stride, b.hi, into);
}
// Rows from here on are gone over once more. The rows of a wide last sweep lie a multiple of 4 KiB apart or nearly so, in one
// set of the first cache, which has room for those of y, and not also for those of the arrays that `step` goes through.
inline constexpr std::size_t kLongRow = 4096;

// `step` takes H (before o x); y is room for n numbers.
template <class Step>
EVENBITS_INLINE void transform_into(const float* x, float* y, std::size_t n, const Base<float>& base, const float* before,
                                    const Step& step) {
  if (base.m == 1 && n > kBase * kLanes<float> && n < kLongRow) {
    const std::size_t h = before ? first_sweeps(x, y, n, n, Times<float>{before}) : first_sweeps(x, y, n, n, AsIs{});
    return last_sweep(y, n, n, h, Into<Step>{step});
  }
  transform(x, y, y, 1, n, base, Factors<float>{before});
  std::size_t i = 0;
  for (; i + kLanes<float> <= n; i += kLanes<float>) take(load(y + i), i, step);
  for (; i < n; ++i) take(y[i], i, step);
}

void kashin_f32(const float* x, float* a, std::size_t rows, const evenbits_hadamard* h, const float* signs,
                std::uint32_t iterations, float eta, float delta, int closing, float* scratch) {
  const std::size_t n = h->n;
  const float scale = float(1 / __builtin_sqrt(double(n)));
  const Base<float> base(h);
  float *residual = scratch, *b = scratch + n;
  for (; rows; --rows, x += n, a += n) {
    float limit = float(__builtin_sqrt(dot(x, x, n) / (double(delta) * double(n))));
    std::memcpy(residual, x, n * sizeof(float));
    std::memset(a, 0, n * sizeof(float));
    for (std::uint32_t k = 0; k < iterations; ++k, limit *= eta) {
      transform_into(residual, b, n, base, signs, Clip{scale, limit, b, a});
      transform_into(b, b, n, base, nullptr, Reduce{scale, signs, residual});
    }
    if (closing) transform_into(residual, b, n, base, signs, Close{scale, a});
  }
}

}  // namespace evenbits::EVENBITS_ISA
