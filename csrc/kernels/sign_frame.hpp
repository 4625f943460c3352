// Signs for the columns of a frame, all decided together, so that the signed sum is near a vector.
#pragma once

#include "hadamard.hpp"
#include "reduce.hpp"

namespace evenbits::EVENBITS_ISA {

// f(i, in registers) where registers are full, then one element at a time.
template <class Wide, class Single>
EVENBITS_INLINE void over_registers(std::size_t n, Wide wide, Single single) {
  std::size_t i = 0;
  for (; i + kLanes<float> <= n; i += kLanes<float>) wide(i);
  for (; i < n; ++i) single(i);
}

void sign_frame_f32(const float* x, float* a, std::size_t rows, const evenbits_hadamard* h, const float* signs, const float* box,
                    std::uint32_t iterations, double level, float momentum, double concavity, float* scratch) {
  const std::size_t n = h->n;
  const float scale = float(1 / __builtin_sqrt(double(n)));
  const float *none = nullptr, one = 1;
  float *target = scratch, *w = scratch + n, *b = scratch + 2 * n, *last = scratch + 3 * n;
  for (std::size_t row = 0; row < rows; ++row, x += n, a += n) {
    const float size = float(level * __builtin_sqrt(dot(x, x, n)));
    multiply(x, size > 0 ? one / size : 0.0f, target, n);
    std::memset(a, 0, n * sizeof(float));
    std::memset(last, 0, n * sizeof(float));
    for (std::uint32_t k = 0; k < iterations; ++k) {
      const float growth = float(1 + concavity * k / iterations);
      over_registers(
          n,
          [&](std::size_t i) __attribute__((always_inline)) {
            const auto v = load(a + i);
            store(w + i, v + (v - load(last + i)) * momentum);
            store(last + i, v);
          },
          [&](std::size_t i) __attribute__((always_inline)) {
            w[i] = a[i] + (a[i] - last[i]) * momentum;
            last[i] = a[i];
          });
      hadamard(w, b, 1, h, none, signs, scale);
      over_registers(
          n, [&](std::size_t i) __attribute__((always_inline)) { store(b + i, load(target + i) - load(b + i)); },
          [&](std::size_t i) __attribute__((always_inline)) { b[i] = target[i] - b[i]; });
      hadamard(b, b, 1, h, signs, none, scale);
      over_registers(
          n,
          [&](std::size_t i) __attribute__((always_inline)) {
            const auto most = load(box + i);
            store(a + i, clamp(load(w + i) * growth + load(b + i), -most, most));
          },
          [&](std::size_t i) __attribute__((always_inline)) {
            const float v = w[i] * growth + b[i], below = v < box[i] ? v : box[i];
            a[i] = below > -box[i] ? below : -box[i];
          });
    }
    multiply(a, size, a, n);
  }
}

}  // namespace evenbits::EVENBITS_ISA
