// One register of the instruction set this file is compiled for, and the few
// operations that the compiler's vector types do not spell.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define EVENBITS_INLINE static inline __attribute__((always_inline))

namespace evenbits::EVENBITS_ISA {

#if defined(__AVX512F__)
inline constexpr std::size_t kBytes = 64;
#elif defined(__AVX2__)
inline constexpr std::size_t kBytes = 32;
#else
inline constexpr std::size_t kBytes = 16;
#endif

template <class T>
struct Register {
  typedef T type __attribute__((vector_size(kBytes)));
};
template <class T>
using Vec = typename Register<T>::type;
template <class T>
inline constexpr std::size_t kLanes = kBytes / sizeof(T);
// The integer type of T's size: what comparisons give and shuffles take.
template <class T>
using Int = std::conditional_t<sizeof(T) == 8, std::int64_t,
                               std::conditional_t<sizeof(T) == 4, std::int32_t,
                                                  std::conditional_t<sizeof(T) == 2, std::int16_t, std::int8_t>>>;

template <class T>
EVENBITS_INLINE Vec<T> load(const T* p) {
  Vec<T> v;
  std::memcpy(&v, p, kBytes);
  return v;
}
template <class T>
EVENBITS_INLINE void store(T* p, Vec<T> v) {
  std::memcpy(p, &v, kBytes);
}
template <class T>
EVENBITS_INLINE Vec<T> splat(T x) {
  return Vec<T>{} + x;
}

template <class V, class M, std::size_t... I, class Lane>
EVENBITS_INLINE V shuffle(V a, V b, std::index_sequence<I...>, Lane lane) {
#if __has_builtin(__builtin_shufflevector)
  return __builtin_shufflevector(a, b, int(lane(I))...);
#else  // GCC 11 and older
  return __builtin_shuffle(a, b, M{decltype(M{}[0] + 0)(lane(I))...});
#endif
}
#define EVENBITS_ALL_LANES(T) std::make_index_sequence<kLanes<T>>{}

// Lane i takes the value of lane i ^ H.
template <std::size_t H, class T>
EVENBITS_INLINE Vec<T> swap_lanes(Vec<T> v) {
  return shuffle<Vec<T>, Vec<Int<T>>>(v, v, EVENBITS_ALL_LANES(T), [](std::size_t i) constexpr { return i ^ H; });
}
// Lanes 0, 2, 4, ... of a, then of b.
template <class T>
EVENBITS_INLINE Vec<T> evens(Vec<T> a, Vec<T> b) {
  return shuffle<Vec<T>, Vec<T>>(a, b, EVENBITS_ALL_LANES(T), [](std::size_t i) constexpr { return 2 * i; });
}
template <class T, std::size_t... I>
EVENBITS_INLINE Vec<T> iota(std::index_sequence<I...>) {
  return Vec<T>{T(I)...};
}

// a * b + c where a * b is exact, so that fusing cannot change the result.
EVENBITS_INLINE Vec<float> mul_add(Vec<float> a, Vec<float> b, Vec<float> c) {
#if defined(__AVX512F__)
  return _mm512_fmadd_ps(a, b, c);
#elif defined(__FMA__)
  return _mm256_fmadd_ps(a, b, c);
#elif defined(__aarch64__)
  return vfmaq_f32(c, a, b);
#else
  return a * b + c;
#endif
}
EVENBITS_INLINE Vec<double> mul_add(Vec<double> a, Vec<double> b, Vec<double> c) {
#if defined(__AVX512F__)
  return _mm512_fmadd_pd(a, b, c);
#elif defined(__FMA__)
  return _mm256_fmadd_pd(a, b, c);
#elif defined(__aarch64__)
  return vfmaq_f64(c, a, b);
#else
  return a * b + c;
#endif
}
EVENBITS_INLINE Vec<std::uint32_t> mul_add(Vec<std::uint32_t> a, Vec<std::uint32_t> b, Vec<std::uint32_t> c) { return a * b + c; }

// The lesser and the greater of two numbers, neither of them a NaN.
template <class V>
EVENBITS_INLINE V least(V a, V b) {
  return a < b ? a : b;
}
template <class V>
EVENBITS_INLINE V greatest(V a, V b) {
  return a > b ? a : b;
}
template <class V>
EVENBITS_INLINE V clamp(V v, V lo, V hi) {
  return greatest(least(v, hi), lo);
}

// Half a register of floats as a register of doubles.
EVENBITS_INLINE Vec<double> load_as_double(const float* p) {
  typedef float Half __attribute__((vector_size(kBytes / 2)));
  Half v;
  std::memcpy(&v, p, kBytes / 2);
  return __builtin_convertvector(v, Vec<double>);
}
// Four registers of small non-negative int32 to one of bytes; two to one of uint16.
EVENBITS_INLINE Vec<std::uint16_t> narrow(Vec<std::int32_t> a, Vec<std::int32_t> b) {
  return evens<std::uint16_t>((Vec<std::uint16_t>)a, (Vec<std::uint16_t>)b);
}
EVENBITS_INLINE Vec<std::uint8_t> narrow(Vec<std::int32_t> a, Vec<std::int32_t> b, Vec<std::int32_t> c, Vec<std::int32_t> d) {
  return evens<std::uint8_t>((Vec<std::uint8_t>)narrow(a, b), (Vec<std::uint8_t>)narrow(c, d));
}

}  // namespace evenbits::EVENBITS_ISA
