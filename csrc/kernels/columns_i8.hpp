// Columns rounded to bytes, as products with packed matrices read them.
#pragma once

#include "product.hpp"
#include "simd/product_i8.hpp"

namespace evenbits::EVENBITS_ISA {

// A step of a column, 16 cells: bytes in the order of code_bytes, and of each cell the scale and the sum of its bytes, in the
// order of sums_of_cells.
template <std::size_t Cell>
struct ByteStep {
  std::int8_t x[Cell * kOctets];
  float scale[kOctets], sum[kOctets];
};

// f over the octets of kFloats cells, which are as many in each of Cell / 8 registers.
template <std::size_t Cell, class V, class F>
EVENBITS_INLINE V over_cells(const V* v, F f) {
  if constexpr (Cell == 32) return over_quads(v, f);
  else return *v;
}
template <std::size_t Cell>
EVENBITS_INLINE Vec<std::int32_t> sums_of_cells(const Vec<std::int32_t>* v) {
  return over_cells<Cell>(v, [](auto a, auto b) __attribute__((always_inline)) { return a + b; });
}

// As many octets of a column as a register has lanes; element s of octet o is x[s * kOctets + o]. Gives the sums of bytes.
EVENBITS_INLINE Vec<std::int32_t> round_octets(const float* x, Vec<float> most, bool wide, std::size_t o, std::int8_t* out) {
  const auto inverse = most >= 0x1p-100f ? 127.0f / most : Vec<float>{};
  Vec<std::int32_t> sum{}, word[2] = {};
  for (std::size_t s = 0; s < 8; ++s) {
    const auto scaled = load(x + s * kOctets + o) * inverse;
    const auto q = __builtin_convertvector((scaled + 0x1.8p23f) - 0x1.8p23f, Vec<std::int32_t>);  // ties to even
    sum += q;
    if (wide) word[s / 4] |= (q & 0xff) << (s % 4 * 8);
    else word[s % 2] |= (q & 0xff) << (s / 2 * 8);
  }
  for (std::size_t k = 0; k < 2; ++k)
    if (wide) {
      alignas(64) std::int32_t words[kFloats];
      store(words, word[k]);
      for (std::size_t j = 0; j < kFloats; ++j) std::memcpy(out + 8 * (o + j) + 4 * k, words + j, 4);
    } else std::memcpy(out + k * (kStep / 2) + 4 * o, &word[k], kBytes);
  return sum;
}
// The largest magnitudes of such octets; each that of its cell.
template <std::size_t Cell>
EVENBITS_INLINE Vec<float> largest(const float* x, std::size_t o) {
  Vec<float> most{};
  for (std::size_t s = 0; s < 8; ++s) {
    const auto v = load(x + s * kOctets + o);
    most = greatest(greatest(v, -v), most);
  }
  if constexpr (Cell == 32) {
    most = greatest(most, swap_lanes<1, float>(most));
    most = greatest(most, swap_lanes<2, float>(most));
  }
  return most;
}

template <std::size_t Cell>
static void prepare_bytes(const float* x, std::size_t n, bool wide, ByteStep<Cell>* out) {
  constexpr std::size_t registers = Cell / 8;
  for (std::size_t i = 0; i < n; i += Cell * kOctets, ++out) {
    alignas(64) float octets[Cell * kOctets] = {};
    prepare_f32(x + i, 1, n - i < Cell * kOctets ? n - i : Cell * kOctets, octets);
    for (std::size_t p = 0; p < kParts; ++p) {
      Vec<float> most[registers];
      Vec<std::int32_t> sum[registers];
      for (std::size_t r = 0; r < registers; ++r) {
        const std::size_t k = p * registers + r, step = k / kParts * kStep, o = k % kParts * kFloats;
        most[r] = largest<Cell>(octets + step, o);
        sum[r] = round_octets(octets + step, most[r], wide, o, out->x + step);
      }
      const auto m = over_cells<Cell>(most, [](auto a, auto b) __attribute__((always_inline)) { return greatest(a, b); });
      store(out->scale + p * kFloats, m >= 0x1p-100f ? m / 127.0f : Vec<float>{});
      store(out->sum + p * kFloats, __builtin_convertvector(sums_of_cells<Cell>(sum), Vec<float>));
    }
  }
}
// Calls f(constant Cell): elements of a cell.
template <class F>
EVENBITS_INLINE void with_cell(std::size_t n, std::size_t group, F f) {
  if (group % 32 == 0 || group >= n) f(Constant<32>{});
  else f(Constant<8>{});
}
void prepare_i8(const float* x, std::size_t columns, std::size_t n, std::uint32_t bits, std::size_t group, void* prepared) {
  with_cell(n, group, [&](auto cell) __attribute__((always_inline)) {
    auto* out = static_cast<ByteStep<cell>*>(prepared);
    for (std::size_t c = 0; c < columns; ++c) prepare_bytes<cell>(x + c * n, n, bits > 4, out + c * steps_of<cell>(n));
  });
}

}  // namespace evenbits::EVENBITS_ISA
