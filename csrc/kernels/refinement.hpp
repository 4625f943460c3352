// Successive refinement: magnitudes grow from 0 by thresholds that fall, one at a time or in passes, as a stream of which
// every prefix means something.
#pragma once

#include "evenbits.h"
#include "queues.hpp"
#include "range_coder.hpp"

namespace evenbits::EVENBITS_ISA {

// The threshold, kept in double and used in float; encoder and decoder take it through the same steps.
struct Threshold {
  double exact = 0;
  float now = 0;
  [[gnu::always_inline]] void set(float t) { exact = double(t), now = t; }
  [[gnu::always_inline]] void fall(double decay) { exact *= decay, now = float(exact); }
};

[[gnu::always_inline]] inline float magnitude(float x) { return float_of(bits_of(x) & 0x7FFFFFFF); }

// y further from 0 by t, y = 0 in the direction of `negative`.
[[gnu::always_inline]] inline float grown(float y, float t, bool negative) {
  const float size = magnitude(y) + t;
  return negative ? -size : size;
}

// What the decisions of both kinds of stream are coded by.
struct Chances {
  Bit sign, lengths[Gamma::kLengths];  // of gaps, or of the thresholds that a weight grows by in one pass
  Gamma number;
  // Passes: by whether a weight is 0, whether it grew in the pass before, and how many of the two before it grew in this one.
  Bit grows[4][3];
};

class Pass {
  std::uint8_t* known_;  // of each weight, 1: it is not 0, 2: it grew in the last pass
  std::uint8_t recent_ = 0;

 public:
  explicit Pass(std::uint8_t* known) : known_(known) {}
  [[gnu::always_inline]] Bit& chance(Chances& chances, std::size_t i) const {
    return chances.grows[known_[i]][(recent_ & 1) + (recent_ >> 1)];
  }
  [[gnu::always_inline]] void saw(std::size_t i, bool grows) {
    known_[i] = std::uint8_t(grows ? 3 : known_[i] & 1);
    recent_ = std::uint8_t((recent_ << 1 | grows) & 3);
  }
};

class Restorer {
  const evenbits_refinement& r_;
  float* y_;
  RangeDecoder coder_;
  Chances chances_;
  Threshold threshold_;
  std::uint64_t events_ = 0;
  bool sense_ = true;

  // A threshold below the last one. False at the end of the bytes.
  bool next_threshold() {
    const float t = float_of(std::uint32_t(coder_.raw(32)));
    if (coder_.ended()) return false;
    sense_ = t > 0 && t <= (events_ ? threshold_.now : 3.4e38f);
    threshold_.set(t);
    return sense_;
  }
  [[gnu::always_inline]] bool grow(std::size_t i, std::uint32_t times, bool negative) {
    const float y = grown(y_[i], float(times) * threshold_.now, negative);
    if (!(magnitude(y) <= 3.4e38f)) return sense_ = false;
    y_[i] = y, ++events_;
    return true;
  }
  evenbits_refined done() const { return {0, events_, 0, sense_ ? 0.0 : -1.0}; }

 public:
  Restorer(const evenbits_refinement& r, const std::uint8_t* in, std::size_t size, float* y) : r_(r), y_(y), coder_(in, size) {
    std::memset(y, 0, r.n * sizeof(float));
  }
  evenbits_refined gaps() {
    if (r_.events == 0 || !next_threshold()) return done();
    for (std::size_t cursor = 0; events_ < r_.events;) {
      const std::uint32_t gap = chances_.number.decode(coder_, chances_.lengths);
      if (coder_.ended()) break;
      if (gap == 0) {
        if (!next_threshold()) break;
        continue;
      }
      if (!(sense_ = gap <= r_.n)) break;
      const std::size_t i = gap - 1 < r_.n - cursor ? cursor + gap - 1 : cursor + gap - 1 - r_.n;
      const bool negative = y_[i] == 0 ? coder_.code(chances_.sign) : y_[i] < 0;
      if (coder_.ended() || !grow(i, 1, negative)) break;
      threshold_.fall(r_.decay);
      cursor = i + 1 == r_.n ? 0 : i + 1;
    }
    return done();
  }
  evenbits_refined passes(std::uint8_t* known) {
    std::memset(known, 0, r_.n);
    while (events_ < r_.events && next_threshold()) {
      const std::uint64_t before = events_;
      Pass pass(known);
      for (std::size_t i = 0; i < r_.n && events_ < r_.events; ++i) {
        const bool grows = coder_.code(pass.chance(chances_, i));
        if (coder_.ended()) return done();
        pass.saw(i, grows);
        if (!grows) continue;
        const bool negative = y_[i] == 0 ? coder_.code(chances_.sign) : y_[i] < 0;
        const std::uint32_t times = chances_.number.decode(coder_, chances_.lengths);
        if (coder_.ended()) return done();
        if (!(sense_ = times != 0) || !grow(i, times, negative)) return done();
      }
      if (!(sense_ = events_ > before)) break;  // a pass in which nothing grows is no pass
    }
    return done();
  }
};

evenbits_refined refine_decode(const evenbits_refinement* r, const std::uint8_t* in, std::size_t size, float* y,
                               std::uint8_t* scratch) {
  if (r->n == 0) return {};
  Restorer restorer(*r, in, size, y);
  return r->passes ? restorer.passes(scratch) : restorer.gaps();
}

}  // namespace evenbits::EVENBITS_ISA
