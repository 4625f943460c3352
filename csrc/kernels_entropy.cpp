// Streams of entropy-coded numbers; compiled once per instruction set, as kernels.cpp is.
#include "kernels_entropy.hpp"

#include "kernels/levels_coder.hpp"
#include "kernels/refine.hpp"
