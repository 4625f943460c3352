// Products with packed matrices in floats: an octet's products with x are summed one after the other.
#pragma once

#include "product_columns.hpp"

namespace evenbits::EVENBITS_ISA {

// Element s of octet o at place 16 s + o: what a code's position in its octet picks is contiguous. Three times, what stands at
// even places goes before what stands at odd ones.
EVENBITS_INLINE void order_step(const float* x, float* out) {
  constexpr std::size_t registers = kStep / kFloats;
  Vec<float> v[registers], u[registers];
  const auto part = [](const Vec<float>* from, Vec<float>* to) __attribute__((always_inline)) {
    unroll<registers / 2>([&](auto r) __attribute__((always_inline)) {
      to[r] = evens<float>(from[2 * r], from[2 * r + 1]), to[r + registers / 2] = odds<float>(from[2 * r], from[2 * r + 1]);
    });
  };
  for (std::size_t r = 0; r < registers; ++r) v[r] = load(x + r * kFloats);
  part(v, u), part(u, v), part(v, u);
  for (std::size_t r = 0; r < registers; ++r) store(out + r * kFloats, u[r]);
}
void prepare_f32(const float* x, std::size_t columns, std::size_t n, float* prepared) {
  for (; columns; --columns, x += n)
    for (std::size_t i = 0; i < n; i += kStep, prepared += kStep) {
      alignas(64) float step[kStep] = {};
      std::memcpy(step, x + i, (n - i < kStep ? n - i : kStep) * sizeof(float));
      order_step(step, prepared);
    }
}

// Some steps of a row.
struct Strip {
  const std::uint8_t* codes;
  std::size_t steps;
  Parameters scale, zero;
};

// total[o] += scale * (the sum of the octet's products), step by step.
template <unsigned B, bool Affine, bool Zero>
void multiply_strip(const Strip& given, Meaning<8, false> meaning, const float* x, float* total) {
  const Strip strip = given;  // a copy can stay in registers
  const Meaning<B, Affine> m{meaning.table, meaning.offset};
  for (std::size_t o = 0; o < kOctets; o += kFloats) {
    auto t = load(total + o);
    for (std::size_t i = 0; i < strip.steps; ++i) {
      const std::uint8_t* p = strip.codes + i * kOctets * B;
      for (std::size_t line = 0; line < kOctets * B; line += 64) __builtin_prefetch(p + kAhead + line);
      const auto codes = octets_at<B>(p + o * B);
      const float* v = x + i * kStep + o;
      Vec<float> sum, zero{};
      if constexpr (Zero) zero = Parameters::get(strip.zero, 0, i, o);
      unroll<8>([&](auto s) __attribute__((always_inline)) {
        auto level = Meaning<B, Affine>::level(m, Octets<B>::template code<s>(codes));
        if constexpr (Zero) level -= zero;
        const auto product = level * load(v + s * kOctets);
        if constexpr (s == 0) sum = product;
        else sum += product;
      });
      t += Parameters::get(strip.scale, 0, i, o) * sum;
    }
    store(total + o, t);
  }
}

// The levels of some steps of one row, less the zeros, in the order of prepare_f32.
template <unsigned B, bool Affine>
void decode_steps(const std::uint8_t* codes, std::size_t steps, Meaning<8, false> meaning, const float* zero, float* levels) {
  const Meaning<B, Affine> m{meaning.table, meaning.offset};
  for (std::size_t o = 0; o < steps * kOctets; o += kFloats) {
    const auto octets = octets_at<B>(codes + o * B);
    float* out = levels + o / kOctets * kStep + o % kOctets;
    unroll<8>([&](auto s) __attribute__((always_inline)) {
      store(out + s * kOctets, Meaning<B, Affine>::level(m, Octets<B>::template code<s>(octets)) - load(zero + o));
    });
  }
}

// Numbers instead of codes: their own levels, with zeros behind the row's end.
static void order_steps(const std::uint8_t* numbers, const std::uint8_t* end, std::size_t steps, const float* zero,
                        float* levels) {
  for (; steps; --steps, numbers += kStep * sizeof(float), levels += kStep, zero += kOctets) {
    alignas(64) float step[kStep] = {};
    const std::size_t left = numbers < end ? std::size_t(end - numbers) : 0;
    std::memcpy(step, numbers, left < sizeof step ? left : sizeof step);
    order_step(step, levels);
    for (std::size_t i = 0; i < kStep; ++i) levels[i] -= zero[i % kOctets];
  }
}

using Multiply = void (*)(const Strip&, Meaning<8, false>, const float*, float*);
using Decode = void (*)(const std::uint8_t*, std::size_t, Meaning<8, false>, const float*, float*);
struct Work {
  Multiply multiply;
  Decode decode;
};
template <unsigned B>
EVENBITS_INLINE Work work_for(unsigned bits, bool affine, bool zero) {
  constexpr bool code = B >= kAffineFrom;
  if (bits == B) {
    if (code && affine) return {zero ? multiply_strip<B, code, true> : multiply_strip<B, code, false>, decode_steps<B, code>};
    return {zero ? multiply_strip<B, false, true> : multiply_strip<B, false, false>, decode_steps<B, false>};
  }
  if constexpr (B < 8) return work_for<B + 1>(bits, affine, zero);
  else return {nullptr, nullptr};
}

// A matrix and how it is read.
struct Product {
  const evenbits_packed& w;
  const std::uint8_t* end;
  std::size_t groups, stride;
  Work work;
  Meaning<8, false> meaning;
};
// The levels of some steps of a row, less the zeros. Codes behind the row's end have finite levels and meet zeros; numbers may
// be anything there.
static void decode(const Product& p, std::size_t row, std::size_t first, std::size_t steps, const float* zero, float* levels) {
  const std::uint8_t *codes = p.w.codes + row * p.w.row_bytes, *from = codes + first * kOctets * p.w.bits;
  if (!p.work.decode) return order_steps(from, codes + p.w.n * sizeof(float), steps, zero, levels);
  for_pieces<1>(from, 0, 1, p.end, p.w.bits, steps, [&](const std::uint8_t* c, std::size_t, std::size_t i, std::size_t count) {
    p.work.decode(c, count, p.meaning, zero + i * kOctets, levels + i * kStep);
  });
}

// One column.
static void multiply_vector(const Product& p, const float* x, float* y) {
  const evenbits_packed& w = p.w;
  const InPlace in_place(p.groups, w.group, steps_of(w.n));
  for (std::size_t row = 0; row < w.rows; ++row) {
    alignas(64) float total[kOctets] = {};
    for (std::size_t g = 0; g < p.groups; g += 16) __builtin_prefetch(w.scale + row * p.groups + g + kAhead / 16);
    for_strips<1>(w, in_place, p.groups, row, 1,
                  [&](std::size_t first, std::size_t steps, const Parameters& scale, const Parameters& zero) {
                    const std::uint8_t* codes = w.codes + row * w.row_bytes + first * kOctets * w.bits;
                    for_pieces<1>(codes, 0, 1, p.end, w.bits, steps,
                                  [&](const std::uint8_t* c, std::size_t, std::size_t i, std::size_t count) {
                                    p.work.multiply({c, count, Parameters::after(scale, i), Parameters::after(zero, i)},
                                                    p.meaning, x + (first + i) * kStep, total);
                                  });
                  });
    y[row] = sum_of_totals(total);
  }
}

// Groups that cut octets apart: an octet's products are summed up to where its group ends.
static void multiply_pieces(const Product& p, const float* x, std::size_t columns, float* y) {
  const evenbits_packed& w = p.w;
  const std::size_t steps = steps_of(w.n), length = steps * kStep;
  alignas(64) float levels[kStep], total[kManyColumns][kOctets];
  alignas(64) static constexpr float zeros[kOctets] = {};
  for (std::size_t row = 0; row < w.rows; ++row) {
    std::memset(total, 0, columns * sizeof total[0]);
    for (std::size_t step = 0; step < steps; ++step) {
      decode(p, row, step, 1, zeros, levels);
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
    else if (left > 2 || !p.work.multiply) {
      multiply_columns(w, x, many, y + c * stride, stride,
                       [&](std::size_t row, std::size_t first, std::size_t steps, const float* zero, float* levels)
                           __attribute__((always_inline)) { decode(p, row, first, steps, zero, levels); });
      c += many;
    } else multiply_vector(p, x, y + c * stride), ++c;
  }
}

}  // namespace evenbits::EVENBITS_ISA
