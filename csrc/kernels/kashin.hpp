// Kashin representations by Lyubarskii and Vershynin's iteration.
#pragma once

#include "hadamard.hpp"
#include "reduce.hpp"

namespace evenbits::EVENBITS_ISA {

void kashin_f32(const float* x, float* a, std::size_t rows, const evenbits_hadamard* h, const float* signs,
                std::uint32_t iterations, float eta, float delta, int closing, float* scratch) {
  const std::size_t n = h->n;
  const float scale = float(1 / __builtin_sqrt(double(n)));
  float *residual = scratch, *b = scratch + n;
  for (std::size_t row = 0; row < rows; ++row, x += n, a += n) {
    float limit = float(__builtin_sqrt(dot(x, x, n) / (double(delta) * double(n))));
    std::memcpy(residual, x, n * sizeof(float));
    std::memset(a, 0, n * sizeof(float));
    for (std::uint32_t k = 0; k < iterations; ++k, limit *= eta) {
      hadamard(residual, b, 1, h, signs, static_cast<const float*>(nullptr), scale);
      std::size_t i = 0;
      for (; i + kLanes<float> <= n; i += kLanes<float>) {
        const auto clipped = clamp(load(b + i), splat(-limit), splat(limit));
        store(b + i, clipped);
        store(a + i, load(a + i) + clipped);
      }
      for (; i < n; ++i) {
        const float below = b[i] < limit ? b[i] : limit;
        b[i] = below > -limit ? below : -limit;
        a[i] += b[i];
      }
      hadamard(b, b, 1, h, static_cast<const float*>(nullptr), signs, scale);
      for (i = 0; i + kLanes<float> <= n; i += kLanes<float>) store(residual + i, load(residual + i) - load(b + i));
      for (; i < n; ++i) residual[i] -= b[i];
    }
    if (!closing) continue;
    hadamard(residual, b, 1, h, signs, static_cast<const float*>(nullptr), scale);
    std::size_t i = 0;
    for (; i + kLanes<float> <= n; i += kLanes<float>) store(a + i, load(a + i) + load(b + i));
    for (; i < n; ++i) a[i] += b[i];
  }
}

}  // namespace evenbits::EVENBITS_ISA
