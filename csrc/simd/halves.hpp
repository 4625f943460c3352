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

template <class T>
EVENBITS_INLINE Vec<T> fetch(const T* p) {
  return load(p);
}
template <class T>
EVENBITS_INLINE void put(T* p, Vec<T> v) {
  store(p, v);
}

EVENBITS_INLINE Vec<float> fetch(const Brain16* p) { return (Vec<float>)(load_as<std::int32_t>(&p->bits) << 16); }
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

// Every NaN becomes this one, whatever the processor would make of it.
EVENBITS_INLINE Vec<float> one_nan(Vec<float> v) { return v == v ? v : splat(__builtin_nanf("")); }

// The low 16 bits of each lane.
EVENBITS_INLINE void put_low(std::uint16_t* p, Vec<std::uint32_t> v) {
#if defined(__AVX512F__)
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_maskz_cvtepi32_epi16(0xFFFF, (__m512i)v));
#elif defined(__AVX2__)
  const __m256i pairs = _mm256_packus_epi32((__m256i)(v & 0xFFFF), _mm256_setzero_si256());
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_castsi256_si128(_mm256_permute4x64_epi64(pairs, 0b1000)));
#else
  const auto low = __builtin_convertvector(v, typename Lanes<std::uint16_t, kLanes<std::uint32_t> >::type);
  std::memcpy(p, &low, sizeof low);
#endif
}
EVENBITS_INLINE void put(Brain16* p, Vec<float> v) {
  const auto bits = (Vec<std::uint32_t>)one_nan(v);
  put_low(&p->bits, (bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
EVENBITS_INLINE void put(Binary16* p, Vec<float> v) {
  v = one_nan(v);
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
