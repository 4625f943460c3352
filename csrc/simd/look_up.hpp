// Tables in registers.
#pragma once

#include "../simd.hpp"

namespace evenbits::EVENBITS_ISA {

inline constexpr std::size_t kFloats = kLanes<float>;

// The entry of a table of R registers that every lane of i asks for. R is a power of two.
template <std::size_t R>
EVENBITS_INLINE Vec<float> look_up(const float* table, Vec<std::int32_t> i) {
  if constexpr (R == 1) return permute(load(table), i);
  else if constexpr (R == 2) return permute(load(table), load(table + kFloats), i);
  else {
    constexpr std::size_t half = R / 2 * kFloats;
    return (i & std::int32_t(half)) != 0 ? look_up<R / 2>(table + half, i) : look_up<R / 2>(table, i);
  }
}

}  // namespace evenbits::EVENBITS_ISA
