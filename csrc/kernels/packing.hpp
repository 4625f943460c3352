// Codes of a few bits each to a least-significant-bit-first bit string and back. Eight codes always fill whole bytes:
// as many as a code has bits.
#pragma once

#include "simd.hpp"

namespace evenbits::EVENBITS_ISA {

__extension__ typedef unsigned __int128 Wide;

// The low `count` bits, 1 to 64, and the low `count` bits of every `width` bits.
EVENBITS_INLINE constexpr std::uint64_t low_bits(unsigned count) { return ~0ull >> (64 - count); }
EVENBITS_INLINE constexpr std::uint64_t repeated(unsigned width, unsigned count) {
  return low_bits(count) * (~0ull / low_bits(width));
}

// The low `bits` bits of every W-bit field of a 64-bit lane move together at the lane's low end, two fields becoming
// one in each step; and the way back. What stands above those bits does not matter.
template <unsigned W, class V>
EVENBITS_INLINE V squeeze(V x, unsigned bits) {
  if constexpr (W == 64) return x;
  else {
    const std::uint64_t low = repeated(2 * W, bits);
    return squeeze<2 * W, V>((x & low) | ((x >> (W - bits)) & (low << bits)), 2 * bits);
  }
}
template <unsigned W, class V>
EVENBITS_INLINE V spread(V x, unsigned bits) {
  if constexpr (W == 64) return x;
  else {
    const std::uint64_t low = repeated(2 * W, bits);
    const V y = spread<2 * W, V>(x, 2 * bits);
    return (y & low) | ((y << (W - bits)) & (low << W));
  }
}

// Eight codes in the low 8 * bits bits, and back.
template <class T>
EVENBITS_INLINE Wide squeeze_eight(const T* codes, unsigned bits) {
  std::uint64_t word[sizeof(T)];
  std::memcpy(word, codes, sizeof word);
  Wide all = squeeze<8 * sizeof(T)>(word[0], bits);
  if constexpr (sizeof(T) == 2) all |= Wide(squeeze<16>(word[1], bits)) << 4 * bits;
  return all;
}
template <class T>
EVENBITS_INLINE void spread_eight(Wide all, unsigned bits, T* codes) {
  std::uint64_t word[sizeof(T)] = {spread<8 * sizeof(T)>(std::uint64_t(all), bits)};
  if constexpr (sizeof(T) == 2) word[1] = spread<16>(std::uint64_t(all >> 4 * bits), bits);
  std::memcpy(codes, word, sizeof word);
}

// `count` bytes at p. A constant 16 where the buffer, which ends at `end`, has room for it: a copy of known size is one move.
EVENBITS_INLINE Wide get_bytes(const std::uint8_t* p, std::size_t count, const std::uint8_t* end) {
  Wide v = 0;
  if (std::size_t(end - p) >= sizeof v) std::memcpy(&v, p, sizeof v);
  else std::memcpy(&v, p, count);
  return v;
}
EVENBITS_INLINE void put_bytes(std::uint8_t* p, Wide v, std::size_t count, const std::uint8_t* end) {
  if (std::size_t(end - p) >= sizeof v) std::memcpy(p, &v, sizeof v);
  else std::memcpy(p, &v, count);
}

// Wide stores spill over the bytes that follow, which are written afterwards: rows are packed in ascending order.
template <class T>
EVENBITS_INLINE void pack_row(const T* codes, std::size_t n, unsigned bits, std::uint8_t* out, const std::uint8_t* end) {
  std::size_t i = 0;
  if constexpr (sizeof(T) == 1)
    for (; i + kBytes <= n && std::size_t(end - out) >= kBytes; i += kBytes, out += kBytes / 8 * bits)
      store_words(out, bits, squeeze<8>((Vec<std::uint64_t>)load(codes + i), bits));
  for (; i + 8 <= n; i += 8, out += bits) put_bytes(out, squeeze_eight(codes + i, bits), bits, end);
  if (i == n) return;
  T last[8] = {};
  std::memcpy(last, codes + i, (n - i) * sizeof(T));
  put_bytes(out, squeeze_eight(last, bits), ((n - i) * bits + 7) / 8, end);
}
template <class T>
EVENBITS_INLINE void unpack_row(const std::uint8_t* in, std::size_t n, unsigned bits, const std::uint8_t* end, T* codes) {
  std::size_t i = 0;
  if constexpr (sizeof(T) == 1)
    for (; i + kBytes <= n && std::size_t(end - in) >= kBytes; i += kBytes, in += kBytes / 8 * bits)
      store(codes + i, (Vec<std::uint8_t>)spread<8>(load_words(in, bits), bits));
  for (; i + 8 <= n; i += 8, in += bits) spread_eight(get_bytes(in, bits, end), bits, codes + i);
  if (i == n) return;
  T last[8];
  spread_eight(get_bytes(in, ((n - i) * bits + 7) / 8, end), bits, last);
  std::memcpy(codes + i, last, (n - i) * sizeof(T));
}

template <class T>
EVENBITS_INLINE void pack(const T* codes, std::size_t rows, std::size_t n, unsigned bits, std::uint8_t* packed,
                          std::size_t row_bytes) {
  if (n * bits == 8 * row_bytes) n *= rows, row_bytes *= rows, rows = 1;  // nothing stands between the rows
  const std::uint8_t* end = packed + rows * row_bytes;
  const std::size_t used = (n * bits + 7) / 8;
  for (; rows; --rows, codes += n, packed += row_bytes) {
    if (bits == 8 * sizeof(T)) std::memcpy(packed, codes, used);
    else pack_row(codes, n, bits, packed, end);
    std::memset(packed + used, 0, row_bytes - used);
  }
}
template <class T>
EVENBITS_INLINE void unpack(const std::uint8_t* packed, std::size_t rows, std::size_t n, unsigned bits, std::size_t row_bytes,
                            T* codes) {
  if (n * bits == 8 * row_bytes) n *= rows, row_bytes *= rows, rows = 1;
  const std::uint8_t* end = packed + rows * row_bytes;
  for (; rows; --rows, codes += n, packed += row_bytes)
    if (bits == 8 * sizeof(T)) std::memcpy(codes, packed, n * sizeof(T));
    else unpack_row(packed, n, bits, end, codes);
}

void pack_u8(const std::uint8_t* codes, std::size_t rows, std::size_t n, std::uint32_t bits, std::uint8_t* packed,
             std::size_t row_bytes) {
  pack(codes, rows, n, bits, packed, row_bytes);
}
void pack_u16(const std::uint16_t* codes, std::size_t rows, std::size_t n, std::uint32_t bits, std::uint8_t* packed,
              std::size_t row_bytes) {
  pack(codes, rows, n, bits, packed, row_bytes);
}
void unpack_u8(const std::uint8_t* packed, std::size_t rows, std::size_t n, std::uint32_t bits, std::size_t row_bytes,
               std::uint8_t* codes) {
  unpack(packed, rows, n, bits, row_bytes, codes);
}
void unpack_u16(const std::uint8_t* packed, std::size_t rows, std::size_t n, std::uint32_t bits, std::size_t row_bytes,
                std::uint16_t* codes) {
  unpack(packed, rows, n, bits, row_bytes, codes);
}

}  // namespace evenbits::EVENBITS_ISA
