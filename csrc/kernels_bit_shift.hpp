// Declares what kernels_bit_shift.cpp defines.
#pragma once

#include <cstddef>
#include <cstdint>

#include "evenbits.h"

namespace evenbits::EVENBITS_ISA {

std::size_t bit_shift_scratch(const evenbits_bit_shift* t);
void bit_shift_search(const evenbits_bit_shift* t, const std::int16_t* x, std::size_t rows, std::uint8_t* out,
                      std::int16_t* scratch);
void bit_shift_decode_f32(const evenbits_bit_shift* t, const std::uint8_t* in, const float* scale, std::size_t rows, float* y);
void bit_shift_product_f32(const evenbits_bit_shift* t, const std::uint8_t* in, const float* scale, std::size_t rows,
                           const float* prepared, std::size_t columns, float* y, std::size_t stride);

}  // namespace evenbits::EVENBITS_ISA
