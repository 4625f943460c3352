// Packed codes as bytes, and sums of products of bytes.
#pragma once

#include "bits.hpp"
#include "product.hpp"

namespace evenbits::EVENBITS_ISA {

using Bytes = Vec<std::uint8_t>;

#if defined(__AVX512VBMI__)
template <unsigned B, unsigned First, unsigned Step, std::size_t... I>
EVENBITS_INLINE Bytes bit_places(std::index_sequence<I...>) {
  constexpr std::size_t per = 8 / Step;  // an octet's bytes in a word of 64 bits
  return Bytes{std::uint8_t(First * B + I % per * Step * B + I % 8 / per * 32)...};
}
template <unsigned B, std::size_t... I>
EVENBITS_INLINE Bytes word_places(std::index_sequence<I...>) {
  return Bytes{std::uint8_t(I / 8 * B + I % 8)...};
}
// Of every byte the 8 bits of a 64-bit lane that begin at the byte's place.
EVENBITS_INLINE Bytes bits_from(Bytes place, Bytes v) {
  return (Bytes)_mm512_maskz_multishift_epi64_epi8(~0ull, (__m512i)place, (__m512i)v);
}
#endif

// The codes of kFloats octets at p, two registers of a byte each, whatever stands above a code. Up to 4 bits a code the first
// has codes 0, 2, 4, 6 of an octet in its 32-bit lane, the second codes 1, 3, 5, 7; above, they are in order.
struct CodeBytes {
  Bytes first, second;
};
template <unsigned B>
EVENBITS_INLINE CodeBytes code_bytes(const std::uint8_t* p) {
  if constexpr (B <= 4) {
    auto v = octets_at<B>(p).word[0];
    in_order(v);  // loaded once
#if defined(__AVX512VBMI__)
    if constexpr (B == 4) return {(Bytes)v, (Bytes)(v >> 4)};
    else
      return {bits_from(bit_places<B, 0, 2>(EVENBITS_ALL_LANES(std::uint8_t)), (Bytes)v),
              bits_from(bit_places<B, 1, 2>(EVENBITS_ALL_LANES(std::uint8_t)), (Bytes)v)};
#else
    if constexpr (B < 4) {
      constexpr std::uint32_t half = (1u << 4 * B) - 1, pair = ((1u << 2 * B) - 1) * 0x10001u;
      v = (v & half) | (v << (16 - 4 * B) & half << 16);
      v = (v & pair) | (v << (8 - 2 * B) & pair << 8);
    }
    return {(Bytes)v, (Bytes)(v >> B)};
#endif
  } else if constexpr (B == 8) {
    return {load(p), load(p + kBytes)};
  } else {
#if defined(__AVX512VBMI__)
    const auto words = word_places<B>(EVENBITS_ALL_LANES(std::uint8_t));
    const auto in = [&](const std::uint8_t* q) __attribute__((always_inline)) {
      const Bytes v = (Bytes)_mm512_maskz_permutexvar_epi8(~0ull, (__m512i)words, _mm512_loadu_si512(q));
      return bits_from(bit_places<B, 0, 1>(EVENBITS_ALL_LANES(std::uint8_t)), v);
    };
#else
    const auto in = [&](const std::uint8_t* q) __attribute__((always_inline)) { return (Bytes)spread<8>(load_words(q, B), B); };
#endif
    return {in(p), in(p + kBytes / 8 * B)};
  }
}

#if !defined(__AVX512VBMI__)
// One by one, out of line: slow, and large if it were everywhere.
__attribute__((noinline)) static void look_up_bytes(const std::uint8_t* table, std::uint8_t* bytes) {
  for (std::size_t i = 0; i < kBytes; ++i) bytes[i] = table[bytes[i]];
}
#endif

// What codes of B bits stand for: themselves, or entries of a table of 256 in which they repeat.
template <unsigned B, bool Direct>
EVENBITS_INLINE Bytes units_of(const std::uint8_t* table, Bytes code) {
  constexpr std::uint8_t mask = (1 << B) - 1;
#if defined(__AVX512VBMI__)
  constexpr auto at = [](auto t, auto i) __attribute__((always_inline)) {
    return (Bytes)_mm512_maskz_permutexvar_epi8(~0ull, (__m512i)i, _mm512_loadu_si512(t));
  };
  constexpr auto of = [](auto t, auto i) __attribute__((always_inline)) {
    return (Bytes)_mm512_permutex2var_epi8(_mm512_loadu_si512(t), (__m512i)i, _mm512_loadu_si512(t + 64));
  };
  if constexpr (Direct) return B < 8 ? code & mask : code;
  else if constexpr (B <= 6) return at(table, code);
  else if constexpr (B == 7) return of(table, code);
  else return code > 127 ? of(table + 128, code) : of(table, code);
#else
  if constexpr (Direct) return B < 8 ? code & mask : code;
#if defined(__AVX512BW__)
  else if constexpr (B <= 4)
    return (Bytes)_mm512_shuffle_epi8(_mm512_maskz_broadcast_i32x4(0xFFFF, _mm_loadu_si128((const __m128i*)table)),
                                      (__m512i)(code & mask));
#elif defined(__AVX2__)
  else if constexpr (B <= 4)
    return (Bytes)_mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i*)table)),
                                      (__m256i)(code & mask));
#elif defined(__aarch64__)
  else if constexpr (B <= 4) return (Bytes)vqtbl1q_u8(vld1q_u8(table), (uint8x16_t)(code & mask));
#endif
  else {
    alignas(64) std::uint8_t bytes[kBytes];
    store(bytes, code & mask);
    look_up_bytes(table, bytes);
    return load(bytes);
  }
#endif
}

// Whether sums of products of bytes are as fast whatever the bytes.
#if defined(__AVX512VNNI__)
inline constexpr bool kExact = true;
#else
inline constexpr bool kExact = false;
#endif
// sum + the products of each four bytes u, 0 to 255, or to 128 if Small, with four x, -127 to 127.
template <bool Small>
EVENBITS_INLINE Vec<std::int32_t> add_byte_products(Vec<std::int32_t> sum, Bytes u, Bytes x) {
#if defined(__AVX512VNNI__)
  return (Vec<std::int32_t>)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)u, (__m512i)x);
#else
  const auto low = (Vec<std::int16_t>)((Vec<std::uint16_t>)u & 0xff), high = (Vec<std::int16_t>)((Vec<std::uint16_t>)u >> 8);
  const auto x_low = (Vec<std::int16_t>)((Vec<std::uint16_t>)x << 8) >> 8, x_high = (Vec<std::int16_t>)x >> 8;
#if defined(__AVX512BW__)
  if constexpr (Small)
    return sum + (Vec<std::int32_t>)_mm512_madd_epi16(_mm512_maddubs_epi16((__m512i)u, (__m512i)x), _mm512_set1_epi16(1));
  else
    return sum + (Vec<std::int32_t>)_mm512_madd_epi16((__m512i)low, (__m512i)x_low) +
           (Vec<std::int32_t>)_mm512_madd_epi16((__m512i)high, (__m512i)x_high);
#elif defined(__AVX2__)
  if constexpr (Small)
    return sum + (Vec<std::int32_t>)_mm256_madd_epi16(_mm256_maddubs_epi16((__m256i)u, (__m256i)x), _mm256_set1_epi16(1));
  else
    return sum + (Vec<std::int32_t>)_mm256_madd_epi16((__m256i)low, (__m256i)x_low) +
           (Vec<std::int32_t>)_mm256_madd_epi16((__m256i)high, (__m256i)x_high);
#elif defined(__x86_64__)
  return sum + (Vec<std::int32_t>)_mm_madd_epi16((__m128i)low, (__m128i)x_low) +
         (Vec<std::int32_t>)_mm_madd_epi16((__m128i)high, (__m128i)x_high);
#else  // a product of two bytes fits into 16 bits
  return (Vec<std::int32_t>)vpadalq_s16(vpadalq_s16((int32x4_t)sum, (int16x8_t)(low * x_low)), (int16x8_t)(high * x_high));
#endif
#endif
}

// Lanes 0 + 1, 2 + 3, ... of a, then of b.
EVENBITS_INLINE Vec<std::int32_t> add_pairs(Vec<std::int32_t> a, Vec<std::int32_t> b) {
  return evens<std::int32_t>(a, b) +
         shuffle<Vec<std::int32_t>, Vec<std::int32_t>>(a, b, EVENBITS_ALL_LANES(std::int32_t),
                                                       [](std::size_t i) constexpr { return 2 * i + 1; });
}

// f over lanes 4 j to 4 j + 3 of four registers: what is left of register k goes to lane 4 j + k.
template <class V, class F>
EVENBITS_INLINE V over_quads(const V* v, F f) {
  using Pairs = Vec<std::int64_t>;
  const auto both = [&](V a, V b) __attribute__((always_inline)) {
    constexpr auto lane = [](std::size_t i) constexpr { return i / 4 * 4 + i % 4 / 2 + i % 2 * kFloats; };
    return (Pairs)f(
        shuffle<V, Vec<std::int32_t>>(a, b, EVENBITS_ALL_LANES(float), lane),
        shuffle<V, Vec<std::int32_t>>(a, b, EVENBITS_ALL_LANES(float), [=](std::size_t i) constexpr { return lane(i) + 2; }));
  };
  const Pairs a = both(v[0], v[1]), b = both(v[2], v[3]);
  constexpr auto pair = [](std::size_t i) constexpr { return i / 2 * 2 + i % 2 * (kFloats / 2); };
  return f((V)shuffle<Pairs, Pairs>(a, b, EVENBITS_ALL_LANES(double), pair),
           (V)shuffle<Pairs, Pairs>(a, b, EVENBITS_ALL_LANES(double), [=](std::size_t i) constexpr { return pair(i) + 1; }));
}
// From the order of over_quads, where register k's lanes come before register k + 1's, and into it.
template <class V>
EVENBITS_INLINE V from_quads(V v) {
  return shuffle<V, Vec<std::int32_t>>(v, v, EVENBITS_ALL_LANES(float),
                                       [](std::size_t i) constexpr { return i % (kFloats / 4) * 4 + i / (kFloats / 4); });
}
template <class V>
EVENBITS_INLINE V to_quads(V v) {
  return shuffle<V, Vec<std::int32_t>>(v, v, EVENBITS_ALL_LANES(float),
                                       [](std::size_t i) constexpr { return i % 4 * (kFloats / 4) + i / 4; });
}
// Such parameters as `get` then gives in the order of over_quads, where it spreads them.
EVENBITS_INLINE Parameters in_quads(Parameters p) {
#if defined(__AVX512F__)
  p.place = to_quads(p.place);
#endif
  return p;
}

}  // namespace evenbits::EVENBITS_ISA
