// Rows from the bits of a bit-shift trellis.
#pragma once

#include "kernels/bit_shift.hpp"

namespace evenbits::EVENBITS_ISA {

// The bits before `end`, around the beginning of a row of `total` bits.
EVENBITS_INLINE std::uint32_t bits_before(const std::uint8_t* in, std::size_t total, std::size_t end, std::uint32_t memory) {
  std::uint32_t state = 0;
  for (std::uint32_t b = 0; b < memory; ++b) {
    const std::size_t at = (end + total - memory + b) % total;
    state |= std::uint32_t(in[at / 8] >> at % 8 & 1) << b;
  }
  return state;
}

// Values at k bits each from the first multiple of 8 on whose bits lie in one piece; returns how many are done, 8 after 8.
template <std::uint32_t k>
std::size_t decode_whole(const std::uint8_t* in, std::size_t bytes, std::uint32_t memory, std::uint32_t multiplier, float scale,
                         std::size_t first, std::size_t n, float* y) {
  typedef Vec<std::uint64_t> Words;
  constexpr std::size_t W = kLanes<float>, words = W > 8 ? 2 : 1;
  const std::size_t begin = (first + 1) * k - memory;  // a bit of byte begin / 8, at the same place of a byte for all 8 values
  const std::uint64_t mask = (1u << memory) - 1;
  const Words lane = iota<std::uint64_t>(EVENBITS_ALL_LANES(std::uint64_t));
  const Words even = (words == 2 ? lane & 3 : lane) * (2 * k) + begin % 8, odd = even + k;
  std::size_t i = first;
  for (const std::uint8_t* p = in + begin / 8; i + 8 * words <= n && p + k * (words - 1) + 8 <= in + bytes;
       i += 8 * words, p += k * words)
    for (std::size_t part = 0; part < 8; part += W) {
      std::uint64_t w[2];
      std::memcpy(w, p, 8), std::memcpy(w + 1, p + k * (words - 1), 8);
      Words v = splat(w[0]);
      if constexpr (words == 2) v = lane < 4 ? v : splat(w[1]);
      v >>= std::uint64_t(part * k);
      const auto state = (Vec<std::uint32_t>)(((v >> even) & mask) | ((v >> odd) & mask) << 32);
      const auto level = (Vec<std::int32_t>)bit_shift_level(state, multiplier);
      store(y + i + part, __builtin_convertvector(level, Vec<float>) * scale);
    }
  return i;
}

void bit_shift_decode_f32(const evenbits_bit_shift* t, const std::uint8_t* in, const float* scale, std::size_t rows, float* y) {
  constexpr std::size_t W = kLanes<float>;
  const std::size_t n = t->n, total = bit_shift_place(t, n), bytes = bit_shift_row_bytes(t);
  const std::uint32_t mask = (1u << t->memory) - 1, multiplier = bit_shift_multiplier(t);
  const std::uint32_t whole = t->bits / t->per, part = t->bits % t->per;
  for (std::size_t row = 0; row < rows; ++row, in += bytes, y += n) {
    std::size_t i = 0, end = 0, rest = 0;  // end + rest / per: the bits before value i
    while (i < n) {
      if (part == 0 && i % 8 == 0 && end + whole >= t->memory) {
        const auto f = whole == 1   ? decode_whole<1>
                       : whole == 2 ? decode_whole<2>
                       : whole == 3 ? decode_whole<3>
                                    : decode_whole<4>;
        const std::size_t done = f(in, bytes, t->memory, multiplier, scale[row], i, n, y);
        end += (done - i) * whole, i = done;
        if (i == n) break;
      }
      std::uint32_t states[64];
      const std::size_t count = n - i < 64 ? n - i : 64;
      for (std::size_t c = 0; c < count; ++c) {
        end += whole, rest += part;
        if (rest >= t->per) rest -= t->per, ++end;
        const std::size_t begin = end - t->memory;
        std::uint32_t word;
        if (end >= t->memory && begin / 8 + 4 <= bytes) std::memcpy(&word, in + begin / 8, 4), word = word >> begin % 8 & mask;
        else word = bits_before(in, total, end, t->memory);
        states[c] = word;
      }
      std::size_t c = 0;
      for (; c + W <= count; c += W) {
        const auto level = (Vec<std::int32_t>)bit_shift_level(load(states + c), multiplier);
        store(y + i + c, __builtin_convertvector(level, Vec<float>) * scale[row]);
      }
      for (; c < count; ++c) y[i + c] = float(std::int32_t(bit_shift_level(states[c], multiplier))) * scale[row];
      i += count;
    }
  }
}

}  // namespace evenbits::EVENBITS_ISA
