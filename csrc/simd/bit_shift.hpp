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

}  // namespace evenbits::EVENBITS_ISA
