// The encoders of successive refinement: which weight grows next, and by which threshold.
#pragma once

#include "refinement.hpp"

namespace evenbits::EVENBITS_ISA {

// What both encoders do: the weights, what they have grown to, and when it ends.
class Refiner {
 protected:
  const evenbits_refinement& r_;
  const float* w_;
  float* y_;
  RangeEncoder coder_;
  Chances chances_;
  Threshold threshold_;
  double total_;
  std::uint64_t events_ = 0;
  std::size_t nonzeros_ = 0;

  Refiner(const evenbits_refinement& r, const float* w, float* y, std::uint8_t* out, std::size_t capacity)
      : r_(r), w_(w), y_(y), coder_(out, capacity), total_(r.total) {
    std::memset(y, 0, r.n * sizeof(float));
  }
  [[gnu::always_inline]] float residual(std::size_t i) const { return magnitude(magnitude(w_[i]) - magnitude(y_[i])); }
  bool ended() const { return coder_.full() || total_ <= r_.least; }
  bool one_too_many(std::size_t i) const { return y_[i] == 0 && nonzeros_ == r_.most; }
  void announce(float t) {
    threshold_.set(t);
    coder_.raw(bits_of(t), 32);
  }
  [[gnu::always_inline]] void grow(std::size_t i, std::uint32_t times) {
    const bool negative = w_[i] < 0;
    if (y_[i] == 0) coder_.code(chances_.sign, negative), ++nonzeros_;
    const float y = grown(y_[i], float(times) * threshold_.now, negative);
    total_ -= double(magnitude(y)) - double(magnitude(y_[i]));
    y_[i] = y, ++events_;
  }
  evenbits_refined done() {
    coder_.finish();
    return {coder_.size(), events_, nonzeros_, total_};
  }
};

// One weight after the other, in order and round again, among those whose residuals exceed the threshold.
class ByGaps : Refiner {
  Places active_;
  Largest waiting_;
  double level_;

  void activate() {
    while (waiting_.top() > threshold_.now) active_.insert(waiting_.pop());
  }
  // A threshold that some residual exceeds; false if there is none to speak of.
  bool refresh() {
    const float top = waiting_.top();
    if (!(top > r_.smallest)) return false;
    float t = float_of(bits_of(top) - 1);
    if (r_.order) {  // the next residual after the `order` largest
      for (std::size_t held = 0; held < r_.order && waiting_.top() > r_.smallest; ++held) {
        t = float_of(bits_of(waiting_.top()) - 1);
        active_.insert(waiting_.pop());
      }
      t = waiting_.top() < t ? waiting_.top() : t;
    } else {
      const double mean = total_ / double(r_.count);
      while (r_.slack < 1 && level_ * mean >= double(top)) level_ *= r_.slack;
      const double aim = level_ * mean < threshold_.exact ? level_ * mean : threshold_.exact;
      t = aim < double(t) ? float(aim) : t;
    }
    t = t > r_.smallest ? t : r_.smallest;
    chances_.number.encode_escape(coder_, chances_.lengths);
    announce(t);
    return true;
  }

 public:
  ByGaps(const evenbits_refinement& r, const float* w, float* y, std::uint8_t* out, std::size_t capacity, std::uint64_t* scratch)
      : Refiner(r, w, y, out, capacity), active_(scratch, r.n), waiting_(scratch + Places::words(r.n)), level_(r.level) {
    for (std::size_t i = 0; i < r.n; ++i)
      if (w[i] != 0) waiting_.add(magnitude(w[i]), i);
    waiting_.order();
  }
  evenbits_refined run() {
    if (!ended()) announce(r_.first);
    for (std::size_t cursor = 0; !ended() && threshold_.now > r_.smallest;) {
      activate();
      if (active_.empty()) {
        if (!refresh()) break;
        continue;
      }
      const std::size_t i = active_.next(cursor);
      if (one_too_many(i)) break;
      chances_.number.encode(coder_, chances_.lengths, std::uint32_t((i >= cursor ? i - cursor : i + r_.n - cursor) + 1));
      grow(i, 1);
      if (!(residual(i) > threshold_.now)) active_.remove(i), waiting_.push(residual(i), i);
      threshold_.fall(r_.decay);
      cursor = i + 1 == r_.n ? 0 : i + 1;
    }
    return done();
  }
};

// All weights whose residuals exceed the threshold, in passes.
class ByPasses : Refiner {
  static constexpr unsigned kBuckets = 1 << 15;  // of magnitudes, by their 15 upper bits
  std::uint8_t* known_;
  std::uint32_t *all_, *zeros_;

  void count() {
    std::memset(all_, 0, 2 * kBuckets * sizeof *all_);
    for (std::size_t i = 0; i < r_.n; ++i) {
      const std::uint32_t bucket = bits_of(residual(i)) >> 16;
      ++all_[bucket], zeros_[bucket] += y_[i] == 0;
    }
  }
  // The residual, of weights that are 0 or of all, that at most k exceed: the (k + 1)-th largest, 0 if there is none.
  float exceeded_by(std::size_t k, const std::uint32_t* counts, bool zeros) {
    unsigned bucket = kBuckets;
    while (bucket && k >= counts[bucket - 1]) k -= counts[--bucket];
    if (bucket-- == 0) return 0;
    std::uint32_t upper[256] = {};
    for (unsigned shift = 8, prefix = bucket;; shift = 0) {  // eight bits more, twice
      std::memset(upper, 0, sizeof upper);
      for (std::size_t i = 0; i < r_.n; ++i) {
        const std::uint32_t bits = bits_of(residual(i));
        if (bits >> (shift + 8) == prefix && (y_[i] == 0 || !zeros)) ++upper[bits >> shift & 255];
      }
      unsigned digit = 255;
      while (k >= upper[digit]) k -= upper[digit--];
      prefix = prefix << 8 | digit;
      if (shift == 0) return float_of(prefix);
    }
  }
  // A threshold that some residual exceeds; 0 if there is none to speak of.
  float choose() {
    count();
    float t = exceeded_by(r_.order, all_, false), top = exceeded_by(0, all_, false);
    if (!(top > r_.smallest)) return 0;
    const double wanted = total_ - r_.least;
    std::uint64_t above = 0;
    for (unsigned bucket = kBuckets; bucket--;) {  // if less will do, as few weights as do
      const float edge = float_of(std::uint32_t(bucket) << 16);
      if (edge <= t) break;
      above += all_[bucket];
      if (double(above) * double(edge) >= wanted) {
        t = edge;
        break;
      }
    }
    if (r_.most < r_.n) {
      const float limit = exceeded_by(r_.most - nonzeros_, zeros_, true);
      t = limit > t ? limit : t;
    }
    t = t < top ? t : float_of(bits_of(top) - 1);
    return t > r_.smallest ? t : r_.smallest;
  }
  // How many thresholds a residual takes; at least one does.
  [[gnu::always_inline]] std::uint32_t times(std::size_t i) const {
    const float ratio = residual(i) / threshold_.now;
    std::uint32_t n = ratio < 65536.0f ? std::uint32_t(ratio) : 65536;
    while (n > 1 && magnitude(y_[i]) + float(n) * threshold_.now > magnitude(w_[i])) --n;
    return n ? n : 1;
  }

 public:
  ByPasses(const evenbits_refinement& r, const float* w, float* y, std::uint8_t* out, std::size_t capacity,
           std::uint64_t* scratch)
      : Refiner(r, w, y, out, capacity),
        known_(reinterpret_cast<std::uint8_t*>(scratch + kBuckets)),
        all_(reinterpret_cast<std::uint32_t*>(scratch)),
        zeros_(all_ + kBuckets) {
    std::memset(known_, 0, r.n);
  }
  static std::size_t words(std::size_t n) { return kBuckets + n / 8 + 1; }
  evenbits_refined run() {
    while (!ended()) {
      const float t = choose();
      if (!(t > 0) || (nonzeros_ == r_.most)) break;
      announce(t);
      Pass pass(known_);
      for (std::size_t i = 0; i < r_.n && !ended(); ++i) {
        const bool grows = residual(i) > t;
        if (grows && one_too_many(i)) return done();
        coder_.code(pass.chance(chances_, i), grows);
        pass.saw(i, grows);
        if (!grows) continue;
        const std::uint32_t n = times(i);
        grow(i, n);
        chances_.number.encode(coder_, chances_.lengths, n);
      }
    }
    return done();
  }
};

std::size_t refine_scratch(const evenbits_refinement* r) {
  return r->passes ? ByPasses::words(r->n) : Places::words(r->n) + r->n;
}

evenbits_refined refine_encode(const evenbits_refinement* r, const float* w, float* y, std::uint8_t* out, std::size_t capacity,
                               std::uint64_t* scratch) {
  if (r->n == 0) return {};
  return r->passes ? ByPasses(*r, w, y, out, capacity, scratch).run() : ByGaps(*r, w, y, out, capacity, scratch).run();
}

}  // namespace evenbits::EVENBITS_ISA
