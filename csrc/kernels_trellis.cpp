// Trellis codes; compiled once per instruction set, as kernels.cpp is.
#include "kernels_trellis.hpp"

#include "kernels/trellis_coder.hpp"
#include "kernels/trellis_search.hpp"
