// The nearest row that a bit-shift trellis has, by Viterbi's algorithm with costs of 16 bits.
//
// A state is the last `memory` bits, new ones above old ones. Value i shifts k in: state s = c G + p, G = 2^(memory - k), comes
// from the states p K + j, j < K = 2^k. Costs lie in the order that the next value needs, [j][p], so that all loads and stores
// are of neighbours: what the minimum over j gives is taken apart by p mod K of the next value, and that is all shuffling.
#pragma once

#include "kernels/bit_shift.hpp"
#include "simd/bit_shift.hpp"

namespace evenbits::EVENBITS_ISA {

inline constexpr std::size_t kMostBlock = 4096;
inline constexpr std::int16_t kBest = -32768, kWorst = 32767;

struct BitShiftSearch {
  const evenbits_bit_shift* t;
  std::int16_t *cost, *next, *levels[2];  // of states in the order for the lesser and for the greater number of bits
  std::int16_t* chosen;                   // 16 rows of `block` least costs
  std::uint8_t* from;                     // 2 window steps of 2^(memory - low): j of each p
  std::size_t states, low, block;
  std::size_t window;        // values that a decision waits for: ways to all states mostly are one before that
  std::int32_t base, least;  // what is taken from all costs; the least of them before

  std::uint32_t width(std::size_t i) const { return std::uint32_t(bit_shift_place(t, i + 1) - bit_shift_place(t, i)); }
  std::uint8_t* step_of(std::size_t step) const { return from + step % (2 * window) * (states >> low); }
};

EVENBITS_INLINE std::int16_t within_int16(std::int32_t v) { return std::int16_t(v < kBest ? kBest : v > kWorst ? kWorst : v); }

// Of K registers side by side, element j of each K to register j.
template <std::size_t K, class V>
EVENBITS_INLINE void take_apart(V* v) {
  if constexpr (K > 1) {
    V even[K / 2], odd[K / 2];
    unroll<K / 2>([&](auto i) { even[i] = evens<std::int16_t>(v[2 * i], v[2 * i + 1]); });
    unroll<K / 2>([&](auto i) { odd[i] = odds<std::int16_t>(v[2 * i], v[2 * i + 1]); });
    take_apart<K / 2>(even), take_apart<K / 2>(odd);
    unroll<K / 2>([&](auto i) { v[2 * i] = even[i], v[2 * i + 1] = odd[i]; });
  }
}

// The least cost of each p from first to last, less what all costs are lowered by, to element p / K1 of row p mod K1; from[p] is
// its j. R registers are worked on at a time; with fewer than K1 of them a row repeats itself until it fills a register.
template <std::uint32_t k, std::uint32_t k1, std::size_t R>
void bit_shift_choose(BitShiftSearch& s, std::size_t first, std::size_t last, std::uint8_t* from) {
  constexpr std::size_t K = 1u << k, K1 = 1u << k1, W = kLanes<std::int16_t>;
  const std::size_t G = s.states >> k;
  std::int16_t* out = s.chosen;
  const Shorts base = splat<std::int16_t>(std::int16_t(s.base));
  Shorts lowest = splat<std::int16_t>(kWorst);
  for (std::size_t p = first; p < last; p += R * W, out += W) {
    Shorts m[K1], b[R];
    unroll<R>([&](auto r) {
      const std::int16_t* at = s.cost + p + r * W;
      m[r] = load(at), b[r] = Shorts{};
      unroll<K - 1>([&](auto j) {
        const Shorts other = load(at + (j + 1) * G);
        b[r] = other < m[r] ? splat<std::int16_t>(std::int16_t(j + 1)) : b[r];
        m[r] = least(other, m[r]);
      });
      lowest = least(lowest, m[r]);
      m[r] = subtract_within(m[r], base);
    });
    unroll<R / 2>(
        [&](auto r) { store(from + p + 2 * r * W, narrow((Vec<std::uint16_t>)b[2 * r], (Vec<std::uint16_t>)b[2 * r + 1])); });
    take_apart<R>(m);
    for (std::size_t rows = R; rows < K1; rows *= 2)
      for (std::size_t j = 0; j < rows; ++j) {
        m[j + rows] = odds<std::int16_t>(m[j], m[j]);
        m[j] = evens<std::int16_t>(m[j], m[j]);
      }
    unroll<K1>([&](auto j) { store(out + j * s.block, m[j]); });
  }
  s.least = least(s.least, std::int32_t(over_lanes<std::int16_t>(lowest, [](Shorts a, Shorts b) { return least(a, b); })));
}
template <std::uint32_t k, std::uint32_t k1>
void bit_shift_choose_each(BitShiftSearch& s, std::uint8_t* from) {
  const std::size_t G = s.states >> k, K1 = 1u << k1;
  for (std::size_t p = 0; p < G; ++p) {
    std::int32_t m = s.cost[p];
    std::uint8_t b = 0;
    for (std::size_t j = 1; j < std::size_t(1) << k; ++j)
      if (s.cost[j * G + p] < m) m = s.cost[j * G + p], b = std::uint8_t(j);
    s.least = least(s.least, m), from[p] = b, s.chosen[p % K1 * s.block + p / K1] = within_int16(m - s.base);
  }
}

// What value x adds to the costs of states of these levels.
template <std::uint32_t Doublings>
EVENBITS_INLINE Shorts bit_shift_distance(Shorts x, const std::int16_t* level) {
  Shorts e = subtract_within(x, load(level));
  if constexpr (Doublings > 0) e = add_within(e, e);
  if constexpr (Doublings > 1) e = add_within(e, e);
  return high_square(e);
}
// The 2^k states that come from the same p, for p / K1 from begin to begin + count, of `span`.
template <std::uint32_t Doublings>
void bit_shift_extend(BitShiftSearch& s, std::int16_t x, std::uint32_t k, std::uint32_t k1, std::size_t begin,
                      std::size_t count) {
  constexpr std::size_t W = kLanes<std::int16_t>;
  const std::size_t span = s.states >> (k + k1);
  const std::int16_t *level = s.levels[k1 - s.low] + begin, *chosen = s.chosen;
  std::int16_t* out = s.next + begin;
  const Shorts value = splat<std::int16_t>(x);
  for (std::size_t j = 0; j < std::size_t(1) << k1; ++j, chosen += s.block)
    for (std::size_t c = 0; c < std::size_t(1) << k; ++c, out += span, level += span) {
      std::size_t q = 0;
      const auto step = [&] {
        store(out + q, add_within(load(chosen + q), bit_shift_distance<Doublings>(value, level + q)));
        q += W;
      };
      while (q + 4 * W <= count) step(), step(), step(), step();
      while (q < count) step();
    }
}
// The same for rows that repeat themselves in a register.
template <std::uint32_t Doublings>
void bit_shift_extend_short(BitShiftSearch& s, std::int16_t x, std::uint32_t k1) {
  const std::size_t length = s.states >> k1;
  const Shorts value = splat<std::int16_t>(x);
  for (std::size_t j = 0; j < std::size_t(1) << k1; ++j) {
    const Shorts chosen = load(s.chosen + j * s.block);
    for (std::size_t at = j * length; at < (j + 1) * length; at += kLanes<std::int16_t>)
      store(s.next + at, add_within(chosen, bit_shift_distance<Doublings>(value, s.levels[k1 - s.low] + at)));
  }
}
// The same state after state, for small memories.
template <std::uint32_t Doublings>
void bit_shift_extend_each(BitShiftSearch& s, std::int16_t x, std::uint32_t k, std::uint32_t k1) {
  const std::size_t span = s.states >> (k + k1), length = s.states >> k1;
  for (std::size_t at = 0; at < s.states; ++at) {
    std::int32_t e = within_int16(x - s.levels[k1 - s.low][at]);
    for (std::uint32_t i = 0; i != Doublings; ++i) e = within_int16(2 * e);
    s.next[at] = within_int16(s.chosen[at / length * s.block + at % span] + (e * e >> 16));
  }
}

template <std::uint32_t k, std::uint32_t k1, std::uint32_t Doublings>
void bit_shift_step(BitShiftSearch& s, std::int16_t x, std::uint8_t* from) {
  constexpr std::size_t K1 = 1u << k1, W = kLanes<std::int16_t>;
  const std::size_t span = s.states >> (k + k1), G = s.states >> k, count = span < s.block ? span : s.block;
  s.least = kWorst;
  const auto few = [&](auto registers) {
    if constexpr (registers < K1) bit_shift_choose<k, k1, registers>(s, 0, G, from);
    bit_shift_extend_short<Doublings>(s, x, k1);
  };
  if (span >= W) {
    for (std::size_t q = 0; q < span; q += count) {
      bit_shift_choose<k, k1, K1>(s, q << k1, (q + count) << k1, from);
      bit_shift_extend<Doublings>(s, x, k, k1, q, count);
    }
  } else if (G == 8 * W) {
    few(std::integral_constant<std::size_t, 8>{});
  } else if (G == 4 * W) {
    few(std::integral_constant<std::size_t, 4>{});
  } else if (G == 2 * W) {
    few(std::integral_constant<std::size_t, 2>{});
  } else {
    bit_shift_choose_each<k, k1>(s, from);
    bit_shift_extend_each<Doublings>(s, x, k, k1);
  }
}

// Value i, as step `step`; value `after` comes next.
EVENBITS_INLINE void bit_shift_advance(BitShiftSearch& s, std::int16_t x, std::size_t i, std::size_t after, std::size_t step) {
  std::uint8_t* from = s.step_of(step);
  switch (s.width(i) << 4 | s.width(after)) {
    case 0x11:
      bit_shift_step<1, 1, 0>(s, x, from);
      break;
    case 0x12:
      bit_shift_step<1, 2, 0>(s, x, from);
      break;
    case 0x21:
      bit_shift_step<2, 1, 0>(s, x, from);
      break;
    case 0x22:
      bit_shift_step<2, 2, 0>(s, x, from);
      break;
    case 0x23:
      bit_shift_step<2, 3, 0>(s, x, from);
      break;
    case 0x32:
      bit_shift_step<3, 2, 0>(s, x, from);
      break;
    case 0x33:
      s.low == 3 ? bit_shift_step<3, 3, 1>(s, x, from) : bit_shift_step<3, 3, 0>(s, x, from);
      break;
    case 0x34:
      bit_shift_step<3, 4, 1>(s, x, from);
      break;
    case 0x43:
      bit_shift_step<4, 3, 1>(s, x, from);
      break;
    default:
      s.low == 4 ? bit_shift_step<4, 4, 2>(s, x, from) : bit_shift_step<4, 4, 1>(s, x, from);
  }
  // The costs to come are at least least - base, and become at least kBest again.
  s.base = s.least - s.base - kBest;
  std::int16_t* done = s.cost;
  s.cost = s.next, s.next = done;
}

// Where state p K + j lies in the order for k bits, and which one lies there.
EVENBITS_INLINE std::size_t bit_shift_at(std::size_t state, std::uint32_t k, std::uint32_t memory) {
  return (state & ((std::size_t(1) << k) - 1)) << (memory - k) | state >> k;
}
EVENBITS_INLINE std::size_t bit_shift_state(std::size_t at, std::uint32_t k, std::uint32_t memory) {
  return (at & ((std::size_t(1) << (memory - k)) - 1)) << k | at >> (memory - k);
}
// Values after which any state has led to any other.
EVENBITS_INLINE std::size_t bit_shift_reach(const evenbits_bit_shift* t) {
  const std::size_t low = t->bits / t->per;
  return (t->memory + low - 1) / low;
}
EVENBITS_INLINE std::size_t bit_shift_window(const evenbits_bit_shift* t) { return 32 * bit_shift_reach(t); }
// The state of least cost, of equals the one that lies first; k are the bits of the next value.
inline std::size_t bit_shift_best(const BitShiftSearch& s, std::uint32_t k) {
  std::size_t best = 0;
  for (std::size_t at = 1; at < s.states; ++at)
    if (s.cost[at] < s.cost[best]) best = at;
  return bit_shift_state(best, k, s.t->memory);
}
// The state before value i, which was step `step` and led to `state`.
EVENBITS_INLINE std::size_t bit_shift_back(const BitShiftSearch& s, std::size_t state, std::size_t i, std::size_t step) {
  const std::uint32_t k = s.width(i);
  const std::size_t p = state & ((s.states >> k) - 1);
  return p << k | s.step_of(step)[p];
}

inline void bit_shift_row(BitShiftSearch& s, const std::int16_t* x, std::uint8_t* out) {
  const evenbits_bit_shift* t = s.t;
  const std::size_t n = t->n, around = 8 * bit_shift_reach(t), tail = around < n ? around : n;
  const auto start = [&](std::int16_t cost) {
    for (std::size_t i = 0; i < s.states; ++i) s.cost[i] = cost;
    s.base = s.least = 0;
  };
  // First the end of the row and its beginning, for the state between them,
  start(kBest);
  for (std::size_t step = 0; step < 2 * tail; ++step) {
    const std::size_t i = (n - tail + step) % n;
    bit_shift_advance(s, x[i], i, (i + 1) % n, step);
  }
  std::size_t joint = bit_shift_best(s, s.width(tail % n));
  for (std::size_t step = 2 * tail; step-- > tail;) joint = bit_shift_back(s, joint, step - tail, step);
  // then the row, from that state to itself. Values before `written` are decided, and lead to `known`.
  std::size_t written = 0, known = joint;
  bool leads = false;  // every way there is comes from `known`
  const auto start_again = [&] {
    start(kWorst);
    s.cost[bit_shift_at(known, s.width(written), t->memory)] = kBest;
    leads = true;
    return written;
  };
  // The bits of values up to `last` on the way to `state`, before value `end`; false if that way does not come from `known`.
  const auto write = [&](std::size_t state, std::size_t end, std::size_t last) {
    std::size_t i = end;
    const auto back = [&] { --i, state = bit_shift_back(s, state, i, i); };
    while (i > last) back();
    const std::size_t next = state;
    while (i > written) {
      const std::uint32_t k = s.width(i - 1), bits = std::uint32_t(state >> (t->memory - k));
      const std::size_t place = bit_shift_place(t, i - 1);
      for (std::uint32_t b = 0; b < k; ++b) {
        std::uint8_t& byte = out[(place + b) / 8];
        byte = std::uint8_t((byte & ~(1u << (place + b) % 8)) | (bits >> b & 1) << (place + b) % 8);
      }
      back();
    }
    if (state != known && !leads) return false;
    written = last, known = next, leads = false;
    return true;
  };
  for (std::size_t i = start_again(); i < n;) {
    bit_shift_advance(s, x[i], i, (i + 1) % n, i);
    ++i;
    const bool last = i == n, due = last || i - written == 2 * s.window;
    if (due && !write(last ? joint : bit_shift_best(s, s.width(i)), i, last ? n : written + s.window)) i = start_again();
  }
}

// In units of int16.
std::size_t bit_shift_scratch(const evenbits_bit_shift* t) {
  const std::size_t states = std::size_t(1) << t->memory;
  return 4 * states + 16 * kMostBlock + bit_shift_window(t) * (states >> t->bits / t->per);
}
void bit_shift_search(const evenbits_bit_shift* t, const std::int16_t* x, std::size_t rows, std::uint8_t* out,
                      std::int16_t* scratch) {
  BitShiftSearch s = {};
  s.t = t, s.states = std::size_t(1) << t->memory, s.low = t->bits / t->per;
  s.window = bit_shift_window(t);
  s.block = t->memory > 14 ? kMostBlock : kMostBlock / 4;  // what the first cache holds, or long runs for the second
  s.cost = scratch, s.next = scratch + s.states;
  const std::int32_t unit = s.low > 1 ? 64 : 32;
  const std::uint32_t multiplier = bit_shift_multiplier(t);
  for (std::uint32_t i = 0; i < 2; ++i) {
    const std::uint32_t k = std::uint32_t(s.low) + i;
    s.levels[i] = scratch + (2 + i) * s.states;
    for (std::size_t at = 0; at < s.states; ++at) {
      const auto state = std::uint32_t(bit_shift_state(at, k, t->memory));
      s.levels[i][at] = std::int16_t(unit * std::int32_t(bit_shift_level(state, multiplier)));
    }
  }
  s.chosen = scratch + 4 * s.states, s.from = reinterpret_cast<std::uint8_t*>(s.chosen + 16 * kMostBlock);
  const std::size_t bytes = bit_shift_row_bytes(t);
  for (std::size_t row = 0; row < rows; ++row) {
    std::memset(out + row * bytes, 0, bytes);
    bit_shift_row(s, x + row * t->n, out + row * bytes);
  }
}

}  // namespace evenbits::EVENBITS_ISA
