// Digits of two adjacent level counts in blocks of at most 64 bits: a block's value is sum of digit * place, least
// significant first. With n digits and rest = n mod per, the last block has min(upper, rest) upper digits and takes
// only the bits that the product of its level counts needs. Reading reduces every digit modulo its level count.
#pragma once

#include "evenbits.h"
#include "packing.hpp"

namespace evenbits::EVENBITS_ISA {

// How the digits of a row are cut: `full` whole blocks and the digits of the last one.
struct RadixRow {
  std::size_t full, uppers;  // uppers: upper digits in all blocks
  unsigned lower, last_upper, last_lower, last_bits;
};
EVENBITS_INLINE RadixRow radix_row(std::size_t n, evenbits_radix r) {
  const std::size_t full = n / r.per;
  const unsigned rest = unsigned(n % r.per), upper = rest < r.upper ? rest : r.upper;
  std::uint64_t product = 1;  // of fewer than `per` level counts, so below 2^64
  for (unsigned j = 0; j < rest; ++j) product *= r.levels + (j < upper);
  return {full, full * r.upper + upper, r.per - r.upper, upper, rest - upper, rest ? 64u - __builtin_clzll(product - 1) : 0};
}

struct Divisor {
  std::uint64_t value, reciprocal;  // reciprocal = floor((2^64 - 1) / value)
};
EVENBITS_INLINE Divisor divisor(std::uint64_t value) { return {value, ~0ull / value}; }
// v becomes v / d; returns the remainder. The estimated quotient is right or one too small.
EVENBITS_INLINE std::uint64_t divide(std::uint64_t& v, Divisor d) {
  const std::uint64_t quotient = std::uint64_t((Wide(v) * d.reciprocal) >> 64), rest = v - quotient * d.value;
  const bool small = rest >= d.value;
  v = quotient + small;
  return small ? rest - d.value : rest;
}

// The next `count` digits of each of K blocks; K chains of arithmetic that do not wait for each other.
template <std::size_t K, class T>
EVENBITS_INLINE void take_digits(std::uint64_t (&v)[K], Divisor d, std::size_t count, T* digits) {
  for (std::size_t j = 0; j < count; ++j)
    for (std::size_t k = 0; k < K; ++k) digits[k * count + j] = T(divide(v[k], d));
}
template <std::size_t K, class T>
EVENBITS_INLINE void add_digits(const T* digits, std::size_t count, std::uint64_t levels, std::uint64_t (&v)[K]) {
  for (std::size_t j = count; j-- > 0;)
    for (std::size_t k = 0; k < K; ++k) v[k] = v[k] * levels + digits[k * count + j];
}

// Appends values to a bit string, eight bytes at a time.
struct BitWriter {
  std::uint8_t* out;
  Wide pending;
  unsigned filled;  // bits pending, below 64
};
EVENBITS_INLINE void append(BitWriter& w, std::uint64_t v, unsigned bits) {
  w.pending |= Wide(v & low_bits(bits)) << w.filled;
  w.filled += bits;
  if (w.filled < 64) return;
  std::memcpy(w.out, &w.pending, 8);
  w.out += 8, w.pending >>= 64, w.filled -= 64;
}
// `count` bytes at p. A constant 16 where the buffer, which ends at `end`, has room for it: a copy of known size is one move.
EVENBITS_INLINE Wide get_bytes(const std::uint8_t* p, std::size_t count, const std::uint8_t* end) {
  Wide v = 0;
  if (std::size_t(end - p) >= sizeof v) std::memcpy(&v, p, sizeof v);
  else std::memcpy(&v, p, count);
  return v;
}
// The `bits` bits from bit `first` on.
EVENBITS_INLINE std::uint64_t get_bits(const std::uint8_t* p, std::size_t first, unsigned bits, const std::uint8_t* end) {
  const unsigned shift = first % 8;
  return std::uint64_t(get_bytes(p + first / 8, (shift + bits + 7) / 8, end) >> shift) & low_bits(bits);
}

// K blocks of `uppers` and `lowers` digits.
template <std::size_t K, class T>
EVENBITS_INLINE void pack_blocks(const T* upper, unsigned uppers, const T* lower, unsigned lowers, std::uint64_t levels,
                                 unsigned bits, BitWriter& w) {
  std::uint64_t v[K] = {};
  add_digits(lower, lowers, levels, v);
  add_digits(upper, uppers, levels + 1, v);
  for (std::size_t k = 0; k < K; ++k) append(w, v[k], bits);
}
template <std::size_t K, class T>
EVENBITS_INLINE void unpack_blocks(const std::uint8_t* in, std::size_t first, unsigned bits, const std::uint8_t* end, T* upper,
                                   unsigned uppers, Divisor more, T* lower, unsigned lowers, Divisor fewer) {
  std::uint64_t v[K];
  for (std::size_t k = 0; k < K; ++k) v[k] = get_bits(in, first + k * bits, bits, end);
  take_digits(v, more, uppers, upper);
  take_digits(v, fewer, lowers, lower);
}

template <class T>
EVENBITS_INLINE void pack_radix(const T* codes, std::size_t rows, std::size_t n, evenbits_radix r, std::uint8_t* packed,
                                std::size_t row_bytes) {
  const RadixRow row = radix_row(n, r);
  for (; rows; --rows, codes += n, packed += row_bytes) {
    BitWriter w{packed, 0, 0};
    const T *upper = codes, *lower = codes + row.uppers;
    std::size_t i = 0;
    for (; i + 4 <= row.full; i += 4, upper += 4 * r.upper, lower += 4 * row.lower)
      pack_blocks<4>(upper, r.upper, lower, row.lower, r.levels, r.bits, w);
    for (; i < row.full; ++i, upper += r.upper, lower += row.lower)
      pack_blocks<1>(upper, r.upper, lower, row.lower, r.levels, r.bits, w);
    if (row.last_bits) pack_blocks<1>(upper, row.last_upper, lower, row.last_lower, r.levels, row.last_bits, w);
    const std::size_t rest = (w.filled + 7) / 8;
    std::memcpy(w.out, &w.pending, rest);
    std::memset(w.out + rest, 0, std::size_t(packed + row_bytes - w.out) - rest);
  }
}
template <class T>
EVENBITS_INLINE void unpack_radix(const std::uint8_t* packed, std::size_t rows, std::size_t n, evenbits_radix r,
                                  std::size_t row_bytes, T* codes) {
  const RadixRow row = radix_row(n, r);
  const Divisor more = divisor(r.levels + 1), fewer = divisor(r.levels);
  const std::uint8_t* end = packed + rows * row_bytes;
  for (; rows; --rows, codes += n, packed += row_bytes) {
    T *upper = codes, *lower = codes + row.uppers;
    std::size_t i = 0;
    for (; i + 4 <= row.full; i += 4, upper += 4 * r.upper, lower += 4 * row.lower)
      unpack_blocks<4>(packed, i * r.bits, r.bits, end, upper, r.upper, more, lower, row.lower, fewer);
    for (; i < row.full; ++i, upper += r.upper, lower += row.lower)
      unpack_blocks<1>(packed, i * r.bits, r.bits, end, upper, r.upper, more, lower, row.lower, fewer);
    if (row.last_bits)
      unpack_blocks<1>(packed, i * r.bits, row.last_bits, end, upper, row.last_upper, more, lower, row.last_lower, fewer);
  }
}

void pack_radix_u8(const std::uint8_t* codes, std::size_t rows, std::size_t n, evenbits_radix r, std::uint8_t* packed,
                   std::size_t row_bytes) {
  pack_radix(codes, rows, n, r, packed, row_bytes);
}
void pack_radix_u16(const std::uint16_t* codes, std::size_t rows, std::size_t n, evenbits_radix r, std::uint8_t* packed,
                    std::size_t row_bytes) {
  pack_radix(codes, rows, n, r, packed, row_bytes);
}
void unpack_radix_u8(const std::uint8_t* packed, std::size_t rows, std::size_t n, evenbits_radix r, std::size_t row_bytes,
                     std::uint8_t* codes) {
  unpack_radix(packed, rows, n, r, row_bytes, codes);
}
void unpack_radix_u16(const std::uint8_t* packed, std::size_t rows, std::size_t n, evenbits_radix r, std::size_t row_bytes,
                      std::uint16_t* codes) {
  unpack_radix(packed, rows, n, r, row_bytes, codes);
}

}  // namespace evenbits::EVENBITS_ISA
