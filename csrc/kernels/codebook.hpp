// Floats to the nearest levels of a codebook, and codes back to floats through a table.
#pragma once

#include "reduce.hpp"
#include "simd/look_up.hpp"

namespace evenbits::EVENBITS_ISA {

// Three ways to count the thresholds that are at most v. Counts agree whatever the way, as all of them end in comparisons
// of v with thresholds. A NaN stands where there is no threshold: it is at most nothing.
inline constexpr float kNone = __builtin_nanf("");

// Threshold by threshold.
struct Linear {
  const float* threshold;
  std::size_t count;
  Linear(const float* t, std::size_t n) : threshold(t), count(n) {}
  EVENBITS_INLINE Vec<std::int32_t> find(const Linear& s, Vec<float> v) {
    Vec<std::int32_t> code{};
    for (std::size_t i = 0; i < s.count; ++i) code = count_at_most(code, splat(s.threshold[i]), v);
    return code;
  }
};

// A binary search tree of depth D kept in registers: below node i stand nodes 2 i and 2 i + 1.
template <unsigned D>
struct Tree {
  alignas(64) float node[std::size_t(1) << (D < 4 ? 4 : D)] = {};
  Tree(const float* threshold, std::size_t count) {
    for (unsigned depth = 0; depth < D; ++depth)
      for (std::size_t j = 0; j < std::size_t(1) << depth; ++j) {
        const std::size_t rank = ((2 * j + 1) << (D - 1 - depth)) - 1;
        node[(std::size_t(1) << depth) + j] = rank < count ? threshold[rank] : kNone;
      }
  }
  template <unsigned Depth>
  EVENBITS_INLINE Vec<std::int32_t> descend(const Tree& s, Vec<std::int32_t> i, Vec<float> v) {
    constexpr std::size_t first = std::size_t(1) << Depth, registers = first / kFloats;
    if constexpr (Depth == D) return i - std::int32_t(first);
    else if constexpr (Depth == 0) return descend<1>(s, count_at_most(i + i, splat(s.node[1]), v), v);
    else if constexpr (registers == 0) return descend<Depth + 1>(s, count_at_most(i + i, look_up<1>(s.node, i), v), v);
    else return descend<Depth + 1>(s, count_at_most(i + i, look_up<registers>(s.node + first, i), v), v);
  }
  EVENBITS_INLINE Vec<std::int32_t> find(const Tree& s, Vec<float> v) { return descend<0>(s, splat(std::int32_t(1)), v); }
};

// Buckets of equal width know how many thresholds lie in those before them; the few in the number's own are searched.
// The bucket is a monotone function of the number, thresholds included, so that its rounding does no harm.
struct Buckets {
  static constexpr std::size_t kCount = 1024, kBlock = 64;
  float origin, per_unit;
  unsigned half = 1;  // the first step of a binary search that 2 half - 1 thresholds, at most, leave open
  std::uint8_t before[kCount];
  float threshold[512];  // 255, and as many as a search may look beyond the last

  Buckets(const float* t, std::size_t count) : origin(t[0]), per_unit(float(kCount) / (t[count - 1] - t[0])) {
    for (std::size_t i = 0; i < 512; ++i) threshold[i] = i < count ? t[i] : kNone;
    std::uint8_t within[kCount] = {}, most = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint8_t n = ++within[buckets(*this, splat(t[i]))[0]];
      most = n > most ? n : most;
    }
    std::size_t sum = 0;
    for (std::size_t i = 0; i < kCount; sum += within[i++]) before[i] = std::uint8_t(sum);
    while (2 * half - 1 < most) half *= 2;
  }
  EVENBITS_INLINE Vec<std::int32_t> buckets(const Buckets& s, Vec<float> v) {  // 0 for a NaN
    const auto place = least(greatest((v - s.origin) * s.per_unit, Vec<float>{}), splat(float(kCount - 1)));
    return __builtin_convertvector(place, Vec<std::int32_t>);
  }
  EVENBITS_INLINE std::uint8_t search(const Buckets& s, float v, std::int32_t bucket, unsigned half) {
    unsigned code = s.before[bucket];
    for (; half; half /= 2) code += s.threshold[code + half - 1] <= v ? half : 0;
    return std::uint8_t(code);
  }
};

// `visit` is called with the codes of a register at a time; the last ones may be of zeros that are not there.
template <class Search, class F>
EVENBITS_INLINE void nearest_span(const Search& s, const float* x, std::size_t n, float scale, std::uint8_t* codes, F visit) {
  const auto narrow_one = [](Vec<std::int32_t> v) __attribute__((always_inline)) { return narrow(v, v, v, v); };
  const auto at = [&](std::size_t i, const float* p) __attribute__((always_inline)) {
    const auto code = Search::find(s, load(p) * scale);
    visit(i, code);
    return code;
  };
  const auto in = [&](std::size_t i) __attribute__((always_inline)) { return at(i, x + i); };
  std::size_t i = 0;
  for (; i + 4 * kFloats <= n; i += 4 * kFloats) {
    const auto a = in(i), b = in(i + kFloats), c = in(i + 2 * kFloats), d = in(i + 3 * kFloats);
    store(codes + i, narrow(a, b, c, d));
  }
  for (; i + kFloats <= n; i += kFloats) {
    const auto some = narrow_one(in(i));
    std::memcpy(codes + i, &some, kFloats);
  }
  if (i < n) {
    float rest[kFloats] = {};
    std::memcpy(rest, x + i, (n - i) * sizeof(float));
    const auto some = narrow_one(at(i, rest));
    std::memcpy(codes + i, &some, n - i);
  }
}
template <class Search>
EVENBITS_INLINE void nearest_span(const Search& s, const float* x, std::size_t n, float scale, std::uint8_t* codes) {
  nearest_span(s, x, n, scale, codes, [](std::size_t, Vec<std::int32_t>) {});
}
template <unsigned Half>  // 0: as the buckets say
EVENBITS_INLINE void nearest_block(const Buckets& s, const float* x, std::size_t n, float scale, std::uint8_t* codes) {
  float v[Buckets::kBlock];
  std::int32_t bucket[Buckets::kBlock];
  for (std::size_t j = 0; j < Buckets::kBlock; j += kFloats) {
    store(v + j, load(x + j) * scale);
    store(bucket + j, Buckets::buckets(s, load(v + j)));
  }
  for (std::size_t j = 0; j < n; ++j) codes[j] = Buckets::search(s, v[j], bucket[j], Half ? Half : s.half);
}
template <unsigned Half>
EVENBITS_INLINE void nearest_blocks(const Buckets& s, const float* x, std::size_t n, float scale, std::uint8_t* codes) {
  std::size_t i = 0;
  for (; i + Buckets::kBlock <= n; i += Buckets::kBlock) nearest_block<Half>(s, x + i, Buckets::kBlock, scale, codes + i);
  if (i < n) {
    float rest[Buckets::kBlock] = {};
    std::memcpy(rest, x + i, (n - i) * sizeof(float));
    nearest_block<Half>(s, rest, n - i, scale, codes + i);
  }
}
EVENBITS_INLINE void nearest_span(const Buckets& s, const float* x, std::size_t n, float scale, std::uint8_t* codes) {
  if (s.half == 1) nearest_blocks<1>(s, x, n, scale, codes);
  else nearest_blocks<0>(s, x, n, scale, codes);
}

// Where registers can be permuted a tree is faster than buckets, until its lowest level takes too many of them.
inline constexpr unsigned kDeepest = !kPermutes ? 0 : kFloats == 16 ? 7 : 5;
inline constexpr std::size_t kLinear = kPermutes ? 3 : 7;  // thresholds that are best counted one by one

template <unsigned D, class F>
EVENBITS_INLINE void with_tree(const float* thresholds, std::size_t count, F f) {
  if constexpr (D > kDeepest) f(Buckets(thresholds, count));
  else if (count < std::size_t(1) << D) f(Tree<D>(thresholds, count));
  else with_tree<D + 1>(thresholds, count, f);
}

void nearest_level_f32(const float* x, std::size_t rows, std::size_t n, std::size_t group, const float* scale,
                       const float* thresholds, std::size_t count, std::uint8_t* codes) {
  const auto with = [&](const auto& search) __attribute__((always_inline)) {
    for_each_group(rows, n, group, [&](std::size_t g, std::size_t first, std::size_t length) __attribute__((always_inline)) {
      nearest_span(search, x + first, length, scale[g], codes + first);
    });
  };
  if (count <= kLinear) with(Linear(thresholds, count));
  else with_tree<3>(thresholds, count, with);
}

// y = (table[code] - zero) * scale, for the codes of one group.
EVENBITS_INLINE void dequantize_span(const std::uint8_t* codes, std::size_t n, const float* table, float scale, float zero,
                                     float* y) {
  std::size_t i = 0;
  if constexpr (kPermutes)
    for (; i + kFloats <= n; i += kFloats) {
      constexpr std::uint64_t large = 0x0101010101010101 * (256 - 2 * kFloats);  // bits of codes beyond two registers
      std::uint64_t first, last;
      std::memcpy(&first, codes + i, 8), std::memcpy(&last, codes + i + kFloats - 8, 8);
      if (((first | last) & large) == 0) store(y + i, (look_up<2>(table, load_as_int(codes + i)) - zero) * scale);
      else if constexpr (kFloats == 16) store(y + i, (look_up<16>(table, load_as_int(codes + i)) - zero) * scale);
      else
        for (std::size_t j = i; j < i + kFloats; ++j) y[j] = (table[codes[j]] - zero) * scale;
    }
  for (; i < n; ++i) y[i] = (table[codes[i]] - zero) * scale;
}
EVENBITS_INLINE void dequantize_span(const std::uint16_t* codes, std::size_t n, const float* table, float scale, float zero,
                                     float* y) {
  for (std::size_t i = 0; i < n; ++i) y[i] = (table[codes[i]] - zero) * scale;
}
template <class Code>
EVENBITS_INLINE void dequantize(const Code* codes, std::size_t rows, std::size_t n, std::size_t group, const float* table,
                                const float* scale, const float* zero, float* y) {
  for_each_group(rows, n, group, [&](std::size_t g, std::size_t first, std::size_t count) __attribute__((always_inline)) {
    dequantize_span(codes + first, count, table, scale[g], zero ? zero[g] : 0.0f, y + first);  // t - 0 is t
  });
}

void dequantize_u8(const std::uint8_t* codes, std::size_t rows, std::size_t n, std::size_t group, const float* table,
                   const float* scale, const float* zero, float* y) {
  alignas(64) float aligned[256];  // registers of a table that lies across cache lines take twice as long to load
  std::memcpy(aligned, table, sizeof aligned);
  dequantize(codes, rows, n, group, aligned, scale, zero, y);
}
void dequantize_u16(const std::uint16_t* codes, std::size_t rows, std::size_t n, std::size_t group, const float* table,
                    const float* scale, const float* zero, float* y) {
  dequantize(codes, rows, n, group, table, scale, zero, y);
}

}  // namespace evenbits::EVENBITS_ISA
