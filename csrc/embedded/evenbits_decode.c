#include "evenbits_decode.h"

#if defined(__GNUC__)
#define EB_INLINE static inline __attribute__((always_inline))
#if UINTPTR_MAX <= 0xFFFFFFFFu
#define EB_APART __attribute__((noinline)) /* a caller does not pay for its stack all along */
#else
#define EB_APART
#endif
#define EB_STEP(k) __asm__("" : "+r"(k)) /* the loop is not made a call of memset */
#else
#define EB_INLINE static inline
#define EB_APART
#define EB_STEP(k) (void)(k)
#endif
#ifndef EVENBITS_FAST_WIDTHS /* a bit for every width of codes that gets a loop of its own: 100 to 200 bytes each */
#ifdef __OPTIMIZE_SIZE__
#define EVENBITS_FAST_WIDTHS 0x010
#else
#define EVENBITS_FAST_WIDTHS 0x1FE
#endif
#endif
#ifndef EVENBITS_FAST_TRELLIS /* likewise, for values of so many bits, 1 to 4: 150 to 400 bytes each */
#ifdef __OPTIMIZE_SIZE__
#define EVENBITS_FAST_TRELLIS 0x04
#else
#define EVENBITS_FAST_TRELLIS 0x1E
#endif
#endif
/* Optional fast paths, with the same results. */
#if defined(__ARM_FEATURE_MVE) && !defined(__ARM_BIG_ENDIAN) && !defined(EVENBITS_PORTABLE)
#include <arm_mve.h>
#define EB_HELIUM 1
#undef EVENBITS_FAST_WIDTHS
#define EVENBITS_FAST_WIDTHS 0x1FE
#elif defined(__ARM_FEATURE_DSP) && defined(__ARM_FEATURE_UNALIGNED) && defined(__thumb2__) && !defined(__ARM_BIG_ENDIAN) && \
    !defined(EVENBITS_PORTABLE)
#include <arm_acle.h>
#define EB_DSP 1
#endif
#if defined(__ARM_FEATURE_SIMD32) && !defined(EVENBITS_PORTABLE)
#include <arm_acle.h>
#define EB_SUM_OF_BYTES(h, more) ((int32_t)__usada8(h, 0, (uint32_t)(more)))
#endif

/* ---- codes ---- */

/* The `count` bits, 1 to 16, from `bit` on; no byte is read that holds none of them. */
EB_INLINE uint32_t bits_at(const uint8_t* p, uint32_t bit, unsigned count) {
  unsigned have = 8 - (bit & 7u);
  uint32_t v;
  p += bit >> 3;
  v = (uint32_t)EVENBITS_READ_BYTE(p) >> (bit & 7u);
  for (; have < count; have += 8) v |= (uint32_t)EVENBITS_READ_BYTE(++p) << have;
  return v & (((uint32_t)1 << count) - 1u);
}

/* The least significant digit of the block, which is divided by its level count. */
static EB_APART uint32_t take_digit(eb_cursor* c, uint32_t levels) {
  uint32_t rest = 0;
  uint16_t* v = c->value + 4;
  do {
    rest = rest << 16 | *--v;
    if (rest) *v = (uint16_t)(rest / levels), rest %= levels;
  } while (v != c->value);
  return rest;
}

static EB_APART void load_block(eb_cursor* c, uint32_t bit, unsigned width) {
  const uint8_t* p = c->row + (bit >> 3);
  uint32_t v = (uint32_t)EVENBITS_READ_BYTE(p) >> (bit & 7u);
  unsigned have = 8 - (bit & 7u), h;
  for (h = 0; h < 4; h++) {
    for (; have < 16 && have < width; have += 8) v |= (uint32_t)EVENBITS_READ_BYTE(++p) << have;
    c->value[h] = (uint16_t)(width < 16 ? v & ((1u << width) - 1u) : v);
    v >>= 16, have -= 16;
    width = width > 16 ? width - 16 : 0;
  }
}

/* All blocks give their upper digits first, and then, once more, the others. Returns the block's bit, from bit 32 on its width,
 * and from bit 40 on how many digits come before those. */
static EB_APART uint64_t next_block(eb_cursor* c) {
  const eb_codes* k = c->codes;
  uint32_t skip = 0, digits = k->upper, block, size;
  if (c->i == k->split) c->block = 0;
  if (c->i >= k->split) skip = digits, digits = k->per - skip;
  block = c->block++;
  size = k->n - block * k->per - skip;
  c->left = (uint8_t)(size < digits ? size : digits);
  return (uint64_t)(skip << 8 | (size + skip < k->per ? k->last : k->bits)) << 32 | block * k->bits;
}

void eb_begin(eb_cursor* c, const eb_codes* codes, uint32_t row) {
  c->codes = codes;
  c->row = codes->bytes + row * codes->row_bytes;
  c->i = c->block = c->left = 0;
}

EB_INLINE uint32_t next_digit(eb_cursor* c) {
  if (!c->left) {
    const uint64_t place = next_block(c);
    unsigned skip = (unsigned)(place >> 40);
    load_block(c, (uint32_t)place, (uint32_t)(place >> 32) & 255u);
    for (; skip; skip--) take_digit(c, c->codes->levels + 1u);
  }
  c->left--;
  return take_digit(c, c->codes->levels + (c->i++ < c->codes->split ? 1u : 0u));
}

uint32_t eb_next(eb_cursor* c) {
  if (c->codes->per) return next_digit(c);
  return bits_at(c->row, c->i++ * c->codes->bits, c->codes->bits);
}

/* ---- products of integers ---- */

#if EB_HELIUM
/* The sum of units[code] * x over 8 * count codes, from the first bit of a byte on: 8 codes fill `bits` bytes. */
static int32_t octets(unsigned bits, const uint8_t* p, const int16_t* units, const int8_t* x, uint32_t count) {
  const uint16x8_t bit = vmulq_n_u16(vidupq_n_u16(0, 1), (uint16_t)bits), byte = vshrq_n_u16(bit, 3);
  const int16x8_t right = vreinterpretq_s16_u16(vandq_u16(bit, vdupq_n_u16(7)));
  const mve_pred16_t two = vcmpgtq_n_s16(right, (int16_t)(8 - bits)); /* codes that end in the next byte */
  const uint16x8_t mask = vdupq_n_u16((uint16_t)((1u << bits) - 1u));
  int32_t sum = 0;
  for (; count; count--, p += bits, x += 8) {
    const uint16x8_t low = vldrbq_gather_offset_u16(p, byte), high = vldrbq_gather_offset_z_u16(p + 1, byte, two);
    const uint16x8_t code = vandq_u16(vshlq_u16(vorrq_u16(low, vshlq_n_u16(high, 8)), vnegq_s16(right)), mask);
    sum = vmladavaq_s16(sum, vldrhq_gather_shifted_offset_s16(units, code), vldrbq_s16(x));
  }
  return sum;
}
#else
EB_INLINE uint32_t word_of(const uint8_t* p, unsigned bytes) {
  uint32_t w = EVENBITS_READ_BYTE(p);
  if (bytes > 1) w |= (uint32_t)EVENBITS_READ_BYTE(p + 1) << 8;
  if (bytes > 2) w |= (uint32_t)EVENBITS_READ_BYTE(p + 2) << 16;
  if (bytes > 3) w |= (uint32_t)EVENBITS_READ_BYTE(p + 3) << 24;
  return w;
}
#define EB_TAKE(k) (sum += units[w & mask] * x[k], w >>= bits)
/* The sum of units[code] * x over 8 * count codes, from the first bit of a byte on: 8 codes fill `bits` bytes, and 4 of them
 * half as many, perhaps from the middle of a byte on. */
EB_INLINE int32_t octets_of(const unsigned bits, const uint8_t* p, const int16_t* units, const int8_t* x, uint32_t count) {
  const uint32_t mask = (1u << bits) - 1u;
  int32_t sum = 0;
  for (; count; count--, p += bits, x += 8) {
    uint32_t w = word_of(p, bits < 4 ? bits : 4);
    EB_TAKE(0), EB_TAKE(1), EB_TAKE(2), EB_TAKE(3);
    if (bits > 4) w = word_of(p + bits / 2, (bits + 1) / 2) >> (bits & 1u ? 4 : 0);
    EB_TAKE(4), EB_TAKE(5), EB_TAKE(6), EB_TAKE(7);
  }
  return sum;
}
/* One loop for each width that has one, and none for the others. */
#define EB_WIDTH(B) \
  if ((EVENBITS_FAST_WIDTHS >> B & 1) && bits == B) return octets_of(B, p, units, x, count)
static int32_t octets(unsigned bits, const uint8_t* p, const int16_t* units, const int8_t* x, uint32_t count) {
  EB_WIDTH(1);
  EB_WIDTH(2);
  EB_WIDTH(3);
  EB_WIDTH(4);
  EB_WIDTH(5);
  EB_WIDTH(6);
  EB_WIDTH(7);
  EB_WIDTH(8);
  return 0;
}
#endif

#if EB_DSP
/* The same for codes of 4 bits on an even grid, two products an instruction: even * (sum of code * x) - center * (sum of x).
 * Instructions are written out where compilers find longer ways. */
#define EB_PAIR(NAME, OP, A, B) \
  int16x2_t NAME;               \
  __asm__(OP : "=r"(NAME) : "r"(A), "r"(B))
#define EB_WIDEN(NAME, OP, A) \
  int16x2_t NAME;             \
  __asm__(OP : "=r"(NAME) : "r"(A))
typedef uint32_t anywhere __attribute__((aligned(1), may_alias));
static EB_APART int32_t even_octets(const eb_layer_i8* layer, const uint8_t* p, const int8_t* x, uint32_t count) {
  uint32_t mask = 0x000F000Fu;
  int32_t sum = 0, all = 0;
  __asm__("" : "+r"(mask)); /* stays in a register */
  for (; count; count--, p += 4, x += 8) {
    const uint32_t w = *(const anywhere*)p, a = *(const anywhere*)x, b = *(const anywhere*)(x + 4);
    {
      EB_WIDEN(x02, "sxtb16 %0, %1", a);
      EB_WIDEN(x46, "sxtb16 %0, %1", b);
      EB_PAIR(x04, "pkhbt %0, %1, %2, lsl #16", x02, x46);
      EB_PAIR(x26, "pkhtb %0, %2, %1, asr #16", x02, x46);
      EB_PAIR(c26, "and %0, %1, %2, lsr #8", mask, w);
      all = __smlad(__sadd16(x02, x46), 0x00010001, all);
      sum = __smlad((int16x2_t)(w & mask), x04, sum);
      sum = __smlad(c26, x26, sum);
    }
    {
      EB_WIDEN(x13, "sxtb16 %0, %1, ror #8", a);
      EB_WIDEN(x57, "sxtb16 %0, %1, ror #8", b);
      EB_PAIR(x15, "pkhbt %0, %1, %2, lsl #16", x13, x57);
      EB_PAIR(x37, "pkhtb %0, %2, %1, asr #16", x13, x57);
      EB_PAIR(c15, "and %0, %1, %2, lsr #4", mask, w);
      EB_PAIR(c37, "and %0, %1, %2, lsr #12", mask, w);
      all = __smlad(__sadd16(x13, x57), 0x00010001, all);
      sum = __smlad(c15, x15, sum);
      sum = __smlad(c37, x37, sum);
    }
  }
  return layer->even * sum - layer->center * all;
}
#endif

/* The same for the layer's codes. */
static EB_APART int32_t whole_sum(const eb_layer_i8* w, const uint8_t* p, const int8_t* x, uint32_t count) {
#if EB_DSP
  if (w->codes.bits == 4 && w->even) return even_octets(w, p, x, count);
#endif
  return octets(w->codes.bits, p, w->units, x, count);
}

/* The sum of units[code] * x over codes from bit `bit` of all rows on, of which there is one at least. */
static EB_APART int32_t rest_sum(const eb_layer_i8* w, uint32_t bit, const int8_t* x, uint32_t count) {
  const unsigned bits = w->codes.bits;
  const uint32_t mask = (1u << bits) - 1u;
  const uint8_t* p = w->codes.bytes + (bit >> 3);
  const int16_t* units = w->units;
  const int8_t* end = x + count;
  unsigned have = 8 - (bit & 7u);
  uint32_t v = (uint32_t)EVENBITS_READ_BYTE(p++) >> (bit & 7u);
  int32_t sum = 0;
  do {
    if (have < bits) v |= (uint32_t)EVENBITS_READ_BYTE(p++) << have, have += 8;
    sum += units[v & mask] * *x++;
    v >>= bits, have -= bits;
  } while (x < end);
  return sum;
}

/* total / 2^shift to the nearest, halves up, within +-limit; shift is not 0. */
static EB_APART int32_t shifted(int64_t total, unsigned shift, uint32_t limit) {
  uint64_t size = (uint64_t)(total < 0 ? ~total : total) >> (shift - 1);
  size = (size + 1) >> 1;
  if (size > limit) size = limit;
  return total < 0 ? -(int32_t)size : (int32_t)size;
}

/* The output of row r, before it is clamped to 8 bits. */
#define EB_FINISHED(NAME, LAYER)                                               \
  static EB_APART int32_t NAME(const LAYER* w, uint32_t r, int64_t total) {    \
    if (w->bias) total += (int64_t)w->bias[r] * ((int32_t)1 << w->bias_shift); \
    return shifted(total, w->shift, INT32_MAX);                                \
  }
EB_FINISHED(finished, eb_layer_i8)

/* What the zero of a group takes off its sum. */
static EB_APART int32_t offset(const eb_layer_i8* w, uint32_t place, const int8_t* x, uint32_t count) {
  int32_t all = 0;
  for (; count; count--) all += *x++;
  return w->zero_unit * w->zeros[place] * all;
}

static EB_APART int64_t plain_row(const eb_layer_i8* w, const int8_t* x, uint32_t r) {
  uint32_t place = r * w->codes.stride, bit = r * w->codes.row_bytes << 3, left = w->codes.n;
  int64_t total = 0;
  while (left) {
    uint32_t count = left < w->codes.group ? left : w->codes.group;
    int32_t sum = w->zeros ? -offset(w, place, x, count) : 0;
    left -= count;
    if (!(bit & 7u) && (EVENBITS_FAST_WIDTHS >> w->codes.bits & 1)) {
      const uint32_t whole = count & ~7u;
      sum += whole_sum(w, w->codes.bytes + (bit >> 3), x, whole >> 3);
      x += whole, count -= whole, bit += whole * w->codes.bits;
    }
    if (count) sum += rest_sum(w, bit, x, count);
    x += count, bit += count * w->codes.bits;
    total += (int64_t)sum * w->multipliers[place++];
  }
  return total;
}

static EB_APART int64_t digit_row(const eb_layer_i8* w, const int8_t* x, uint32_t r) {
  uint32_t place = r * w->codes.stride, end = 0;
  int64_t total = 0;
  eb_cursor c;
  eb_begin(&c, &w->codes, r);
  while (end < w->codes.n) {
    int32_t sum = 0;
    end += w->codes.group;
    if (end > w->codes.n) end = w->codes.n;
    if (w->zeros) sum = -offset(w, place, x + c.i, end - c.i);
    while (c.i < end) {
      const uint32_t digit = next_digit(&c);
      sum += w->units[c.i > w->codes.split ? digit : w->codes.levels + digit] * x[c.i - 1];
    }
    total += (int64_t)sum * w->multipliers[place++];
  }
  return total;
}

#define EB_MATVEC(NAME, LAYER, ROW, T, V)                             \
  void NAME(const LAYER* w, const int8_t* x, T* y, uint32_t stride) { \
    uint32_t r;                                                       \
    for (r = 0; r < w->codes.rows; r++, y += stride) {                \
      const int32_t v = ROW;                                          \
      *y = (T)(V);                                                    \
    }                                                                 \
  }
#define EB_MATVECS(NAME, LAYER, ROW)                                                    \
  EB_MATVEC(NAME##_i8, LAYER, ROW, int8_t, v < w->least ? w->least : v > 127 ? 127 : v) \
  EB_MATVEC(NAME##_i32, LAYER, ROW, int32_t, v)
EB_MATVECS(eb_matvec, eb_layer_i8, finished(w, r, w->codes.per ? digit_row(w, x, r) : plain_row(w, x, r)))

/* ---- trellises ---- */

#ifndef EB_SUM_OF_BYTES
EB_INLINE int32_t sum_of_bytes(uint32_t h) {
  const uint32_t pairs = (h & 0xFF00FFu) + (h >> 8 & 0xFF00FFu);
  return (int32_t)((pairs + (pairs << 16)) >> 16);
}
#define EB_SUM_OF_BYTES(h, more) (sum_of_bytes(h) + (more))
#endif
/* The value that the lowest bits of a window are hashed to. */
EB_INLINE int32_t hashed(uint32_t window, uint32_t mask, uint32_t multiplier) {
  return EB_SUM_OF_BYTES((window & mask) * multiplier + 76625530u, -510);
}

static EB_APART uint32_t some_bits(const uint8_t* p, uint32_t bit, unsigned count) { return count ? bits_at(p, bit, count) : 0; }
void eb_trellis_begin(eb_trellis_cursor* c, const eb_trellis* t, uint32_t row, uint32_t first) {
  const uint8_t* p = t->bytes + row * t->row_bytes;
  uint32_t place = 0, early, have = t->memory;
  c->trellis = t;
  c->rest = 0;
  if (first) {
    const uint32_t parts = first % t->of * t->part;
    c->rest = parts % t->of;
    place = first * t->whole + first / t->of * t->part + parts / t->of;
  }
  early = place < have ? have - place : 0;
  c->window = some_bits(p, t->bits - early, early) | some_bits(p, place + early - have, have - early) << early;
  p += place >> 3, place &= 7u;
  if (place) c->window |= (uint32_t)EVENBITS_READ_BYTE(p++) >> place << have, have += 8 - place;
  c->next = p;
  c->have = have;
}

EB_INLINE uint32_t moved(eb_trellis_cursor* c) {
  const eb_trellis* t = c->trellis;
  uint32_t width = t->whole;
  c->rest += t->part;
  if (c->rest >= t->of) c->rest -= t->of, width++;
  c->window >>= width, c->have -= width;
  if (c->have < t->memory) c->window |= (uint32_t)EVENBITS_READ_BYTE(c->next++) << c->have, c->have += 8;
  return c->window;
}

int32_t eb_trellis_next(eb_trellis_cursor* c) {
  return hashed(moved(c), ((uint32_t)1 << c->trellis->memory) - 1u, c->trellis->multiplier);
}

/* Bytes above what the window has, one or two of them. */
#define EB_REFILL(TWO) \
  (window |= (EVENBITS_READ_BYTE(p) | (TWO ? (uint32_t)EVENBITS_READ_BYTE(p + 1) << 8 : 0)) << memory, p += 1 + (TWO))
#define EB_VALUE() (window >>= bits, sum += hashed(window, mask, multiplier) * *x++)
#define EB_TRELLIS_SUMS(OCTETS, REST, T)                                                                                    \
  /* The sum of the next 8 * count values' products with x; they have `bits` bits each, from the first bit of a byte on. */ \
  EB_INLINE int32_t OCTETS##_of(eb_trellis_cursor* c, const unsigned bits, const T* x, uint32_t count) {                    \
    const uint32_t memory = c->trellis->memory, mask = ((uint32_t)1 << memory) - 1u, multiplier = c->trellis->multiplier;   \
    const uint8_t* p = c->next;                                                                                             \
    uint32_t window = c->window;                                                                                            \
    int32_t sum = 0;                                                                                                        \
    for (; count; count--) {                                                                                                \
      EB_REFILL(bits > 1);                                                                                                  \
      EB_VALUE(), EB_VALUE(), EB_VALUE(), EB_VALUE();                                                                       \
      if (bits > 3) EB_REFILL(1);                                                                                           \
      EB_VALUE();                                                                                                           \
      if (bits == 3) window |= (uint32_t)EVENBITS_READ_BYTE(p++) << (memory + 1);                                           \
      EB_VALUE(), EB_VALUE(), EB_VALUE();                                                                                   \
    }                                                                                                                       \
    c->next = p, c->window = window;                                                                                        \
    return sum;                                                                                                             \
  }                                                                                                                         \
  static EB_APART int32_t OCTETS(eb_trellis_cursor* c, const T* x, uint32_t count) {                                        \
    const uint32_t bits = c->trellis->whole;                                                                                \
    EB_FAST(OCTETS, 1)                                                                                                      \
    EB_FAST(OCTETS, 2)                                                                                                      \
    EB_FAST(OCTETS, 3)                                                                                                      \
    EB_FAST(OCTETS, 4)                                                                                                      \
    return 0;                                                                                                               \
  }                                                                                                                         \
  /* Of any count but 0, and from any bit on. */                                                                            \
  static EB_APART int32_t REST(eb_trellis_cursor* c, const T* x, uint32_t count) {                                          \
    const eb_trellis* t = c->trellis;                                                                                       \
    const uint32_t mask = ((uint32_t)1 << t->memory) - 1u, multiplier = t->multiplier;                                      \
    const T* end = x + count;                                                                                               \
    const uint8_t* p = c->next;                                                                                             \
    uint32_t window = c->window, have = c->have, rest = c->rest, bits;                                                      \
    int32_t sum = 0;                                                                                                        \
    do {                                                                                                                    \
      bits = t->whole;                                                                                                      \
      rest += t->part;                                                                                                      \
      if (rest >= t->of) rest -= t->of, bits++;                                                                             \
      have -= bits;                                                                                                         \
      window >>= bits;                                                                                                      \
      if (have < t->memory) window |= (uint32_t)EVENBITS_READ_BYTE(p++) << have, have += 8;                                 \
      sum += hashed(window, mask, multiplier) * *x++;                                                                       \
    } while (x != end);                                                                                                     \
    c->next = p, c->window = window, c->have = have, c->rest = rest;                                                        \
    return sum;                                                                                                             \
  }
#define EB_FAST(OCTETS, B) \
  if ((EVENBITS_FAST_TRELLIS >> B & 1) && bits == B) return OCTETS##_of(c, B, x, count);
/* The sum of MOST products has 32 bits. */
#define EB_TRELLIS_DOT(NAME, OCTETS, REST, T, MOST)                            \
  EB_TRELLIS_SUMS(OCTETS, REST, T)                                             \
  int64_t NAME(const eb_trellis* t, uint32_t row, const T* x) {                \
    const int fast = (EVENBITS_FAST_TRELLIS >> t->whole & 1) && !t->part;      \
    uint32_t left = t->n;                                                      \
    int64_t total = 0;                                                         \
    eb_trellis_cursor c;                                                       \
    eb_trellis_begin(&c, t, row, 0);                                           \
    while (left) {                                                             \
      uint32_t count = left < MOST ? left : MOST;                              \
      if (fast && count > 7) count &= ~7u, total += OCTETS(&c, x, count >> 3); \
      else total += REST(&c, x, count);                                        \
      x += count, left -= count;                                               \
    }                                                                          \
    return total;                                                              \
  }
EB_TRELLIS_DOT(eb_trellis_dot_i8, trellis_octets_i8, trellis_rest_i8, int8_t, 32768u)
EB_TRELLIS_DOT(eb_trellis_dot_i16, trellis_octets_i16, trellis_rest_i16, int16_t, 128u)
EB_FINISHED(trellis_finished, eb_trellis_i8)
EB_MATVECS(eb_trellis_matvec, eb_trellis_i8, trellis_finished(w, r, eb_trellis_dot_i8(&w->codes, r, x) * w->multipliers[r]))

/* ---- rotations ---- */

/* Words 4 * block to 4 * block + 3 of the stream whose number has `high` added to its upper word: Philox4x32-10 (Salmon et
 * al., SC'11). */
static EB_APART void philox(const eb_embedding* e, uint32_t high, uint32_t block, uint32_t* w) {
  uint32_t i;
  w[0] = block, w[1] = 0, w[2] = e->stream[0], w[3] = e->stream[1] + high;
  for (i = 0; i < 10; i++) {
    uint64_t product = (uint64_t)w[2] * 0xCD9E8D57u;
    const uint32_t first = (uint32_t)(product >> 32) ^ w[1] ^ (e->seed[0] + i * 0x9E3779B9u);
    w[1] = (uint32_t)product;
    product = (uint64_t)w[0] * 0xD2511F53u;
    w[0] = first;
    w[2] = (uint32_t)(product >> 32) ^ w[3] ^ (e->seed[1] + i * 0xBB67AE85u);
    w[3] = (uint32_t)product;
  }
}
static const uint32_t kSupport = 0x80000000u, kKept = 0x40000000u, kAll = 0xFFFFFFFFu;

/* Whether coordinate i is in a subset; asked for i = 0, 1, ... */
EB_INLINE int chosen(uint32_t* words, const eb_embedding* e, uint32_t high, const uint32_t* last, uint32_t i) {
  if (*last == kAll) return 1;
  if (!(i << 30)) philox(e, high, i >> 2, words);
  return words[i & 3u] <= *last;
}
/* H = base (x) Sylvester's matrix; the base sums pairs, then fours, then those in order. */
#define EB_HADAMARD(NAME, BUTTERFLIES, BASE, T)                                                               \
  static EB_APART void BASE(T* x, uint32_t width, const uint8_t* base, uint32_t m) {                          \
    uint32_t i, j, at;                                                                                        \
    T *work = x + m * width, *end = x + width;                                                                \
    for (; x < end; x++) {                                                                                    \
      for (j = 0; j < m; j++) work[j] = x[j * width];                                                         \
      for (i = at = 0; i < m; i++) {                                                                          \
        T total = 0;                                                                                          \
        for (j = 0; j < m; j += 4, at += 4) {                                                                 \
          const unsigned s = (unsigned)(base[at >> 3] >> (at & 7u));                                          \
          const T a = (s & 1u) == (s >> 1 & 1u) ? work[j] + work[j + 1] : work[j] - work[j + 1];              \
          const T b = (s >> 2 & 1u) == (s >> 3 & 1u) ? work[j + 2] + work[j + 3] : work[j + 2] - work[j + 3]; \
          const T four = (s & 1u) == (s >> 2 & 1u) ? a + b : a - b;                                           \
          total = s & 1u ? total - four : total + four;                                                       \
        }                                                                                                     \
        x[i * width] = total;                                                                                 \
      }                                                                                                       \
    }                                                                                                         \
  }                                                                                                           \
  static EB_APART void BUTTERFLIES(T* x, T* end, uint32_t width) {                                            \
    uint32_t h;                                                                                               \
    T *p, *half;                                                                                              \
    for (h = 1; h < width; h <<= 1)                                                                           \
      for (p = x; p < end; p += h)                                                                            \
        for (half = p + h; p < half; p++) {                                                                   \
          const T a = p[0], b = p[h];                                                                         \
          p[0] = a + b, p[h] = a - b;                                                                         \
        }                                                                                                     \
  }                                                                                                           \
  EB_APART void NAME(T* x, uint32_t n, const uint8_t* base, uint32_t m) {                                     \
    const uint32_t width = m > 1 ? n / m : n;                                                                 \
    BUTTERFLIES(x, x + n, width);                                                                             \
    if (m > 1) BASE(x, width, base, m);                                                                       \
  }
EB_HADAMARD(eb_hadamard_i32, butterflies_i32, base_i32, int32_t)

#define EB_ROTATION(SPREAD, TURN, T, FROM)                                      \
  /* The input among the coordinates, zeros at the others. */                   \
  static EB_APART void SPREAD(const eb_embedding* e, const FROM* x, T* room) {  \
    uint32_t words[4], i, left = e->d;                                          \
    for (i = 0; i < e->n; i++) {                                                \
      T v = 0;                                                                  \
      if (left && chosen(words, e, kSupport, &e->support, i)) v = *x++, left--; \
      *room++ = v;                                                              \
    }                                                                           \
  }                                                                             \
  /* Signs first, first + 1, ... */                                             \
  static EB_APART void TURN(const eb_embedding* e, uint32_t first, T* room) {   \
    uint32_t words[4], i;                                                       \
    for (i = first; i < first + e->n; i++, room++) {                            \
      if (i == first || !(i & 7u)) philox(e, 0, i >> 3, words);                 \
      if (words[i >> 1 & 3u] >> (i & 1u ? 31 : 15) & 1u) *room = -*room;        \
    }                                                                           \
  }
EB_ROTATION(spread_i8, turn_i32, int32_t, int8_t)

static EB_APART void gather_i8(const eb_embedding* e, int32_t* room) {
  int8_t* out = (int8_t*)room;
  uint32_t words[4], i;
  for (i = 0; i < e->n; i++, room++)
    if (chosen(words, e, kKept, &e->kept, i)) *out++ = (int8_t)shifted((int64_t)*room * e->multiplier, e->shift, 127);
}

const int8_t* eb_embed_i8(const eb_embedding* e, const int8_t* x, int32_t* room) {
  unsigned r;
  spread_i8(e, x, room);
  for (r = 0; r < e->rounds; r++) {
    turn_i32(e, r * e->n, room);
    eb_hadamard_i32(room, e->n, e->base, e->m);
  }
  gather_i8(e, room);
  return (const int8_t*)room;
}

/* ---- convolution, checksum ---- */

#define EB_WINDOW(NAME, T)                                                                                      \
  void NAME(const eb_image* image, const T* x, uint32_t row, uint32_t column, T* out) {                         \
    uint32_t c, i, j;                                                                                           \
    for (c = 0; c < image->channels; c++, x += (uint32_t)image->height * image->width)                          \
      for (i = 0; i < image->kernel_height; i++)                                                                \
        for (j = 0; j < image->kernel_width; j++) {                                                             \
          const uint32_t y = row * image->stride + i - image->pad, z = column * image->stride + j - image->pad; \
          *out++ = (T)(y < image->height && z < image->width ? x[y * image->width + z] : 0);                    \
        }                                                                                                       \
  }
EB_WINDOW(eb_window_i8, int8_t)

static uint32_t crc_byte(uint32_t crc, uint32_t byte) {
  unsigned k;
  crc ^= byte;
  for (k = 0; k < 8; k++) crc = crc >> 1 ^ (0xEDB88320u & (0u - (crc & 1u)));
  return crc;
}
uint32_t eb_crc32(uint32_t crc, const uint8_t* data, uint32_t count) {
  for (crc = ~crc; count; count--) crc = crc_byte(crc, *data++);
  return ~crc;
}
uint32_t eb_crc32_words(uint32_t crc, const void* numbers, uint32_t count) {
  const uint16_t one = 1;
  const uint8_t* p = (const uint8_t*)numbers;
  const uint32_t turn = *(const uint8_t*)&one ? 0 : 3; /* of big-endian words the last byte is first */
  uint32_t i;
  crc = ~crc;
  for (i = 0; i < 4 * count; i++) crc = crc_byte(crc, p[i ^ turn]);
  return ~crc;
}

/* ---- floats ----
 * Every sum, product and quotient goes to a variable of its own, which rounds it where a compiler computes floats as doubles. */

#if EVENBITS_FLOAT
static float float_of(uint32_t bits) {
  union {
    uint32_t bits;
    float value;
  } u;
  u.bits = bits;
  return u.value;
}

static float scale_at(const eb_layer_f32* w, uint32_t i) {
  uint32_t half, magnitude;
  if (w->scale_bytes == 4) return ((const float*)w->scales)[i];
  half = ((const uint16_t*)w->scales)[i];
  if (w->bfloat16) return float_of(half << 16);
  magnitude = half & 0x7FFFu;
  /* 2^112 moves the exponent of what is read as a float 2^112 too small; float16 below 2^-14 become right on the way */
  return (half & 0x8000u ? -1.0f : 1.0f) * (float_of(magnitude << 13) * 5192296858534827628530496329220096.0f);
}

/* Where the next code's level stands in a table. */
static uint32_t next_place(eb_cursor* c) {
  const uint32_t base = c->i < c->codes->split ? c->codes->levels : 0;
  return base + eb_next(c);
}

/* Row r's output, of its sixteen sums. */
#define EB_ROW_END()                                                                                             \
  do {                                                                                                           \
    for (k = 8; k; k >>= 1)                                                                                      \
      for (i = 0; i < k; i++) total[i] += total[i + k];                                                          \
    if (w->exponents) { /* in two steps, of which only the second rounds */                                      \
      const int e = w->exponents[r], last = e < -126 ? -126 : e > 127 ? 127 : e;                                 \
      total[0] = total[0] * float_of((uint32_t)(e - last + 127) << 23) * float_of((uint32_t)(last + 127) << 23); \
    }                                                                                                            \
    if (w->bias) total[0] += w->bias[r];                                                                         \
    *y = w->relu && !(total[0] > 0) ? 0 : total[0];                                                              \
  } while (0)

void eb_matvec_f32(const eb_layer_f32* w, const float* x, float* y, uint32_t stride) {
  const uint32_t n = w->codes.n, group = w->codes.group;
  const int scaled = w->codes.per != 0; /* the levels are, not the sums of octets: as evenbits.linear does it */
  uint32_t r, i, k;
  for (r = 0; r < w->codes.rows; r++, y += stride) {
    uint32_t place = r * w->codes.stride, end = group;
    float total[16], octet = 0, level, scale = scale_at(w, place), zero = w->zeros ? w->zeros[place] : 0;
    eb_cursor c;
    eb_begin(&c, &w->codes, r);
    for (k = 0; k < 16; k++) {
      EB_STEP(k);
      total[k] = 0;
    }
    for (i = 0; i < n;) {
      if (i == end) {
        place++, end += group;
        scale = scale_at(w, place);
        if (w->zeros) zero = w->zeros[place];
      }
      level = w->levels[next_place(&c)];
      if (w->zeros) level -= zero;
      if (scaled) level *= scale;
      level *= x[i++];
      octet += level;
      if (!(i & 7u) || i == n || (i == end && !scaled)) {
        if (!scaled) octet *= scale;
        total[(i - 1) >> 3 & 15u] += octet;
        octet = 0;
      }
    }
    EB_ROW_END();
  }
}

void eb_trellis_matvec_f32(const eb_trellis_f32* w, const float* x, float* y, uint32_t stride) {
  const uint32_t n = w->codes.n;
  uint32_t r, i, k;
  for (r = 0; r < w->codes.rows; r++, y += stride) {
    float total[16], octet = 0, level;
    eb_trellis_cursor c;
    eb_trellis_begin(&c, &w->codes, r, 0);
    for (k = 0; k < 16; k++) {
      EB_STEP(k);
      total[k] = 0;
    }
    for (i = 0; i < n;) {
      level = (float)eb_trellis_next(&c);
      level *= x[i++];
      octet += level;
      if (!(i & 7u) || i == n) {
        octet *= w->scales[r];
        total[(i - 1) >> 3 & 15u] += octet;
        octet = 0;
      }
    }
    EB_ROW_END();
  }
}

EB_HADAMARD(eb_hadamard_f32, butterflies_f32, base_f32, float)
EB_WINDOW(eb_window_f32, float)

EB_ROTATION(spread_f32, turn_f32, float, float)

static EB_APART void scale(float* room, uint32_t n, float by) {
  for (; n; n--) *room++ *= by;
}

const float* eb_embed_f32(const eb_embedding* e, const float* x, float* room) {
  uint32_t words[4], i, k;
  unsigned r;
  spread_f32(e, x, room);
  for (r = 0; r < e->rounds; r++) {
    turn_f32(e, r * e->n, room);
    if (!e->frame) scale(room, e->n, e->scale);
    eb_hadamard_f32(room, e->n, e->base, e->m);
    if (e->frame) scale(room, e->n, e->scale);
  }
  for (i = k = 0; i < e->n; i++)
    if (chosen(words, e, kKept, &e->kept, i)) room[k++] = room[i];
  return room;
}

/* e^x for x <= 0, to 3 units in the last place: 2^k times the Taylor polynomial of the rest. */
static float exp_of(float x) {
  static const float coefficients[6] = {1.0f / 120.0f, 1.0f / 24.0f, 1.0f / 6.0f, 0.5f, 1.0f, 1.0f};
  float r = x, p = 1.0f / 720.0f, t;
  int32_t k;
  unsigned i;
  if (!(x > -87.0f)) return x < 0 ? 0 : x; /* not a number stays that */
  t = x * 1.44269504f;
  t -= 0.5f;
  k = (int32_t)t;
  t = (float)k * 0.693359375f;
  r -= t;
  t = (float)k * -2.12194440e-4f;
  r -= t;
  for (i = 0; i < 6; i++) p *= r, p += coefficients[i];
  p *= float_of((uint32_t)(k + 127) << 23);
  return p;
}

void eb_softmax_f32(float* x, uint32_t n) {
  float most = x[0], sum = 0;
  uint32_t i;
  for (i = 1; i < n; i++)
    if (x[i] > most) most = x[i];
  for (i = 0; i < n; i++) {
    const float less = x[i] - most;
    x[i] = exp_of(less);
    sum += x[i];
  }
  for (i = 0; i < n; i++) x[i] /= sum;
}
#endif
