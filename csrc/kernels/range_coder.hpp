// Adaptive binary range coder: integers alone, so that every machine writes and reads the same bytes.
//
// Bytes come out most significant first. A stream may be cut anywhere: the decoder then gives the decisions that every
// continuation of the bytes agrees on, and `ended()` from the first one that they leave open.
#pragma once

#include <cstddef>
#include <cstdint>

#include "simd.hpp"

namespace evenbits::EVENBITS_ISA {

// 2^32 / (n + 2), by which a decision that was seen n times moves its probability.
struct Shares {
  static constexpr std::uint32_t kMemory = 510;
  std::uint32_t share[kMemory + 1] = {};
  constexpr Shares() {
    for (std::uint32_t n = 0; n <= kMemory; ++n) share[n] = std::uint32_t((std::uint64_t(1) << 32) / (n + 2));
  }
};
inline constexpr Shares kShares;

// How often a decision was 0, as a probability of 32 bits: (zeros + 1/2) / (n + 1), until n is kMemory; from then on it
// forgets exponentially.
struct Bit {
  std::uint32_t zero = 0x80000000, seen = 0;

  // Of 2^16; both decisions are possible.
  [[gnu::always_inline]] std::uint32_t chance() const {
    const std::uint32_t p = zero >> 16;
    return p ? p : 1;
  }
  [[gnu::always_inline]] void learn(bool one) {
    const std::uint64_t share = kShares.share[seen];
    if (one) zero -= std::uint32_t(zero * share >> 32);
    else zero += std::uint32_t((0xFFFFFFFF - zero) * share >> 32);
    seen += seen < Shares::kMemory;
  }
};

class RangeEncoder {
  std::uint8_t *begin_, *out_, *end_;
  std::uint64_t low_ = 0;
  std::uint32_t range_ = 0xFFFFFFFF;
  bool full_ = false, passed_on_ = true;  // whether the bytes that did not fit pass a carry on: all are 255

  [[gnu::always_inline]] void carry() {
    if (passed_on_)
      for (auto* byte = out_; byte > begin_ && ++*--byte == 0;) {}
    passed_on_ = !full_;
    low_ &= 0xFFFFFFFF;
  }
  [[gnu::always_inline]] void write(std::uint32_t byte) {
    if (out_ < end_) *out_++ = std::uint8_t(byte);
    else full_ = true, passed_on_ &= byte == 255;
  }
  [[gnu::always_inline]] void settle() {
    if (low_ >> 32) carry();
    while (range_ < 1u << 24) write(std::uint32_t(low_ >> 24)), low_ = low_ << 8 & 0xFFFFFFFF, range_ <<= 8;
  }

 public:
  RangeEncoder(std::uint8_t* out, std::size_t capacity) : begin_(out), out_(out), end_(out + capacity) {}

  [[gnu::always_inline]] void code(Bit& bit, bool one) {
    const auto bound = std::uint32_t((std::uint64_t(range_) * bit.chance()) >> 16);
    if (one) low_ += bound, range_ -= bound;
    else range_ = bound;
    bit.learn(one);
    settle();
  }
  // The `count` low bits of a number, all values alike.
  [[gnu::always_inline]] void raw(std::uint64_t value, unsigned count) {
    while (count) {
      const unsigned now = count < 8 ? count : 8;
      count -= now, range_ >>= now;
      low_ += (value >> count & ((1u << now) - 1)) * range_;
      settle();
    }
  }
  // Whether bytes were left out.
  bool full() const { return full_; }
  std::size_t size() const { return std::size_t(out_ - begin_); }

  // The fewest bytes after which no continuation matters.
  void finish() {
    for (unsigned bytes = low_ || range_ != 0xFFFFFFFF ? 1 : 0; bytes; ++bytes) {
      const std::uint64_t unit = std::uint64_t(1) << (32 - 8 * bytes), value = (low_ + unit - 1) / unit * unit;
      if (value + unit > low_ + range_) continue;
      low_ = value;
      if (low_ >> 32) carry();
      for (unsigned i = 0; i < bytes; ++i) write(std::uint8_t(low_ >> (24 - 8 * i)));
      return;
    }
  }
};

class RangeDecoder {
  const std::uint8_t *in_, *end_;
  std::uint64_t unknown_ = 0;  // how much greater the code may be, for bytes that are not there
  std::uint32_t range_ = 0xFFFFFFFF, code_ = 0;
  bool ended_ = false;

  [[gnu::always_inline]] void read() {
    code_ <<= 8;
    if (in_ < end_) code_ |= *in_++;
    else unknown_ = (unknown_ << 8 | 0xFF) & 0xFFFFFFFF;
  }
  [[gnu::always_inline]] void settle() {
    while (range_ < 1u << 24) read(), range_ <<= 8;
  }

 public:
  RangeDecoder(const std::uint8_t* in, std::size_t size) : in_(in), end_(in + size) {
    for (int i = 0; i < 4; ++i) read();
  }

  [[gnu::always_inline]] bool code(Bit& bit) {
    const auto bound = std::uint32_t((std::uint64_t(range_) * bit.chance()) >> 16);
    const bool one = code_ >= bound;
    if (one) code_ -= bound, range_ -= bound;
    else ended_ |= code_ + unknown_ >= bound, range_ = bound;
    bit.learn(one);
    settle();
    return one;
  }
  [[gnu::always_inline]] std::uint64_t raw(unsigned count) {
    std::uint64_t value = 0;
    while (count) {
      const unsigned now = count < 8 ? count : 8;
      count -= now, range_ >>= now;
      std::uint32_t digit = code_ / range_;
      digit = digit < 1u << now ? digit : (1u << now) - 1;
      ended_ |= digit + 1 < 1u << now && code_ - digit * range_ + unknown_ >= range_;
      code_ -= digit * range_, value = value << now | digit;
      settle();
    }
    return value;
  }
  // Whether the bytes that are there leave a decision open; what follows it means nothing.
  [[gnu::always_inline]] bool ended() const { return ended_; }
  // Whether bytes are left that no decision took part of.
  bool surplus() const { return in_ < end_; }
};

// Numbers from 1 on by their length in bits, and the bits below the first; up to four of those are learnt.
class Gamma {
  Bit tree_[64][16];

 public:
  static constexpr unsigned kLengths = 32;

  template <class Coder>
  [[gnu::always_inline]] void encode(Coder& coder, Bit* lengths, std::uint32_t number) {
    const unsigned length = 31 - unsigned(__builtin_clz(number));
    for (unsigned i = 0; i < length; ++i) coder.code(lengths[i], true);
    coder.code(lengths[length], false);
    encode_rest(coder, length, number);
  }
  // Beyond all numbers.
  static void encode_escape(RangeEncoder& coder, Bit* lengths) {
    for (unsigned i = 0; i < kLengths; ++i) coder.code(lengths[i], true);
  }
  // 0 for the escape, and for nonsense after the end.
  [[gnu::always_inline]] std::uint32_t decode(RangeDecoder& coder, Bit* lengths) {
    unsigned length = 0;
    while (length < kLengths && coder.code(lengths[length])) ++length;
    if (length == kLengths) return 0;
    const unsigned learnt = length < 4 ? length : 4;
    std::uint32_t number = 1;
    for (unsigned i = 0; i < learnt; ++i) number = number << 1 | coder.code(tree_[length][number]);
    for (unsigned rest = length - learnt; rest; rest = rest > 16 ? rest - 16 : 0) {
      const unsigned now = rest < 16 ? rest : 16;
      number = number << now | std::uint32_t(coder.raw(now));
    }
    return number;
  }

 private:
  template <class Coder>
  [[gnu::always_inline]] void encode_rest(Coder& coder, unsigned length, std::uint32_t number) {
    const unsigned learnt = length < 4 ? length : 4;
    std::uint32_t node = 1;
    for (unsigned i = 0; i < learnt; ++i) {
      const bool one = number >> (length - 1 - i) & 1;
      coder.code(tree_[length][node], one);
      node = node << 1 | one;
    }
    for (unsigned rest = length - learnt; rest;) {
      const unsigned now = rest < 16 ? rest : 16;
      rest -= now;
      coder.raw(number >> rest & ((1u << now) - 1), now);
    }
  }
};

}  // namespace evenbits::EVENBITS_ISA
