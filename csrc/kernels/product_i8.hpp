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

// As many octets of a column as a register has lanes; element s of octet o is x[s * kOctets + o].
EVENBITS_INLINE void round_octets(const float* x, bool wide, std::size_t o, ByteStep* out) {
  Vec<float> most{}, v[8];
  for (std::size_t s = 0; s < 8; ++s) {
    v[s] = load(x + s * kOctets + o);
    most = greatest(greatest(v[s], -v[s]), most);
  }
  const auto counts = most >= 0x1p-100f;
  const auto inverse = counts ? 127.0f / most : Vec<float>{};
  Vec<std::int32_t> sum{}, word[2] = {};
  for (std::size_t s = 0; s < 8; ++s) {
    const auto q = __builtin_convertvector((v[s] * inverse + 0x1.8p23f) - 0x1.8p23f, Vec<std::int32_t>);  // ties to even
    sum += q;
    if (wide) word[s / 4] |= (q & 0xff) << (s % 4 * 8);
    else word[s % 2] |= (q & 0xff) << (s / 2 * 8);
  }
  store(out->scale + o, counts ? most / 127.0f : Vec<float>{});
  store(out->sum + o, __builtin_convertvector(sum, Vec<float>));
  for (std::size_t k = 0; k < 2; ++k)
    if (wide) {
      alignas(64) std::int32_t words[kFloats];
      store(words, word[k]);
      for (std::size_t j = 0; j < kFloats; ++j) std::memcpy(out->x + 8 * (o + j) + 4 * k, words + j, 4);
    } else std::memcpy(out->x + k * (kStep / 2) + 4 * o, &word[k], kBytes);
}

void prepare_i8(const float* x, std::size_t columns, std::size_t n, std::uint32_t bits, void* prepared) {
  auto* out = static_cast<ByteStep*>(prepared);
  for (; columns; --columns, x += n)
    for (std::size_t i = 0; i < n; i += kStep, ++out) {
      alignas(64) float octets[kStep];
      prepare_f32(x + i, 1, n - i < kStep ? n - i : kStep, octets);
      for (std::size_t o = 0; o < kOctets; o += kFloats) round_octets(octets, bits > 4, o, out);
    }
}

inline constexpr std::size_t kByteColumns = kRegisters == 32 ? 4 : 2;  // columns that are multiplied together
inline constexpr std::size_t kByteRows = 16;                           // whose units are kept for all columns
inline constexpr std::size_t kUnitRow = kSteps * kStep + 64;           // bytes of them a row: not a power of 2

// Some steps of kTile rows and of some columns.
struct ByteStrip {
  const std::uint8_t* codes;
  std::size_t row_bytes, steps;
  const ByteStep* x;
  std::size_t apart;  // steps from a column to the next
  const std::uint8_t* table;
  float center;
  Parameters scale, zero;
  float* total;            // kOctets a column
  std::size_t row_totals;  // from a row's to the next one's
};

// What kFloats octets of a column, from octet o of a step on, bring along: registers that several rows share.
template <bool Wide>
struct ColumnPart {
  Bytes first, second;
  Vec<float> scale, sum;
  // Where the bytes begin.
  static constexpr std::size_t first_at(std::size_t o) { return Wide ? 8 * o : 4 * o; }
  static constexpr std::size_t second_at(std::size_t o) { return Wide ? 8 * o + kBytes : kStep / 2 + 4 * o; }
  EVENBITS_INLINE ColumnPart of(const ByteStep& x, std::size_t o) {
    return {(Bytes)load(x.x + first_at(o)), (Bytes)load(x.x + second_at(o)), load(x.scale + o), load(x.sum + o)};
  }
  // scale * (the octet's scale * (its sum of products - center * its sum)), `offset` being that product.
  template <bool Small>
  EVENBITS_INLINE Vec<float> times(const ColumnPart& c, Bytes a, Bytes b, Vec<float> scale, Vec<float> offset) {
    Vec<std::int32_t> s{};
    if constexpr (Wide) s = add_pairs(add_byte_products<Small>(s, a, c.first), add_byte_products<Small>(s, b, c.second));
    else s = add_byte_products<Small>(add_byte_products<Small>(s, a, c.first), b, c.second);
    return scale * (c.scale * (__builtin_convertvector(s, Vec<float>) - offset));
  }
};

// total[row][o] += the octets' values, for one column.
template <unsigned B, bool Direct, bool Zero>
void multiply_bytes(const ByteStrip& given) {
  const ByteStrip strip = given;  // a copy can stay in registers
  for (std::size_t o = 0; o < kOctets; o += kFloats) {
    Vec<float> t[kTile];
    unroll<kTile>([&](auto r) __attribute__((always_inline)) { t[r] = load(strip.total + r * strip.row_totals + o); });
    const std::uint8_t* p = strip.codes + o * B;
    for (std::size_t i = 0; i < strip.steps; ++i, p += kOctets * B) {
      const auto x = ColumnPart<(B > 4)>::of(strip.x[i], o);
      Vec<float> offset = splat(strip.center) * x.sum;
      unroll<kTile>([&](auto r) __attribute__((always_inline)) {
        const std::uint8_t* q = p + r * strip.row_bytes;
        for (std::size_t line = 0; line < kOctets * B; line += 64) __builtin_prefetch(q + kAhead + line);
        const CodeBytes c = code_bytes<B>(q);
        if constexpr (Zero) offset = Parameters::get(strip.zero, r, i, o) * x.sum;
        t[r] += ColumnPart<(B > 4)>::template times < Direct &&
                B<8>(x, units_of<B, Direct>(strip.table, c.first), units_of<B, Direct>(strip.table, c.second),
                     Parameters::get(strip.scale, r, i, o), offset);
      });
    }
    unroll<kTile>([&](auto r) __attribute__((always_inline)) { store(strip.total + r * strip.row_totals + o, t[r]); });
  }
}

// The units of some steps of a row, in the order of a column's bytes.
template <unsigned B, bool Direct>
void decode_bytes(const std::uint8_t* codes, std::size_t steps, const std::uint8_t* table, std::uint8_t* units) {
  using Part = ColumnPart<(B > 4)>;
  for (std::size_t i = 0; i < steps; ++i, codes += kOctets * B, units += kStep)
    for (std::size_t o = 0; o < kOctets; o += kFloats) {
      const CodeBytes c = code_bytes<B>(codes + o * B);
      store(units + Part::first_at(o), units_of<B, Direct>(table, c.first));
      store(units + Part::second_at(o), units_of<B, Direct>(table, c.second));
    }
}

// total[row][column][o] += the octets' values, for kTile rows of such units and C columns.
template <std::size_t C, bool Wide, bool Small, bool Zero>
void multiply_units(const ByteStrip& given) {
  const ByteStrip strip = given;
  for (std::size_t o = 0; o < kOctets; o += kFloats) {
    Vec<float> t[kTile][C];
    const auto for_tile = [](auto f) __attribute__((always_inline)) {
      unroll<kTile>([&](auto r)
                        __attribute__((always_inline)) { unroll<C>([&](auto c) __attribute__((always_inline)) { f(r, c); }); });
    };
    for_tile([&](auto r, auto c)
                 __attribute__((always_inline)) { t[r][c] = load(strip.total + r * strip.row_totals + c * kOctets + o); });
    for (std::size_t i = 0; i < strip.steps; ++i) {
      Bytes first[kTile], second[kTile];
      Vec<float> scale[kTile], zero[kTile];
      unroll<kTile>([&](auto r) __attribute__((always_inline)) {
        const std::uint8_t* units = strip.codes + r * strip.row_bytes + i * kStep;
        first[r] = load(units + ColumnPart<Wide>::first_at(o)), second[r] = load(units + ColumnPart<Wide>::second_at(o));
        scale[r] = Parameters::get(strip.scale, r, i, o);
        zero[r] = Zero ? Parameters::get(strip.zero, r, i, o) : splat(strip.center);
      });
      unroll<C>([&](auto c) __attribute__((always_inline)) {
        const auto x = ColumnPart<Wide>::of(strip.x[c * strip.apart + i], o);
        unroll<kTile>([&](auto r) __attribute__((always_inline)) {
          t[r][c] += ColumnPart<Wide>::template times<Small>(x, first[r], second[r], scale[r], zero[r] * x.sum);
        });
      });
    }
    for_tile([&](auto r, auto c)
                 __attribute__((always_inline)) { store(strip.total + r * strip.row_totals + c * kOctets + o, t[r][c]); });
  }
}

using MultiplyBytes = void (*)(const ByteStrip&);
using DecodeBytes = void (*)(const std::uint8_t*, std::size_t, const std::uint8_t*, std::uint8_t*);
struct ByteWork {
  MultiplyBytes one, four, last;  // a column whose codes are packed, four and one whose units are there
  DecodeBytes decode;
};
template <unsigned B, bool Direct, bool Zero>
EVENBITS_INLINE ByteWork byte_work() {
  constexpr bool wide = B > 4, small = Direct && B < 8;
  return {multiply_bytes<B, Direct, Zero>,
          multiply_units < kByteColumns,
          wide,
          small || kExact,
          Zero >
          , multiply_units < 1, wide, small || kExact, Zero >, decode_bytes<B, Direct>};
}
template <unsigned B = 1>
EVENBITS_INLINE ByteWork byte_work(unsigned bits, bool direct, bool zero) {
  if constexpr (B < 8)
    if (bits > B) return byte_work<B + 1>(bits, direct, zero);
  if (direct) return zero ? byte_work<B, true, true>() : byte_work<B, true, false>();
  return zero ? byte_work<B, false, true>() : byte_work<B, false, false>();
}

// A matrix and how it is read.
struct ByteProduct {
  const evenbits_packed& w;
  const std::uint8_t *end, *table;
  const evenbits_units& units;
  std::size_t groups, stride;
  InPlace in_place;
  ByteWork work;
};
// Rows that are worked on at a time: some tiles, the last of which begins earlier where rows are missing; a row of fewer than
// kTile is taken kTile times.
struct RowBlock {
  std::size_t row, rows, tiled;
  RowBlock(std::size_t at, std::size_t all) : row(at), rows(all - at < kByteRows ? all - at : kByteRows), tiled(kTile) {
    if (all < kTile) rows = 1;
    else if (rows < kTile) row = all - kTile, rows = kTile;
    else tiled = rows = rows / kTile * kTile;
  }
};

template <std::size_t Columns, class F>
EVENBITS_INLINE void for_row_blocks(const ByteProduct& p, std::size_t columns, float* y, F f) {
  alignas(64) float total[kByteRows * (Columns | 1) * kOctets];
  const std::size_t row_totals = (columns | 1) * kOctets;  // not a power of 2
  for (std::size_t next = 0; next < p.w.rows;) {
    const RowBlock block(next, p.w.rows);
    for (std::size_t k = 0; k < block.tiled * row_totals; k += kFloats) store(total + k, Vec<float>{});
    for_strips<kByteRows>(p.w, p.in_place, p.groups, block.row, block.rows,
                          [&](std::size_t first, std::size_t count, Parameters scale, Parameters zero)
                              __attribute__((always_inline)) {
                                if (block.rows == 1) scale.row = zero.row = 0;
                                const std::uint8_t* codes = p.w.codes + block.row * p.w.row_bytes + first * kOctets * p.w.bits;
                                f(block, codes, block.rows == 1 ? 0 : p.w.row_bytes, first, count, scale, zero, total);
                              });
    for (std::size_t c = 0; c < columns; ++c)
      sums_of_totals(total + c * kOctets, row_totals, block.rows, p.units.step, y + c * p.stride + block.row);
    next = block.row + block.rows;
  }
}

static void multiply_byte_vector(const ByteProduct& p, const ByteStep* x, float* y) {
  for_row_blocks<1>(p, 1, y,
                    [&](const RowBlock& block, const std::uint8_t* codes, std::size_t row_bytes, std::size_t first,
                        std::size_t count, Parameters scale, Parameters zero, float* total) __attribute__((always_inline)) {
                      for (std::size_t r = 0; r < block.tiled; r += kTile) {
                        for_pieces<kTile>(codes + r * row_bytes, row_bytes, p.end, p.w.bits, count,
                                          [&](const std::uint8_t* c, std::size_t apart, std::size_t i, std::size_t many)
                                              __attribute__((always_inline)) {
                                                p.work.one({c, apart, many, x + first + i, 0, p.table, p.units.center,
                                                            Parameters::after(scale, i), Parameters::after(zero, i),
                                                            total + r * kOctets, kOctets});
                                              });
                        scale.at += kTile * scale.row, zero.at += kTile * zero.row;
                      }
                    });
}

// Up to kManyColumns columns: rows are unpacked some steps at a time, for all of them.
static void multiply_byte_columns(const ByteProduct& p, const ByteStep* x, std::size_t columns, float* y) {
  alignas(64) std::uint8_t units[kByteRows * kUnitRow];
  const std::size_t steps = steps_of(p.w.n);
  for_row_blocks<kManyColumns>(p, columns, y,
                               [&](const RowBlock& block, const std::uint8_t* codes, std::size_t row_bytes, std::size_t first,
                                   std::size_t count, const Parameters& scale, const Parameters& zero, float* total)
                                   __attribute__((always_inline)) {
                                     for (std::size_t i = 0; i < count; i += kSteps) {
                                       const std::size_t some = count - i < kSteps ? count - i : kSteps;
                                       for (std::size_t r = 0; r < block.tiled; ++r)
                                         for_pieces<1>(codes + r * row_bytes + i * kOctets * p.w.bits, 0, p.end, p.w.bits, some,
                                                       [&](const std::uint8_t* c, std::size_t, std::size_t j, std::size_t many) {
                                                         p.work.decode(c, many, p.table, units + r * kUnitRow + j * kStep);
                                                       });
                                       for (std::size_t c = 0; c < columns;) {
                                         const bool together = c + kByteColumns <= columns;
                                         ByteStrip strip{units,
                                                         kUnitRow,
                                                         some,
                                                         x + c * steps + first + i,
                                                         steps,
                                                         p.table,
                                                         p.units.center,
                                                         Parameters::after(scale, i),
                                                         Parameters::after(zero, i),
                                                         total + c * kOctets,
                                                         (columns | 1) * kOctets};
                                         for (std::size_t r = 0; r < block.tiled; r += kTile) {
                                           (together ? p.work.four : p.work.last)(strip);
                                           strip.codes += kTile * kUnitRow, strip.total += kTile * strip.row_totals;
                                           strip.scale.at += kTile * strip.scale.row, strip.zero.at += kTile * strip.zero.row;
                                         }
                                         c += together ? kByteColumns : 1;
                                       }
                                     }
                                   });
}

void product_i8(const evenbits_packed* packed, const evenbits_units* units, const void* prepared, std::size_t columns, float* y,
                std::size_t stride) {
  const evenbits_packed& w = *packed;
  if (w.rows == 0) return;
  const std::size_t steps = steps_of(w.n), groups = w.n ? (w.n + w.group - 1) / w.group : 0;
  const std::uint8_t* end = w.codes + (w.rows - 1) * w.row_bytes + (w.n * w.bits + 7) / 8;
  alignas(64) std::uint8_t table[256];
  bool direct = true;
  for (std::size_t i = 0; i < 256; ++i) {
    const std::size_t code = i & ((std::size_t(1) << w.bits) - 1);
    table[i] = units->unit[code];
    if (i == code) direct = direct && table[i] == code;
  }
  const ByteProduct p{
      w, end, table, *units, groups, stride, InPlace(groups, w.group, steps), byte_work(w.bits, direct, w.zero != nullptr)};
  for (std::size_t c = 0; c < columns; c += kManyColumns) {
    const auto* x = static_cast<const ByteStep*>(prepared) + c * steps;
    const std::size_t many = columns - c < kManyColumns ? columns - c : kManyColumns;
    if (many == 1) multiply_byte_vector(p, x, y + c * stride);
    else multiply_byte_columns(p, x, many, y + c * stride);
  }
}

}  // namespace evenbits::EVENBITS_ISA
