// Floats of 16 bits, one register of floats at a time: widened exactly, narrowed to the nearest, ties to even.
#pragma once

#include "../simd.hpp"

namespace evenbits::EVENBITS_ISA {

struct Binary16 {
  std::uint16_t bits;
};
struct Brain16 {
  std::uint16_t bits;
};

template <class T, class = std::enable_if_t<std::is_arithmetic_v<T>>>
EVENBITS_INLINE Vec<T> fetch(const T* p) {
  return load(p);
}
template <class T, class = std::enable_if_t<std::is_arithmetic_v<T>>>
EVENBITS_INLINE void put(T* p, Vec<T> v) {
  store(p, v);
}

EVENBITS_INLINE Vec<float> fetch(const Brain16* p) {
#if defined(__AVX2__) && !defined(__AVX512F__)
  return (Vec<float>)_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))), 16);
#else
  return (Vec<float>)(load_as<std::int32_t>(&p->bits) << 16);
#endif
}
EVENBITS_INLINE Vec<float> fetch(const Binary16* p) {
#if defined(__AVX512F__)
  return _mm512_maskz_cvtph_ps(0xFFFF, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
#elif defined(__F16C__)
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#elif defined(__aarch64__)
  return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(&p->bits)));
#else
  const auto h = load_as<std::int32_t>(&p->bits), magnitude = (h & 0x7fff) << 13;
  const auto finite = (Vec<std::int32_t>)((Vec<float>)magnitude * 0x1p112f);
  return (Vec<float>)((magnitude >= 0x0f800000 ? finite | 0x7f800000 : finite) | (h & 0x8000) << 16);
#endif
}

// Every NaN becomes this one, whatever the processor would make of it; `put` takes no other.
EVENBITS_INLINE Vec<float> one_nan(Vec<float> v) { return v == v ? v : splat(__builtin_nanf("")); }
EVENBITS_INLINE bool all_finite(Vec<float> v) { return bits_at_least_zero(v * 0) == (1u << kLanes<float>)-1; }

#if !defined(__AVX2__)
// The low 16 bits of each lane.
EVENBITS_INLINE void put_low(std::uint16_t* p, Vec<std::uint32_t> v) {
  const auto low = __builtin_convertvector(v, typename Lanes<std::uint16_t, kLanes<std::uint32_t>>::type);
  std::memcpy(p, &low, sizeof low);
}
#endif
EVENBITS_INLINE void put(Brain16* p, Vec<float> v) {
  const auto bits = (Vec<std::uint32_t>)v;
#if defined(__AVX512F__)  // the upper halves of the lanes, with an odd one's rounded up at a half
  const __mmask16 odd = _mm512_test_epi32_mask((__m512i)bits, _mm512_set1_epi32(0x10000));
  const __m512i below = (__m512i)(bits + 0x7fff), rounded = _mm512_mask_sub_epi32(below, odd, below, _mm512_set1_epi32(-1));
  const auto upper = (__m512i)((iota<std::uint16_t>(EVENBITS_ALL_LANES(std::uint16_t)) & 15) * 2 + 1);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_castsi512_si256(_mm512_maskz_permutexvar_epi16(~0u, upper, rounded)));
#else
  const auto rounded = bits + 0x7fff + (bits >> 16 & 1);
#if defined(__AVX2__)
  const auto byte = iota<std::uint8_t>(EVENBITS_ALL_LANES(std::uint8_t)) & 7;
  const __m256i upper = _mm256_shuffle_epi8((__m256i)rounded, (__m256i)(byte * 2 + 2 - (byte & 1)));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_castsi256_si128(_mm256_permute4x64_epi64(upper, 0b1000)));
#else
  put_low(&p->bits, rounded >> 16);
#endif
#endif
}
EVENBITS_INLINE void put(Binary16* p, Vec<float> v) {
#if defined(__AVX512F__)
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_maskz_cvtps_ph(0xFFFF, v, _MM_FROUND_TO_NEAREST_INT));
#elif defined(__F16C__)
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
#elif defined(__aarch64__)
  vst1_u16(&p->bits, vreinterpret_u16_f16(vcvt_f16_f32(v)));
#else
  const auto bits = (Vec<std::int32_t>)v, magnitude = bits & 0x7fffffff;
  const auto normal = (magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13;
  const auto small = (Vec<std::int32_t>)((Vec<float>)magnitude + 0.5f) - 0x3f000000;  // a unit is 2^-24 there
  const auto half = magnitude < 0x38800000 ? small : magnitude < 0x47800000 ? normal : Vec<std::int32_t>{} + 0x7c00;
  put_low(&p->bits, (Vec<std::uint32_t>)((magnitude > 0x7f800000 ? Vec<std::int32_t>{} + 0x7e00 : half) | (bits >> 16 & 0x8000)));
#endif
}

}  // namespace evenbits::EVENBITS_ISA
