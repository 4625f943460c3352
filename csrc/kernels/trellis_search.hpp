// The cheapest path through an entropy-coded trellis, by Viterbi's algorithm, 16 sequences at once.
//
// Two quantizers share a grid: even numbers are what the first can mean, odd ones and 0 the second. State s takes quantizer s
// mod 2, and its law is that of context s mod 2, 4 or 8; the parity of the index k leads to the next state. Costs are floats,
// added in one order, so that all instruction sets take the same path.
#pragma once

#include <cstring>

#include "evenbits.h"
#include "simd.hpp"

namespace evenbits::EVENBITS_ISA {

inline constexpr std::size_t kSequences = 16, kSteps = 64;

// Ungerboeck's one-dimensional codes, parity-check polynomials h0 and h1, for 4 to 256 states.
struct Machine {
  std::uint32_t order, odd, one;  // what an odd state, and an odd index, exclusive-or into the next
  explicit Machine(std::uint32_t o) : order(o) {
    constexpr std::uint32_t h0[] = {05, 013, 023, 045, 0103, 0235, 0515}, h1[] = {02, 04, 04, 010, 024, 0126, 0362};
    odd = h0[o - 2] >> 1, one = h1[o - 2] >> 1;
  }
  std::uint32_t states() const { return 1u << order; }
  [[gnu::always_inline]] std::uint32_t next(std::uint32_t s, std::uint32_t parity) const {
    return s >> 1 ^ (odd & -(s & 1)) ^ (one & -parity);
  }
  // The state before n, which it reached by this parity. Its quantizer is the upper bit of n.
  [[gnu::always_inline]] std::uint32_t before(std::uint32_t n, std::uint32_t parity) const {
    const std::uint32_t q = n >> (order - 1);
    return (n ^ (odd & -q) ^ (one & -parity)) << 1 | q;
  }
};

// n values as `lanes` sequences, all of the same length but the last ones.
struct Sequences {
  std::size_t n, lanes, length;
  Sequences(std::size_t values, std::size_t count) : n(values), lanes(count), length((values + count - 1) / count) {}
  std::size_t size(std::size_t lane, std::size_t from = 0) const {
    const std::size_t begin = lane * length + from, end = (lane + 1) * length < n ? (lane + 1) * length : n;
    return begin < end ? end - begin : 0;
  }
  // The sequences that are longer than i.
  std::size_t active(std::size_t i) const { return i < length ? (n - i - 1) / length + 1 : 0; }
};

// A few steps of all sequences: magnitudes, and the bins they fall into; 0 beyond the end of a sequence.
struct Stretch {
  alignas(64) float size[kSequences][kSteps];
  alignas(64) std::int32_t bin[kSequences][kSteps];

  void load(const evenbits_trellis& t, const Sequences& of, const float* x, std::size_t first) {
    std::memset(size, 0, sizeof size);
    for (std::size_t l = 0; l < of.lanes; ++l) {
      const std::size_t left = of.size(l, first), count = left < kSteps ? left : kSteps;
      std::memcpy(size[l], x + l * of.length + first, count * sizeof(float));
    }
    const Vec<float> fineness = splat(t.fineness), last = splat(float(t.bins - 1));
    for (std::size_t i = 0; i < kSequences * kSteps; i += kLanes<float>) {
      const auto sizes = (Vec<float>)((Vec<std::int32_t>)EVENBITS_ISA::load(size[0] + i) & 0x7FFFFFFF);
      store(size[0] + i, sizes);
      store(bin[0] + i, __builtin_convertvector(least(sizes * fineness, last), Vec<std::int32_t>));
    }
  }
};

EVENBITS_INLINE std::uint32_t bits_of(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

typedef float Four __attribute__((vector_size(16)));
typedef std::int32_t FourInts __attribute__((vector_size(16)));

template <int A, int B, int C, int D>
EVENBITS_INLINE Four mix(Four a, Four b) {
#if __has_builtin(__builtin_shufflevector)
  return __builtin_shufflevector(a, b, A, B, C, D);
#else
  return __builtin_shuffle(a, b, FourInts{A, B, C, D});
#endif
}

// What the best index of either parity costs in every context, for each step and sequence: row 2 contexts i + 2 context + parity.
struct Costs {
  alignas(64) float of[kSteps * 16][kSequences];

  template <std::size_t Contexts>
  void fill(const evenbits_trellis& t, const Stretch& s) {
    for (std::size_t l = 0; l < kSequences; l += 4)
      for (std::size_t i = 0; i < kSteps; ++i)
        for (std::size_t k = 0; k < 2 * Contexts; k += 4) {
          const auto cost = [&](std::size_t lane) __attribute__((always_inline)) {
            const std::size_t bin = 2 * Contexts * std::size_t(s.bin[lane][i]) + k;
            Four point, price;
            std::memcpy(&point, t.points + bin, 16), std::memcpy(&price, t.prices + bin, 16);
            const Four e = s.size[lane][i] - point;
            return e * e + price;
          };
          const Four a = cost(l), b = cost(l + 1), c = cost(l + 2), d = cost(l + 3);
          const Four ab = mix<0, 4, 1, 5>(a, b), cd = mix<0, 4, 1, 5>(c, d);
          const Four ef = mix<2, 6, 3, 7>(a, b), gh = mix<2, 6, 3, 7>(c, d);
          float (*to)[kSequences] = of + 2 * Contexts * i + k;
          const auto put = [&](std::size_t row, Four v) { std::memcpy(&to[row][l], &v, 16); };
          put(0, mix<0, 1, 4, 5>(ab, cd)), put(1, mix<2, 3, 6, 7>(ab, cd));
          put(2, mix<0, 1, 4, 5>(ef, gh)), put(3, mix<2, 3, 6, 7>(ef, gh));
        }
  }
};

struct Paths {
  alignas(64) float cost[2][256][kSequences];

  explicit Paths(std::uint32_t states) {
    for (std::size_t s = 0; s < states; ++s)
      for (std::size_t l = 0; l < kSequences; ++l) cost[0][s][l] = s ? 1e30f : 0;
  }
  // An even number of steps. Bit n mod 32 of word n / 32 of a step: the parity by which state n was reached.
  template <std::size_t Contexts>
  void walk(const Machine& machine, const Costs& costs, std::size_t steps, std::uint32_t* choices) {
    const std::uint32_t states = machine.states(), half = states / 2, words = (states + 31) / 32;
    for (std::size_t l = 0; l < kSequences; l += kLanes<float>)
      for (std::size_t i = 0; i < steps; ++i) {
        const float (*from)[kSequences] = cost[i & 1];
        float (*to)[kSequences] = cost[(i & 1) ^ 1];
        const float (*each)[kSequences] = costs.of + 2 * Contexts * i;
        for (std::uint32_t q = 0; q < 2; ++q) {
          for (std::uint32_t begin = q * half, end; begin < (q + 1) * half; begin = end) {
            end = (begin | 31) + 1 < (q + 1) * half ? (begin | 31) + 1 : (q + 1) * half;
            Vec<std::uint32_t> chosen = {};
            if (q && half < 32) chosen = load(choices + (i * words) * kSequences + l);
            for (std::uint32_t n = begin; n < end; ++n) {
              const std::uint32_t even = machine.before(n, 0), odd = machine.before(n, 1);
              const Vec<float> a = load(&from[even][l]) + load(&each[2 * (even % Contexts)][l]);
              const Vec<float> b = load(&from[odd][l]) + load(&each[2 * (odd % Contexts) + 1][l]);
              chosen |= (Vec<std::uint32_t>)(b < a) & (1u << (n & 31));
              store(&to[n][l], least(b, a));
            }
            store(choices + (i * words + begin / 32) * kSequences + l, chosen);
          }
        }
      }
    for (std::size_t l = 0; l < kSequences; l += kLanes<float>) {
      const Vec<float> base = load(&cost[0][0][l]);
      for (std::uint32_t s = 0; s < states; ++s) store(&cost[0][s][l], load(&cost[0][s][l]) - base);
    }
  }
  std::uint32_t best(std::uint32_t states, std::size_t lane) const {
    std::uint32_t found = 0;
    for (std::uint32_t s = 1; s < states; ++s) found = cost[0][s][lane] < cost[0][found][lane] ? s : found;
    return found;
  }
};

std::size_t trellis_scratch(const evenbits_trellis* t) {
  const Sequences of(t->n, t->lanes);
  return (of.length + kSteps - 1) / kSteps * kSteps * kSequences * ((Machine(t->order).states() + 31) / 32);
}

namespace {

template <std::size_t Contexts>
void search(const evenbits_trellis* t, const float* x, std::uint16_t* symbols, std::uint32_t* scratch) {
  const Machine machine(t->order);
  const Sequences of(t->n, t->lanes);
  const std::size_t words = (machine.states() + 31) / 32, step_words = words * kSequences;
  Stretch stretch;
  Costs costs;
  Paths paths(machine.states());
  for (std::size_t first = 0; first < of.length; first += kSteps) {
    stretch.load(*t, of, x, first);
    costs.fill<Contexts>(*t, stretch);
    paths.walk<Contexts>(machine, costs, kSteps, scratch + first * step_words);
  }
  std::uint32_t state[kSequences];
  for (std::size_t l = 0; l < kSequences; ++l) state[l] = paths.best(machine.states(), l);
  for (std::size_t first = (of.length + kSteps - 1) / kSteps * kSteps; first;) {
    first -= kSteps;
    stretch.load(*t, of, x, first);
    std::uint16_t found[kSequences][kSteps];
    for (std::size_t i = kSteps; i-- > 0;)
      for (std::size_t l = 0; l < kSequences; ++l) {
        const std::uint32_t n = state[l];
        const std::uint32_t parity = scratch[((first + i) * words + n / 32) * kSequences + l] >> (n & 31) & 1;
        state[l] = machine.before(n, parity);
        const std::size_t context = state[l] % Contexts;
        const std::uint32_t k = t->magnitudes[2 * Contexts * std::size_t(stretch.bin[l][i]) + 2 * context + parity];
        found[l][i] = std::uint16_t(k * Contexts + context);
      }
    for (std::size_t l = 0; l < of.lanes; ++l) {  // index k as 2 |k|, or 2 k - 1 where it is positive
      const std::size_t begin = l * of.length + first, left = of.size(l, first), count = left < kSteps ? left : kSteps;
      for (std::size_t i = 0; i < count; ++i) {
        const std::uint32_t context = found[l][i] % Contexts, k = found[l][i] / Contexts;
        symbols[begin + i] = std::uint16_t((2 * k - (k && bits_of(x[begin + i]) >> 31 == 0)) * Contexts + context);
      }
    }
  }
}

}  // namespace

void trellis_search_f32(const evenbits_trellis* t, const float* x, std::uint16_t* symbols, std::uint32_t* scratch) {
  (t->contexts == 8 ? search<8> : t->contexts == 4 ? search<4> : search<2>)(t, x, symbols, scratch);
}

void trellis_tally(const std::uint16_t* symbols, const float* x, std::size_t n, std::uint64_t* counts, double* sums) {
  for (std::size_t i = 0; i < n; ++i) ++counts[symbols[i]], sums[symbols[i]] += double(x[i]);
}

}  // namespace evenbits::EVENBITS_ISA
