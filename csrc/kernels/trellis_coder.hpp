// Symbols of an entropy-coded trellis as bytes: asymmetric numeral systems (rANS), a state of 32 bits a sequence, which
// share the bytes. Integers alone, so that every machine writes and reads the same ones.
#pragma once

#include "trellis_search.hpp"

namespace evenbits::EVENBITS_ISA {

inline constexpr unsigned kShareBits = 14;
inline constexpr std::uint32_t kShares = 1u << kShareBits, kLeastState = 1u << 16;

// Words are written from the end, as decoding reads them last.
std::size_t trellis_write(const evenbits_trellis* t, const std::uint16_t* symbols, std::uint8_t* out, std::size_t capacity) {
  const Sequences of(t->n, t->lanes);
  std::uint32_t state[kSequences];
  for (auto& x : state) x = kLeastState;
  std::size_t at = capacity;
  for (std::size_t i = of.length; i-- > 0;)
    for (std::size_t l = of.active(i); l-- > 0;) {
      const std::uint32_t symbol = symbols[l * of.length + i], share = t->shares[symbol];
      std::uint32_t x = state[l];
      if (x >= std::uint64_t(share) << (32 - kShareBits)) {
        if (at < 2) return capacity + 1;
        out[--at] = std::uint8_t(x >> 8), out[--at] = std::uint8_t(x);
        x >>= 16;
      }
      state[l] = ((x / share) << kShareBits) + x % share + t->starts[symbol];
    }
  if (at < 4 * of.lanes) return capacity + 1;
  for (std::size_t l = of.lanes; l-- > 0;)
    for (unsigned byte = 4; byte-- > 0;) out[--at] = std::uint8_t(state[l] >> (8 * byte));
  std::memmove(out, out + at, capacity - at);
  return capacity - at;
}

namespace {

struct Reader {
  const std::uint8_t *at, *end;
  bool early = false;

  [[gnu::always_inline]] std::uint32_t word() {
    if (end - at < 2) {
      early = true;
      return 0;
    }
    const std::uint32_t w = at[0] | std::uint32_t(at[1]) << 8;
    at += 2;
    return w;
  }
  // Two bytes that are there.
  [[gnu::always_inline]] std::uint32_t peek() const {
    std::uint16_t w;
    std::memcpy(&w, at, 2);
    return w;
  }
};

}  // namespace

int trellis_read(const evenbits_trellis* t, const std::uint8_t* in, std::size_t size, float* y) {
  const Machine machine(t->order);
  const Sequences of(t->n, t->lanes);
  const std::uint32_t low_bits = t->contexts - 1, shift = t->contexts == 8 ? 3 : t->contexts == 4 ? 2 : 1;
  Reader bytes{in, in + size};
  std::uint32_t x[kSequences], state[kSequences] = {};
  std::uint8_t next[512];
  for (std::uint32_t s = 0; s < machine.states(); ++s)
    for (std::uint32_t parity = 0; parity < 2; ++parity) next[2 * s + parity] = std::uint8_t(machine.next(s, parity));
  for (std::size_t l = 0; l < of.lanes; ++l) {
    x[l] = bytes.word();
    x[l] |= bytes.word() << 16;
  }
  float found[kSequences][kSteps];
  for (std::size_t first = 0; first < of.length; first += kSteps) {
    const std::size_t left = of.length - first, count = left < kSteps ? left : kSteps;
    for (std::size_t i = 0; i < count; ++i) {
      const auto decode = [&](std::size_t l) __attribute__((always_inline)) {
        const std::uint32_t context = state[l] & low_bits, slot = x[l] & (kShares - 1);
        const std::uint32_t symbol = t->slots[context << kShareBits | slot];
        found[l][i] = t->values[symbol];
        state[l] = next[2 * state[l] + (((symbol >> shift) + 1) >> 1 & 1)];
        return t->shares[symbol] * (x[l] >> kShareBits) + slot - t->starts[symbol];
      };
      const std::size_t lanes = of.active(first + i);
      if (lanes == kSequences && std::size_t(bytes.end - bytes.at) >= 2 * kSequences)
        for (std::size_t l = 0; l < kSequences; ++l) {
          const std::uint32_t now = decode(l);
          const bool low = now < kLeastState;
          const std::uint32_t more = now << 16 | bytes.peek();
          x[l] = low ? more : now;
          bytes.at += 2 * low;
        }
      else
        for (std::size_t l = 0; l < lanes; ++l) {
          x[l] = decode(l);
          if (x[l] < kLeastState) x[l] = x[l] << 16 | bytes.word();
        }
    }
    for (std::size_t l = 0; l < of.lanes; ++l) {
      const std::size_t rest = of.size(l, first);
      std::memcpy(y + l * of.length + first, found[l], (rest < count ? rest : count) * sizeof(float));
    }
  }
  bool whole = !bytes.early && bytes.at == bytes.end;
  for (std::size_t l = 0; l < of.lanes; ++l) whole &= x[l] == kLeastState;
  return whole;
}

}  // namespace evenbits::EVENBITS_ISA
