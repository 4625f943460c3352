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
  const std::size_t n = t->n, total = bit_shift_place(t, n), bytes = bit_shift_row_bytes(t);
  const std::uint32_t mask = (1u << t->memory) - 1, multiplier = bit_shift_multiplier(t);
  for (std::size_t row = 0; row < rows; ++row, in += bytes, y += n) {
    const auto level = [&](std::uint32_t state) { return float(std::int32_t(bit_shift_level(state, multiplier))) * scale[row]; };
    std::size_t i = 0, end = 0, rest = 0;  // end + rest / per: the bits up to value i
    const auto next = [&] { rest += t->bits, end += rest / t->per, rest %= t->per, ++i; };
    const auto whole = [&](std::size_t done) { end += (done - i) * t->bits, i = done; };
    while (i < n) {
      if (t->per == 1 && i % 8 == 0 && end + t->bits >= t->memory) {
        const auto f = t->bits == 1   ? decode_whole<1>
                       : t->bits == 2 ? decode_whole<2>
                       : t->bits == 3 ? decode_whole<3>
                                      : decode_whole<4>;
        whole(f(in, bytes, t->memory, multiplier, scale[row], i, n, y));
        if (i == n) break;
      }
      next();
      if (end >= t->memory && (end - t->memory) / 8 + 4 <= bytes) {
        std::uint32_t word;
        std::memcpy(&word, in + (end - t->memory) / 8, 4);
        y[i - 1] = level(word >> (end - t->memory) % 8 & mask);
      } else {
        y[i - 1] = level(bits_before(in, total, end, t->memory));
      }
    }
  }
}

}  // namespace evenbits::EVENBITS_ISA
