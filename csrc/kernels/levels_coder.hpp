// Rows of small integers, most of them near 0, as a stream: what stands to the left and above tells how large to expect one.
#pragma once

#include <cstring>

#include "range_coder.hpp"

namespace evenbits::EVENBITS_ISA {

class Levels {
  static constexpr unsigned kClasses = 8, kMost = 15;
  Bit zero_[kClasses], lengths_[kClasses][Gamma::kLengths], sign_;
  Gamma rest_;
  std::uint8_t* above_;  // the magnitudes of a row, at most kMost: to the left of a place this row's, from it on the last one's
  unsigned last_ = 0, before_ = 0;

  [[gnu::always_inline]] unsigned context(std::size_t j) const {
    static constexpr std::uint8_t of[5 * kMost + 1] = {0, 1, 2, 3, 3, 4, 4, 5, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6};
    const unsigned activity = 2 * last_ + before_ + 2 * above_[j];
    return activity <= 20 ? of[activity] : kClasses - 1;
  }
  [[gnu::always_inline]] void seen(std::size_t j, unsigned magnitude) {
    before_ = last_, last_ = magnitude < kMost ? magnitude : kMost;
    above_[j] = std::uint8_t(last_);
  }

 public:
  Levels(std::uint8_t* scratch, std::size_t n) : above_(scratch) { std::memset(scratch, 0, n); }
  void begin_row() { last_ = before_ = 0; }

  [[gnu::always_inline]] void encode(RangeEncoder& coder, std::size_t j, int level) {
    const unsigned c = context(j), magnitude = unsigned(level < 0 ? -level : level);
    coder.code(zero_[c], magnitude != 0);
    if (magnitude) coder.code(sign_, level < 0), rest_.encode(coder, lengths_[c], magnitude);
    seen(j, magnitude);
  }
  // False for what is no level.
  [[gnu::always_inline]] bool decode(RangeDecoder& coder, std::size_t j, std::int16_t& level) {
    const unsigned c = context(j);
    std::uint32_t magnitude = 0;
    bool negative = false;
    if (coder.code(zero_[c])) {
      negative = coder.code(sign_), magnitude = rest_.decode(coder, lengths_[c]);
      if (magnitude == 0 || magnitude > 32767) return false;
    }
    level = std::int16_t(negative ? -int(magnitude) : int(magnitude));
    seen(j, magnitude);
    return true;
  }
};

std::size_t encode_levels(const std::int16_t* levels, std::size_t rows, std::size_t n, std::uint8_t* out, std::size_t capacity,
                          std::uint8_t* scratch) {
  RangeEncoder coder(out, capacity);
  Levels model(scratch, n);
  for (std::size_t i = 0; i < rows && !coder.full(); ++i) {
    model.begin_row();
    for (std::size_t j = 0; j < n; ++j) model.encode(coder, j, levels[i * n + j]);
  }
  coder.finish();
  return coder.full() ? capacity + 1 : coder.size();
}

std::size_t decode_levels(const std::uint8_t* in, std::size_t size, std::size_t rows, std::size_t n, std::int16_t* levels,
                          std::uint8_t* scratch) {
  RangeDecoder coder(in, size);
  Levels model(scratch, n);
  for (std::size_t i = 0; i < rows; ++i) {
    model.begin_row();
    for (std::size_t j = 0; j < n; ++j)
      if (!model.decode(coder, j, levels[i * n + j]) || coder.ended()) return i * n + j;
  }
  return rows * n + coder.surplus();
}

}  // namespace evenbits::EVENBITS_ISA
