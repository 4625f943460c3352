// Path following and the products it needs; compiled once per instruction set, as kernels.cpp is.
#include "kernels_path_following.hpp"

#include "kernels/path_following.hpp"
