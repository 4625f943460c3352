// Floats to integer codes, to bfloat16 and to float16: to the nearest, or up and down at random.
#pragma once

#include "random.hpp"
#include "reduce.hpp"

namespace evenbits::EVENBITS_ISA {

// 2^23 or 2^52. Added to a number of 0 to half of it, it rounds that to an integer, ties to even: the sum's low bits.
template <class T>
inline constexpr T kUnit = sizeof(T) == 4 ? T(1 << 23) : T(std::uint64_t(1) << 52);
template <class T>
EVENBITS_INLINE Vec<Int<T>> low_bits(Vec<T> sum) {
  return (Vec<Int<T>>)sum - (Vec<Int<T>>)splat(kUnit<T>);
}

struct Nearest {
  static constexpr bool kUpper = false;
  template <class T>
  EVENBITS_INLINE Vec<Int<T>> round(const Nearest&, Vec<T> y, std::size_t) {
    return low_bits<T>(y + kUnit<T>);
  }
};
// `flipped` are the complements 65535 - k of the half-words.
struct Stochastic {
  static constexpr bool kUpper = false;
  const std::uint16_t* flipped;
  // With r the nearest integer and d = y - r, exact: up from r if k + 1/2 < 65536 d, which no d <= 0 is; down if not
  // k + 1/2 < 65536 (1 + d), which every d >= 0 is.
  template <class T>
  EVENBITS_INLINE Vec<Int<T>> round(const Stochastic& s, Vec<T> y, std::size_t i) {
    const auto sum = y + kUnit<T>, d = (y - (sum - kUnit<T>)) * T(65536), k = T(65535.5) - load_as<T>(s.flipped + i);
    return low_bits<T>(sum) - (k < d) + (k - T(65536) >= d);
  }
};
// The same for y below 256 that come multiplied by 2^17, and codes in the upper half of their lanes. With z = ceil(2^17 y)
// and m its last 17 bits, k + 1/2 < 65536 f where 2k + 2 <= m; then, and only then, 2 (65535 - k) + m carries over.
struct StochasticFixed {
  static constexpr bool kUpper = true;
  static constexpr float kScale = 1 << 17;
  const std::uint16_t* flipped;
  template <class T>
  EVENBITS_INLINE Vec<std::int32_t> round(const StochasticFixed& s, Vec<T> z, std::size_t i) {
    return (ceiling(z) >> 1) + load_as<std::int32_t>(s.flipped + i);
  }
};

// A register of the codes of x[0], x[1], ...; i is their place in the rounding's stretch.
template <class T, class Rounding>
EVENBITS_INLINE Vec<std::int32_t> codes_at(const T* x, std::size_t i, T scale, T zero, T top, const Rounding& r) {
  const auto round = [&](std::size_t j) __attribute__((always_inline)) {
    return Rounding::template round<T>(r, clamp(load(x + j) * scale + zero, Vec<T>{}, splat(top)), i + j);
  };
  if constexpr (sizeof(T) == 4) return round(0);
  else return evens<std::int32_t>((Vec<std::int32_t>)round(0), (Vec<std::int32_t>)round(kLanes<T>));
}
template <bool Upper>
EVENBITS_INLINE Vec<std::uint16_t> narrow_half(Vec<std::int32_t> a, Vec<std::int32_t> b) {
  if constexpr (Upper) return odds<std::uint16_t>((Vec<std::uint16_t>)a, (Vec<std::uint16_t>)b);
  else return narrow(a, b);
}
EVENBITS_INLINE Vec<std::uint8_t> narrow_to(std::uint8_t, Vec<std::int32_t> v) { return narrow(v, v, v, v); }
EVENBITS_INLINE Vec<std::uint16_t> narrow_to(std::uint16_t, Vec<std::int32_t> v) { return narrow(v, v); }

// Elements that share their parameters.
template <class T, class Code, class Rounding>
EVENBITS_INLINE void round_span(const T* x, std::size_t n, T scale, T zero, T top, const Rounding& r, Code* codes) {
  constexpr std::size_t lanes = kLanes<std::int32_t>;
  const auto at = [&](std::size_t i) __attribute__((always_inline)) { return codes_at(x + i, i, scale, zero, top, r); };
  std::size_t i = 0;
  for (; i + kLanes<Code> <= n; i += kLanes<Code>)
    if constexpr (sizeof(Code) == 1)
      store(codes + i, narrow(narrow_half<Rounding::kUpper>(at(i), at(i + lanes)),
                              narrow_half<Rounding::kUpper>(at(i + 2 * lanes), at(i + 3 * lanes))));
    else store(codes + i, narrow(at(i), at(i + lanes)));
  const auto register_at = [&](std::size_t j) __attribute__((always_inline)) {
    const auto some = narrow_to(Code(), Rounding::kUpper ? at(j) >> 16 : at(j));
    std::memcpy(codes + j, &some, lanes * sizeof(Code));
  };
  for (; i + lanes <= n; i += lanes) register_at(i);
  if (i < n && n >= lanes) register_at(n - lanes);  // once more, some of them: cheaper than fewer than a register
  else if (i < n) {
    T rest[lanes] = {};
    std::memcpy(rest, x, n * sizeof(T));
    const auto v = codes_at(rest, 0, scale, zero, top, r);
    const auto some = narrow_to(Code(), Rounding::kUpper ? v >> 16 : v);
    std::memcpy(codes, &some, n * sizeof(Code));
  }
}

template <class T, class Code>
EVENBITS_INLINE void round_nearest(const T* x, std::size_t rows, std::size_t n, std::size_t group, const T* scale, const T* zero,
                                   std::uint32_t top, Code* codes) {
  for_each_group(rows, n, group, [&](std::size_t g, std::size_t first, std::size_t count) __attribute__((always_inline)) {
    round_span(x + first, count, scale[g], zero[g], T(top), Nearest{}, codes + first);
  });
}
template <class T, class Code>
EVENBITS_INLINE void round_stochastic(const T* x, std::size_t rows, std::size_t n, std::size_t group, const T* scale,
                                      const T* zero, std::uint32_t top, evenbits_stream s, Code* codes) {
  HalfWords k(s, rows * n);
  for_each_group(rows, n, group, [&](std::size_t g, std::size_t i, std::size_t count) __attribute__((always_inline)) {
    for (const std::size_t end = i + count; i < end; i += count) {
      count = end - i;
      const std::uint16_t* flipped = k.next(count);
      if constexpr (sizeof(T) == 4 && sizeof(Code) == 1)
        if (__builtin_fabsf(scale[g]) < 0x1p110f && __builtin_fabsf(zero[g]) < 0x1p110f) {  // 2^17 times that is a float
          constexpr float unit = StochasticFixed::kScale;
          round_span(x + i, count, scale[g] * unit, zero[g] * unit, T(top) * unit, StochasticFixed{flipped}, codes + i);
          continue;
        }
      round_span(x + i, count, scale[g], zero[g], T(top), Stochastic{flipped}, codes + i);
    }
  });
}

void round_nearest_f32_u8(const float* x, std::size_t rows, std::size_t n, std::size_t group, const float* scale,
                          const float* zero, std::uint32_t top, std::uint8_t* codes) {
  round_nearest(x, rows, n, group, scale, zero, top, codes);
}
void round_nearest_f32_u16(const float* x, std::size_t rows, std::size_t n, std::size_t group, const float* scale,
                           const float* zero, std::uint32_t top, std::uint16_t* codes) {
  round_nearest(x, rows, n, group, scale, zero, top, codes);
}
void round_nearest_f64_u8(const double* x, std::size_t rows, std::size_t n, std::size_t group, const double* scale,
                          const double* zero, std::uint32_t top, std::uint8_t* codes) {
  round_nearest(x, rows, n, group, scale, zero, top, codes);
}
void round_nearest_f64_u16(const double* x, std::size_t rows, std::size_t n, std::size_t group, const double* scale,
                           const double* zero, std::uint32_t top, std::uint16_t* codes) {
  round_nearest(x, rows, n, group, scale, zero, top, codes);
}
void round_stochastic_f32_u8(const float* x, std::size_t rows, std::size_t n, std::size_t group, const float* scale,
                             const float* zero, std::uint32_t top, evenbits_stream s, std::uint8_t* codes) {
  round_stochastic(x, rows, n, group, scale, zero, top, s, codes);
}
void round_stochastic_f32_u16(const float* x, std::size_t rows, std::size_t n, std::size_t group, const float* scale,
                              const float* zero, std::uint32_t top, evenbits_stream s, std::uint16_t* codes) {
  round_stochastic(x, rows, n, group, scale, zero, top, s, codes);
}
void round_stochastic_f64_u8(const double* x, std::size_t rows, std::size_t n, std::size_t group, const double* scale,
                             const double* zero, std::uint32_t top, evenbits_stream s, std::uint8_t* codes) {
  round_stochastic(x, rows, n, group, scale, zero, top, s, codes);
}
void round_stochastic_f64_u16(const double* x, std::size_t rows, std::size_t n, std::size_t group, const double* scale,
                              const double* zero, std::uint32_t top, evenbits_stream s, std::uint16_t* codes) {
  round_stochastic(x, rows, n, group, scale, zero, top, s, codes);
}

// The formats take the bits of a float's magnitude, and the place of its half-word, to the bits of the result's.
struct ToBfloat16 {
  EVENBITS_INLINE Vec<std::int32_t> round(Vec<std::int32_t> magnitude, const Stochastic& s, std::size_t i) {
    return least((magnitude + load_as<std::int32_t>(s.flipped + i)) >> 16, splat<std::int32_t>(0x7F7F));
  }
};
struct ToFloat16 {
  EVENBITS_INLINE Vec<std::int32_t> round(Vec<std::int32_t> magnitude, const Stochastic& s, std::size_t i) {
    const auto exponent = greatest((magnitude >> 23) - 127, splat<std::int32_t>(-14));
    const auto inverse_step = (Vec<float>)((137 - exponent) << 23);  // 2^(10 - exponent)
    const auto steps = Stochastic::round<float>(s, (Vec<float>)magnitude * inverse_step, i);
    return least(((exponent + 14) << 10) + steps, splat<std::int32_t>(0x7BFF));
  }
};
template <class Format>
EVENBITS_INLINE void round_format(const float* x, std::size_t n, evenbits_stream s, std::uint16_t* out) {
  constexpr std::size_t lanes = kLanes<float>;
  const auto at = [](const float* p, const Stochastic& r, std::size_t i) __attribute__((always_inline)) {
    const auto bits = (Vec<std::int32_t>)load(p);
    const auto sign = (Vec<std::int32_t>)((Vec<std::uint32_t>)bits >> 16) & 0x8000;
    return Format::round(bits & 0x7FFFFFFF, r, i) | sign;
  };
  HalfWords k(s, n);
  for (std::size_t count; n; x += count, out += count, n -= count) {
    count = n;
    const Stochastic r{k.next(count)};
    std::size_t i = 0;
    for (; i + 2 * lanes <= count; i += 2 * lanes) store(out + i, narrow(at(x + i, r, i), at(x + i + lanes, r, i + lanes)));
    for (; i < count; i += lanes) {
      float rest[lanes] = {};
      const std::size_t left = count - i < lanes ? count - i : lanes;
      std::memcpy(rest, x + i, left * sizeof(float));
      const auto some = narrow_to(std::uint16_t(), at(rest, r, i));
      std::memcpy(out + i, &some, left * sizeof(std::uint16_t));
    }
  }
}
void round_bfloat16(const float* x, std::size_t n, evenbits_stream s, std::uint16_t* out) {
  round_format<ToBfloat16>(x, n, s, out);
}
void round_float16(const float* x, std::size_t n, evenbits_stream s, std::uint16_t* out) {
  round_format<ToFloat16>(x, n, s, out);
}

void round_error_f32(const float* x, std::size_t rows, std::size_t n, std::size_t group, const float* scale, const float* zero,
                     const float* step, std::uint32_t top, double* errors) {
  for_each_group(rows, n, group, [&](std::size_t g, std::size_t first, std::size_t count) __attribute__((always_inline)) {
    const auto add_errors = [&](Sums& s, const float* p, std::size_t m) __attribute__((always_inline)) {
      float d[Sums::kCount];
      for (std::size_t j = 0; j < Sums::kCount; j += kLanes<float>) {
        const auto v = load(p + j), y = clamp(v * scale[g] + zero[g], Vec<float>{}, splat(float(top)));
        store(d + j, v - (((y + kUnit<float>)-kUnit<float>)-zero[g]) * step[g]);
      }
      for (; m < Sums::kCount; ++m) d[m] = 0;
      add_products(s, d, d);
    };
    Sums s{};
    const float* p = x + first;
    for (; count >= Sums::kCount; p += Sums::kCount, count -= Sums::kCount) add_errors(s, p, Sums::kCount);
    if (count) {
      float rest[Sums::kCount] = {};
      std::memcpy(rest, p, count * sizeof(float));
      add_errors(s, rest, count);
    }
    errors[g] = total(s);
  });
}

}  // namespace evenbits::EVENBITS_ISA
