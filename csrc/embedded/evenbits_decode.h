/* Few-bit matrices on a microcontroller: decoded as they are multiplied. C99 and C++, no libc, no allocation, no float
 * unless EVENBITS_FLOAT is 1. The same bytes on every processor, of either byte order. `evenbits export c` writes the structs.
 *
 * Functions check nothing: what the comments below say must hold, as it does for what the exporter writes. */
#ifndef EVENBITS_DECODE_H
#define EVENBITS_DECODE_H

#include <stdint.h>

#ifndef EVENBITS_FLOAT
#define EVENBITS_FLOAT 1 /* 0 leaves out what computes in floats */
#endif
#ifndef EVENBITS_READ_BYTE /* for codes in a memory of their own, such as AVR's: pgm_read_byte */
#define EVENBITS_READ_BYTE(p) (*(p))
#endif

#ifndef EVENBITS_WEIGHTS /* before every array of weights; for a section: __attribute__((aligned(16), section(".qspi"))) */
#if defined(__GNUC__)
#define EVENBITS_WEIGHTS __attribute__((aligned(16)))
#elif defined(_MSC_VER)
#define EVENBITS_WEIGHTS __declspec(align(16))
#elif defined(__ICCARM__)
#define EVENBITS_WEIGHTS _Pragma("data_alignment=16")
#else
#define EVENBITS_WEIGHTS
#endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Packed rows, least significant bit first, each padded to a multiple of 4 bytes. Codes of `bits` bits, 1 to 8; or, where
 * `per` is not 0, blocks of `per` digits in `bits` bits, 1 to 64: the first `upper` digits of a block have levels + 1 values,
 * the others `levels`, 2 to 256. The upper digits of all blocks are the first `split` codes of the row. At most 2^24 codes a row,
 * and 2^29 bytes. */
typedef struct {
  const uint8_t* bytes;
  uint32_t rows, row_bytes;
  uint32_t n;      /* codes a row */
  uint32_t group;  /* codes that share a scale; n: the row */
  uint32_t stride; /* scales from one row to the next; 0: all rows share them */
  uint32_t split;
  uint16_t levels;
  uint8_t bits, per, upper;
  uint8_t last; /* bits of the last block if it has fewer digits */
} eb_codes;

/* The codes of one row from its first to its last. */
typedef struct {
  const eb_codes* codes;
  const uint8_t* row;
  uint32_t i;          /* the next code */
  uint16_t value[4];   /* of the block, least significant first */
  unsigned block : 24; /* after this one */
  unsigned left : 8;   /* digits that it still holds for us */
} eb_cursor;

void eb_begin(eb_cursor* c, const eb_codes* codes, uint32_t row);
uint32_t eb_next(eb_cursor* c); /* n times at most */

/* Rows of a bit-shift trellis, each padded to whole bytes, least significant bit first. A value has `whole` bits, and one more as
 * often as part / of says: value i ends with bit floor((i + 1) (whole + part / of)). It is the hash of the `memory` bits that end
 * with its own, -510 to 510; before a row's first bit stands its last. At most 2^24 values a row, and 2^29 bytes. */
typedef struct {
  const uint8_t* bytes;
  uint32_t rows, row_bytes;
  uint32_t n;          /* values a row that are multiplied */
  uint32_t bits;       /* of a row, at least `memory` */
  uint32_t multiplier; /* of the hash */
  uint32_t part, of;   /* part < of <= 2^16 */
  uint8_t whole;       /* 1 to 4, if that is 4 then part is 0 */
  uint8_t memory;      /* 8 to 16 */
} eb_trellis;

/* The values of one row from any one on. */
typedef struct {
  const eb_trellis* trellis;
  const uint8_t* next; /* byte of the row */
  uint32_t window;     /* the last `memory` bits, and above them the next ones of bytes that are read, `have` in all */
  uint32_t rest;       /* parts of a bit that the last place was rounded down by */
  uint32_t have;
} eb_trellis_cursor;

void eb_trellis_begin(eb_trellis_cursor* c, const eb_trellis* trellis, uint32_t row, uint32_t first);
int32_t eb_trellis_next(eb_trellis_cursor* c); /* as often as there are values */
/* The sum of the row's n values times x, exactly. */
int64_t eb_trellis_dot_i8(const eb_trellis* trellis, uint32_t row, const int8_t* x);
int64_t eb_trellis_dot_i16(const eb_trellis* trellis, uint32_t row, const int16_t* x);

/* How the input of a layer becomes the coordinates that have codes: a random rotation, or the analysis of a frame, and of
 * these coordinates perhaps a subset. Signs and subsets are those of Philox4x32-10 of (seed, stream). */
typedef struct {
  uint32_t seed[2], stream[2]; /* low word first */
  uint32_t d, n;               /* numbers of the input, and of the transform, n >= d */
  uint32_t support, kept;      /* in the subset are words up to this one; 0xFFFFFFFF: all */
  const uint8_t* base;         /* base matrix of the transform, m * m bits, 1 for -1; with m = 1 there is none */
  uint16_t m;                  /* n = m * 2^k */
  uint8_t rounds, frame;
  uint8_t shift; /* integers: coordinates are rounded to multiplier / 2^shift of them */
  int32_t multiplier;
  float scale; /* floats: 1 / sqrt(n) */
} eb_embedding;

/* Weights for 8-bit activations. Output: round((bias * 2^bias_shift + sum over groups of multiplier * s) / 2^shift), where
 * s = sum of (units[code] - zero_unit * zero) * x; of digits with levels + 1 values, units[levels + code]. No s
 * leaves 32 bits and no sum 62, for any x: the exporter proves that. shift: 1 to 60; bias_shift: at most 30. */
typedef struct {
  eb_codes codes;
  const int16_t* units;
  const int32_t* multipliers;
  const uint8_t* zeros; /* as the multipliers, or null */
  const int32_t* bias;  /* one a row, or null */
  int16_t zero_unit;
  int16_t even, center; /* where even is not 0, units[code] = even * code - center */
  uint8_t shift, bias_shift;
  int8_t least; /* 8-bit outputs are clamped to least and 127: 0 is ReLU */
} eb_layer_i8;

/* y[0], y[stride], ...: one for each row. */
void eb_matvec_i8(const eb_layer_i8* w, const int8_t* x, int8_t* y, uint32_t stride);
void eb_matvec_i32(const eb_layer_i8* w, const int8_t* x, int32_t* y, uint32_t stride);

/* The same of a trellis: round((bias * 2^bias_shift + multiplier * s) / 2^shift), s the sum of value * x, one multiplier a row.
 */
typedef struct {
  eb_trellis codes;
  const int32_t* multipliers;
  const int32_t* bias; /* or null */
  uint8_t shift, bias_shift;
  int8_t least;
} eb_trellis_i8;
void eb_trellis_matvec_i8(const eb_trellis_i8* w, const int8_t* x, int8_t* y, uint32_t stride);
void eb_trellis_matvec_i32(const eb_trellis_i8* w, const int8_t* x, int32_t* y, uint32_t stride);

/* x in place times the Hadamard matrix of order n = m * 2^k; if m is not 1, x has room for m more numbers. */
void eb_hadamard_i32(int32_t* x, uint32_t n, const uint8_t* base, uint32_t m);
/* The coordinates are int8_t from `room` on, which has n + m numbers (n if m is 1). */
const int8_t* eb_embed_i8(const eb_embedding* e, const int8_t* x, int32_t* room);

/* An image of channels * height * width, and the windows of a convolution; out[channels][kernel][kernel], 0 outside. */
typedef struct {
  uint16_t channels, height, width, kernel_height, kernel_width, stride, pad;
} eb_image;
void eb_window_i8(const eb_image* image, const int8_t* x, uint32_t row, uint32_t column, int8_t* out);

/* CRC-32 as zlib's: start with 0. eb_crc32_words takes the bytes of numbers from the least significant on. */
uint32_t eb_crc32(uint32_t crc, const uint8_t* data, uint32_t count);
uint32_t eb_crc32_words(uint32_t crc, const void* numbers, uint32_t count);

#if EVENBITS_FLOAT
/* Weights for floats. The products are those of evenbits.linear, bit for bit. */
typedef struct {
  eb_codes codes;
  const float* levels; /* as units */
  const void* scales;  /* of 4 bytes: float; of 2 bytes: bits of a float16, or bfloat16 */
  const uint8_t* zeros;
  const float* bias;
  const int16_t* exponents; /* of rows beyond the range of floats: the product is times 2^exponent, -253 to 254; or null */
  uint8_t scale_bytes, bfloat16;
  uint8_t relu;
} eb_layer_f32;

void eb_matvec_f32(const eb_layer_f32* w, const float* x, float* y, uint32_t stride);
/* Likewise, of a trellis. */
typedef struct {
  eb_trellis codes;
  const float* scales; /* one a row */
  const float* bias;
  const int16_t* exponents;
  uint8_t relu;
} eb_trellis_f32;
void eb_trellis_matvec_f32(const eb_trellis_f32* w, const float* x, float* y, uint32_t stride);

void eb_hadamard_f32(float* x, uint32_t n, const uint8_t* base, uint32_t m);
const float* eb_embed_f32(const eb_embedding* e, const float* x, float* room);
void eb_window_f32(const eb_image* image, const float* x, uint32_t row, uint32_t column, float* out);
void eb_softmax_f32(float* x, uint32_t n); /* in place */
#endif

#ifdef __cplusplus
}
#endif
#endif
