// Products with packed matrices of columns that are rounded to bytes, each octet with a scale of its own. The sums of an
// octet's products are integers below 2^19: exact in any order, and as floats.
#pragma once

#include "product.hpp"
#include "simd/product_i8.hpp"

namespace evenbits::EVENBITS_ISA {

// A step of a column: bytes in the order of code_bytes, and of each octet the scale and the sum of its bytes.
struct ByteStep {
  std::int8_t x[kStep];
  float scale[kOctets], sum[kOctets];
};

void prepare_i8(const float* x, std::size_t columns, std::size_t n, std::uint32_t bits, void* prepared) {
  auto* out = static_cast<ByteStep*>(prepared);
  for (; columns; --columns, x += n)
    for (std::size_t i = 0; i < n; i += kStep, ++out) {
      *out = {};
      for (std::size_t o = 0; o < kOctets && i + 8 * o < n; ++o) {
        const float* v = x + i + 8 * o;
        const std::size_t count = n - i - 8 * o < 8 ? n - i - 8 * o : 8;
        float most = 0;
        for (std::size_t j = 0; j < count; ++j) {
          const float size = v[j] < 0 ? -v[j] : v[j];
          most = size > most ? size : most;
        }
        if (!(most >= 0x1p-100f)) continue;
        const float inverse = 127 / most;
        std::int32_t sum = 0;
        for (std::size_t j = 0; j < count; ++j) {
          const float rounded = v[j] * inverse + 0x1.8p23f;  // to the nearest integer, ties to even
          const std::int32_t q = std::int32_t(rounded - 0x1.8p23f);
          out->x[bits <= 4 ? j % 2 * (kStep / 2) + 4 * o + j / 2 : 8 * o + j] = std::int8_t(q);
          sum += q;
        }
        out->scale[o] = most / 127, out->sum[o] = float(sum);
      }
    }
}

inline constexpr std::size_t kByteRows = 4;  // rows that share a call

// Some steps of some rows and columns.
struct ByteStrip {
  const std::uint8_t *codes, *end;  // of the first row, and of all codes
  std::size_t row_bytes, rows, steps;
  const ByteStep* x;
  std::size_t columns, apart;  // steps from a column to the next
  const std::uint8_t* table;
  float center;
  Parameters scale, zero;
  float* total;  // kOctets a column, kManyColumns a row
};

// Some octets of a row, or the last of its group of bytes, as bytes and with what their values take.
template <unsigned B, bool Direct, bool Zero, std::size_t Part>
struct RowPart {
  static constexpr std::size_t kAt = Part * kFloats, kFirst = B <= 4 ? Part * kBytes : 2 * Part * kBytes,
                               kSecond = B <= 4 ? kStep / 2 + kFirst : kFirst + kBytes;
  Bytes first, second;
  Vec<float> center, scale;
  EVENBITS_INLINE RowPart of(const ByteStrip& strip, std::size_t row, std::size_t step, const std::uint8_t* codes) {
    const CodeBytes c = code_bytes<B>(codes + kAt * B);
    return {units_of<B, Direct>(strip.table, c.first), units_of<B, Direct>(strip.table, c.second),
            Zero ? Parameters::get(strip.zero, row, step, kAt) : splat(strip.center),
            Parameters::get(strip.scale, row, step, kAt)};
  }
  // scale * (the octet's scale * (its sum of products - center * its sum))
  template <bool Small>
  EVENBITS_INLINE Vec<float> times(const RowPart& r, const ByteStep& v) {
    const Bytes a = (Bytes)load(v.x + kFirst), b = (Bytes)load(v.x + kSecond);
    Vec<std::int32_t> sum{};
    if constexpr (B <= 4) sum = add_byte_products<Small>(add_byte_products<Small>(sum, r.first, a), r.second, b);
    else sum = add_pairs(add_byte_products<Small>(sum, r.first, a), add_byte_products<Small>(sum, r.second, b));
    return r.scale * (load(v.scale + kAt) * (__builtin_convertvector(sum, Vec<float>) - r.center * load(v.sum + kAt)));
  }
};

// total[row][column][o] += the octets' values, for R rows.
template <std::size_t R, unsigned B, bool Direct, bool Small, bool Zero>
EVENBITS_INLINE void multiply_rows(const ByteStrip& given, std::size_t row) {
  const ByteStrip strip = given;                         // a copy can stay in registers
  constexpr std::size_t apart = kManyColumns * kOctets;  // from a row's totals to the next
  const std::uint8_t* codes = strip.codes + row * strip.row_bytes;
  float* total = strip.total + row * apart;
  const auto steps_with = [&](auto with) __attribute__((always_inline)) {
    std::size_t i = 0;
    for (const std::size_t direct = steps_in_place<B>(codes + (R - 1) * strip.row_bytes, strip.end, strip.steps); i < direct; ++i)
      unroll<R>([&](auto r) __attribute__((always_inline)) {
        const std::uint8_t* p = codes + r * strip.row_bytes + i * kOctets * B;
        for (std::size_t line = 0; line < kOctets * B; line += 64) __builtin_prefetch(p + kAhead + line);
        with(r, i, p);
      });
    alignas(64) std::uint8_t copy[kReach];
    for (; i < strip.steps; ++i)
      unroll<R>([&](auto r) __attribute__((always_inline)) {
        with(r, i, copied<B>(codes + r * strip.row_bytes + i * kOctets * B, strip.end, copy));
      });
  };
  if (strip.columns == 1) {  // its totals stay in registers
    Vec<float> t[R][kParts];
    unroll<R>([&](auto r) __attribute__((always_inline)) {
      unroll<kParts>([&](auto part) __attribute__((always_inline)) { t[r][part] = load(total + r * apart + part * kFloats); });
    });
    steps_with([&](auto r, std::size_t i, const std::uint8_t* p) __attribute__((always_inline)) {
      unroll<kParts>([&](auto part) __attribute__((always_inline)) {
        using Part = RowPart<B, Direct, Zero, part>;
        t[r][part] += Part::template times<Small>(Part::of(strip, row + r, i, p), strip.x[i]);
      });
    });
    unroll<R>([&](auto r) __attribute__((always_inline)) {
      unroll<kParts>([&](auto part) __attribute__((always_inline)) { store(total + r * apart + part * kFloats, t[r][part]); });
    });
  } else
    steps_with([&](auto r, std::size_t i, const std::uint8_t* p) __attribute__((always_inline)) {
      unroll<kParts>([&](auto part) __attribute__((always_inline)) {
        using Part = RowPart<B, Direct, Zero, part>;
        const auto of_row = Part::of(strip, row + r, i, p);
        float* to = total + r * apart + part * kFloats;
        const ByteStep* x = strip.x + i;
        for (std::size_t k = 0; k < strip.columns; ++k, to += kOctets, x += strip.apart)
          store(to, load(to) + Part::template times<Small>(of_row, *x));
      });
    });
}
template <unsigned B, bool Direct, bool Small, bool Zero>
void multiply_bytes(const ByteStrip& strip) {
  constexpr std::size_t together = kParts == 1 ? 4 : kParts == 2 ? 2 : 1;
  std::size_t row = 0;
  for (; row + together <= strip.rows; row += together) multiply_rows<together, B, Direct, Small, Zero>(strip, row);
  for (; row < strip.rows; ++row) multiply_rows<1, B, Direct, Small, Zero>(strip, row);
}

using MultiplyBytes = void (*)(const ByteStrip&);
template <unsigned B, bool Direct, bool Small>
EVENBITS_INLINE MultiplyBytes bytes_for(bool zero) {
  return zero ? multiply_bytes<B, Direct, Small, true> : multiply_bytes<B, Direct, Small, false>;
}
template <unsigned B = 1>
EVENBITS_INLINE MultiplyBytes bytes_for(unsigned bits, bool direct, bool small, bool zero) {
  if constexpr (B < 8) {
    if (bits > B) return bytes_for<B + 1>(bits, direct, small, zero);
    if (direct) return bytes_for<B, true, true>(zero);
  } else if (direct) return bytes_for<B, true, false>(zero);
  return small ? bytes_for<B, false, true>(zero) : bytes_for<B, false, false>(zero);
}

void product_i8(const evenbits_packed* packed, const evenbits_units* units, const void* prepared, std::size_t columns, float* y,
                std::size_t stride) {
  const evenbits_packed& w = *packed;
  if (w.rows == 0) return;
  const std::size_t steps = steps_of(w.n), groups = w.n ? (w.n + w.group - 1) / w.group : 0;
  const std::uint8_t* end = w.codes + (w.rows - 1) * w.row_bytes + (w.n * w.bits + 7) / 8;
  alignas(64) std::uint8_t table[256];
  bool direct = true, small = true;
  for (std::size_t i = 0; i < 256; ++i) {
    const std::size_t code = i & ((std::size_t(1) << w.bits) - 1);
    table[i] = units->unit[code];
    direct = direct && table[i] == code, small = small && table[i] <= 128;
  }
  const auto multiply = bytes_for(w.bits, direct, small, w.zero != nullptr);
  alignas(64) float total[kByteRows * kManyColumns * kOctets];
  for (std::size_t c = 0; c < columns; c += kManyColumns) {
    const std::size_t many = columns - c < kManyColumns ? columns - c : kManyColumns;
    const auto* x = static_cast<const ByteStep*>(prepared) + c * steps;
    for (std::size_t row = 0; row < w.rows; row += kByteRows) {
      const std::size_t rows = w.rows - row < kByteRows ? w.rows - row : kByteRows;
      for (std::size_t r = 0; r < rows; ++r)
        for (std::size_t k = 0; k < many * kOctets; k += kFloats) store(total + r * kManyColumns * kOctets + k, Vec<float>{});
      for_strips<kByteRows>(
          w, groups, row, rows, [&](std::size_t first, std::size_t count, const Parameters& scale, const Parameters& zero) {
            const std::uint8_t* codes = w.codes + row * w.row_bytes + first * kOctets * w.bits;
            multiply({codes, end, w.row_bytes, rows, count, x + first, many, steps, table, units->center, scale, zero, total});
          });
      for (std::size_t r = 0; r < rows; ++r)
        for (std::size_t k = 0; k < many; ++k)
          y[(c + k) * stride + row + r] = sum_of_totals(total + (r * kManyColumns + k) * kOctets) * units->step;
    }
  }
}

}  // namespace evenbits::EVENBITS_ISA
