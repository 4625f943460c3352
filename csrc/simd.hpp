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
#if defined(__AVX512F__) || defined(__aarch64__)
inline constexpr std::size_t kRegisters = 32;
#else
inline constexpr std::size_t kRegisters = 16;
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
using Int = std::conditional_t<
    sizeof(T) == 8, std::int64_t,
    std::conditional_t<sizeof(T) == 4, std::int32_t, std::conditional_t<sizeof(T) == 2, std::int16_t, std::int8_t>>>;

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
// A number that is known to the compiler. (The standard's has functions of its own, of which the linker keeps one copy.)
template <std::size_t N>
struct Constant {
  static constexpr std::size_t value = N;
  constexpr operator std::size_t() const { return N; }
};
#define EVENBITS_ALL_LANES(T) \
  std::make_index_sequence<kLanes<T>> {}

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
// Lanes 1, 3, 5, ... likewise.
template <class T>
EVENBITS_INLINE Vec<T> odds(Vec<T> a, Vec<T> b) {
  return shuffle<Vec<T>, Vec<T>>(a, b, EVENBITS_ALL_LANES(T), [](std::size_t i) constexpr { return 2 * i + 1; });
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

// f over all lanes, f being such that their order doesn't matter.
template <class T, std::size_t H = kLanes<T> / 2, class F>
EVENBITS_INLINE T over_lanes(Vec<T> v, F f) {
  if constexpr (H == 0) return v[0];
  else return over_lanes<T, H / 2>(f(v, swap_lanes<H, T>(v)), f);
}

// Half a register of floats as a register of doubles. (GCC converts such a vector in pieces.)
EVENBITS_INLINE Vec<double> load_as_double(const float* p) {
#if defined(__AVX512F__)
  return _mm512_maskz_cvtps_pd(0xff, _mm256_loadu_ps(p));
#elif defined(__AVX2__)
  return _mm256_cvtps_pd(_mm_loadu_ps(p));
#else
  typedef float Half __attribute__((vector_size(kBytes / 2)));
  Half v;
  std::memcpy(&v, p, kBytes / 2);
  return __builtin_convertvector(v, Vec<double>);
#endif
}
// The lower or the upper half of a register likewise.
template <bool Upper>
EVENBITS_INLINE Vec<double> half_as_double(Vec<float> v) {
#if defined(__AVX512F__)
  return _mm512_maskz_cvtps_pd(0xff, _mm512_maskz_extractf32x8_ps(0xff, v, Upper));
#elif defined(__AVX2__)
  return _mm256_cvtps_pd(_mm256_extractf128_ps(v, Upper));
#else
  typedef float Half __attribute__((vector_size(kBytes / 2)));
  Half h;
  std::memcpy(&h, reinterpret_cast<const char*>(&v) + Upper * sizeof h, sizeof h);
  return __builtin_convertvector(h, Vec<double>);
#endif
}
// Four registers of small non-negative int32 to one of bytes; two to one of uint16.
EVENBITS_INLINE Vec<std::uint16_t> narrow(Vec<std::int32_t> a, Vec<std::int32_t> b) {
  return evens<std::uint16_t>((Vec<std::uint16_t>)a, (Vec<std::uint16_t>)b);
}
EVENBITS_INLINE Vec<std::uint8_t> narrow(Vec<std::uint16_t> a, Vec<std::uint16_t> b) {
  return evens<std::uint8_t>((Vec<std::uint8_t>)a, (Vec<std::uint8_t>)b);
}
EVENBITS_INLINE Vec<std::uint8_t> narrow(Vec<std::int32_t> a, Vec<std::int32_t> b, Vec<std::int32_t> c, Vec<std::int32_t> d) {
  return narrow(narrow(a, b), narrow(c, d));
}
// The least integers that are not below v, whose magnitudes are below 2^31.
EVENBITS_INLINE Vec<std::int32_t> ceiling(Vec<float> v) {
#if defined(__AVX512F__)
  return (Vec<std::int32_t>)_mm512_maskz_cvt_roundps_epi32(0xFFFF, v, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC);
#elif defined(__AVX2__)
  return (Vec<std::int32_t>)_mm256_cvttps_epi32(_mm256_ceil_ps(v));
#elif defined(__aarch64__)
  return vcvtpq_s32_f32(v);
#else
  const auto down = (Vec<std::int32_t>)_mm_cvttps_epi32(v);  // towards 0
  return down - (__builtin_convertvector(down, Vec<float>) < v);
#endif
}

// The low 32 bits of each lane of a times those of b.
EVENBITS_INLINE Vec<std::uint64_t> multiply_low(Vec<std::uint64_t> a, Vec<std::uint64_t> b) {
#if defined(__AVX512F__)
  return (Vec<std::uint64_t>)_mm512_maskz_mul_epu32(0xFF, (__m512i)a, (__m512i)b);  // GCC 12 warns of its unmasked one
#elif defined(__AVX2__)
  return (Vec<std::uint64_t>)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#elif defined(__x86_64__)
  return (Vec<std::uint64_t>)_mm_mul_epu32((__m128i)a, (__m128i)b);
#else
  return (Vec<std::uint64_t>)vmull_u32(vmovn_u64((uint64x2_t)a), vmovn_u64((uint64x2_t)b));
#endif
}
// a[0], b[0], a[1], b[1], ...: the first register of that, and the second.
template <class V, class T = std::decay_t<decltype(V{}[0])>>
EVENBITS_INLINE V zip_lower(V a, V b) {
  return shuffle<V, Vec<Int<T>>>(a, b, EVENBITS_ALL_LANES(T), [](std::size_t i) constexpr { return i / 2 + i % 2 * kLanes<T>; });
}
template <class V, class T = std::decay_t<decltype(V{}[0])>>
EVENBITS_INLINE V zip_upper(V a, V b) {
  return shuffle<V, Vec<Int<T>>>(a, b, EVENBITS_ALL_LANES(T),
                                 [](std::size_t i) constexpr { return i / 2 + i % 2 * kLanes<T> + kLanes<T> / 2; });
}
// As many uint16 as a register has lanes of T, each as a T.
template <class T, std::size_t N>
struct Lanes {
  typedef T type __attribute__((vector_size(N * sizeof(T))));
};
template <class T>
EVENBITS_INLINE Vec<T> load_as(const std::uint16_t* p) {
  typename Lanes<std::uint16_t, kLanes<T>>::type v;
  std::memcpy(&v, p, sizeof v);
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4)  // GCC 12 would widen it in two halves
    return __builtin_convertvector((Vec<std::int32_t>)_mm512_maskz_cvtepu16_epi32(0xFFFF, (__m256i)v), Vec<T>);
  else
#endif
    return __builtin_convertvector(__builtin_convertvector(v, typename Lanes<std::int32_t, kLanes<T>>::type), Vec<T>);
}

// Lane i is the 8 bytes at p + i * stride, stride being at most 8. Reads kBytes bytes.
EVENBITS_INLINE Vec<std::uint64_t> load_words(const std::uint8_t* p, std::size_t stride) {
  Vec<std::uint64_t> v;
#if defined(__AVX2__)  // 16 bytes hold two lanes, whose bytes are put in their places
  const auto piece = [=](std::size_t i) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 2 * i * stride)); };
  const auto byte = iota<std::uint8_t>(EVENBITS_ALL_LANES(std::uint8_t)) & 15;
  const auto place = byte + ((Vec<std::uint8_t>)(byte > 7) & std::uint8_t(stride - 8));
#if defined(__AVX512F__)
  const auto half = [=](std::size_t i) { return _mm256_inserti128_si256(_mm256_castsi128_si256(piece(i)), piece(i + 1), 1); };
  v = (Vec<std::uint64_t>)_mm512_shuffle_epi8(_mm512_maskz_inserti64x4(0xff, _mm512_zextsi256_si512(half(0)), half(2), 1),
                                              (__m512i)place);
#else
  const __m256i pieces = _mm256_inserti128_si256(_mm256_castsi128_si256(piece(0)), piece(1), 1);
  v = (Vec<std::uint64_t>)_mm256_shuffle_epi8(pieces, (__m256i)place);
#endif
#else
  for (std::size_t i = 0; i < kLanes<std::uint64_t>; ++i) {
    std::uint64_t word;
    std::memcpy(&word, p + i * stride, 8);
    v[i] = word;
  }
#endif
  return v;
}

// counter + 1 in the lanes where a <= b.
EVENBITS_INLINE Vec<std::int32_t> count_at_most(Vec<std::int32_t> counter, Vec<float> a, Vec<float> b) {
#if defined(__AVX512F__)
  const __mmask16 where = _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ);
  return (Vec<std::int32_t>)_mm512_mask_sub_epi32((__m512i)counter, where, (__m512i)counter, _mm512_set1_epi32(-1));
#else
  return counter - (Vec<std::int32_t>)(a <= b);
#endif
}
// Bit i is set where lane i is 0 or more.
EVENBITS_INLINE std::uint32_t bits_at_least_zero(Vec<float> v) {
#if defined(__AVX512F__)
  return _mm512_cmp_ps_mask(v, _mm512_setzero_ps(), _CMP_GE_OQ);
#elif defined(__AVX2__)
  return std::uint32_t(_mm256_movemask_ps((__m256)(v >= 0)));
#elif defined(__x86_64__)
  return std::uint32_t(_mm_movemask_ps((__m128)(v >= 0)));
#else
  return vaddvq_u32((uint32x4_t)(v >= 0) & (uint32x4_t){1, 2, 4, 8});
#endif
}
// Lane i is element i[lane] of a table of one register, or of two; the bits of i beyond that don't count.
#if defined(__AVX2__)
inline constexpr bool kPermutes = true;
#else
inline constexpr bool kPermutes = false;  // element by element: slow
#endif
EVENBITS_INLINE Vec<float> permute(Vec<float> table, Vec<std::int32_t> i) {
#if defined(__AVX512F__)
  return _mm512_permutexvar_ps((__m512i)i, table);
#elif defined(__AVX2__)
  return _mm256_permutevar8x32_ps(table, (__m256i)i);
#else
  Vec<float> v;
  for (std::size_t lane = 0; lane < kLanes<float>; ++lane) v[lane] = table[i[lane] & (kLanes<float> - 1)];
  return v;
#endif
}
EVENBITS_INLINE Vec<float> permute(Vec<float> lower, Vec<float> upper, Vec<std::int32_t> i) {
#if defined(__AVX512F__)
  return _mm512_permutex2var_ps(lower, (__m512i)i, upper);
#else
  return (i & std::int32_t(kLanes<float>)) != 0 ? permute(upper, i) : permute(lower, i);
#endif
}
// As many bytes as a register has lanes, each as an int32. (GCC converts such a vector element by element.)
EVENBITS_INLINE Vec<std::int32_t> load_as_int(const std::uint8_t* p) {
#if defined(__AVX512F__)
  return (Vec<std::int32_t>)_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#elif defined(__AVX2__)
  return (Vec<std::int32_t>)_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
#else
  Vec<std::int32_t> v;
  for (std::size_t lane = 0; lane < kLanes<std::int32_t>; ++lane) v[lane] = p[lane];
  return v;
#endif
}

// Calls f(constant 0), ..., f(constant N - 1): what f indexes so stays in registers.
template <class F, std::size_t... I>
EVENBITS_INLINE void unroll(F f, std::index_sequence<I...>) {
  (f(Constant<I>{}), ...);
}
template <std::size_t N, class F>
EVENBITS_INLINE void unroll(F f) {
  unroll(f, std::make_index_sequence<N>{});
}

}  // namespace evenbits::EVENBITS_ISA
