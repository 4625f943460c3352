// Compiled once per instruction set, as kernels.cpp is, apart from it: whoever changes one does not wait for the other.
#include "kernels_codewords.hpp"

#include "kernels/codewords.hpp"
#include "kernels/windows.hpp"
