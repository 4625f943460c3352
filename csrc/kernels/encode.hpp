// Rows to the codes of their random rotation and back, a row at a time in the first cache: what the separate kernels
// and double arithmetic between them give, bit for bit.
#pragma once

#include "codebook.hpp"
#include "hadamard.hpp"
#include "packing.hpp"

namespace evenbits::EVENBITS_ISA {

// Rows of ordinary size need no scaling: their largest number is 0 or from 2^-60 to 2^60. As bits of floats.
inline constexpr std::int32_t kLeast = (127 - 60) << 23, kGreatest = (127 + 60) << 23;

EVENBITS_INLINE std::int32_t magnitude(float x) {
  std::int32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits & 0x7fffffff;
}
EVENBITS_INLINE float as_float(std::int32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}
EVENBITS_INLINE bool ordinary(std::int32_t magnitude) {
  return magnitude == 0 || (magnitude >= kLeast && magnitude <= kGreatest);
}

// y = x o (scale * signs); returns the largest magnitude of x as bits, which also are above all others for infinities and NaNs.
EVENBITS_INLINE std::int32_t sign_row(const float* x, const float* signs, float scale, std::size_t d, float* y) {
  Vec<std::int32_t> most{};
  std::size_t i = 0;
  for (; i + kFloats <= d; i += kFloats) {
    const auto v = load(x + i);
    most = greatest(most, (Vec<std::int32_t>)v & 0x7fffffff);
    store(y + i, v * (load(signs + i) * scale));
  }
  std::int32_t peak = over_lanes<std::int32_t>(most, [](auto a, auto b) { return greatest(a, b); });
  for (; i < d; ++i) peak = greatest(peak, magnitude(x[i])), y[i] = x[i] * (signs[i] * scale);
  return peak;
}
// Calls f(place of 16 elements, v) for the elements of y one after the other: v holds zeros for those that the last 16 lack.
template <class F>
EVENBITS_INLINE void by_sixteen(const float* y, std::size_t n, F f) {
  std::size_t i = 0;
  for (; i + Sums::kCount <= n; i += Sums::kCount) f(i, y + i);
  if (i == n) return;
  float rest[Sums::kCount] = {};
  std::memcpy(rest, y + i, (n - i) * sizeof(float));
  f(i, static_cast<const float*>(rest));
}
// The sum of the squares of y. Meanwhile the next row comes closer.
EVENBITS_INLINE double energy_of(const float* y, std::size_t n, const float* next) {
  Sums energy{};
  by_sixteen(y, n, [&](std::size_t i, const float* v) __attribute__((always_inline)) {
    __builtin_prefetch(next + i);
    add_products(energy, v, v);
  });
  return total(energy);
}

// What a row's scale is made of.
struct Fit {
  double energy, product, squares;
};

// Packs one-bit codes of y. They are signs, whatever the row's own scale, so that one sweep does it; the energy is
// summed if it is wanted. Returns the least magnitude but 0, or infinity.
template <bool Energy>
EVENBITS_INLINE float code_signs(const float* y, float level, std::size_t n, const float* next, std::uint8_t* out, Fit& fit) {
  Sums energy{}, product{};
  auto smallest = ~Vec<std::uint32_t>{};  // magnitude - 1 as bits: 0 becomes the largest
  by_sixteen(y, n, [&](std::size_t i, const float* v) __attribute__((always_inline)) {
    __builtin_prefetch(next + i);
    std::uint32_t word = 0;
    for (std::size_t j = 0; j < Sums::kCount / kFloats; ++j) {
      const auto x = load(v + j * kFloats);
      const auto size = (Vec<std::uint32_t>)x & 0x7fffffff;
      word |= bits_at_least_zero(x) << j * kFloats;
      smallest = least(smallest, size - 1);
      for_halves(j, (Vec<float>)size, [&](std::size_t r, Vec<double> h) __attribute__((always_inline)) {
        if constexpr (Energy) energy.lane[r] = mul_add(h, h, energy.lane[r]);
        product.lane[r] = mul_add(h, splat(double(level)), product.lane[r]);
      });
    }
    if (n - i < Sums::kCount) word &= (1u << (n - i)) - 1, std::memcpy(out + i / 8, &word, (n - i + 7) / 8);
    else std::memcpy(out + i / 8, &word, Sums::kCount / 8);
  });
  fit.energy = total(energy), fit.product = total(product);
  const auto least_bits = over_lanes<std::uint32_t>(smallest, [](auto a, auto b) { return least(a, b); });
  const std::int32_t bits = std::int32_t(least(least_bits, 0x7f7fffffu)) + 1;
  return as_float(bits);
}

// Coordinates that are worked on at a time between searching levels and packing.
inline constexpr std::size_t kSlice = 512;

// nearest_span that gives the levels, too: in registers, where they can be permuted and few hold the table.
template <class Search>
inline constexpr std::size_t kTable = 0;  // registers that do
template <unsigned D>
inline constexpr std::size_t kTable<Tree<D>> = (std::size_t(1) << D) < kFloats ? 1 : (std::size_t(1) << D) / kFloats;
template <>
inline constexpr std::size_t kTable<Linear> = kPermutes ? 1 : 0;

template <class Search>
EVENBITS_INLINE void nearest_levels(const Search& s, const float* x, std::size_t n, float scale, const float* table,
                                    std::uint8_t* codes, float* level) {
  if constexpr (kTable<Search> > 0)
    nearest_span(s, x, n, scale, codes, [&](std::size_t i, Vec<std::int32_t> code) __attribute__((always_inline)) {
      store(level + i, look_up<kTable<Search>>(table, code));
    });
  else nearest_span(s, x, n, scale, codes), dequantize_span(codes, n, table, 1, 0, level);
}

// Packs the codes of y * inverse; of the sums only those asked for have a meaning.
template <class Search>
EVENBITS_INLINE void code_row(const Search& search, const evenbits_rotation* r, const float* y, float inverse, const float* table,
                              std::uint8_t* out, const std::uint8_t* end, bool fits, Fit& fit) {
  alignas(64) std::uint8_t codes[kSlice];
  alignas(64) float level[kSlice];
  const std::size_t n = r->h.n;
  Sums product{}, squares{};
  for (std::size_t i = 0; i < n; i += kSlice, out += kSlice / 8 * r->bits) {
    const std::size_t count = n - i < kSlice ? n - i : kSlice;
    if (fits) {
      nearest_levels(search, y + i, count, inverse, table, codes, level);
      std::size_t j = 0;
      for (; j + Sums::kCount <= count; j += Sums::kCount)
        add_products(product, y + i + j, level + j), add_products(squares, level + j, level + j);
      if (j < count) {
        float a[Sums::kCount] = {}, b[Sums::kCount] = {};
        std::memcpy(a, y + i + j, (count - j) * sizeof(float)), std::memcpy(b, level + j, (count - j) * sizeof(float));
        add_products(product, a, b), add_products(squares, b, b);
      }
    } else nearest_span(search, y + i, count, inverse, codes);
    if (r->bits == 8) std::memcpy(out, codes, count);
    else pack_row(codes, count, r->bits, out, end);
  }
  fit.product = total(product), fit.squares = total(squares);
}

EVENBITS_INLINE float fitted(const Fit& f, int fit, float otherwise) {
  const bool least = fit == EVENBITS_FIT_LEAST_SQUARES;
  const double numerator = least ? f.product : f.energy, denominator = least ? f.squares : f.product;
  const double ratio = fit != EVENBITS_FIT_NONE && denominator > 0 ? numerator / denominator : 0;
  return ratio > 0 ? float(ratio) : otherwise;
}

std::size_t encode_rotated_f32(const float* x, std::size_t rows, const evenbits_rotation* r, int fit, std::uint8_t* packed,
                               std::size_t row_bytes, float* scales, float* y) {
  const std::size_t d = r->d, n = r->h.n, used = (n * r->bits + 7) / 8, thresholds = (std::size_t(1) << r->bits) - 1;
  const std::uint8_t* end = packed + rows * row_bytes;
  const Base<float> base(&r->h);
  alignas(64) float table[256];
  std::memcpy(table, r->levels, sizeof table);
  const bool one_bit = r->bits == 1 && table[1] > 0 && table[0] == -table[1] && r->thresholds[0] == 0;
  Fit f{};
  if (one_bit) {
    for (std::size_t i = 0; i < n; ++i) y[i] = table[1];
    f.squares = dot(y, y, n);
  }
  std::size_t row = 0;
  const auto with = [&](const auto& search) __attribute__((always_inline)) {
    const bool signs = std::is_same_v<decltype(search), const Linear&> && one_bit;
    for (; row < rows; ++row, x += d, packed += row_bytes) {
      const std::int32_t peak = sign_row(x, r->signs, r->scale, d, y);
      if (!ordinary(peak)) return;
      if (d < n) std::memset(y + d, 0, (n - d) * sizeof(float));
      transform(y, y, y, 1, n, base, Factors<float>{});
      const float* next = row + 1 < rows ? x + d : x;
      bool coded = false;
      float deviation = 0;
      if (signs) {
        // With least squares the deviation only matters where it is 0, in rows of zeros.
        const float smallest = fit == EVENBITS_FIT_LEAST_SQUARES ? code_signs<false>(y, table[1], n, next, packed, f)
                                                                 : code_signs<true>(y, table[1], n, next, packed, f);
        deviation = float(__builtin_sqrt(f.energy / double(n)));
        coded = smallest * (0.5f / as_float(peak)) != 0;  // else y / deviation might be 0 for some negative y
      }
      if (!coded) {
        f.energy = energy_of(y, n, next);
        deviation = float(__builtin_sqrt(f.energy / double(n)));
        const float inverse = deviation >= 0x1p-100f ? float(1 / double(deviation)) : 0.0f;
        code_row(search, r, y, inverse, table, packed, end, fit != EVENBITS_FIT_NONE, f);
      }
      if (used < row_bytes) std::memset(packed + used, 0, row_bytes - used);
      scales[row] = fitted(f, fit, deviation);
      if (!ordinary(magnitude(scales[row]))) return;
    }
  };
  if (thresholds <= kLinear) with(Linear(r->thresholds, thresholds));
  else with_tree<3>(r->thresholds, thresholds, with);
  return row;
}

std::size_t decode_rotated_f32(const std::uint8_t* packed, std::size_t row_bytes, const float* scales, std::size_t rows,
                               const evenbits_rotation* r, float* x, float* scratch) {
  const std::size_t d = r->d, n = r->h.n;
  const std::uint8_t* end = packed + rows * row_bytes;
  const Base<float> base(&r->h);
  alignas(64) float table[256];
  alignas(64) std::uint8_t codes[kSlice];
  std::memcpy(table, r->levels, sizeof table);
  for (std::size_t row = 0; row < rows; ++row, x += d, packed += row_bytes) {
    if (!ordinary(magnitude(scales[row]))) return row;
    const std::uint8_t* in = packed;
    for (std::size_t i = 0; i < n; i += kSlice, in += kSlice / 8 * r->bits) {
      const std::size_t count = n - i < kSlice ? n - i : kSlice;
      if (r->bits == 8) dequantize_span(in, count, table, scales[row], 0, scratch + i);
      else {
        unpack_row(in, count, r->bits, end, codes);
        dequantize_span(codes, count, table, scales[row], 0, scratch + i);
      }
    }
    transform(scratch, scratch, scratch, 1, n, base, Factors<float>{});
    std::size_t i = 0;
    for (; i + kFloats <= d; i += kFloats) store(x + i, load(scratch + i) * (load(r->signs + i) * r->scale));
    for (; i < d; ++i) x[i] = scratch[i] * (r->signs[i] * r->scale);
  }
  return rows;
}

}  // namespace evenbits::EVENBITS_ISA
