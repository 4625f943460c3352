// Codes in the lanes of a register and the same codes side by side in memory. A 64-bit lane holds four or eight codes:
// a whole number of half bytes.
#pragma once

#include "simd.hpp"

namespace evenbits::EVENBITS_ISA {

__extension__ typedef unsigned __int128 Wide;

// The low `count` bits, 1 to 64, and the low `count` bits of every `width` bits.
EVENBITS_INLINE constexpr std::uint64_t low_bits(unsigned count) { return ~0ull >> (64 - count); }
EVENBITS_INLINE constexpr std::uint64_t repeated(unsigned width, unsigned count) {
  return low_bits(count) * (~0ull / low_bits(width));
}

// The bits of a where those of mask are set, and those of b elsewhere.
template <class V>
EVENBITS_INLINE V select_bits(std::uint64_t mask, V a, V b) {
#if defined(__AVX512F__)
  if constexpr (sizeof(V) == kBytes)
    return (V)_mm512_ternarylogic_epi64(_mm512_set1_epi64(std::int64_t(mask)), (__m512i)a, (__m512i)b, 0xCA);
  else
#endif
    return (a & mask) | (b & ~mask);
}

// The lower half of every 2W-bit field of a, and the upper half of b's.
template <unsigned W, class V>
EVENBITS_INLINE V join_halves(V a, V b) {
#if defined(__AVX2__) && !defined(__AVX512F__)  // GCC makes a blend of the shuffle
  using T = std::conditional_t<W == 32, std::uint32_t, std::uint16_t>;
  if constexpr (W > 8)
    return (V)shuffle<Vec<T>, Vec<T>>((Vec<T>)a, (Vec<T>)b, EVENBITS_ALL_LANES(T),
                                      [](std::size_t i) constexpr { return i + i % 2 * kLanes<T>; });
  else
#endif
    return select_bits(repeated(2 * W, W), a, b);
}

// The low `bits` bits of every W-bit field of a 64-bit lane move together at the lane's low end, two fields becoming
// one in each step; and the way back. What stands above those bits does not matter, nor is it cleared.
template <unsigned W, class V>
EVENBITS_INLINE V squeeze(V x, unsigned bits) {
  if constexpr (W == 64) return x;
  else return squeeze<2 * W, V>(select_bits(repeated(2 * W, bits), x, x >> (W - bits)), 2 * bits);
}
template <unsigned W, class V>
EVENBITS_INLINE V spread(V x, unsigned bits) {
  if constexpr (W == 64) return x;
  else {
    const V y = spread<2 * W, V>(x, 2 * bits);
    return join_halves<W>(y, y << (W - bits));
  }
}

// `count` of a register's elements, which need not be a whole register in memory; the others are 0 or left alone.
template <class T>
EVENBITS_INLINE Vec<T> load_some(const T* p, std::size_t count) {
#if defined(__AVX512BW__)
  if constexpr (sizeof(T) == 1) return (Vec<T>)_mm512_maskz_loadu_epi8(low_bits(unsigned(count)), p);
  else return (Vec<T>)_mm512_maskz_loadu_epi16(__mmask32(low_bits(unsigned(count))), p);
#else
  Vec<T> v{};
  std::memcpy(&v, p, count * sizeof(T));
  return v;
#endif
}
template <class T>
EVENBITS_INLINE void store_some(T* p, std::size_t count, Vec<T> v) {
#if defined(__AVX512BW__)
  if constexpr (sizeof(T) == 1) _mm512_mask_storeu_epi8(p, low_bits(unsigned(count)), (__m512i)v);
  else _mm512_mask_storeu_epi16(p, __mmask32(low_bits(unsigned(count))), (__m512i)v);
#else
  std::memcpy(p, &v, count * sizeof(T));
#endif
}

// Byte i of every 16 bytes is byte place[i] of them, or 0 for places of 128 and more.
#if defined(__AVX2__) || defined(__aarch64__)
inline constexpr bool kShufflesBytes = true;
#else
inline constexpr bool kShufflesBytes = false;
#endif
EVENBITS_INLINE Vec<std::uint8_t> shuffle_bytes(Vec<std::uint8_t> v, [[maybe_unused]] Vec<std::uint8_t> place) {
#if defined(__AVX512F__)
  return (Vec<std::uint8_t>)_mm512_shuffle_epi8((__m512i)v, (__m512i)place);
#elif defined(__AVX2__)
  return (Vec<std::uint8_t>)_mm256_shuffle_epi8((__m256i)v, (__m256i)place);
#elif defined(__aarch64__)
  return vqtbl1q_u8(v, place);
#else
  return v;
#endif
}
// The pieces of 16 bytes that make a register, at p, p + stride, ...
EVENBITS_INLINE Vec<std::uint8_t> load_pieces(const std::uint8_t* p, [[maybe_unused]] std::size_t stride) {
#if defined(__AVX2__)
  const auto piece = [=](std::size_t i) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + i * stride)); };
  const auto half = [=](std::size_t i) { return _mm256_inserti128_si256(_mm256_castsi128_si256(piece(i)), piece(i + 1), 1); };
#if defined(__AVX512F__)
  return (Vec<std::uint8_t>)_mm512_maskz_inserti64x4(0xff, _mm512_zextsi256_si512(half(0)), half(2), 1);
#else
  return (Vec<std::uint8_t>)half(0);
#endif
#else
  return load(p);
#endif
}
EVENBITS_INLINE void store_pieces(std::uint8_t* p, [[maybe_unused]] std::size_t stride, Vec<std::uint8_t> v) {
#if defined(__AVX512VBMI__)  // one store takes less time than a permutation and four of them
  const auto byte = iota<std::uint8_t>(EVENBITS_ALL_LANES(std::uint8_t));
  auto place = byte;
  for (unsigned i = 1; i < 4; ++i) place += (Vec<std::uint8_t>)(byte >= std::uint8_t(i * stride)) & std::uint8_t(16 - stride);
  store(p, (Vec<std::uint8_t>)_mm512_permutexvar_epi8((__m512i)place, (__m512i)v));
#elif defined(__AVX2__)
  const auto put = [=](std::size_t i, __m128i piece) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p + i * stride), piece); };
#if defined(__AVX512F__)
  const __m256i lo = _mm512_castsi512_si256((__m512i)v), hi = _mm512_maskz_extracti64x4_epi64(0xff, (__m512i)v, 1);
  put(0, _mm256_castsi256_si128(lo)), put(1, _mm256_extracti128_si256(lo, 1));
  put(2, _mm256_castsi256_si128(hi)), put(3, _mm256_extracti128_si256(hi, 1));
#else
  put(0, _mm256_castsi256_si128((__m256i)v)), put(1, _mm256_extracti128_si256((__m256i)v, 1));
#endif
#else
  store(p, v);
#endif
}

// The low bit of every byte, and back.
#if defined(__AVX512F__)
inline constexpr bool kMovesBits = true;
EVENBITS_INLINE std::uint64_t take_bits(Vec<std::uint8_t> v) { return _mm512_test_epi8_mask((__m512i)v, _mm512_set1_epi8(1)); }
EVENBITS_INLINE void put_bits(const std::uint8_t* p, std::uint8_t* codes) {
  std::uint64_t mask;
  std::memcpy(&mask, p, sizeof mask);
  store(codes, (Vec<std::uint8_t>)_mm512_maskz_mov_epi8(mask, _mm512_set1_epi8(1)));
}
#elif defined(__AVX2__)
inline constexpr bool kMovesBits = true;
EVENBITS_INLINE std::uint32_t take_bits(Vec<std::uint8_t> v) {
  return std::uint32_t(_mm256_movemask_epi8((__m256i)((Vec<std::uint16_t>)v << 7)));
}
EVENBITS_INLINE void put_bits(const std::uint8_t* p, std::uint8_t* codes) {
  std::uint32_t mask;
  std::memcpy(&mask, p, sizeof mask);
  const auto byte = iota<std::uint8_t>(EVENBITS_ALL_LANES(std::uint8_t)), bit = splat<std::uint8_t>(1) << (byte & 7);
  const auto spread = shuffle_bytes((Vec<std::uint8_t>)splat(mask), byte >> 3);
  store(codes, least(spread & bit, splat<std::uint8_t>(1)));
}
#else
inline constexpr bool kMovesBits = false;
#endif

// Codes of `bits` bits, fewer than a T has, from a bit string and to one, a register of them at a time. Memory is read
// and written a register at a time; what is written behind the codes' bits has no meaning.
template <class T>
class BitFields {
  static constexpr unsigned kWidth = 8 * sizeof(T), kCodes = 8 / sizeof(T);  // codes in a lane
  unsigned bits_, half_bytes_;                                               // half bytes in a lane
  // The two lanes of 16 bytes begin at half bytes 0 and half_bytes_; so the second starts in the midst of a byte, or not.
  EVENBITS_INLINE Vec<std::uint64_t> odd_lanes() { return iota<std::uint64_t>(EVENBITS_ALL_LANES(std::uint64_t)) & 1; }

 public:
  __attribute__((always_inline)) explicit BitFields(unsigned bits) : bits_(bits), half_bytes_(bits * kCodes / 4) {}

  __attribute__((always_inline)) Vec<T> read(const std::uint8_t* p) const {
    constexpr std::uint64_t order = 0x0706050403020100, every = 0x0101010101010101;
    Vec<std::uint64_t> v;
#if defined(__AVX512VBMI__)
    const auto first = iota<std::uint64_t>(EVENBITS_ALL_LANES(std::uint64_t)) * half_bytes_;
    const auto place = (first >> 1) * every + order;
    const auto shift =
        (first & 1) * (4 * every) + (kCodes == 8 ? bits_ * order : bits_ * 0x0303020201010000 + 0x0800080008000800);
    v = (Vec<std::uint64_t>)_mm512_permutexvar_epi8((__m512i)place, (__m512i)load(p));
    v = (Vec<std::uint64_t>)_mm512_multishift_epi64_epi8((__m512i)shift, (__m512i)v);
#else
    if constexpr (kShufflesBytes) {
      const auto first = odd_lanes() * half_bytes_, place = (first >> 1) * every + order;
      v = (Vec<std::uint64_t>)shuffle_bytes(load_pieces(p, half_bytes_), (Vec<std::uint8_t>)place);
      if constexpr (kCodes == 4) v >>= (first & 1) * 4;
    } else {
      for (std::size_t i = 0; i < kLanes<std::uint64_t>; ++i) {
        std::uint64_t word;
        std::memcpy(&word, p + i * half_bytes_ / 2, 8);
        v[i] = word >> i * half_bytes_ % 2 * 4;
      }
    }
    v = spread<kWidth>(v, bits_);
#endif
    return (Vec<T>)(v & repeated(kWidth, bits_));
  }

  __attribute__((always_inline)) void write(Vec<T> codes, std::uint8_t* p) const {
    auto v = dense(codes);
    if constexpr (kShufflesBytes) {
      const auto byte = iota<std::uint8_t>(EVENBITS_ALL_LANES(std::uint8_t)) & 15;
      const std::uint8_t split = std::uint8_t(half_bytes_ / 2);  // the byte that the second lane starts in
      if constexpr (kCodes == 4) v = (v & low_bits(4 * bits_)) << odd_lanes() * (half_bytes_ % 2 * 4);
      const auto place = byte + ((Vec<std::uint8_t>)(byte >= std::uint8_t(split + half_bytes_ % 2)) & std::uint8_t(8 - split));
      auto bytes = shuffle_bytes((Vec<std::uint8_t>)v, place);
      if constexpr (kCodes == 4) {
        const auto shared = half_bytes_ % 2 ? (Vec<std::uint8_t>)(byte != split) | 8 : ~Vec<std::uint8_t>{};
        bytes |= shuffle_bytes((Vec<std::uint8_t>)v, shared);
      }
      store_pieces(p, half_bytes_, bytes);
    } else {
      const unsigned first = 4 * half_bytes_;
      for (std::size_t i = 0; i < kLanes<std::uint64_t>; i += 2) {
        const std::uint64_t pair[2] = {(v[i] & low_bits(first)) | v[i + 1] << first, v[i + 1] >> (64 - first)};
        std::memcpy(p + i / 2 * half_bytes_, pair, sizeof pair);
      }
    }
  }

 private:
  // Every lane's codes at its low end.
  __attribute__((always_inline)) Vec<std::uint64_t> dense(Vec<T> codes) const {
#if defined(__AVX2__) && !defined(__AVX512F__)  // without three-way logic, products take fewer steps
    if constexpr (sizeof(T) == 1) {
      const auto pairs = (__m256i)splat(std::uint16_t(1 + (256 << bits_))), quads = (__m256i)splat(1 + (0x10000u << 2 * bits_));
      const auto low = (__m256i)(codes & std::uint8_t(low_bits(bits_)));
      return squeeze<32>((Vec<std::uint64_t>)_mm256_madd_epi16(_mm256_maddubs_epi16(pairs, low), quads), 4 * bits_);
    } else
#endif
      return squeeze<kWidth>((Vec<std::uint64_t>)codes, bits_);
  }
};

}  // namespace evenbits::EVENBITS_ISA
