// What products with packed matrices share. The unit is the octet: eight codes of a row are whole bytes, and what octets o add
// goes, times their group's scale, to total o mod 16.
#pragma once

#include "simd/product.hpp"

namespace evenbits::EVENBITS_ISA {

inline constexpr std::size_t kTile = kRegisters == 32 ? 4 : 2;  // rows that are multiplied together
inline constexpr std::size_t kAhead = 6144;                     // bytes of codes that are on their way from memory
inline constexpr std::size_t kParts = kOctets / kFloats;        // registers that 16 octets take
inline constexpr std::size_t kSteps = 16;                       // steps worked on at a time
inline constexpr std::size_t kManyColumns = 64;                 // columns that share what is decoded of some rows

template <std::size_t Cell = 8>
EVENBITS_INLINE constexpr std::size_t steps_of(std::size_t n) {
  return (n + kOctets * Cell - 1) / (kOctets * Cell);
}

template <std::size_t N>
EVENBITS_INLINE void repeat_to_octets(const float* p, float* out) {
  constexpr std::size_t per = N * kFloats / kOctets;  // of those that a register takes
  unroll<kParts>([&](auto part) __attribute__((always_inline)) {
    const float* from = p + part * N / kParts;
    if constexpr (N <= kParts) store(out + part * kFloats, splat(*from));
    else if constexpr (per == kFloats) store(out + part * kFloats, load(from));
    else store(out + part * kFloats, repeat_each<per>(from));
  });
}
// Calls f(constant N) if a step has N of several groups and nothing else.
template <std::size_t N = 2, class F>
EVENBITS_INLINE bool with_groups_of_step(std::size_t per, F f) {
  if (per * N == kOctets) return f(Constant<N>{}), true;
  if constexpr (N < kOctets) return with_groups_of_step<2 * N>(per, f);
  return false;
}
// Of each octet in `steps` steps from `first` on, the parameter of its group, or of the last group behind the row's end. A group
// has `per` octets, or there is one.
__attribute__((noinline)) static void parameters_of_octets(const float* parameter, std::size_t groups, std::size_t per,
                                                           std::size_t first, std::size_t steps, float* out) {
  const float* last = parameter + groups - 1;
  if (groups == 1) {
    for (; steps; --steps, out += kOctets) repeat_to_octets<1>(last, out);
    return;
  }
  with_groups_of_step(per, [&](auto n) __attribute__((always_inline)) {
    for (parameter += first * n, first = 0; steps && parameter + n - 1 <= last; --steps, out += kOctets, parameter += n) {
      __builtin_prefetch(parameter + kAhead / 16);
      repeat_to_octets<n>(parameter, out);
    }
  });
  std::size_t within = first * kOctets;
  if (within >= per) parameter += within / per, within %= per;
  for (; steps; --steps, out += kOctets)
    if (within + kOctets <= per) {
      repeat_to_octets<1>(parameter < last ? parameter : last, out);
      if ((within += kOctets) == per) within = 0, ++parameter;
    } else
      for (std::size_t o = 0; o < kOctets; ++o) {
        out[o] = *(parameter < last ? parameter : last);
        if (++within == per) within = 0, ++parameter;
      }
}

// Calls f(codes, bytes from row to row, first step, steps) for the steps that may be read where they are, and for each other
// one with a copy of its codes. end is that of all codes.
template <std::size_t Most, std::size_t Cell = 8, class F>
EVENBITS_INLINE void for_pieces(const std::uint8_t* codes, std::size_t row_bytes, std::size_t rows, const std::uint8_t* end,
                                unsigned bits, std::size_t steps, F f) {
  constexpr std::size_t room = kReach / 8 * Cell;
  const std::size_t used = kOctets / 8 * Cell * bits, reach = used + kReach - (bits % 4 ? kOctets * bits : kReach);
  const std::size_t left = std::size_t(end - codes) - (rows - 1) * row_bytes;
  std::size_t i = steps * used + reach <= left + used ? steps : left < reach ? 0 : (left - reach) / used + 1;
  if (i) f(codes, row_bytes, 0, i);
  alignas(64) std::uint8_t copy[Most * room];
  for (; i < steps; ++i) {
    for (std::size_t r = 0; r < rows; ++r) {
      const std::uint8_t* p = codes + r * row_bytes + i * used;
      std::memset(copy + r * room, 0, room);
      const std::size_t there = p < end ? std::size_t(end - p) : 0;
      std::memcpy(copy + r * room, p, there < used ? there : used);
    }
    f(copy, room, i, 1);
  }
}

// Groups of a step, if their parameters can be taken as they are, and the steps of a row for which they can.
struct InPlace {
  std::size_t count, step, steps;
  InPlace(std::size_t groups, std::size_t group, std::size_t all, std::size_t of_step = kStep)
      : count(1), step(0), steps(kSpreads && groups == 1 ? all : 0) {
    if (kSpreads && groups > 1 && of_step % group == 0) count = step = of_step / group, steps = groups / count;
  }
};
// Calls f(first step, steps, scales, zeros) for stretches of the steps of `rows` rows.
template <std::size_t Rows, std::size_t Cell = 8, class F>
EVENBITS_INLINE void for_strips(const evenbits_packed& w, const InPlace& in_place, std::size_t groups, std::size_t row,
                                std::size_t rows, F f) {
  const std::size_t steps = steps_of<Cell>(w.n), entry = row * groups;
  if (in_place.steps) {
    f(0, in_place.steps, Parameters::of(w.scale + entry, groups, in_place.step, in_place.count),
      Parameters::of((w.zero ? w.zero : w.scale) + entry, groups, in_place.step, in_place.count));
  }
  alignas(64) float scale[Rows * kSteps * kOctets], zero[Rows * kSteps * kOctets];
  for (std::size_t first = in_place.steps; first < steps; first += kSteps) {
    const std::size_t count = steps - first < kSteps ? steps - first : kSteps;
    for (std::size_t r = 0; r < rows; ++r) {
      const std::size_t at = entry + r * groups, to = r * kSteps * kOctets;
      parameters_of_octets(w.scale + at, groups, w.group / Cell, first, count, scale + to);
      if (w.zero) parameters_of_octets(w.zero + at, groups, w.group / Cell, first, count, zero + to);
    }
    f(first, count, Parameters::of(scale, kSteps * kOctets, kOctets, kOctets),
      Parameters::of(zero, kSteps * kOctets, kOctets, kOctets));
  }
}

// t[o] += t[o + 8], t[o] += t[o + 4], t[o] += t[o + 2], t[0] + t[1].
template <std::size_t R = kParts>
EVENBITS_INLINE float sum_of_totals(const float* t) {
  if constexpr (R == 1) return over_lanes<float>(load(t), [](auto a, auto b) __attribute__((always_inline)) { return a + b; });
  else {
    alignas(64) float half[R / 2 * kFloats];
    for (std::size_t r = 0; r < R / 2; ++r) store(half + r * kFloats, load(t + r * kFloats) + load(t + (r + R / 2) * kFloats));
    return sum_of_totals<R / 2>(half);
  }
}

// One of two registers of blocks of S lanes: a block's lower half plus its upper one, in the blocks' order.
template <std::size_t S>
EVENBITS_INLINE Vec<float> add_halves(Vec<float> a, Vec<float> b) {
  const auto lane = [](std::size_t i) constexpr {
    constexpr std::size_t blocks = kFloats / S;
    const std::size_t k = i / (S / 2);
    return k / blocks * kFloats + k % blocks * S + i % (S / 2);
  };
  return shuffle<Vec<float>, Vec<std::int32_t>>(a, b, EVENBITS_ALL_LANES(float), lane) +
         shuffle<Vec<float>, Vec<std::int32_t>>(a, b, EVENBITS_ALL_LANES(float),
                                                [=](std::size_t i) constexpr { return lane(i) + S / 2; });
}
template <std::size_t N, std::size_t S = kFloats>
EVENBITS_INLINE Vec<float> sums_of_registers(const Vec<float>* v) {
  if constexpr (S == 1) return *v;
  else if constexpr (N == 1) {
    const auto u = add_halves<S>(*v, *v);
    return sums_of_registers<1, S / 2>(&u);
  } else {
    Vec<float> u[N / 2];
    for (std::size_t i = 0; i < N / 2; ++i) u[i] = add_halves<S>(v[2 * i], v[2 * i + 1]);
    return sums_of_registers<N / 2, S / 2>(u);
  }
}
// y[r] = factor * the sum of row r's totals, some rows together.
static void sums_of_totals(const float* total, std::size_t apart, std::size_t rows, float factor, float* y) {
  constexpr std::size_t together = kFloats < 8 ? kFloats : 8;
  std::size_t r = 0;
  for (; r + together <= rows; r += together, total += together * apart) {
    Vec<float> v[together];
    for (std::size_t k = 0; k < together; ++k) {
      Vec<float> part[kParts];
      for (std::size_t i = 0; i < kParts; ++i) part[i] = load(total + k * apart + i * kFloats);
      for (std::size_t half = kParts / 2; half; half /= 2)
        for (std::size_t i = 0; i < half; ++i) part[i] += part[i + half];
      v[k] = part[0];
    }
    const auto sums = sums_of_registers<together>(v) * factor;
    std::memcpy(y + r, &sums, together * sizeof(float));
  }
  for (; r < rows; ++r, total += apart) y[r] = sum_of_totals(total) * factor;
}

}  // namespace evenbits::EVENBITS_ISA
