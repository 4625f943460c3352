// Integers of 16 bits that stop at their ends, and the minimum of them.
#pragma once

#include "simd.hpp"

namespace evenbits::EVENBITS_ISA {

typedef Vec<std::int16_t> Shorts;

// a + b and a - b, at most 32767 and at least -32768.
EVENBITS_INLINE Shorts add_within(Shorts a, Shorts b) {
#if defined(__AVX512F__)
  return (Shorts)_mm512_adds_epi16((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
  return (Shorts)_mm256_adds_epi16((__m256i)a, (__m256i)b);
#elif defined(__x86_64__)
  return (Shorts)_mm_adds_epi16((__m128i)a, (__m128i)b);
#else
  return (Shorts)vqaddq_s16((int16x8_t)a, (int16x8_t)b);
#endif
}
EVENBITS_INLINE Shorts subtract_within(Shorts a, Shorts b) {
#if defined(__AVX512F__)
  return (Shorts)_mm512_subs_epi16((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
  return (Shorts)_mm256_subs_epi16((__m256i)a, (__m256i)b);
#elif defined(__x86_64__)
  return (Shorts)_mm_subs_epi16((__m128i)a, (__m128i)b);
#else
  return (Shorts)vqsubq_s16((int16x8_t)a, (int16x8_t)b);
#endif
}
// v^2 / 2^16, rounded down.
EVENBITS_INLINE Shorts high_square(Shorts v) {
#if defined(__AVX512F__)
  return (Shorts)_mm512_mulhi_epi16((__m512i)v, (__m512i)v);
#elif defined(__AVX2__)
  return (Shorts)_mm256_mulhi_epi16((__m256i)v, (__m256i)v);
#elif defined(__x86_64__)
  return (Shorts)_mm_mulhi_epi16((__m128i)v, (__m128i)v);
#else
  const int16x8_t a = (int16x8_t)v;
  return (Shorts)vuzp2q_s16(vreinterpretq_s16_s32(vmull_s16(vget_low_s16(a), vget_low_s16(a))),
                            vreinterpretq_s16_s32(vmull_high_s16(a, a)));
#endif
}

// Of every 32 bits the sum of their four bytes, and `more`.
EVENBITS_INLINE Vec<std::uint32_t> sum_of_bytes(Vec<std::uint32_t> v, std::int32_t more) {
#if defined(__AVX512VNNI__)
  return (Vec<std::uint32_t>)_mm512_dpbusd_epi32(_mm512_set1_epi32(more), (__m512i)v, _mm512_set1_epi8(1));
#elif defined(__AVX512F__)
  const __m512i pairs = _mm512_maddubs_epi16((__m512i)v, _mm512_set1_epi8(1));
  return (Vec<std::uint32_t>)_mm512_madd_epi16(pairs, _mm512_set1_epi16(1)) + std::uint32_t(more);
#elif defined(__AVX2__)
  const __m256i pairs = _mm256_maddubs_epi16((__m256i)v, _mm256_set1_epi8(1));
  return (Vec<std::uint32_t>)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1)) + std::uint32_t(more);
#elif defined(__x86_64__)
  const auto pairs = (v & 0xFF00FFu) + (v >> 8 & 0xFF00FFu);
  return (Vec<std::uint32_t>)_mm_madd_epi16((__m128i)pairs, _mm_set1_epi16(1)) + std::uint32_t(more);
#else
  return (Vec<std::uint32_t>)vpaddlq_u16(vpaddlq_u8((uint8x16_t)v)) + std::uint32_t(more);
#endif
}
EVENBITS_INLINE std::uint32_t sum_of_bytes(std::uint32_t v, std::int32_t more) {
  const std::uint32_t pairs = (v & 0xFF00FFu) + (v >> 8 & 0xFF00FFu);
  return (pairs & 0xFFFFu) + (pairs >> 16) + std::uint32_t(more);
}

}  // namespace evenbits::EVENBITS_ISA
