// Products with packed matrices of columns that are rounded to bytes, each cell with a scale of its own: 32 elements, or 8 in a
// matrix whose groups are not multiples of 32. The sums of a cell's products are integers below 2^21: exact in any order, and as
// floats.
#pragma once

#include "columns_i8.hpp"

namespace evenbits::EVENBITS_ISA {

inline constexpr std::size_t kByteColumns = kRegisters == 32 ? 4 : 2;  // columns that are multiplied together
inline constexpr std::size_t kByteRows = 16;                           // whose units are kept for all columns
inline constexpr std::size_t kUnits = kSteps * kStep;                  // of them a row
inline constexpr std::size_t kUnitRow = kUnits + 64;                   // bytes from row to row: not a power of 2

// Some steps of some rows and of some columns.
template <std::size_t Cell>
struct ByteStrip {
  const std::uint8_t* codes;
  std::size_t row_bytes, rows, steps;
  const ByteStep<Cell>* x;
  std::size_t apart;  // steps from a column to the next
  const std::uint8_t* table;
  float center;
  Parameters scale, zero;
  float* total;            // kOctets a column
  std::size_t row_totals;  // from a row's to the next one's
};

// Register R of those with the bytes of kFloats cells, from cell o of a step on: where its octets are, and their two halves.
template <std::size_t Cell, bool Wide>
struct Place {
  std::size_t octet;
  EVENBITS_INLINE Place of(std::size_t o, std::size_t r) { return {Cell / 8 * o + r * kFloats}; }
  EVENBITS_INLINE std::size_t first(Place p) { return Wide ? 8 * p.octet : p.octet / kOctets * kStep + 4 * (p.octet % kOctets); }
  EVENBITS_INLINE std::size_t second(Place p) { return first(p) + (Wide ? kBytes : kStep / 2); }
};
// sum of products of an octet's units and bytes.
template <bool Wide, bool Small>
EVENBITS_INLINE Vec<std::int32_t> octet_sums(Bytes a, Bytes b, const std::int8_t* x, const std::int8_t* y) {
  Vec<std::int32_t> s{};
  if constexpr (Wide)
    return add_pairs(add_byte_products<Small>(s, a, (Bytes)load(x)), add_byte_products<Small>(s, b, (Bytes)load(y)));
  else return add_byte_products<Small>(add_byte_products<Small>(s, a, (Bytes)load(x)), b, (Bytes)load(y));
}
// Parameters of kFloats cells in the order of sums_of_cells.
template <std::size_t Cell>
EVENBITS_INLINE Vec<float> of_cells(const Parameters& p, std::size_t row, std::size_t step, std::size_t o) {
  const auto v = Parameters::get(p, row, step, o);
  return kSpreads || Cell == 8 ? v : to_quads(v);
}
// Of kFloats cells from o on: scale * (sum of products - zero * sum), s being the sums of their octets' products.
template <std::size_t Cell>
EVENBITS_INLINE Vec<float> value(const ByteStep<Cell>& x, const Vec<std::int32_t>* s, Vec<float> zero, std::size_t o) {
  const auto products = __builtin_convertvector(sums_of_cells<Cell>(s), Vec<float>);
  return load(x.scale + o) * (products - zero * load(x.sum + o));
}
template <std::size_t Cell>
EVENBITS_INLINE Vec<float> load_totals(const float* total) {
  return Cell == 8 ? load(total) : to_quads(load(total));
}
template <std::size_t Cell>
EVENBITS_INLINE void store_totals(float* total, Vec<float> t) {
  store(total, Cell == 8 ? t : from_quads(t));
}

// total[row][o] += the cells' values, for one column.
template <std::size_t Cell, unsigned B, bool Direct, bool Zero>
void multiply_bytes(const ByteStrip<Cell>& given) {
  constexpr bool wide = B > 4;
  constexpr std::size_t used = Cell / 8 * kOctets * B;  // bytes of a step
  using At = Place<Cell, wide>;
  const ByteStrip<Cell> strip = given;  // a copy can stay in registers
  const std::size_t scales_ahead = kAhead / used * strip.scale.step;
  for (std::size_t row = 0; row < strip.rows; ++row)
    for (std::size_t o = 0; o < kOctets; o += kFloats) {
      float* total = strip.total + row * strip.row_totals + o;
      auto t = load_totals<Cell>(total);
      const std::uint8_t* p = strip.codes + row * strip.row_bytes;
      for (std::size_t i = 0; i < strip.steps; ++i, p += used) {
        if (o == 0) {
          for (std::size_t line = 0; line < used; line += 64) __builtin_prefetch(p + kAhead + line);
          __builtin_prefetch(strip.scale.at + row * strip.scale.row + i * strip.scale.step + scales_ahead);
        }
        const ByteStep<Cell>& x = strip.x[i];
        Vec<std::int32_t> s[Cell / 8];
        unroll<Cell / 8>([&](auto k) __attribute__((always_inline)) {
          const auto at = At::of(o, k);
          const CodeBytes c = code_bytes<B>(p + at.octet * B);
          const Bytes first = units_of<B, Direct>(strip.table, c.first), second = units_of<B, Direct>(strip.table, c.second);
          s[k] = octet_sums < wide, Direct && B<8>(first, second, x.x + At::first(at), x.x + At::second(at));
        });
        const auto zero = Zero ? of_cells<Cell>(strip.zero, row, i, o) : splat(strip.center);
        t += of_cells<Cell>(strip.scale, row, i, o) * value<Cell>(x, s, zero, o);
      }
      store_totals<Cell>(total, t);
    }
}

// The units of some steps of 16 octets of a row, in the order of a column's bytes.
template <unsigned B, bool Direct>
void decode_bytes(const std::uint8_t* codes, std::size_t steps, const std::uint8_t* table, std::uint8_t* units) {
  using At = Place<8, (B > 4)>;
  for (std::size_t i = 0; i < steps; ++i, codes += kOctets * B, units += kStep)
    for (std::size_t o = 0; o < kOctets; o += kFloats) {
      const CodeBytes c = code_bytes<B>(codes + o * B);
      store(units + At::first({o}), units_of<B, Direct>(table, c.first));
      store(units + At::second({o}), units_of<B, Direct>(table, c.second));
    }
}

// total[row][column][o] += the cells' values, for rows of such units and C columns.
template <std::size_t Cell, std::size_t C, bool Wide, bool Small, bool Zero>
void multiply_units(const ByteStrip<Cell>& given) {
  using At = Place<Cell, Wide>;
  const ByteStrip<Cell> strip = given;
  for (std::size_t row = 0; row < strip.rows; ++row)
    for (std::size_t o = 0; o < kOctets; o += kFloats) {
      Vec<float> t[C];
      float* total = strip.total + row * strip.row_totals + o;
      unroll<C>([&](auto c) __attribute__((always_inline)) { t[c] = load_totals<Cell>(total + c * kOctets); });
      const std::uint8_t* units = strip.codes + row * strip.row_bytes;
      for (std::size_t i = 0; i < strip.steps; ++i, units += Cell * kOctets) {
        Bytes first[Cell / 8], second[Cell / 8];
        unroll<Cell / 8>([&](auto k) __attribute__((always_inline)) {
          const auto at = At::of(o, k);
          first[k] = load(units + At::first(at)), second[k] = load(units + At::second(at));
        });
        const auto scale = of_cells<Cell>(strip.scale, row, i, o);
        const auto zero = Zero ? of_cells<Cell>(strip.zero, row, i, o) : splat(strip.center);
        unroll<C>([&](auto c) __attribute__((always_inline)) {
          const ByteStep<Cell>& x = strip.x[c * strip.apart + i];
          Vec<std::int32_t> s[Cell / 8];
          unroll<Cell / 8>([&](auto k) __attribute__((always_inline)) {
            const auto at = At::of(o, k);
            s[k] = octet_sums<Wide, Small>(first[k], second[k], x.x + At::first(at), x.x + At::second(at));
          });
          t[c] += scale * value<Cell>(x, s, zero, o);
        });
      }
      unroll<C>([&](auto c) __attribute__((always_inline)) { store_totals<Cell>(total + c * kOctets, t[c]); });
    }
}

template <std::size_t Cell>
using MultiplyBytes = void (*)(const ByteStrip<Cell>&);
using DecodeBytes = void (*)(const std::uint8_t*, std::size_t, const std::uint8_t*, std::uint8_t*);
template <std::size_t Cell>
struct ByteWork {
  MultiplyBytes<Cell> packed, some, one;  // a column; kByteColumns of them and one, for units
  DecodeBytes decode;
};
template <std::size_t Cell, unsigned B, bool Direct, bool Zero>
EVENBITS_INLINE ByteWork<Cell> byte_work() {
  constexpr bool wide = B > 4, small = (Direct && B < 8) || kExact;
  constexpr MultiplyBytes<Cell> some = multiply_units<Cell, kByteColumns, wide, small, Zero>;
  constexpr MultiplyBytes<Cell> one = multiply_units<Cell, 1, wide, small, Zero>;
  return {multiply_bytes<Cell, B, Direct, Zero>, some, one, decode_bytes<B, Direct>};
}
template <std::size_t Cell, unsigned B = 1>
EVENBITS_INLINE ByteWork<Cell> byte_work(unsigned bits, bool direct, bool zero) {
  if constexpr (B < 8)
    if (bits > B) return byte_work<Cell, B + 1>(bits, direct, zero);
  if (direct) return zero ? byte_work<Cell, B, true, true>() : byte_work<Cell, B, true, false>();
  return zero ? byte_work<Cell, B, false, true>() : byte_work<Cell, B, false, false>();
}

// A matrix and how it is read.
template <std::size_t Cell>
struct ByteProduct {
  const evenbits_packed& w;
  const std::uint8_t *end, *table;
  const evenbits_units& units;
  std::size_t groups, stride;
  InPlace in_place;
  ByteWork<Cell> work;
};
// Calls f(strip) for stretches of the steps of blocks of rows; their codes are packed and may not be read to a register's end.
template <std::size_t Columns, std::size_t Cell, class F>
EVENBITS_INLINE void for_row_blocks(const ByteProduct<Cell>& p, const ByteStep<Cell>* x, std::size_t columns, float* y, F f) {
  alignas(64) float total[kByteRows * (Columns | 1) * kOctets];
  const std::size_t row_totals = (columns | 1) * kOctets;  // not a power of 2
  for (std::size_t row = 0; row < p.w.rows; row += kByteRows) {
    const std::size_t rows = p.w.rows - row < kByteRows ? p.w.rows - row : kByteRows;
    for (std::size_t k = 0; k < rows * row_totals; k += kFloats) store(total + k, Vec<float>{});
    for_strips<kByteRows, Cell>(
        p.w, p.in_place, p.groups, row, rows,
        [&](std::size_t first, std::size_t count, Parameters scale, Parameters zero) __attribute__((always_inline)) {
          if (Cell == 32) scale = in_quads(scale), zero = in_quads(zero);
          const std::uint8_t* codes = p.w.codes + row * p.w.row_bytes + first * kOctets / 8 * Cell * p.w.bits;
          f(ByteStrip<Cell>{codes, p.w.row_bytes, rows, count, x + first, steps_of<Cell>(p.w.n), p.table, p.units.center, scale,
                            zero, total, row_totals});
        });
    for (std::size_t c = 0; c < columns; ++c)
      sums_of_totals(total + c * kOctets, row_totals, rows, p.units.step, y + c * p.stride + row);
  }
}
// The steps from i on.
template <std::size_t Cell>
EVENBITS_INLINE ByteStrip<Cell> strip_at(ByteStrip<Cell> strip, const std::uint8_t* codes, std::size_t row_bytes, std::size_t i,
                                         std::size_t steps) {
  strip.codes = codes, strip.row_bytes = row_bytes, strip.steps = steps, strip.x += i;
  strip.scale = Parameters::after(strip.scale, i), strip.zero = Parameters::after(strip.zero, i);
  return strip;
}

template <std::size_t Cell>
static void multiply_byte_vector(const ByteProduct<Cell>& p, const ByteStep<Cell>* x, float* y) {
  for_row_blocks<1>(p, x, 1, y, [&](const ByteStrip<Cell>& strip) __attribute__((always_inline)) {
    for_pieces<kByteRows, Cell>(strip.codes, strip.row_bytes, strip.rows, p.end, p.w.bits, strip.steps,
                                [&](const std::uint8_t* c, std::size_t apart, std::size_t i, std::size_t many)
                                    __attribute__((always_inline)) { p.work.packed(strip_at(strip, c, apart, i, many)); });
  });
}

// Up to kManyColumns columns: rows are unpacked some steps at a time, for all of them.
template <std::size_t Cell>
static void multiply_byte_columns(const ByteProduct<Cell>& p, const ByteStep<Cell>* x, std::size_t columns, float* y) {
  alignas(64) std::uint8_t units[kByteRows * kUnitRow];
  constexpr std::size_t octets = Cell / 8, together = kUnits / kStep / octets;
  for_row_blocks<kManyColumns>(p, x, columns, y, [&](const ByteStrip<Cell>& strip) __attribute__((always_inline)) {
    for (std::size_t i = 0; i < strip.steps; i += together) {
      const std::size_t some = strip.steps - i < together ? strip.steps - i : together;
      for (std::size_t r = 0; r < strip.rows; ++r)
        for_pieces<1>(strip.codes + r * strip.row_bytes + i * octets * kOctets * p.w.bits, 0, 1, p.end, p.w.bits, some * octets,
                      [&](const std::uint8_t* c, std::size_t, std::size_t j, std::size_t many) {
                        p.work.decode(c, many, p.table, units + r * kUnitRow + j * kStep);
                      });
      ByteStrip<Cell> part = strip_at(strip, units, kUnitRow, i, some);
      for (std::size_t c = 0, count; c < columns; c += count) {
        count = c + kByteColumns <= columns ? kByteColumns : 1;
        (count > 1 ? p.work.some : p.work.one)(part);
        part.x += count * part.apart, part.total += count * kOctets;
      }
    }
  });
}

void product_i8(const evenbits_packed* packed, const evenbits_units* units, const void* prepared, std::size_t columns, float* y,
                std::size_t stride) {
  const evenbits_packed& w = *packed;
  if (w.rows == 0) return;
  const std::size_t groups = w.n ? (w.n + w.group - 1) / w.group : 0;
  const std::uint8_t* end = w.codes + (w.rows - 1) * w.row_bytes + (w.n * w.bits + 7) / 8;
  alignas(64) std::uint8_t table[256];
  bool direct = true;
  for (std::size_t i = 0; i < 256; ++i) table[i] = units->unit[i];
  for (std::size_t i = 0; i < std::size_t(1) << w.bits; ++i) direct = direct && table[i] == i;
  for (std::size_t i = std::size_t(1) << w.bits; i < 256; i *= 2) std::memcpy(table + i, table, i);
  with_cell(w.n, w.group, [&](auto cell) __attribute__((always_inline)) {
    const std::size_t steps = steps_of<cell>(w.n);
    const ByteProduct<cell> p{w,
                              end,
                              table,
                              *units,
                              groups,
                              stride,
                              InPlace(groups, w.group, steps, cell * kOctets),
                              byte_work<cell>(w.bits, direct, w.zero != nullptr)};
    for (std::size_t c = 0; c < columns; c += kManyColumns) {
      const auto* x = static_cast<const ByteStep<cell>*>(prepared) + c * steps;
      const std::size_t many = columns - c < kManyColumns ? columns - c : kManyColumns;
      if (many == 1) multiply_byte_vector(p, x, y + c * stride);
      else multiply_byte_columns(p, x, many, y + c * stride);
    }
  });
}

}  // namespace evenbits::EVENBITS_ISA
