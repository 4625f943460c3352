// The Hadamard matrix a binding was given: its order and its base, checked.
#pragma once

#include "arrays.hpp"

namespace evenbits {

// `base` has m x m entries; [[1]] stands for the Sylvester matrices. n = m 2^k.
inline evenbits_hadamard matrix_of(std::size_t n, const py::array& base) {
  const std::int8_t* entries = elements<std::int8_t>(base, "base");
  const std::size_t m = base.ndim() == 2 ? static_cast<std::size_t>(base.shape(0)) : 0;
  const std::size_t block = m ? n / m : 0;
  if (m == 0 || m > 1024 || size(base) != m * m || (m > 1 && m % 4) || block * m != n || block == 0 || (block & (block - 1)))
    throw py::value_error("base does not make a Hadamard matrix of order " + std::to_string(n));
  return {n, m, entries};
}

}  // namespace evenbits
