// x = u + P v with P = H diag(signs) H / n, which is symmetric and its own inverse: additions alone.
#pragma once

#include "sign_frame.hpp"

namespace evenbits::EVENBITS_ISA {

EVENBITS_INLINE double sum_of_magnitudes(const float* x, std::size_t n) {
  Sums s{};
  const auto add = [&](const float* p) __attribute__((always_inline)) {
    for (std::size_t r = 0; r < Sums::kRegisters; ++r) {
      const auto v = load_as_double(p + r * kLanes<double>);
      s.lane[r] += greatest(v, -v);
    }
  };
  std::size_t i = 0;
  for (; i + Sums::kCount <= n; i += Sums::kCount) add(x + i);
  if (i < n) {
    float rest[Sums::kCount] = {};
    std::memcpy(rest, x + i, (n - i) * sizeof(float));
    add(rest);
  }
  return total(s);
}
// y = P x; y may be x.
EVENBITS_INLINE void involution(const float* x, float* y, const evenbits_hadamard* h, const float* signs, float scale) {
  const float* none = nullptr;
  hadamard(x, y, 1, h, none, signs, scale);
  hadamard(y, y, 1, h, none, none, scale);
}
EVENBITS_INLINE void subtract(float* x, const float* y, std::size_t n) {
  over_registers(
      n, [&](std::size_t i) __attribute__((always_inline)) { store(x + i, load(x + i) - load(y + i)); },
      [&](std::size_t i) __attribute__((always_inline)) { x[i] -= y[i]; });
}
// Moves size * sign(residual) from the residual to the factor; the step taken is left in `step`.
EVENBITS_INLINE void take_step(float* residual, float* factor, float* step, float size, std::size_t n) {
  over_registers(
      n,
      [&](std::size_t i) __attribute__((always_inline)) {
        const auto v = load(residual + i), c = splat(size), zero = Vec<float>{};
        const auto p = v > zero ? c : (v < zero ? -c : zero);
        store(step + i, p), store(factor + i, load(factor + i) + p), store(residual + i, v - p);
      },
      [&](std::size_t i) __attribute__((always_inline)) {
        const float v = residual[i], p = v > 0 ? size : (v < 0 ? -size : 0.0f);
        step[i] = p, factor[i] += p, residual[i] = v - p;
      });
}

void kashin_split_f32(const float* x, float* u, float* v, std::size_t rows, const evenbits_hadamard* h, const float* signs,
                      int greedy, std::uint32_t most, double tolerance, double* residuals, float* scratch) {
  const std::size_t n = h->n;
  const float scale = float(1 / __builtin_sqrt(double(n)));
  float *r = scratch, *y = scratch + n, *step = scratch + 2 * n;
  for (std::size_t row = 0; row < rows; ++row, x += n, u += n, v += n) {
    const float size = float(__builtin_sqrt(dot(x, x, n) / double(n)));
    multiply(x, size > 0 ? 1.0f / size : 0.0f, r, n);
    involution(r, y, h, signs, scale);
    std::memset(u, 0, n * sizeof(float));
    std::memset(v, 0, n * sizeof(float));
    double left = dot(r, r, n);
    for (std::uint32_t k = 0; k < most && left > tolerance * tolerance * double(n); ++k, left = dot(r, r, n)) {
      const double of_r = sum_of_magnitudes(r, n), of_y = sum_of_magnitudes(y, n);
      const bool first = greedy ? of_r > of_y : k % 4 < 2;
      take_step(first ? r : y, first ? u : v, step, float((first ? of_r : of_y) / double(n)), n);
      involution(step, step, h, signs, scale);
      subtract(first ? y : r, step, n);
    }
    residuals[row] = __builtin_sqrt(left / double(n));
  }
}

// One alphabet of evenly spaced levels from -peak to peak.
struct Alphabet {
  float peak, step, inverse, last;  // last: the index of the greatest level
  Alphabet(evenbits_alphabet a)
      : peak(a.peak),
        step(a.levels > 1 ? 2 * a.peak / float(a.levels - 1) : 0.0f),
        inverse(step > 0 ? 1 / step : 0.0f),
        last(float(a.levels - 1)) {}
};
// Away from the nearest threshold, along the gradient, and back into the range.
EVENBITS_INLINE void relax(float* c, const float* w, const float* gradient, std::size_t n, const Alphabet& a, float growth) {
  const float top = a.last - 1;
  over_registers(
      n,
      [&](std::size_t i) __attribute__((always_inline)) {
        const auto v = load(w + i), zero = Vec<float>{};
        const auto place = least(greatest((v + a.peak) * a.inverse, zero), splat(a.last));
        const auto cell =
            least(__builtin_convertvector(__builtin_convertvector(place, Vec<std::int32_t>), Vec<float>), splat(top));
        const auto threshold = (cell + 0.5f) * a.step - a.peak;
        store(c + i, clamp((v + (v - threshold) * growth) + load(gradient + i) * 0.5f, splat(-a.peak), splat(a.peak)));
      },
      [&](std::size_t i) __attribute__((always_inline)) {
        const float v = w[i];
        float place = (v + a.peak) * a.inverse;
        place = place > 0 ? place : 0.0f;
        place = place < a.last ? place : a.last;
        float cell = float(std::int32_t(place));
        cell = cell < top ? cell : top;
        const float threshold = (cell + 0.5f) * a.step - a.peak;
        float z = (v + (v - threshold) * growth) + gradient[i] * 0.5f;
        z = z < a.peak ? z : a.peak;
        c[i] = z > -a.peak ? z : -a.peak;
      });
}
EVENBITS_INLINE std::uint32_t index_of(float v, const Alphabet& a) {
  return std::uint32_t(std::int32_t((v + a.peak) * a.inverse + 0.5f));
}

void kashin_joint_f32(const float* x, std::uint8_t* codes, std::size_t rows, const evenbits_hadamard* h, const float* signs,
                      std::size_t split, const evenbits_alphabet* alphabets, std::uint32_t iterations, float momentum,
                      double concavity, float* scratch) {
  const std::size_t n = h->n;
  const float scale = float(1 / __builtin_sqrt(double(n)));
  const Alphabet a[4] = {alphabets[0], alphabets[1], alphabets[2], alphabets[3]};
  float *target = scratch, *r = scratch + n, *factors = scratch + 2 * n, *w = scratch + 4 * n, *last = scratch + 6 * n;
  for (std::size_t row = 0; row < rows; ++row, x += n, codes += n) {
    const float size = float(__builtin_sqrt(dot(x, x, n) / double(n)));
    multiply(x, size > 0 ? 1.0f / size : 0.0f, target, n);
    std::memset(factors, 0, 2 * n * sizeof(float));
    std::memset(last, 0, 2 * n * sizeof(float));
    for (std::uint32_t k = 0; k < iterations; ++k) {
      const float growth = float(concavity * k / iterations);
      over_registers(
          2 * n,
          [&](std::size_t i) __attribute__((always_inline)) {
            const auto c = load(factors + i);
            store(w + i, c + (c - load(last + i)) * momentum);
            store(last + i, c);
          },
          [&](std::size_t i) __attribute__((always_inline)) {
            w[i] = factors[i] + (factors[i] - last[i]) * momentum;
            last[i] = factors[i];
          });
      involution(w + n, r, h, signs, scale);
      over_registers(
          n, [&](std::size_t i) __attribute__((always_inline)) { store(r + i, load(target + i) - load(w + i) - load(r + i)); },
          [&](std::size_t i) __attribute__((always_inline)) { r[i] = target[i] - w[i] - r[i]; });
      relax(factors, w, r, split, a[0], growth);
      relax(factors + split, w + split, r + split, n - split, a[2], growth);
      involution(r, r, h, signs, scale);
      relax(factors + n, w + n, r, split, a[1], growth);
      relax(factors + n + split, w + n + split, r + split, n - split, a[3], growth);
    }
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t kind = i < split ? 0 : 2;
      codes[i] = std::uint8_t(index_of(factors[i], a[kind]) + alphabets[kind].levels * index_of(factors[n + i], a[kind + 1]));
    }
  }
}

}  // namespace evenbits::EVENBITS_ISA
