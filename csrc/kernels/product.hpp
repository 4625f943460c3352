// Products with packed matrices. The unit is the octet: eight codes of a row are whole bytes, their products with x are
// summed one after the other, and the sums of octets o go, times their group's scale, to total o mod 16.
#pragma once

#include "simd/product.hpp"

namespace evenbits::EVENBITS_ISA {

inline constexpr std::size_t kTile = kRegisters == 32 ? 4 : 2;     // rows whose sums with four columns stay in registers
inline constexpr std::size_t kAhead = 16384;                       // bytes of codes that are on their way from memory
inline constexpr std::size_t kParts = kOctets / kFloats;           // registers that 16 octets take
inline constexpr std::size_t kSteps = 16, kDecodedSteps = 4;       // steps worked on at a time
inline constexpr std::size_t kDecodedRows = 8, kManyColumns = 16;  // where levels are kept for several columns

EVENBITS_INLINE constexpr std::size_t steps_of(std::size_t n) { return (n + kStep - 1) / kStep; }

// Element s of octet o at place 16 s + o of its step: what a code's position in its octet picks is contiguous.
void prepare_f32(const float* x, std::size_t columns, std::size_t n, float* prepared) {
  for (; columns; --columns, x += n)
    for (std::size_t i = 0; i < n; i += kStep, prepared += kStep) {
      const std::size_t count = n - i < kStep ? n - i : kStep;
      if (count < kStep) std::memset(prepared, 0, kStep * sizeof(float));
      for (std::size_t j = 0; j < count; ++j) prepared[j % 8 * kOctets + j / 8] = x[i + j];
    }
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
// Of each octet in `steps` steps from `first` on, the parameter of its group, or of the last group behind the row's end.
// group is a multiple of 8, or there is one group.
__attribute__((noinline)) static void parameters_of_octets(const float* parameter, std::size_t groups, std::size_t group,
                                                           std::size_t first, std::size_t steps, float* out) {
  const float* last = parameter + groups - 1;
  if (groups == 1) {
    for (; steps; --steps, out += kOctets) repeat_to_octets<1>(last, out);
    return;
  }
  const std::size_t per = group / 8;
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

// Some steps of a row.
struct Strip {
  const std::uint8_t *codes, *end;  // of the codes of all rows
  std::size_t steps;
  Parameters scale, zero;
};

// How many of the steps at p may be read where they are; of the others, a copy of the codes.
template <unsigned B>
EVENBITS_INLINE std::size_t steps_in_place(const std::uint8_t* p, const std::uint8_t* end, std::size_t steps) {
  const std::size_t left = std::size_t(end - p), count = left < kReach ? 0 : (left - kReach) / (kOctets * B) + 1;
  return count < steps ? count : steps;
}
template <unsigned B>
EVENBITS_INLINE const std::uint8_t* copied(const std::uint8_t* p, const std::uint8_t* end, std::uint8_t* copy) {
  constexpr std::size_t used = kOctets * B;
  std::memset(copy, 0, kReach);
  std::memcpy(copy, p, std::size_t(end - p) < used ? std::size_t(end - p) : used);
  return copy;
}

// total[o] += scale * (the sum of the octet's products), for one step.
template <unsigned B, bool Affine, bool Zero>
EVENBITS_INLINE void multiply_step(const std::uint8_t* p, const Meaning<B, Affine>& m, const float* x, const Strip& strip,
                                   std::size_t i, float* total) {
  unroll<kParts>([&](auto part) __attribute__((always_inline)) {
    constexpr std::size_t o = part * kFloats;
    const auto codes = octets_at<B>(p + o * B);
    Vec<float> sum, zero{};
    if constexpr (Zero) zero = Parameters::get(strip.zero, 0, i, o);
    unroll<8>([&](auto s) __attribute__((always_inline)) {
      auto level = Meaning<B, Affine>::level(m, Octets<B>::template code<s>(codes));
      if constexpr (Zero) level -= zero;
      const auto product = level * load(x + s * kOctets + o);
      if constexpr (s == 0) sum = product;
      else sum += product;
    });
    store(total + o, load(total + o) + Parameters::get(strip.scale, 0, i, o) * sum);
  });
}
template <unsigned B, bool Affine, bool Zero>
void multiply_strip(const Strip& given, Meaning<8, false> meaning, const float* x, float* total) {
  const Strip strip = given;  // a copy can stay in registers
  const Meaning<B, Affine> m{meaning.table, meaning.offset};
  std::size_t i = 0;
  for (const std::size_t direct = steps_in_place<B>(strip.codes, strip.end, strip.steps); i < direct; ++i) {
    const std::uint8_t* p = strip.codes + i * kOctets * B;
    for (std::size_t line = 0; line < kOctets * B; line += 64) __builtin_prefetch(p + kAhead + line);
    multiply_step<B, Affine, Zero>(p, m, x + i * kStep, strip, i, total);
  }
  alignas(64) std::uint8_t copy[kReach];
  for (; i < strip.steps; ++i) {
    const std::uint8_t* p = copied<B>(strip.codes + i * kOctets * B, strip.end, copy);
    multiply_step<B, Affine, Zero>(p, m, x + i * kStep, strip, i, total);
  }
}

// The levels of some steps of one row, less the zeros, in the order of prepare_f32.
template <unsigned B, bool Affine, bool Zero>
void decode_steps(const std::uint8_t* codes, const std::uint8_t* end, std::size_t steps, Meaning<8, false> meaning,
                  const float* zero, float* levels) {
  const Meaning<B, Affine> m{meaning.table, meaning.offset};
  const std::size_t direct = steps_in_place<B>(codes, end, steps);
  for (std::size_t i = 0; i < steps; ++i, codes += kOctets * B, levels += kStep) {
    alignas(64) std::uint8_t copy[kReach];
    const std::uint8_t* p = i < direct ? codes : copied<B>(codes, end, copy);
    unroll<kParts>([&](auto part) __attribute__((always_inline)) {
      const auto octets = octets_at<B>(p + part * kFloats * B);
      unroll<8>([&](auto s) __attribute__((always_inline)) {
        auto level = Meaning<B, Affine>::level(m, Octets<B>::template code<s>(octets));
        if constexpr (Zero) level -= load(zero + i * kOctets + part * kFloats);
        store(levels + s * kOctets + part * kFloats, level);
      });
    });
  }
}

// The same for kTile rows of levels and four columns, x being `apart` floats apart and the rows kDecodedSteps steps.
EVENBITS_INLINE void multiply_tile(const float* levels, const float* scale, const float* const* x, std::size_t steps,
                                   float* total) {
  for (std::size_t i = 0; i < steps; ++i)
    unroll<kParts>([&](auto part) __attribute__((always_inline)) {
      Vec<float> sum[kTile][4];
      unroll<8>([&](auto s) __attribute__((always_inline)) {
        const std::size_t at = i * kStep + s * kOctets + part * kFloats;
        Vec<float> level[kTile];
        unroll<kTile>([&](auto r) __attribute__((always_inline)) { level[r] = load(levels + r * kDecodedSteps * kStep + at); });
        unroll<4>([&](auto c) __attribute__((always_inline)) {
          const auto v = load(x[c] + at);
          unroll<kTile>([&](auto r) __attribute__((always_inline)) {
            if constexpr (s == 0) sum[r][c] = level[r] * v;
            else sum[r][c] += level[r] * v;
          });
        });
      });
      unroll<kTile>([&](auto r) __attribute__((always_inline)) {
        const auto factor = load(scale + r * kDecodedSteps * kOctets + i * kOctets + part * kFloats);
        unroll<4>([&](auto c) __attribute__((always_inline)) {
          float* t = total + (r * kManyColumns + c) * kOctets + part * kFloats;
          store(t, load(t) + factor * sum[r][c]);
        });
      });
    });
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

// Numbers instead of codes: their own levels, with zeros behind the row's end.
template <bool Zero>
void order_steps(const std::uint8_t* numbers, const std::uint8_t* end, std::size_t steps, Meaning<8, false>, const float* zero,
                 float* levels) {
  for (std::size_t i = 0; i < steps * kStep; i += 8, numbers += 8 * sizeof(float)) {
    float octet[8] = {};
    const std::size_t left = numbers < end ? std::size_t(end - numbers) : 0;
    std::memcpy(octet, numbers, left < sizeof octet ? left : sizeof octet);
    float* out = levels + i / kStep * kStep + i % kStep / 8;
    for (std::size_t s = 0; s < 8; ++s) out[s * kOctets] = Zero ? octet[s] - zero[i / 8] : octet[s];
  }
}

using Multiply = void (*)(const Strip&, Meaning<8, false>, const float*, float*);
using Decode = void (*)(const std::uint8_t*, const std::uint8_t*, std::size_t, Meaning<8, false>, const float*, float*);
struct Work {
  Multiply multiply;
  Decode decode;
};
template <unsigned B>
EVENBITS_INLINE Work work_for(unsigned bits, bool affine, bool zero) {
  constexpr bool code = B >= kAffineFrom;
  if (bits == B) {
    if (code && affine && zero) return {multiply_strip<B, code, true>, decode_steps<B, code, true>};
    if (code && affine) return {multiply_strip<B, code, false>, decode_steps<B, code, false>};
    if (zero) return {multiply_strip<B, false, true>, decode_steps<B, false, true>};
    return {multiply_strip<B, false, false>, decode_steps<B, false, false>};
  }
  if constexpr (B < 8) return work_for<B + 1>(bits, affine, zero);
  else return {nullptr, zero ? order_steps<true> : order_steps<false>};
}

// A matrix and how it is read.
struct Product {
  const evenbits_packed& w;
  const std::uint8_t* end;
  std::size_t groups, stride;
  Work work;
  Meaning<8, false> meaning;
};
EVENBITS_INLINE void decode(const Product& p, std::size_t row, std::size_t first, std::size_t steps, const float* zero,
                            float* levels) {
  const std::uint8_t* codes = p.w.codes + row * p.w.row_bytes;
  // Codes behind the row's end have finite levels and meet zeros; numbers may be anything there.
  const std::uint8_t* end = p.w.bits == 32 ? codes + p.w.n * sizeof(float) : p.end;
  p.work.decode(codes + first * kOctets * p.w.bits, end, steps, p.meaning, zero, levels);
}

// Groups of a step, if their parameters can be taken as they are, and the steps of a row for which they can.
struct InPlace {
  std::size_t count, step, steps;
  InPlace(std::size_t groups, std::size_t group, std::size_t all) : count(1), step(0), steps(kSpreads && groups == 1 ? all : 0) {
    if (kSpreads && groups > 1 && kStep % group == 0) count = step = kStep / group, steps = groups / count;
  }
};
// Calls f(first step, steps, scales, zeros) for stretches of the steps of `rows` rows.
template <std::size_t Rows, class F>
EVENBITS_INLINE void for_strips(const evenbits_packed& w, std::size_t groups, std::size_t row, std::size_t rows, F f) {
  const std::size_t steps = steps_of(w.n), entry = row * groups;
  const InPlace in_place(groups, w.group, steps);
  if (in_place.steps) {
    for (std::size_t r = 0; r < rows; ++r)
      for (std::size_t g = 0; g < groups; g += 16) __builtin_prefetch(w.scale + entry + r * groups + g + kAhead / 16);
    f(0, in_place.steps, Parameters::of(w.scale + entry, groups, in_place.step, in_place.count),
      Parameters::of(w.zero ? w.zero + entry : nullptr, groups, in_place.step, in_place.count));
  }
  alignas(64) float scale[Rows * kSteps * kOctets], zero[Rows * kSteps * kOctets];
  for (std::size_t first = in_place.steps; first < steps; first += kSteps) {
    const std::size_t count = steps - first < kSteps ? steps - first : kSteps;
    for (std::size_t r = 0; r < rows; ++r) {
      const std::size_t at = entry + r * groups, to = r * kSteps * kOctets;
      parameters_of_octets(w.scale + at, groups, w.group, first, count, scale + to);
      if (w.zero) parameters_of_octets(w.zero + at, groups, w.group, first, count, zero + to);
    }
    f(first, count, Parameters::of(scale, kSteps * kOctets, kOctets, kOctets),
      Parameters::of(zero, kSteps * kOctets, kOctets, kOctets));
  }
}

// One column.
EVENBITS_INLINE void multiply_vector(const Product& p, const float* x, float* y) {
  const evenbits_packed& w = p.w;
  for (std::size_t row = 0; row < w.rows; ++row) {
    alignas(64) float total[kOctets] = {};
    for_strips<1>(w, p.groups, row, 1,
                  [&](std::size_t first, std::size_t steps, const Parameters& scale, const Parameters& zero) {
                    const std::uint8_t* codes = w.codes + row * w.row_bytes + first * kOctets * w.bits;
                    p.work.multiply({codes, p.end, steps, scale, zero}, p.meaning, x + first * kStep, total);
                  });
    y[row] = sum_of_totals(total);
  }
}

// Up to kManyColumns columns: rows are decoded a few steps at a time, for all of them.
EVENBITS_INLINE void multiply_columns(const Product& p, const float* x, std::size_t columns, float* y) {
  const evenbits_packed& w = p.w;
  const std::size_t steps = steps_of(w.n), length = steps * kStep;
  for (std::size_t row = 0; row < w.rows; row += kDecodedRows) {
    alignas(64) float levels[kDecodedRows * kDecodedSteps * kStep], scale[kDecodedRows * kDecodedSteps * kOctets];
    alignas(64) float zero[kDecodedSteps * kOctets], total[kDecodedRows * kManyColumns * kOctets] = {};
    const std::size_t rows = w.rows - row < kDecodedRows ? w.rows - row : kDecodedRows;
    const std::size_t tiled = (rows + kTile - 1) / kTile * kTile;
    for (std::size_t first = 0; first < steps; first += kDecodedSteps) {
      const std::size_t count = steps - first < kDecodedSteps ? steps - first : kDecodedSteps;
      for (std::size_t r = 0; r < tiled; ++r) {
        const std::size_t at = row + (r < rows ? r : rows - 1);
        if (w.zero) parameters_of_octets(w.zero + at * p.groups, p.groups, w.group, first, count, zero);
        parameters_of_octets(w.scale + at * p.groups, p.groups, w.group, first, count, scale + r * kDecodedSteps * kOctets);
        decode(p, at, first, count, zero, levels + r * kDecodedSteps * kStep);
      }
      for (std::size_t r = 0; r < tiled; r += kTile)
        for (std::size_t c = 0; c < columns; c += 4) {
          const float* four[4];
          for (std::size_t k = 0; k < 4; ++k) four[k] = x + (c + k < columns ? c + k : columns - 1) * length + first * kStep;
          multiply_tile(levels + r * kDecodedSteps * kStep, scale + r * kDecodedSteps * kOctets, four, count,
                        total + (r * kManyColumns + c) * kOctets);
        }
    }
    for (std::size_t r = 0; r < rows; ++r)
      for (std::size_t c = 0; c < columns; ++c)
        y[c * p.stride + row + r] = sum_of_totals(total + (r * kManyColumns + c) * kOctets);
  }
}

// Groups that cut octets apart: an octet's products are summed up to where its group ends.
EVENBITS_INLINE void multiply_pieces(const Product& p, const float* x, std::size_t columns, float* y) {
  const evenbits_packed& w = p.w;
  const std::size_t steps = steps_of(w.n), length = steps * kStep;
  alignas(64) float levels[kStep], total[kManyColumns][kOctets];
  for (std::size_t row = 0; row < w.rows; ++row) {
    std::memset(total, 0, sizeof total);
    for (std::size_t step = 0; step < steps; ++step) {
      decode(p, row, step, 1, nullptr, levels);
      const std::size_t first = step * kStep, count = w.n - first < kStep ? w.n - first : kStep;
      for (std::size_t j = 0; j < count;) {
        const std::size_t o = j / 8, g = (first + j) / w.group, left = (g + 1) * w.group - first;
        const std::size_t octet = 8 * o + 8 < count ? 8 * o + 8 : count, stop = left < octet ? left : octet;
        const float scale = w.scale[row * p.groups + g], zero = w.zero ? w.zero[row * p.groups + g] : 0.0f;
        for (std::size_t c = 0; c < columns; ++c) {
          const float* v = x + c * length + first;
          float sum = (levels[j % 8 * kOctets + o] - zero) * v[j % 8 * kOctets + o];
          for (std::size_t k = j + 1; k < stop; ++k) sum += (levels[k % 8 * kOctets + o] - zero) * v[k % 8 * kOctets + o];
          total[c][o] += scale * sum;
        }
        j = stop;
      }
    }
    for (std::size_t c = 0; c < columns; ++c) y[c * p.stride + row] = sum_of_totals(total[c]);
  }
}

void product_f32(const evenbits_packed* packed, const float* prepared, std::size_t columns, float* y, std::size_t stride) {
  const evenbits_packed& w = *packed;
  if (w.rows == 0) return;
  if (w.n == 0) {
    for (std::size_t c = 0; c < columns; ++c) std::memset(y + c * stride, 0, w.rows * sizeof(float));
    return;
  }
  alignas(64) float table[256];
  const std::size_t count = w.bits > 8 ? 0 : std::size_t(1) << w.bits, length = steps_of(w.n) * kStep;
  bool affine = true;  // every level is code + levels[0], and that without rounding
  for (std::size_t i = 0; count && i < 256; ++i) table[i] = w.levels[i & (count - 1)];
  for (std::size_t i = 0; i < count; ++i) affine = affine && table[i] == float(i) + table[0] && table[i] - table[0] == float(i);
  const std::size_t groups = (w.n + w.group - 1) / w.group;
  const bool whole = w.group % 8 == 0 || groups == 1;
  const std::uint8_t* end = w.codes + (w.rows - 1) * w.row_bytes + (w.n * w.bits + 7) / 8;
  const Product p{w, end, groups, stride, work_for<1>(w.bits, affine, w.zero && whole), {table, table[0]}};
  for (std::size_t c = 0; c < columns;) {
    const float* x = prepared + c * length;
    const std::size_t left = columns - c, many = left < kManyColumns ? left : kManyColumns;
    if (!whole) multiply_pieces(p, x, many, y + c * stride), c += many;
    else if (left > 2 || !p.work.multiply) multiply_columns(p, x, many, y + c * stride), c += many;
    else multiply_vector(p, x, y + c * stride), ++c;
  }
}

}  // namespace evenbits::EVENBITS_ISA
