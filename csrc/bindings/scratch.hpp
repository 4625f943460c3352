// Working memory for kernels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace evenbits {

// Zeros, `size` floats for each of `threads` threads, which begin with a cache line: no register lies across two.
class Scratch {
  std::size_t room_;
  std::vector<float> memory_;

 public:
  explicit Scratch(std::size_t size, std::size_t threads = 1) : room_((size + 15) / 16 * 16), memory_(room_ * threads + 15) {}
  float* of(std::size_t thread) {
    const auto address = reinterpret_cast<std::uintptr_t>(memory_.data());
    return memory_.data() + (-address % 64) / sizeof(float) + room_ * thread;
  }
};

}  // namespace evenbits
