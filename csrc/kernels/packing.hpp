// Codes of a few bits each to a least-significant-bit-first bit string and back. Eight codes always fill whole bytes:
// as many as a code has bits.
#pragma once

#include "evenbits.h"
#include "simd/bits.hpp"

namespace evenbits::EVENBITS_ISA {

// Codes before the first boundary of registers, if they are a multiple of eight: registers that cross two cache lines take
// twice the time, and NumPy's large arrays begin 16 bytes behind a boundary.
template <class T>
EVENBITS_INLINE std::size_t to_boundary(const T* codes) {
  const std::size_t bytes = std::size_t(-reinterpret_cast<std::uintptr_t>(codes)) % kBytes;
  return bytes % (8 * sizeof(T)) ? 0 : bytes / sizeof(T);
}

// Rows are packed in ascending order: registers spill over the bytes that follow, which are written afterwards. Returns
// the bits that are set in any code.
template <class T>
EVENBITS_INLINE T pack_row(const T* codes, std::size_t n, unsigned bits, std::uint8_t* out, const std::uint8_t* end) {
  constexpr std::size_t lanes = kLanes<T>;
  const std::size_t bytes = lanes / 8 * bits;
  const BitFields<T> fields(bits);
  Vec<T> seen{};
  const auto pack_some = [&](std::size_t count) __attribute__((always_inline)) {
    const auto v = load_some(codes, count);
    std::uint8_t some[kBytes];
    seen |= v;
    fields.write(v, some);
    store_some(out, (count * bits + 7) / 8, load(some));
    n -= count, codes += count, out += count * bits / 8;
  };
  if (const std::size_t count = to_boundary(codes); count && count < n) pack_some(count);
  if constexpr (sizeof(T) == 1 && kMovesBits)
    if (bits == 1)
      for (; n >= lanes; n -= lanes, codes += lanes, out += bytes) {
        const auto v = load(codes);
        const auto word = take_bits(v);
        seen |= v;
        std::memcpy(out, &word, sizeof word);
      }
  for (; n >= lanes && std::size_t(end - out) >= kBytes; n -= lanes, codes += lanes, out += bytes) {
    const auto v = load(codes);
    seen |= v;
    fields.write(v, out);
  }
  while (n) pack_some(n < lanes ? n : lanes);
  return over_lanes<T>(seen, [](auto a, auto b) { return a | b; });
}
template <class T>
EVENBITS_INLINE void unpack_row(const std::uint8_t* in, std::size_t n, unsigned bits, const std::uint8_t* end, T* codes) {
  constexpr std::size_t lanes = kLanes<T>;
  const std::size_t bytes = lanes / 8 * bits;
  const BitFields<T> fields(bits);
  const auto unpack_some = [&](std::size_t count) __attribute__((always_inline)) {
    std::uint8_t some[kBytes];
    store(some, load_some(in, (count * bits + 7) / 8));
    store_some(codes, count, fields.read(some));
    n -= count, codes += count, in += count * bits / 8;
  };
  if (const std::size_t count = to_boundary(codes); count && count < n) unpack_some(count);
  if constexpr (sizeof(T) == 1 && kMovesBits)
    if (bits == 1)
      for (; n >= lanes; n -= lanes, codes += lanes, in += bytes) put_bits(in, codes);
  for (; n >= lanes && std::size_t(end - in) >= kBytes; n -= lanes, codes += lanes, in += bytes) store(codes, fields.read(in));
  while (n) unpack_some(n < lanes ? n : lanes);
}

// Returns the bits that are set in any code above the lowest `bits`.
template <class T>
EVENBITS_INLINE std::uint32_t pack(const T* codes, std::size_t rows, std::size_t n, unsigned bits, std::uint8_t* packed,
                                   std::size_t row_bytes) {
  if (n * bits == 8 * row_bytes) n *= rows, row_bytes *= rows, rows = 1;  // nothing stands between the rows
  const std::uint8_t* end = packed + rows * row_bytes;
  const std::size_t used = (n * bits + 7) / 8;
  std::uint32_t seen = 0;
  for (; rows; --rows, codes += n, packed += row_bytes) {
    if (bits == 8 * sizeof(T)) std::memcpy(packed, codes, used);
    else seen |= pack_row(codes, n, bits, packed, end);
    if (used < row_bytes) std::memset(packed + used, 0, row_bytes - used);
  }
  return seen >> bits;
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

std::uint32_t pack_u8(const std::uint8_t* codes, std::size_t rows, std::size_t n, std::uint32_t bits, std::uint8_t* packed,
                      std::size_t row_bytes) {
  return pack(codes, rows, n, bits, packed, row_bytes);
}
std::uint32_t pack_u16(const std::uint16_t* codes, std::size_t rows, std::size_t n, std::uint32_t bits, std::uint8_t* packed,
                       std::size_t row_bytes) {
  return pack(codes, rows, n, bits, packed, row_bytes);
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
