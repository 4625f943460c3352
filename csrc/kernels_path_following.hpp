// Declares what kernels_path_following.cpp defines.
#pragma once

#include <cstddef>
#include <cstdint>

#include "evenbits.h"

namespace evenbits::EVENBITS_ISA {

void multiply_add_f32(const float* a, std::size_t a_row, std::size_t a_step, const float* b, std::size_t b_step, std::size_t rows,
                      std::size_t columns, std::size_t depth, double* c, std::size_t c_row, double* scratch);
void multiply_add_f64(const double* a, std::size_t a_row, std::size_t a_step, const double* b, std::size_t b_step,
                      std::size_t rows, std::size_t columns, std::size_t depth, double* c, std::size_t c_row, double* scratch);
void follow_path_f32(const evenbits_path* p, const float* panels, const float* pivot, const float* w, const float* base,
                     const float* step, const std::uint16_t* bits, std::size_t rows, std::int32_t* codes, float* z,
                     std::uint32_t* clamped, float* scratch);
void follow_path_f64(const evenbits_path* p, const double* panels, const double* pivot, const double* w, const double* base,
                     const double* step, const std::uint16_t* bits, std::size_t rows, std::int32_t* codes, double* z,
                     std::uint32_t* clamped, double* scratch);

}  // namespace evenbits::EVENBITS_ISA
