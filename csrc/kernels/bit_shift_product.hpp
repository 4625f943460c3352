// Products with rows of a bit-shift trellis: an octet of values, which are hashes of the bits of a word, to a lane.
#pragma once

#include "kernels/bit_shift_decode.hpp"
#include "kernels/product_columns.hpp"

namespace evenbits::EVENBITS_ISA {

inline constexpr std::size_t kLead = 16;  // bytes before a piece of a row; an octet takes 2 of them

// What the octets of a row have in common. Values end, in bits after those of their octet's first, at end[s], or one later if
// what the octet's first bit was rounded down by, in parts of a bit, is at least late[s].
struct BitShiftOctets {
  const evenbits_bit_shift* t;
  std::uint32_t multiplier, mask;
  std::uint32_t end[8], late[8];
  explicit BitShiftOctets(const evenbits_bit_shift* of)
      : t(of), multiplier(bit_shift_multiplier(of)), mask((1u << of->memory) - 1) {
    for (std::uint32_t s = 0; s < 8; ++s) end[s] = (s + 1) * t->bits / t->per, late[s] = t->per - (s + 1) * t->bits % t->per;
  }
};

// Some steps of a row, with the 16 bits before them and zeros behind them.
struct BitShiftPiece {
  alignas(64) std::uint8_t bytes[kLead + 4 * kSteps * kOctets + 2 * kReach];
  std::size_t bit;     // of the first value, in bytes
  std::uint32_t part;  // that it was rounded down by

  // The row's end stands before its beginning.
  EVENBITS_INLINE void read(BitShiftPiece& piece, const evenbits_bit_shift* t, const std::uint8_t* row, std::size_t first,
                            std::size_t steps) {
    const std::size_t all = bit_shift_row_bytes(t), place = bit_shift_place(t, first * kStep), at = place / 8;
    const std::size_t wanted = 4 * kOctets * steps + 8, there = all - at < wanted ? all - at : wanted;
    std::memcpy(piece.bytes + kLead, row + at, there);
    std::memset(piece.bytes + kLead + there, 0, kReach + wanted - there);
    if (first == 0) {
      const auto before = std::uint16_t(bits_before(row, bit_shift_place(t, t->n), 0, t->memory) << (16 - t->memory));
      std::memcpy(piece.bytes + kLead - 2, &before, 2);
    } else {
      std::memcpy(piece.bytes + kLead - 2, row + at - 2, 2);
    }
    piece.bit = 8 * kLead + place % 8;
    piece.part = std::uint32_t(first * kStep % t->per * t->bits % t->per);
  }
};

// Of each octet of a step the 32 bits from 16 before its own ones on, and those from its own ones on.
struct BitShiftWords {
  alignas(64) std::uint32_t low[kOctets], high[kOctets], part[kOctets];
};
template <unsigned K>
EVENBITS_INLINE void octets_of_whole_bits(BitShiftPiece& piece, BitShiftWords& w) {
  const std::uint8_t* p = piece.bytes + piece.bit / 8;
  for (std::size_t o = 0; o < kOctets; o += kFloats, p += kFloats * K) {
    const auto own = (Vec<std::uint32_t>)octets_at<K>(p).word[0], before = (Vec<std::uint32_t>)octets_at<K>(p - 2).word[0];
    if constexpr (K == 1) {
      const auto between = (Vec<std::uint32_t>)octets_at<K>(p - 1).word[0];
      store(w.low + o, (before & 0xFFu) | (between & 0xFFu) << 8 | own << 16);
    } else {
      store(w.low + o, (before & 0xFFFFu) | own << 16);
    }
    store(w.high + o, own);
  }
  piece.bit += kStep * K;
}
EVENBITS_INLINE void octets_of_broken_bits(BitShiftPiece& piece, const evenbits_bit_shift* t, BitShiftWords& w) {
  const std::size_t whole = 8 * t->bits / t->per;
  const std::uint32_t rest = 8 * t->bits % t->per;
  for (std::size_t o = 0; o < kOctets; ++o) {
    std::uint64_t word;
    std::memcpy(&word, piece.bytes + piece.bit / 8 - 2, 8);
    word >>= piece.bit % 8;
    w.low[o] = std::uint32_t(word), w.high[o] = std::uint32_t(word >> 16), w.part[o] = piece.part;
    piece.bit += whole, piece.part += rest;
    if (piece.part >= t->per) piece.part -= t->per, ++piece.bit;
  }
}

// Calls f(step, first octet, level) for the octets of some steps, as many as a register takes; level(s) is that of their values
// s. K: bits a value, or 0 where that is a fraction, of values that do (Late) or don't end a bit later in some octets.
template <unsigned K, bool Late, class F>
EVENBITS_INLINE void for_octets(const BitShiftOctets& given, BitShiftPiece& piece, std::size_t steps, F f) {
  const BitShiftOctets octets = given;
  BitShiftWords w;
  for (std::size_t i = 0; i < steps; ++i) {
    if constexpr (K) octets_of_whole_bits<K>(piece, w);
    else octets_of_broken_bits(piece, octets.t, w);
    for (std::size_t o = 0; o < kOctets; o += kFloats)
      f(i, o, [&](auto s) __attribute__((always_inline)) {
        const std::uint32_t end = K ? (s + 1) * K : octets.end[s];
        const bool near = end < 16 || (K && end == 16);
        auto v = load((near ? w.low : w.high) + o) >> (near ? end + 16 - octets.t->memory : end - octets.t->memory);
        if constexpr (Late) {
          const auto late = (Vec<std::uint32_t>)(load(w.part + o) >= splat(octets.late[s]));
          v = (v & ~late) | (v >> 1 & late);
        }
        return __builtin_convertvector((Vec<std::int32_t>)bit_shift_level(v & octets.mask, octets.multiplier), Vec<float>);
      });
  }
}

// total[o] += scale * (the sum of the octet's products), for some steps of a row.
template <unsigned K, bool Late>
void multiply_bit_shift(const BitShiftOctets& octets, BitShiftPiece& piece, std::size_t steps, float scale, const float* x,
                        float* total) {
  for_octets<K, Late>(octets, piece, steps, [&](std::size_t i, std::size_t o, auto level) __attribute__((always_inline)) {
    Vec<float> sum;
    unroll<8>([&](auto s) __attribute__((always_inline)) {
      const auto product = level(s) * load(x + i * kStep + s * kOctets + o);
      if constexpr (s == 0) sum = product;
      else sum += product;
    });
    store(total + o, load(total + o) + sum * scale);
  });
}
// The levels of some steps, in the order of prepare_f32.
template <unsigned K, bool Late>
void decode_bit_shift(const BitShiftOctets& octets, BitShiftPiece& piece, std::size_t steps, float* levels) {
  for_octets<K, Late>(octets, piece, steps, [&](std::size_t i, std::size_t o, auto level) __attribute__((always_inline)) {
    unroll<8>([&](auto s) __attribute__((always_inline)) { store(levels + i * kStep + s * kOctets + o, level(s)); });
  });
}

struct BitShiftWork {
  void (*multiply)(const BitShiftOctets&, BitShiftPiece&, std::size_t, float, const float*, float*);
  void (*decode)(const BitShiftOctets&, BitShiftPiece&, std::size_t, float*);
};
template <unsigned K, bool Late>
inline constexpr BitShiftWork kBitShiftWork = {multiply_bit_shift<K, Late>, decode_bit_shift<K, Late>};
inline BitShiftWork bit_shift_work(const evenbits_bit_shift* t) {
  if (t->per > 1) return 8 % t->per ? kBitShiftWork<0, true> : kBitShiftWork<0, false>;
  return t->bits == 1   ? kBitShiftWork<1, false>
         : t->bits == 2 ? kBitShiftWork<2, false>
         : t->bits == 3 ? kBitShiftWork<3, false>
                        : kBitShiftWork<4, false>;
}

void bit_shift_product_f32(const evenbits_bit_shift* t, const std::uint8_t* codes, const float* scale, std::size_t rows,
                           const float* prepared, std::size_t columns, float* y, std::size_t stride) {
  const BitShiftOctets octets(t);
  const BitShiftWork work = bit_shift_work(t);
  const std::size_t row_bytes = bit_shift_row_bytes(t), steps = steps_of(t->n), length = steps * kStep;
  BitShiftPiece piece;
  const evenbits_packed w = {rows, t->n, codes, row_bytes, 0, nullptr, scale, nullptr, t->n};
  for (std::size_t c = 0; c < columns;) {
    const float* x = prepared + c * length;
    const std::size_t left = columns - c, many = left < kManyColumns ? left : kManyColumns;
    if (left > 1) {
      multiply_columns(w, x, many, y + c * stride, stride,
                       [&](std::size_t row, std::size_t first, std::size_t count, const float*, float* levels)
                           __attribute__((always_inline)) {
                             BitShiftPiece::read(piece, t, codes + row * row_bytes, first, count);
                             work.decode(octets, piece, count, levels);
                           });
      c += many;
      continue;
    }
    for (std::size_t row = 0; row < rows; ++row) {
      alignas(64) float total[kOctets] = {};
      for (std::size_t first = 0; first < steps; first += kSteps) {
        const std::size_t count = steps - first < kSteps ? steps - first : kSteps;
        BitShiftPiece::read(piece, t, codes + row * row_bytes, first, count);
        work.multiply(octets, piece, count, scale[row], x + first * kStep, total);
      }
      y[c * stride + row] = sum_of_totals(total);
    }
    ++c;
  }
}

}  // namespace evenbits::EVENBITS_ISA
