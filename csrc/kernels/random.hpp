// Random bits by Philox4x32-10 (Salmon, Moraes, Dror and Shaw, SC'11): a function of seed, stream and block, no state.
#pragma once

#include "evenbits.h"
#include "simd/bits.hpp"

namespace evenbits::EVENBITS_ISA {

inline constexpr std::uint64_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57, kStep0 = 0x9E3779B9, kStep1 = 0xBB67AE85;

// The words of several blocks, one block a lane. Only the low 32 bits of a lane mean anything: products take no others.
struct Philox {
  Vec<std::uint64_t> a, b, c, d;
};
// The high words, in the place of the low ones: a shuffle, since processors have fewer ports for shifts.
EVENBITS_INLINE Vec<std::uint64_t> high(Vec<std::uint64_t> product) {
  return (Vec<std::uint64_t>)swap_lanes<1, std::uint32_t>((Vec<std::uint32_t>)product);
}
EVENBITS_INLINE Philox mixed(const Philox& p, std::uint64_t key0, std::uint64_t key1) {
  const auto x = multiply_low(p.a, splat(kMultiplier0)), y = multiply_low(p.c, splat(kMultiplier1));
  return {high(y) ^ p.b ^ key0, y, high(x) ^ p.d ^ key1, x};
}
// Rounds First to 9, of several at a time: one multiplies while others wait for their products.
template <int First, class... P>
EVENBITS_INLINE void mix_on(std::uint64_t key0, std::uint64_t key1, P&... p) {
  if constexpr (First < 10) {
    ((p = mixed(p, key0 + First * kStep0, key1 + First * kStep1)), ...);
    mix_on<First + 1>(key0, key1, p...);
  }
}
// The blocks in stream order.
template <bool Complement>
EVENBITS_INLINE void store(std::uint32_t* out, const Philox& p) {
  constexpr std::uint64_t low = 0xFFFFFFFF, flip = Complement ? ~0ull : 0;
  const auto ab = select_bits(low, p.a, p.b << 32) ^ flip, cd = select_bits(low, p.c, p.d << 32) ^ flip;
  store(out, (Vec<std::uint32_t>)zip_lower(ab, cd)), store(out + kLanes<std::uint32_t>, (Vec<std::uint32_t>)zip_upper(ab, cd));
}

inline constexpr std::size_t kTogether = kRegisters / 8, kBatch = kTogether * kLanes<std::uint64_t>;
// The words of `count` blocks, a multiple of kBatch; or their complements.
template <bool Complement>
EVENBITS_INLINE void philox(std::uint64_t seed, std::uint64_t stream, std::uint64_t block, std::size_t count,
                            std::uint32_t* out) {
  constexpr std::uint64_t low = 0xFFFFFFFF;
  constexpr std::size_t lanes = kLanes<std::uint64_t>;
  const std::uint64_t key0 = seed, key1 = seed >> 32;
  const auto lane = iota<std::uint64_t>(EVENBITS_ALL_LANES(std::uint64_t));
  if ((block + count - 1) >> 32 != block >> 32) {
    for (; count; count -= lanes, block += lanes, out += 4 * lanes) {
      Philox p{lane + block, (lane + block) >> 32, splat(stream), splat(stream >> 32)};
      mix_on<0>(key0, key1, p);
      store<Complement>(out, p);
    }
    return;
  }
  // All of them share their upper word, and with it much of the first three rounds.
  const std::uint64_t y = (stream & low) * kMultiplier1, a = (y >> 32 ^ block >> 32 ^ key0) & low, x = a * kMultiplier0;
  const std::uint64_t for_c1 = stream >> 32 ^ key1, for_a2 = y ^ (key0 + kStep0), for_c2 = x >> 32 ^ (key1 + kStep1),
                      for_c3 = x ^ (key1 + 2 * kStep1);
  auto product = multiply_low(lane + block, splat(kMultiplier0));
  const auto third = [&](std::size_t i) __attribute__((always_inline)) {
    const auto x1 = product + i * lanes * kMultiplier0, y2 = multiply_low(high(x1) ^ for_c1, splat(kMultiplier1));
    const auto x3 = multiply_low(high(y2) ^ for_a2, splat(kMultiplier0)), y3 = multiply_low(x1 ^ for_c2, splat(kMultiplier1));
    return Philox{high(y3) ^ y2 ^ (key0 + 2 * kStep0), y3, high(x3) ^ for_c3, x3};
  };
  for (; count; count -= kBatch, product += kBatch * kMultiplier0, out += 4 * kBatch) {
    Philox p = third(0), q = third(1);
    if constexpr (kTogether == 4) {
      Philox r = third(2), s = third(3);
      mix_on<3>(key0, key1, p, q, r, s);
      store<Complement>(out + 8 * lanes, r), store<Complement>(out + 12 * lanes, s);
    } else mix_on<3>(key0, key1, p, q);
    store<Complement>(out, p), store<Complement>(out + 4 * lanes, q);
  }
}

void random_words(evenbits_stream s, std::size_t count, std::uint32_t* out) {
  constexpr std::size_t words = 4 * kBatch;
  std::size_t skip = s.first % 4;
  std::uint64_t block = s.first / 4;
  while (count) {
    if (skip == 0 && count >= words) {
      const std::size_t blocks = count / words * kBatch;
      philox<false>(s.seed, s.stream, block, blocks, out);
      block += blocks, out += 4 * blocks, count -= 4 * blocks;
    } else {
      std::uint32_t batch[words];
      philox<false>(s.seed, s.stream, block, kBatch, batch);
      const std::size_t taken = words - skip < count ? words - skip : count;
      std::memcpy(out, batch + skip, taken * sizeof(std::uint32_t));
      block += kBatch, out += taken, count -= taken, skip = 0;
    }
  }
}

// The complements of the half-words of a stream's next `left` elements, made a cache-sized stretch at a time.
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
      const std::size_t wanted = place_ + left_ < kStretch ? place_ + left_ : kStretch, step = 8 * kBatch;
      made_ = (wanted + step - 1) / step * step;
      philox<true>(s_.seed, s_.stream, s_.first / 8, made_ / 8, reinterpret_cast<std::uint32_t*>(k_));
    }
    if (count > made_ - place_) count = made_ - place_;
    const std::uint16_t* k = k_ + place_;
    place_ += count, s_.first += count, left_ -= count;
    return k;
  }
};

}  // namespace evenbits::EVENBITS_ISA
