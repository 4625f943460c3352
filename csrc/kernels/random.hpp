// Random bits by Philox4x32-10 (Salmon, Moraes, Dror and Shaw, SC'11): a function of seed, stream and block, no state.
#pragma once

#include "evenbits.h"
#include "simd.hpp"

namespace evenbits::EVENBITS_ISA {

// The words of several blocks, one block a lane. Only the low 32 bits of a lane mean anything: products take no others.
struct Philox {
  Vec<std::uint64_t> a, b, c, d;
};
EVENBITS_INLINE Philox mixed(const Philox& p, Vec<std::uint64_t> key0, Vec<std::uint64_t> key1) {
  const auto x = multiply_low(p.a, splat<std::uint64_t>(0xD2511F53)), y = multiply_low(p.c, splat<std::uint64_t>(0xCD9E8D57));
  return {(y >> 32) ^ p.b ^ key0, y, (x >> 32) ^ p.d ^ key1, x};
}
// The blocks in stream order.
EVENBITS_INLINE void store(std::uint32_t* out, const Philox& p) {
  const auto low = splat<std::uint64_t>(0xFFFFFFFF), ab = (p.a & low) | p.b << 32, cd = (p.c & low) | p.d << 32;
  store(out, (Vec<std::uint32_t>)zip_lower(ab, cd)), store(out + kLanes<std::uint32_t>, (Vec<std::uint32_t>)zip_upper(ab, cd));
}

// Blocks are made two registers at a time: one multiplies while the other waits for its products.
inline constexpr std::size_t kBatch = 2 * kLanes<std::uint64_t>;
// The words of kBatch blocks.
EVENBITS_INLINE void philox(std::uint64_t seed, std::uint64_t stream, std::uint64_t block, std::uint32_t* out) {
  const auto blocks = block + iota<std::uint64_t>(EVENBITS_ALL_LANES(std::uint64_t)), more = blocks + kLanes<std::uint64_t>;
  auto key0 = splat(seed), key1 = splat(seed >> 32);
  Philox p{blocks, blocks >> 32, splat(stream), splat(stream >> 32)}, q{more, more >> 32, p.c, p.d};
  for (int round = 0; round < 10; ++round, key0 += 0x9E3779B9, key1 += 0xBB67AE85)
    p = mixed(p, key0, key1), q = mixed(q, key0, key1);
  store(out, p), store(out + 2 * kBatch, q);
}

void random_words(evenbits_stream s, std::size_t count, std::uint32_t* out) {
  constexpr std::size_t words = 4 * kBatch;
  for (std::size_t skip = s.first % 4, block = s.first / 4; count; skip = 0, block += kBatch) {
    const std::size_t taken = words - skip < count ? words - skip : count;
    if (taken == words) philox(s.seed, s.stream, block, out);
    else {
      std::uint32_t batch[words];
      philox(s.seed, s.stream, block, batch);
      std::memcpy(out, batch + skip, taken * sizeof(std::uint32_t));
    }
    out += taken, count -= taken;
  }
}

// The half-words of a stream's next `left` elements, made a cache-sized stretch at a time.
class HalfWords {
  static constexpr std::size_t kStretch = 1024;
  evenbits_stream s_;
  std::size_t left_, place_ = 0, made_ = 0;
  alignas(64) std::uint16_t k_[kStretch + kBytes] = {};  // a whole register may be read at the last one

 public:
  HalfWords(evenbits_stream s, std::size_t left) : s_(s), left_(left) {}

  // The next `count` half-words; or fewer, the ones at hand, and then `count` becomes their number.
  const std::uint16_t* next(std::size_t& count) {
    if (place_ == made_) {
      place_ = s_.first % 8;
      for (made_ = 0; made_ < kStretch && made_ < place_ + left_; made_ += 8 * kBatch)
        philox(s_.seed, s_.stream, (s_.first + made_) / 8, reinterpret_cast<std::uint32_t*>(k_ + made_));
    }
    if (count > made_ - place_) count = made_ - place_;
    const std::uint16_t* k = k_ + place_;
    place_ += count, s_.first += count, left_ -= count;
    return k;
  }
};

}  // namespace evenbits::EVENBITS_ISA
