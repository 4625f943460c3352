// Trellis codes of a constant rate: value i is a hash of the `memory` bits of its row that end with its own ones.
//
// Bits i p / q to (i + 1) p / q of a row, rounded down, are those of value i; before a row's first bit comes its last.
#pragma once

#include "evenbits.h"
#include "simd/bit_shift.hpp"

namespace evenbits::EVENBITS_ISA {

// Found by trying some thousands, on Gaussians: by the whole bits of a value, which is what the highest bits of a state are.
EVENBITS_INLINE std::uint32_t bit_shift_multiplier(const evenbits_bit_shift* t) {
  const std::uint32_t multipliers[] = {1976101133u, 310825767u, 4173394211u, 1753752023u};
  const std::uint64_t a = multipliers[t->bits / t->per - 1];
  return std::uint32_t((a << 32 | a) >> (16 + t->memory));  // so that the highest bits of a state count alike
}
// The sum of four bytes, less 510: nearly Gaussian, of standard deviation 147.8. T: std::uint32_t, or a register of them.
template <class T>
EVENBITS_INLINE T bit_shift_level(T state, std::uint32_t multiplier) {
  return sum_of_bytes(state * multiplier + 76625530u, -510);
}
// The bits that belong to the values before value i.
EVENBITS_INLINE std::size_t bit_shift_place(const evenbits_bit_shift* t, std::size_t i) {
  return i / t->per * t->bits + i % t->per * t->bits / t->per;
}
EVENBITS_INLINE std::size_t bit_shift_row_bytes(const evenbits_bit_shift* t) { return (bit_shift_place(t, t->n) + 7) / 8; }

}  // namespace evenbits::EVENBITS_ISA
