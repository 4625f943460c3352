// The functions of kernels_codewords.cpp, for the table.
#pragma once

#include <cstddef>
#include <cstdint>

namespace evenbits::EVENBITS_ISA {
void nearest_codeword_f32(float* x, std::size_t rows, std::size_t stride, const float* columns, const float* half, std::size_t n,
                          std::size_t count, int subtract, std::uint8_t* codes);
void sum_codewords_f32(const std::uint8_t* codes, std::size_t rows, std::size_t stride, std::size_t layers,
                       const float* const* books, const std::size_t* widths, std::size_t n, float* y);
void group_sums_f64(const double* x, const std::uint32_t* group, std::size_t rows, std::size_t n, double* sums);
void indexed_product_f64(const double* x, const std::uint32_t* index, std::size_t rows, std::size_t n, const double* matrices,
                         std::size_t m, double* y);
void windows_u8(const std::uint8_t* x, std::size_t n, const std::uint8_t* narrow, const std::uint8_t* wide, std::uint8_t* y);
}  // namespace evenbits::EVENBITS_ISA
