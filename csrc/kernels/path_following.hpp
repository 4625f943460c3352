// Path following: the codes of a row of weights, one after the other, each making up for the error of those before it.
#pragma once

#include "multiply_add.hpp"

namespace evenbits::EVENBITS_ISA {

inline constexpr std::size_t kPathStrip = 128;  // rows worked on together
inline constexpr std::size_t kPathBlock = 64;   // columns whose sums over earlier ones are made together

enum class Rounded { no, nearest, stochastic, gapped };

// The greatest integer at most y, |y| < 2^(digits - 2).
template <class T>
EVENBITS_INLINE Vec<T> floor_of(Vec<T> y) {
  constexpr T shift = T(sizeof(T) == 8 ? 6755399441055744.0 : 12582912.0);  // 1.5 times the first number without fractions
  const auto near = (y + shift) - shift;
  return near > y ? near - T(1) : near;
}

// What q is made of, in T.
template <class T>
struct Grid {
  T low, high, offset, shrink, gap;
};
template <class T>
struct Chosen {
  Vec<T> k, q, clamped;
};
// bits: what decides, as numbers from 0 to 65535.
template <Rounded how, class T>
EVENBITS_INLINE Chosen<T> chosen(Vec<T> a, Vec<T> step, Vec<T> bits, const Grid<T>& g) {
  const Vec<T> zero{}, one = zero + T(1);
  const auto size = greatest(greatest(a, -a) - g.shrink, zero);
  const auto y = (a < 0 ? -size : size) / step - g.offset;
  if constexpr (how == Rounded::gapped) {
    const auto above = least(greatest(y, -y) - g.gap, zero + g.high);
    const auto k = above > 0 ? floor_of<T>(above + T(0.5)) + T(1) : zero;
    const auto within = least(k, zero + g.high), q = (within > 0 ? g.gap - T(1) + within : zero) * step;
    return {y < 0 ? -within : within, y < 0 ? -q : q, k > g.high ? one : zero};
  } else {
    const auto near = clamp(y, zero + (g.low - T(1)), zero + (g.high + T(1)));
    auto k = floor_of<T>(how == Rounded::nearest ? near + T(0.5) : near);
    if constexpr (how == Rounded::stochastic) k += bits + T(0.5) < (near - k) * T(65536) ? one : zero;
    const auto within = clamp(k, zero + g.low, zero + g.high);
    return {within, (within + g.offset) * step, k != within ? one : zero};
  }
}

// Columns begin to end of some rows, `stride` apart, as slices of `wide` rows each: element (t, row) at
// ((row / wide) * kPathBlock + t) * wide + row % wide.
template <class S, class T>
EVENBITS_INLINE void to_slices(const S* from, std::size_t stride, std::size_t rows, std::size_t columns, std::size_t wide,
                               T* to) {
  for (std::size_t row = 0; row < rows; ++row, from += stride) {
    T* lane = to + row / wide * kPathBlock * wide + row % wide;
    for (std::size_t t = 0; t < columns; ++t) lane[t * wide] = T(from[t]);
  }
}
template <class S, class T>
EVENBITS_INLINE void from_slices(const T* from, std::size_t stride, std::size_t rows, std::size_t columns, std::size_t wide,
                                 S* to) {
  for (std::size_t row = 0; row < rows; ++row, to += stride) {
    const T* lane = from + row / wide * kPathBlock * wide + row % wide;
    for (std::size_t t = 0; t < columns; ++t) to[t] = S(lane[t * wide]);
  }
}

// The columns of a panel, one after the other, for a slice of rows. v: their sums over all panels before; w: their weights, which
// become the numbers k (or stay); z: the slice from the panel's first column on.
template <Rounded how, class T>
EVENBITS_INLINE void follow_panel(const T* panel, const T* pivot, std::size_t columns, const Grid<T>& g, const T* step,
                                  const T* v, T* w, const T* bits, T* z, T* clamped) {
  constexpr std::size_t wide = kWide<T>;
  for (std::size_t t = 0; t < columns; ++t)
    for (std::size_t j = 0; j < wide; j += kLanes<T>) {
      auto sum = load(v + t * wide + j);
      for (std::size_t s = 0; s < t; ++s) sum -= panel[s * kPanel + t] * load(z + s * wide + j);
      const auto own = load(w + t * wide + j);
      const auto a = pivot[t] > 0 ? own + sum / pivot[t] : own;
      if constexpr (how == Rounded::no) {
        store(z + t * wide + j, a);
      } else {
        Vec<T> random{};
        if constexpr (how == Rounded::stochastic) random = load(bits + t * wide + j);
        const auto c = chosen<how, T>(a, load(step + j), random, g);
        store(z + t * wide + j, c.q - own);
        store(w + t * wide + j, c.k);
        store(clamped + j, load(clamped + j) + c.clamped);
      }
    }
}

template <Rounded how, class T>
EVENBITS_INLINE void follow_strip(const evenbits_path& p, const T* panels, const T* pivot, const T* w, const T* base,
                                  const T* step, const std::uint16_t* bits, std::size_t rows, std::int32_t* codes, T* z,
                                  std::uint32_t* clamped, T* scratch) {
  constexpr std::size_t wide = kWide<T>, area = kPathBlock * wide;
  const Grid<T> g{T(p.low), T(p.high), T(p.offset), T(p.shrink), T(p.gap)};
  const std::size_t n = p.n, deep = (n + kPanel - 1) / kPanel * kPanel, slices = (rows + wide - 1) / wide;
  T *sums = scratch, *own = sums + slices * area, *random = own + slices * area, *steps = random + slices * area,
    *beyond = steps + slices * wide, *history = beyond + slices * wide;
  for (std::size_t i = 0; i < slices * wide; ++i) steps[i] = i < rows && step ? step[i] : T(1), beyond[i] = 0;
  std::memset(own, 0, 2 * slices * area * sizeof(T));  // rows that are not there
  for (std::size_t first = 0; first < n; first += kPathBlock) {
    const std::size_t columns = n - first < kPathBlock ? n - first : kPathBlock;
    std::memset(sums, 0, slices * area * sizeof(T));
    to_slices(w + first, n, rows, columns, wide, own);
    if (base) to_slices(base + first, n, rows, columns, wide, sums);
    if (how == Rounded::stochastic) to_slices(bits + first, n, rows, columns, wide, random);
    const auto panel_at = [&](std::size_t t, std::size_t s) __attribute__((always_inline)) {
      const std::size_t i = t / kPanel;
      return panels + 32 * i * (i + 1) + s * kPanel;
    };
    for (std::size_t s = 0; s < first; s += kProductDepth)
      for (std::size_t i = 0; i < slices; ++i)
        for (std::size_t t = 0; t < columns; t += kPanel)
          multiply_tile<true>(panel_at(first + t, s), history + (i * deep + s) * wide,
                              first - s < kProductDepth ? first - s : kProductDepth, sums + i * area + t * wide, wide);
    for (std::size_t i = 0; i < slices; ++i)
      for (std::size_t t = 0; t < columns; t += kPanel) {
        T *v = sums + i * area + t * wide, *block = history + (i * deep + first) * wide;
        multiply_tile<true>(panel_at(first + t, first), block, t, v, wide);
        follow_panel<how>(panel_at(first + t, first + t), pivot + first + t, columns - t < kPanel ? columns - t : kPanel, g,
                          steps + i * wide, v, own + i * area + t * wide, random + i * area + t * wide, block + t * wide,
                          beyond + i * wide);
      }
    if (codes) from_slices(own, n, rows, columns, wide, codes + first);
    if (z)
      for (std::size_t row = 0; row < rows; ++row)
        for (std::size_t t = 0; t < columns; ++t)
          z[row * n + first + t] = history[(row / wide * deep + first + t) * wide + row % wide];
  }
  if (clamped)
    for (std::size_t i = 0; i < rows; ++i) clamped[i] = std::uint32_t(beyond[i]);
}

template <class T>
EVENBITS_INLINE void follow_rows(const evenbits_path& p, const T* panels, const T* pivot, const T* w, const T* base,
                                 const T* step, const std::uint16_t* bits, std::size_t rows, std::int32_t* codes, T* z,
                                 std::uint32_t* clamped, T* scratch) {
  if (!step) follow_strip<Rounded::no>(p, panels, pivot, w, base, step, bits, rows, nullptr, z, nullptr, scratch);
  else if (p.gap > 0) follow_strip<Rounded::gapped>(p, panels, pivot, w, base, step, bits, rows, codes, z, clamped, scratch);
  else if (bits) follow_strip<Rounded::stochastic>(p, panels, pivot, w, base, step, bits, rows, codes, z, clamped, scratch);
  else follow_strip<Rounded::nearest>(p, panels, pivot, w, base, step, bits, rows, codes, z, clamped, scratch);
}
void follow_path_f32(const evenbits_path* p, const float* panels, const float* pivot, const float* w, const float* base,
                     const float* step, const std::uint16_t* bits, std::size_t rows, std::int32_t* codes, float* z,
                     std::uint32_t* clamped, float* scratch) {
  follow_rows(*p, panels, pivot, w, base, step, bits, rows, codes, z, clamped, scratch);
}
void follow_path_f64(const evenbits_path* p, const double* panels, const double* pivot, const double* w, const double* base,
                     const double* step, const std::uint16_t* bits, std::size_t rows, std::int32_t* codes, double* z,
                     std::uint32_t* clamped, double* scratch) {
  follow_rows(*p, panels, pivot, w, base, step, bits, rows, codes, z, clamped, scratch);
}

}  // namespace evenbits::EVENBITS_ISA
