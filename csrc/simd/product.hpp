// Packed codes as they are multiplied: an octet, which is eight codes and so whole bytes, to a lane.
#pragma once

#include "evenbits.h"
#include "look_up.hpp"

namespace evenbits::EVENBITS_ISA {

// Computes v here: a compiler would like to finish a sum before it begins the next one, and wait for each addition.
template <class V>
EVENBITS_INLINE void in_order(V& v) {
#if defined(__AVX512F__)
  asm("" : "+v"(v));
#elif defined(__x86_64__)
  asm("" : "+x"(v));
#else
  asm("" : "+w"(v));
#endif
}

// Octets of a step, and their elements.
inline constexpr std::size_t kOctets = 16, kStep = 8 * kOctets;
// Reading the codes of a step may touch so many bytes.
inline constexpr std::size_t kReach = 128;

// kFloats octets of B-bit codes at p. Code s of an octet stands in its lane of word s / kPer, from bit shift(s) on;
// what stands above it does not matter.
template <unsigned B>
struct Octets {
  static constexpr unsigned kWords = B > 4 ? 2 : 1, kPer = 8 / kWords;
  static constexpr unsigned shift(unsigned s) {
#if defined(__AVX512VBMI__)
    return s % kPer * B + s / kPer * (4 * B % 8);
#else
    return s % kPer * B;
#endif
  }
  Vec<std::uint32_t> word[kWords];

  template <std::size_t S>
  EVENBITS_INLINE Vec<std::int32_t> code(const Octets& o) {
    return (Vec<std::int32_t>)(o.word[S / kPer] >> shift(S));
  }
};

#if defined(__AVX512VBMI__)
template <unsigned B, unsigned First, std::size_t... I>
EVENBITS_INLINE Vec<std::uint8_t> byte_places(std::index_sequence<I...>) {
  return Vec<std::uint8_t>{std::uint8_t(I / 4 * B + I % 4 + First)...};
}
#endif
template <unsigned B>
EVENBITS_INLINE Octets<B> octets_at(const std::uint8_t* p) {
  Octets<B> o;
  if constexpr (B == 4) std::memcpy(&o.word[0], p, kBytes);
#if defined(__AVX512F__)
  else if constexpr (B == 2)
    o.word[0] = (Vec<std::uint32_t>)_mm512_maskz_cvtepu16_epi32(0xFFFF, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  else if constexpr (B == 1) o.word[0] = (Vec<std::uint32_t>)load_as_int(p);
#if defined(__AVX512VBMI__)
  else if constexpr (B == 3)
    o.word[0] = (Vec<std::uint32_t>)_mm512_maskz_permutexvar_epi8(
        ~0ull, (__m512i)byte_places<3, 0>(EVENBITS_ALL_LANES(std::uint8_t)), _mm512_loadu_si512(p));
  else {
    const __m512i lo = _mm512_loadu_si512(p), hi = _mm512_loadu_si512(p + 64);
    o.word[0] =
        (Vec<std::uint32_t>)_mm512_permutex2var_epi8(lo, (__m512i)byte_places<B, 0>(EVENBITS_ALL_LANES(std::uint8_t)), hi);
    o.word[1] = (Vec<std::uint32_t>)_mm512_permutex2var_epi8(
        lo, (__m512i)byte_places<B, 4 * B / 8>(EVENBITS_ALL_LANES(std::uint8_t)), hi);
  }
#endif
#elif defined(__AVX2__)
  else if constexpr (B == 1) o.word[0] = (Vec<std::uint32_t>)load_as_int(p);
  else if constexpr (B == 2)
    o.word[0] = (Vec<std::uint32_t>)_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#endif
#if !defined(__AVX512VBMI__)
  else {
    const auto lower = load_words(p, B), upper = load_words(p + kBytes / 8 * B, B);
    const auto words = [](auto a, auto b) __attribute__((always_inline)) {
      return evens<std::uint32_t>((Vec<std::uint32_t>)a, (Vec<std::uint32_t>)b);
    };
    o.word[0] = words(lower, upper);
    if constexpr (B > 4) o.word[1] = words(lower >> 4 * B, upper >> 4 * B);
  }
#endif
  return o;
}

// What codes of B bits mean: entries of a table of 256, in which the levels repeat, or code + offset.
template <unsigned B, bool Affine>
struct Meaning {
  static constexpr std::int32_t kMask = (1 << B) - 1;
  const float* table;
  float offset;

  EVENBITS_INLINE Vec<float> level(const Meaning& m, Vec<std::int32_t> code) {
    if constexpr (Affine) return __builtin_convertvector(code & kMask, Vec<float>) + m.offset;
#if defined(__AVX512F__)
    else return look_up<(B > 4 ? std::size_t(1) << (B - 4) : 1)>(m.table, code);
#elif defined(__AVX2__)
    else if constexpr (B <= 3) return permute(load(m.table), code);
    else if constexpr (B == 4)
      return _mm256_blendv_ps(permute(load(m.table), code), permute(load(m.table + 8), code), (__m256)(code << 28));
    else return _mm256_i32gather_ps(m.table, (__m256i)(code & kMask), 4);
#else
    else {
      Vec<float> v;
      for (std::size_t lane = 0; lane < kFloats; ++lane) v[lane] = m.table[code[lane] & kMask];
      return v;
    }
#endif
  }
};
// Whether code + offset is found faster than an entry of the table.
#if defined(__AVX512F__)
inline constexpr unsigned kAffineFrom = 6;
#elif defined(__AVX2__)
inline constexpr unsigned kAffineFrom = 5;
#else
inline constexpr unsigned kAffineFrom = 1;
#endif

// Lane i is element i * N / kFloats of the N floats at p, 1 < N < kFloats.
template <std::size_t N>
EVENBITS_INLINE Vec<float> repeat_each(const float* p) {
  Vec<float> v;
#if defined(__AVX512F__)
  v = _mm512_maskz_loadu_ps((1u << N) - 1, p);
#else
  if constexpr (N == 2) {
    double both;
    std::memcpy(&both, p, sizeof both);
    v = (Vec<float>)splat(both);
  } else {
#if defined(__AVX2__)
    v = _mm256_castps128_ps256(_mm_loadu_ps(p));
#else
    v = load(p);
#endif
  }
#endif
  return shuffle<Vec<float>, Vec<std::int32_t>>(v, v, EVENBITS_ALL_LANES(float),
                                                [](std::size_t i) constexpr { return i * N / kFloats; });
}

// A parameter of each octet, for some steps of some rows: kOctets floats a step, or where registers can be permuted and
// loaded in part (kSpreads) `count` of them, a divisor of kOctets, each for as many octets.
#if defined(__AVX512F__)
inline constexpr bool kSpreads = true;
#else
inline constexpr bool kSpreads = false;
#endif
struct Parameters {
  const float* at;
  std::size_t step, row;  // floats from one to the next
#if defined(__AVX512F__)
  Vec<std::int32_t> place;
  __mmask16 some;
#endif
  EVENBITS_INLINE Parameters of(const float* at, std::size_t row, std::size_t step, std::size_t count) {
    Parameters p;
    p.at = at, p.step = step, p.row = row;
#if defined(__AVX512F__)
    const auto lane = iota<std::int32_t>(EVENBITS_ALL_LANES(std::int32_t));
    p.place = count == 1 ? lane & 0 : lane >> (count == 2 ? 3 : count == 4 ? 2 : count == 8 ? 1 : 0);
    p.some = __mmask16((1u << count) - 1);
#else
    (void)count;
#endif
    return p;
  }
  EVENBITS_INLINE Parameters after(Parameters p, std::size_t steps) {
    p.at += steps * p.step;
    return p;
  }
  EVENBITS_INLINE Vec<float> get(const Parameters& p, std::size_t row, std::size_t step, std::size_t first_octet) {
    const float* from = p.at + row * p.row + step * p.step;
#if defined(__AVX512F__)
    (void)first_octet;
    return permute(_mm512_maskz_loadu_ps(p.some, from), p.place);
#else
    return load(from + first_octet);
#endif
  }
};

}  // namespace evenbits::EVENBITS_ISA
