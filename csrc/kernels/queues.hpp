// What comes next: sets of places in order, and the largest of many numbers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "simd.hpp"

namespace evenbits::EVENBITS_ISA {

[[gnu::always_inline]] inline std::uint32_t bits_of(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}
[[gnu::always_inline]] inline float float_of(std::uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

// The places of a set of 0 to n - 1, found in order: a bit a place, a bit for each word of those, and so on.
class Places {
  static constexpr unsigned kMost = 6;
  std::uint64_t* level_[kMost];
  std::size_t words_[kMost];
  unsigned levels_ = 0;

 public:
  static std::size_t words(std::size_t n) {
    std::size_t sum = 0;
    do n = n / 64 + 1, sum += n;
    while (n > 1);
    return sum;
  }
  Places(std::uint64_t* memory, std::size_t n) {
    do {
      n = n / 64 + 1;
      level_[levels_] = memory, words_[levels_++] = n;
      std::memset(memory, 0, n * sizeof *memory);
      memory += n;
    } while (n > 1);
  }
  bool empty() const { return *level_[levels_ - 1] == 0; }
  void insert(std::size_t i) {
    for (unsigned l = 0; l < levels_; ++l, i /= 64) level_[l][i / 64] |= std::uint64_t(1) << i % 64;
  }
  void remove(std::size_t i) {
    for (unsigned l = 0; l < levels_; ++l, i /= 64)
      if (level_[l][i / 64] &= ~(std::uint64_t(1) << i % 64)) return;
  }
  // The first place from i on, or from 0 on if there is none; the set is not empty.
  std::size_t next(std::size_t i) const {
    for (unsigned l = 0; l < levels_; ++l) {
      const std::uint64_t later = i / 64 < words_[l] ? level_[l][i / 64] >> i % 64 : 0;
      if (later) {
        i += std::size_t(__builtin_ctzll(later));
        for (; l; --l) i = i * 64 + std::size_t(__builtin_ctzll(level_[l - 1][i]));
        return i;
      }
      i = i / 64 + 1;
    }
    return next(0);
  }
};

// A heap of residuals, the largest first and of equal ones the first.
class Largest {
  std::uint64_t* heap_;
  std::size_t size_ = 0;

  void sink(std::size_t i, std::uint64_t item) {
    for (std::size_t child; (child = 2 * i + 1) < size_; i = child) {
      child += child + 1 < size_ && heap_[child + 1] > heap_[child];
      if (heap_[child] <= item) break;
      heap_[i] = heap_[child];
    }
    heap_[i] = item;
  }

 public:
  explicit Largest(std::uint64_t* memory) : heap_(memory) {}
  static std::uint64_t item(float residual, std::size_t i) { return std::uint64_t(bits_of(residual)) << 32 | std::uint32_t(~i); }
  void add(float residual, std::size_t i) { heap_[size_++] = item(residual, i); }
  void order() {
    for (std::size_t i = size_ / 2; i--;) sink(i, heap_[i]);
  }
  bool empty() const { return size_ == 0; }
  float top() const { return size_ ? float_of(std::uint32_t(heap_[0] >> 32)) : 0.0f; }
  std::size_t pop() {
    const auto i = std::size_t(std::uint32_t(~heap_[0]));
    const std::uint64_t last = heap_[--size_];
    if (size_) sink(0, last);
    return i;
  }
  void push(float residual, std::size_t i) {
    std::size_t at = size_++;
    const std::uint64_t it = item(residual, i);
    for (; at && heap_[(at - 1) / 2] < it; at = (at - 1) / 2) heap_[at] = heap_[(at - 1) / 2];
    heap_[at] = it;
  }
};

}  // namespace evenbits::EVENBITS_ISA
