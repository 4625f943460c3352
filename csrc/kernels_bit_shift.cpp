// Trellis codes of a constant rate; compiled once per instruction set, as kernels.cpp is.
#include "kernels_bit_shift.hpp"

#include "kernels/bit_shift_decode.hpp"
#include "kernels/bit_shift_product.hpp"
#include "kernels/bit_shift_search.hpp"
