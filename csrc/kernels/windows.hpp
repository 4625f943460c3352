// Bytes through a table of 256 bytes, and through one of two where the neighbour decides which.
#pragma once

#include "simd/bits.hpp"

namespace evenbits::EVENBITS_ISA {

#if defined(__AVX512VBMI__)
struct ByteTable {
  Vec<std::uint8_t> part[4];
  explicit ByteTable(const std::uint8_t* t) : part{load(t), load(t + 64), load(t + 128), load(t + 192)} {}
  EVENBITS_INLINE Vec<std::uint8_t> look_up(const ByteTable& t, Vec<std::uint8_t> v) {
    const __m512i lower = _mm512_permutex2var_epi8((__m512i)t.part[0], (__m512i)v, (__m512i)t.part[1]);
    const __m512i upper = _mm512_permutex2var_epi8((__m512i)t.part[2], (__m512i)v, (__m512i)t.part[3]);
    return (Vec<std::uint8_t>)_mm512_mask_blend_epi8(_mm512_movepi8_mask((__m512i)v), lower, upper);
  }
};
#else
struct ByteTable {
  const std::uint8_t* table;
  explicit ByteTable(const std::uint8_t* t) : table(t) {}
  // 16 entries at a time: other bytes have their highest bit set and give 0.
  EVENBITS_INLINE Vec<std::uint8_t> look_up(const ByteTable& t, Vec<std::uint8_t> v) {
    Vec<std::uint8_t> found{};
    for (std::size_t i = 0; i < 256; i += 16) {
      const auto place = v - std::uint8_t(i);
      found |= shuffle_bytes(load_pieces(t.table + i, 0), place | ((Vec<std::uint8_t>)(place > 15) & std::uint8_t(0x80)));
    }
    return found;
  }
};
#endif

template <class F>
EVENBITS_INLINE void for_byte_registers(const std::uint8_t* x, std::size_t n, std::uint8_t* y, F f) {
  std::size_t i = 0;
  for (; i + kBytes <= n; i += kBytes) store(y + i, f(load(x + i)));
  if (i < n) store_some(y + i, n - i, f(load_some(x + i, n - i)));
}

void windows_u8(const std::uint8_t* x, std::size_t n, const std::uint8_t* narrow, const std::uint8_t* wide, std::uint8_t* y) {
  if constexpr (kBytes < 64) {  // a byte at a time takes less time than 16 shuffles of a register
    for (std::size_t i = 0; i < n; ++i) y[i] = (wide && x[i ^ 1] == 0 ? wide : narrow)[x[i]];
    return;
  }
  const ByteTable few(narrow);
  if (!wide) {
    for_byte_registers(x, n, y, [&](Vec<std::uint8_t> v) __attribute__((always_inline)) { return ByteTable::look_up(few, v); });
    return;
  }
  const ByteTable many(wide);
  for_byte_registers(x, n, y, [&](Vec<std::uint8_t> v) __attribute__((always_inline)) {
    const auto pair = (Vec<std::uint16_t>)v;
    const auto partner = (Vec<std::uint8_t>)(pair << 8 | pair >> 8);
    return partner == 0 ? ByteTable::look_up(many, v) : ByteTable::look_up(few, v);
  });
}

}  // namespace evenbits::EVENBITS_ISA
