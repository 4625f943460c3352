// Declares what kernels_entropy.cpp defines.
#pragma once

#include <cstddef>
#include <cstdint>

#include "evenbits.h"

namespace evenbits::EVENBITS_ISA {

std::size_t encode_levels(const std::int16_t* levels, std::size_t rows, std::size_t n, std::uint8_t* out, std::size_t capacity,
                          std::uint8_t* scratch);
std::size_t decode_levels(const std::uint8_t* in, std::size_t size, std::size_t rows, std::size_t n, std::int16_t* levels,
                          std::uint8_t* scratch);
std::size_t refine_scratch(const evenbits_refinement* r);
evenbits_refined refine_encode(const evenbits_refinement* r, const float* w, float* y, std::uint8_t* out, std::size_t capacity,
                               std::uint64_t* scratch);
evenbits_refined refine_decode(const evenbits_refinement* r, const std::uint8_t* in, std::size_t size, float* y,
                               std::uint8_t* scratch);

}  // namespace evenbits::EVENBITS_ISA
