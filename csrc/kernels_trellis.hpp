// Declares what kernels_trellis.cpp defines.
#pragma once

#include <cstddef>
#include <cstdint>

#include "evenbits.h"

namespace evenbits::EVENBITS_ISA {

std::size_t trellis_scratch(const evenbits_trellis* t);
void trellis_search_f32(const evenbits_trellis* t, const float* x, std::uint16_t* symbols, std::uint32_t* scratch);
void trellis_tally(const std::uint16_t* symbols, const float* x, std::size_t n, std::uint64_t* counts, double* sums);
std::size_t trellis_write(const evenbits_trellis* t, const std::uint16_t* symbols, std::uint8_t* out, std::size_t capacity);
int trellis_read(const evenbits_trellis* t, const std::uint8_t* in, std::size_t size, float* y);

}  // namespace evenbits::EVENBITS_ISA
