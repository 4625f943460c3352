/* C interface of the kernels: the caller owns every buffer; no kernel allocates, fails, checks or keeps state.
 * The same input gives the same output, bit for bit, on every instruction set, as long as the thread rounds to nearest
 * and does not flush denormals to zero. Kernels may run in any number of threads at once.
 *
 * They come as a table of functions. A program takes it from the static library, with evenbits_get_api; a Python
 * extension from the installed package, with evenbits_import.
 *
 * Matrices are `rows` rows of n elements, one after the other. Where a `group` is given, each row is cut into
 * ceil(n / group) groups of that many elements (the last may be shorter), and element j of row i takes entry
 * i * ceil(n / group) + j / group of a parameter array. group = n means one entry a row. */
#ifndef EVENBITS_H
#define EVENBITS_H

#ifdef EVENBITS_IMPORT_PYTHON
#include <Python.h> /* before any standard header */
#endif
#include <stddef.h>
#include <stdint.h>

/* The table is append-only: members keep their places and their meaning, and a release that appends some has a greater
 * version. A table serves whoever was compiled with a header of its own version or an earlier one. */
#define EVENBITS_API_VERSION 1

#ifdef __cplusplus
extern "C" {
#endif

/* A Hadamard matrix H of order n = m 2^k: base (x) S, with S the Sylvester matrix of order 2^k. */
typedef struct evenbits_hadamard {
  size_t n;
  size_t m;           /* 1, or the order of base; at most 1024 */
  const int8_t* base; /* m x m entries +1 and -1, row by row; unused if m is 1 */
} evenbits_hadamard;

/* Random bits of element i of a stream: half-word (first + i) mod 8 of Philox4x32-10 block (first + i) / 8,
 * with the counter (block, stream) and the key seed. */
typedef struct evenbits_stream {
  uint64_t seed, stream, first;
} evenbits_stream;

/* A block of mixed-radix digits. The n digits of a row are kept as the `upper` ones of every block, then the rest:
 * digits with levels + 1 values come first, those with `levels` values after them. A block takes the next `upper`
 * digits of the first kind and the next per - upper of the second, least significant first, and fills `bits` bits.
 * With rest = n mod per > 0, the last block holds min(upper, rest) upper digits and rest - min(upper, rest) others, in
 * the fewest bits that hold the product of their level counts. Unpacking takes a block's value modulo that product. */
typedef struct evenbits_radix {
  uint32_t levels; /* 2 to 65536, with upper digits to 65535 */
  uint32_t upper;  /* 0 to per */
  uint32_t per;    /* digits a block: 1 to 64 */
  uint32_t bits;   /* bits a block: 1 to 64 */
} evenbits_radix;

/* Rows of d values as n = h.n >= d plain codes each, of y = H (scale * signs o x) with zeros appended to x. */
typedef struct evenbits_rotation {
  evenbits_hadamard h;
  size_t d;
  const float* signs;      /* n factors */
  float scale;             /* n^-1/2 */
  uint32_t bits;           /* 1 to 8 */
  const float* levels;     /* 256 entries: what the codes mean, in units of a row's scale */
  const float* thresholds; /* 2^bits - 1 of them, ascending; decoding does not read them */
} evenbits_rotation;

/* A matrix of packed codes. Code j of row i fills bits j * bits to (j + 1) * bits - 1 of the row_bytes bytes that begin at
 * codes + i * row_bytes, least significant first, and stands for (levels[code] - zero) * scale. With bits = 32 the codes are
 * native floats and stand for (code - zero) * scale. */
typedef struct evenbits_packed {
  size_t rows, n;
  const uint8_t* codes;
  size_t row_bytes;    /* at least ceil(n * bits / 8) */
  uint32_t bits;       /* 1 to 8, or 32 */
  const float* levels; /* 2^bits finite numbers; not read if bits is 32 */
  const float* scale;  /* an entry for each group of each row */
  const float* zero;   /* likewise, or null: 0 */
  size_t group;        /* at least 1; products are fast where it is a multiple of 8 or at least n */
} evenbits_packed;

/* Whole numbers that the levels are multiples of, about: level = step * (unit[code] - center). */
typedef struct evenbits_units {
  uint8_t unit[256]; /* 2^bits of them are read */
  float center;      /* products are exact up to the scales if this is a multiple of 1/2 */
  float step;        /* positive */
} evenbits_units;

/* How encode_rotated_f32 chooses the scale after the codes: not at all, with the least squared error, or so that the
 * error is orthogonal to the row. */
enum { EVENBITS_FIT_NONE, EVENBITS_FIT_LEAST_SQUARES, EVENBITS_FIT_UNBIASED };

/* Evenly spaced levels from -peak to peak, in units of a row's root mean square; one level is 0. */
typedef struct evenbits_alphabet {
  uint32_t levels;
  float peak; /* 0 for one level */
} evenbits_alphabet;

/* Successive refinement of n magnitudes. Residuals start as |w|; a weight whose residual exceeds the threshold t grows by t.
 * One at a time, in order and round again, t *= decay after each; where none exceeds t, a lower t is announced: that of the
 * next residual after the `order` largest, or, with order 0, level times the mean residual of the `count` weights that are not
 * 0, or what a residual just exceeds if that is less; with slack < 1, level is first multiplied by it until some residual
 * exceeds. In passes: all that exceed t grow, by as many times t as fit; t is what `order` residuals exceed. Ends as soon as the
 * residuals add up to `least`, before more than `most` weights are not 0, and when t is down to `smallest` (positive). */
typedef struct evenbits_refinement {
  size_t n;        /* at most 2^32 - 2 */
  int passes;      /* 1: in passes; 0: one at a time */
  double decay;    /* at most 1; one at a time alone */
  uint64_t events; /* decoding: how often a weight grows in all */
  /* encoding alone: */
  size_t count, order, most;
  double total, least; /* sums: of all magnitudes, and of the residuals to reach */
  double level, slack; /* positive; slack at most 1 */
  float first;         /* threshold of one at a time; positive */
  float smallest;
} evenbits_refinement;

/* What a stream holds: its bytes, how often a weight grew, how many are not 0, what the residuals add up to. */
typedef struct evenbits_refined {
  size_t bytes;
  uint64_t events;
  size_t nonzeros;
  double total; /* decoding: negative if the bytes make no sense, otherwise 0; bytes and nonzeros are 0 then */
} evenbits_refined;

/* The recursion of path following over n columns: v_t = base_t - sum_{s < t} z_s H_st, a_t = w_t + v_t / pivot_t, or w_t where
 * pivot_t is 0; z_t = q_t - w_t. q_t = (k + offset) step for the integer k, low <= k <= high, nearest to a / step - offset, ties
 * upwards; with random bits its floor, plus 1 where bits + 1/2 < 65536 times the rest. shrink: a comes nearer to 0 first, by so
 * much. gap > 0: q_t is 0, or +-(gap + |k| - 1) step where |a| > gap step, |k| <= high, at the nearest. */
typedef struct evenbits_path {
  size_t n;
  double low, high; /* integers of magnitude at most 2^30, for float 2^20 */
  double offset, shrink, gap;
} evenbits_path;

/* An entropy-coded trellis of 2^order states. n values are `lanes` sequences of ceil(n / lanes), the last of them shorter; each
 * starts in state 0. A value's symbol is c + contexts i, c being the state modulo contexts, of which c mod 2 says the quantizer,
 * and i the index k in it: 2 |k|, or 2 k - 1 if k > 0. For searching, magnitudes fall into bins, the integer below fineness |x|,
 * at most bins - 1; each has 2 contexts candidates, at 2 c + k mod 2: what |k| means, the price of its bits, and |k|. For coding,
 * the shares of 2^14 that symbols have, those of one c adding up to that, where they start, and the symbol of each slot:
 * c 2^14 + start + 0, 1, ... */
typedef struct evenbits_trellis {
  size_t n;
  uint32_t lanes; /* 1 to 16 */
  uint32_t order; /* 2 to 8 */
  uint32_t bins;
  float fineness;
  const float* points; /* 2 contexts bins; so have prices and magnitudes */
  const float* prices;
  const uint16_t* magnitudes;
  const uint32_t* shares; /* one a symbol */
  const uint32_t* starts;
  const uint16_t* slots;
  const float* values; /* what symbols mean */
  uint32_t contexts;   /* 2, 4 or 8, at most the states */
} evenbits_trellis;

/* A trellis code of a constant rate. Bits floor(i bits / per) to floor((i + 1) bits / per) of a row are those of value i; a
 * row is padded to whole bytes. With s the `memory` bits that end with them, the last one highest, the row's end standing
 * before its beginning, and h = a s + 76625530 modulo 2^32, value i is the sum of the four bytes of h, less 510; a is
 * 1976101133, 310825767, 4173394211 or 1753752023 for bits / per from 1, 2, 3 or 4 on, rotated left by 16 - memory bits. */
typedef struct evenbits_bit_shift {
  size_t n;           /* at least memory */
  uint32_t memory;    /* 8 to 16 */
  uint32_t bits, per; /* bits / per is 1 to 4, per at most 2^16 */
} evenbits_bit_shift;

typedef struct evenbits_api {
  uint32_t version; /* EVENBITS_API_VERSION of the build; later versions only append members */
  const char* isa;  /* "sse2", "avx2", "avx512", "avx512vbmi" or "neon" */

  /* y = scale * after o (H (before o x)), row by row; o is the product of elements. y may be x; otherwise they do not
   * overlap. before and after hold n factors each, or are null. The integer kernel wraps around at 32 bits. */
  void (*hadamard_f32)(const float* x, float* y, size_t rows, const evenbits_hadamard* h, const float* before, const float* after,
                       float scale);
  void (*hadamard_f64)(const double* x, double* y, size_t rows, const evenbits_hadamard* h, const double* before,
                       const double* after, double scale);
  void (*hadamard_i32)(const int32_t* x, int32_t* y, size_t rows, const evenbits_hadamard* h);

  /* Words of a stream: out[i] is word (first + i) mod 4 of block (first + i) / 4. The two half-words of a word are
   * its low bits, then its high bits. */
  void (*random_words)(evenbits_stream s, size_t count, uint32_t* out);

  /* codes = x * scale + zero, clamped to [0, top], rounded to the nearest integer, ties to even. */
  void (*round_nearest_f32_u8)(const float* x, size_t rows, size_t n, size_t group, const float* scale, const float* zero,
                               uint32_t top, uint8_t* codes);
  void (*round_nearest_f32_u16)(const float* x, size_t rows, size_t n, size_t group, const float* scale, const float* zero,
                                uint32_t top, uint16_t* codes);
  void (*round_nearest_f64_u8)(const double* x, size_t rows, size_t n, size_t group, const double* scale, const double* zero,
                               uint32_t top, uint8_t* codes);
  void (*round_nearest_f64_u16)(const double* x, size_t rows, size_t n, size_t group, const double* scale, const double* zero,
                                uint32_t top, uint16_t* codes);
  /* The same, rounded up with probability equal to the fraction f: when k + 1/2 < 65536 f for the element's half-word k.
   * Element (i, j) is number first + i * n + j of the stream. */
  void (*round_stochastic_f32_u8)(const float* x, size_t rows, size_t n, size_t group, const float* scale, const float* zero,
                                  uint32_t top, evenbits_stream s, uint8_t* codes);
  void (*round_stochastic_f32_u16)(const float* x, size_t rows, size_t n, size_t group, const float* scale, const float* zero,
                                   uint32_t top, evenbits_stream s, uint16_t* codes);
  void (*round_stochastic_f64_u8)(const double* x, size_t rows, size_t n, size_t group, const double* scale, const double* zero,
                                  uint32_t top, evenbits_stream s, uint8_t* codes);
  void (*round_stochastic_f64_u16)(const double* x, size_t rows, size_t n, size_t group, const double* scale, const double* zero,
                                   uint32_t top, evenbits_stream s, uint16_t* codes);
  /* float32 to the bits of bfloat16 or float16, rounded stochastically; saturates at the largest finite value. */
  void (*round_bfloat16)(const float* x, size_t n, evenbits_stream s, uint16_t* out);
  void (*round_float16)(const float* x, size_t n, evenbits_stream s, uint16_t* out);
  /* errors[i] = sum over the group of (x - ((code - zero) * step))^2 with code as round_nearest_f32 gives it, in
   * doubles, in the order of `dot`. */
  void (*round_error_f32)(const float* x, size_t rows, size_t n, size_t group, const float* scale, const float* zero,
                          const float* step, uint32_t top, double* errors);

  /* codes = the number of thresholds t with t <= x * scale; thresholds ascend, 0 to 255 of them. */
  void (*nearest_level_f32)(const float* x, size_t rows, size_t n, size_t group, const float* scale, const float* thresholds,
                            size_t count, uint8_t* codes);
  /* y = (table[code] - zero) * scale; zero may be null and then is not subtracted. The table has 256 entries for bytes,
   * 65536 for u16: one for whatever a code can be. */
  void (*dequantize_u8)(const uint8_t* codes, size_t rows, size_t n, size_t group, const float* table, const float* scale,
                        const float* zero, float* y);
  void (*dequantize_u16)(const uint16_t* codes, size_t rows, size_t n, size_t group, const float* table, const float* scale,
                         const float* zero, float* y);

  /* Codes of `bits` bits (1 to 8; 1 to 16 for u16) to a least-significant-bit-first bit string a row: code i fills bits
   * i * bits to i * bits + bits - 1. A row takes row_bytes >= ceil(n * bits / 8) bytes; the rest of it becomes zero. What a
   * code has above its lowest bits is left out, and packing returns those bits of all codes together: 0 if all fit. */
  uint32_t (*pack_u8)(const uint8_t* codes, size_t rows, size_t n, uint32_t bits, uint8_t* packed, size_t row_bytes);
  uint32_t (*pack_u16)(const uint16_t* codes, size_t rows, size_t n, uint32_t bits, uint8_t* packed, size_t row_bytes);
  void (*unpack_u8)(const uint8_t* packed, size_t rows, size_t n, uint32_t bits, size_t row_bytes, uint8_t* codes);
  void (*unpack_u16)(const uint8_t* packed, size_t rows, size_t n, uint32_t bits, size_t row_bytes, uint16_t* codes);
  /* The same for blocks of mixed-radix digits; block i fills bits i * bits to i * bits + bits - 1 of the row. */
  void (*pack_radix_u8)(const uint8_t* codes, size_t rows, size_t n, evenbits_radix r, uint8_t* packed, size_t row_bytes);
  void (*pack_radix_u16)(const uint16_t* codes, size_t rows, size_t n, evenbits_radix r, uint8_t* packed, size_t row_bytes);
  void (*unpack_radix_u8)(const uint8_t* packed, size_t rows, size_t n, evenbits_radix r, size_t row_bytes, uint8_t* codes);
  void (*unpack_radix_u16)(const uint8_t* packed, size_t rows, size_t n, evenbits_radix r, size_t row_bytes, uint16_t* codes);

  /* out[g] = sum over the group of x * y, exact products in doubles: 16 interleaved partial sums (element j of the group
   * goes to sum j mod 16), then s[j] += s[j + 8], s[j] += s[j + 4], s[j] += s[j + 2], s[0] + s[1]. */
  void (*dot_f32)(const float* x, const float* y, size_t rows, size_t n, size_t group, double* out);
  /* The least and the greatest element of each group. */
  void (*extremes_f32)(const float* x, size_t rows, size_t n, size_t group, float* least, float* greatest);
  /* The index of the first NaN or infinity, or n. */
  size_t (*first_nonfinite_f32)(const float* x, size_t n);
  size_t (*first_nonfinite_f64)(const double* x, size_t n);

  /* Kashin representation a of each row x: x = F a with F a = signs o (H a) / sqrt(n). signs holds n factors +1, -1 and,
   * off the frame's support, 0; x is 0 there too. Lyubarskii and Vershynin's iteration: clip F^T r at +-M, add it to a,
   * take it from r, multiply M by eta; M starts at |x| / sqrt(delta n). `closing` adds F^T of the last residual unclipped.
   * scratch: 2 n floats. */
  void (*kashin_f32)(const float* x, float* a, size_t rows, const evenbits_hadamard* h, const float* signs, uint32_t iterations,
                     float eta, float delta, int closing, float* scratch);

  /* Codes and scales of rotated rows. With the sums of `dot` and all else in doubles: s = sqrt(<y, y> / n), as a float; the
   * codes of y * (1 / s), the reciprocal as a float and 0 for s < 2^-100, as nearest_level and pack give them; then, l being
   * their levels, the scale <y, l> / <l, l> (least squares), <y, y> / <y, l> (unbiased), or s where that is not a positive
   * number. Stops at a row whose largest magnitude or whose scale is neither 0 nor from 2^-60 to 2^60 (so at NaN and
   * infinity, too) and returns its index, or `rows`; bytes of rows from there on are undefined. scratch: n floats. */
  size_t (*encode_rotated_f32)(const float* x, size_t rows, const evenbits_rotation* r, int fit, uint8_t* packed,
                               size_t row_bytes, float* scales, float* scratch);
  /* The first d values of scale * signs o (H y), y = levels[code] * scales[row]. Stops at scales of other sizes likewise. */
  size_t (*decode_rotated_f32)(const uint8_t* packed, size_t row_bytes, const float* scales, size_t rows,
                               const evenbits_rotation* r, float* x, float* scratch);

  /* Columns of n floats, one after the other, as product_f32 reads them: ceil(n / 128) * 128 floats each. Best put where a
   * cache line begins. */
  void (*prepare_f32)(const float* x, size_t columns, size_t n, float* prepared);
  /* y[column * stride + row] = the product of a row and a column, in floats, multiplications and additions apart. An octet is
   * eight elements of a row from a multiple of 8 on, or what of them lies in one group: the products (levels[code] - zero) * x
   * are added up from its first to its last; that sum times the group's scale is added to total (j / 8) mod 16, j being the
   * octet's first element; octets follow in their order. Then t[i] += t[i + 8], t[i] += t[i + 4], t[i] += t[i + 2],
   * t[0] + t[1]. Bits behind a row's last code do not matter. The result is never -0. */
  void (*product_f32)(const evenbits_packed* w, const float* prepared, size_t columns, float* y, size_t stride);
  /* The same for columns that are rounded to 8 bits, with codes of 1 to 8 bits and groups of a multiple of 8 elements, or one
   * a row. A cell is 32 elements from a multiple of 32 on, or 8 if rows have several groups and these are no multiples of 32. A
   * cell of a column becomes q = x * (127 / m) rounded to the nearest integer, ties to even, m being its largest magnitude, and
   * the scale m / 127; zeros for m < 2^-100. The column is finite. prepared: ceil(n / 512) * 1024 bytes a column, aligned as
   * floats are; it serves codes of up to 4 bits, or of 5 to 8, and groups that make the same cells. */
  void (*prepare_i8)(const float* x, size_t columns, size_t n, uint32_t bits, size_t group, void* prepared);
  /* y[column * stride + row] = step * t, t being the sum of 16 totals as in product_f32, to which a cell, instead of an octet,
   * adds group's scale * (cell's scale * (S - center * Q)), S the sum of unit * q and Q that of q, in integers; the group's zero,
   * if there are any, stands for center. w.levels is not read. */
  void (*product_i8)(const evenbits_packed* w, const evenbits_units* u, const void* prepared, size_t columns, float* y,
                     size_t stride);

  /* hadamard_f32 on the bits of float16 and bfloat16: widened, transformed as floats, rounded once to the nearest, ties to even,
   * beyond the range to infinity. Every NaN comes out as 0x7E00 or 0x7FC0. scratch: n floats. */
  void (*hadamard_f16)(const uint16_t* x, uint16_t* y, size_t rows, const evenbits_hadamard* h, const float* before,
                       const float* after, float scale, float* scratch);
  void (*hadamard_bf16)(const uint16_t* x, uint16_t* y, size_t rows, const evenbits_hadamard* h, const float* before,
                        const float* after, float scale, float* scratch);
  /* Rounds of transforms, 1 or more, with n factors each: y becomes H (factors o y) for those of round 0, 1, ..., starting from
   * x; or, if `inverse`, factors o (H y) for those of the last round first. Rounded once, after all rounds. y may be x. */
  void (*rotate_f32)(const float* x, float* y, size_t rows, const evenbits_hadamard* h, const float* factors, size_t rounds,
                     int inverse);
  void (*rotate_f64)(const double* x, double* y, size_t rows, const evenbits_hadamard* h, const double* factors, size_t rounds,
                     int inverse);
  void (*rotate_f16)(const uint16_t* x, uint16_t* y, size_t rows, const evenbits_hadamard* h, const float* factors, size_t rounds,
                     int inverse, float* scratch);
  void (*rotate_bf16)(const uint16_t* x, uint16_t* y, size_t rows, const evenbits_hadamard* h, const float* factors,
                      size_t rounds, int inverse, float* scratch);

  /* Coefficients a = s c of each row x in the frame of kashin_f32, all but few of the c at -1 or 1, so that x is near s F
   * sign(c). s is level |x|. From c = 0, with t = x / s: w = c + momentum (c - the c before), c = w (1 + concavity k /
   * iterations) + F^T (t - F w), clamped to +-box, for k = 0 to iterations - 1. a may be x. scratch: 4 n floats. */
  void (*sign_frame_f32)(const float* x, float* a, size_t rows, const evenbits_hadamard* h, const float* signs, const float* box,
                         uint32_t iterations, double level, float momentum, double concavity, float* scratch);

  /* Democratic embedding a of each row x: the least |a|_inf with x = F a, F and x as in kashin_f32. Iteration of Douglas and
   * Rachford from z = signs o x: p = H (H z / sqrt(n) clipped at +-t) / sqrt(n); z += 1.5 (signs o x - p) on the support,
   * z += 1.5 (p - z) off it; after the last p, z is signs o x on the support and p off it. a = H z / sqrt(n). t starts at
   * |x| / sqrt(n) and takes two steps of Newton's method an iteration, t + (sum max(|v| - t, 0) - |x| sqrt(n) / 16) / (number of
   * |v| > t), v = H z / sqrt(n), the sum in doubles in the order of `dot`; 0 for what is not a positive number. scratch:
   * 2 n floats. */
  void (*democratic_f32)(const float* x, float* a, size_t rows, const evenbits_hadamard* h, const float* signs,
                         uint32_t iterations, float* scratch);

  /* Factors of each row x = s (u + P v), P = H diag(signs) H / n, s its root mean square. From r = x / s, u = v = 0: steps
   * u += c sign(r), c = |r|_1 / n, or v += c sign(P r), c = |P r|_1 / n; greedy: where c is larger, of equals v; otherwise
   * u, u, v, v, and again. Ends after `most` steps or with |r| <= tolerance sqrt(n); residuals[row] is |r| / sqrt(n) then.
   * scratch: 3 n floats. */
  void (*kashin_split_f32)(const float* x, float* u, float* v, size_t rows, const evenbits_hadamard* h, const float* signs,
                           int greedy, uint32_t most, double tolerance, double* residuals, float* scratch);
  /* Codes i + levels_u j of each row, so that s (u_i + P v_j) is near it, all decided together. alphabets: of u and of v for
   * coordinates below `split`, then for the others; at most 256 pairs each. From u = v = 0, for k = 0 to iterations - 1, with
   * w = c + momentum (c - the c before) of both factors and r = x / s - w_u - P w_v: c = w + (concavity k / iterations)
   * (w - the nearest threshold) + r / 2 for u, P r / 2 for v, clamped to +-peak. scratch: 8 n floats. */
  void (*kashin_joint_f32)(const float* x, uint8_t* codes, size_t rows, const evenbits_hadamard* h, const float* signs,
                           size_t split, const evenbits_alphabet* alphabets, uint32_t iterations, float momentum,
                           double concavity, float* scratch);

  /* Rows of integers from -32767 to 32767, those near 0 in few bits, as a stream of adaptive range coding; its bytes, or
   * capacity + 1 if they are more. Decoding gives the count of levels that the bytes hold: rows * n if it is whole,
   * rows * n + 1 if bytes are left over, less if they end early or make no sense. scratch: n bytes. */
  size_t (*encode_levels)(const int16_t* levels, size_t rows, size_t n, uint8_t* out, size_t capacity, uint8_t* scratch);
  size_t (*decode_levels)(const uint8_t* in, size_t size, size_t rows, size_t n, int16_t* levels, uint8_t* scratch);
  /* The stream of weights w and what it makes of them, y, |y| <= |w|; when it has filled `capacity`, y and the counts may be
   * a little ahead of it. Every prefix decodes, to one of the values that y had. scratch: as many 8-byte words as
   * refine_scratch says, n bytes for decoding. */
  size_t (*refine_scratch)(const evenbits_refinement* r);
  evenbits_refined (*refine_encode)(const evenbits_refinement* r, const float* w, float* y, uint8_t* out, size_t capacity,
                                    uint64_t* scratch);
  evenbits_refined (*refine_decode)(const evenbits_refinement* r, const uint8_t* in, size_t size, float* y, uint8_t* scratch);

  /* c += a b in doubles, for at most 128 rows and columns; the products of an element are added in the order of k. a(i, k) =
   * a[i * a_row + k * a_step], b(k, j) = b[k * b_step + j], c(i, j) = c[i * c_row + j]. scratch: 65536 doubles. */
  void (*multiply_add_f32)(const float* a, size_t a_row, size_t a_step, const float* b, size_t b_step, size_t rows,
                           size_t columns, size_t depth, double* c, size_t c_row, double* scratch);
  void (*multiply_add_f64)(const double* a, size_t a_row, size_t a_step, const double* b, size_t b_step, size_t rows,
                           size_t columns, size_t depth, double* c, size_t c_row, double* scratch);
  /* Rows of evenbits_path. panels: 32 p (p + 1) numbers, p = ceil(n / 8): H(s, t), s <= t, at 32 q (q + 1) + 8 s + t mod 8 with q
   * = t / 8, zeros elsewhere; pivot: n numbers. w, base (or null: 0), bits (or null), codes (the integers k; or null) and z (or
   * null) are rows of n; clamped counts the integers beyond low and high in each row. step: one a row; or null, and then z_t =
   * a_t. scratch: r (n + 202) numbers, r being rows rounded up to a multiple of 64. */
  void (*follow_path_f32)(const evenbits_path* p, const float* panels, const float* pivot, const float* w, const float* base,
                          const float* step, const uint16_t* bits, size_t rows, int32_t* codes, float* z, uint32_t* clamped,
                          float* scratch);
  void (*follow_path_f64)(const evenbits_path* p, const double* panels, const double* pivot, const double* w, const double* base,
                          const double* step, const uint16_t* bits, size_t rows, int32_t* codes, double* z, uint32_t* clamped,
                          double* scratch);

  /* The nearest of `count` codewords to each row: the first k of the least half[k] - x_0 c_0k - x_1 c_1k - ..., in floats and
   * in that order, half[k] being half its square (or infinity where there is none), c = columns + k with `count` floats a row,
   * n rows. count is a multiple of 16, at most 256. If `subtract`, the codeword is taken from the row. Rows lie stride >= n
   * apart. */
  void (*nearest_codeword_f32)(float* x, size_t rows, size_t stride, const float* columns, const float* half, size_t n,
                               size_t count, int subtract, uint8_t* codes);
  /* Each row of n floats is the sum, in the order of layers, of codeword codes[layer * stride + row] of each book: books[layer]
   * holds codewords of widths[layer] floats, a multiple of 64; beyond n they are not used, beyond the width they are 0. */
  void (*sum_codewords_f32)(const uint8_t* codes, size_t rows, size_t stride, size_t layers, const float* const* books,
                            const size_t* widths, size_t n, float* y);
  /* sums[group[row]] += row, for the rows of n doubles one after the other. */
  void (*group_sums_f64)(const double* x, const uint32_t* group, size_t rows, size_t n, double* sums);
  /* Each row of n doubles times the n x m matrix that index[row] names (the first, if index is null): sums in the order of the
   * row's elements, from 0 on. */
  void (*indexed_product_f64)(const double* x, const uint32_t* index, size_t rows, size_t n, const double* matrices, size_t m,
                              double* y);
  /* y = narrow[x], for tables of 256 bytes; or, with `wide`, for pairs of bytes (n is even), wide[x] for the neighbours of 0. */
  void (*windows_u8)(const uint8_t* x, size_t n, const uint8_t* narrow, const uint8_t* wide, uint8_t* y);

  /* The symbols of n values for which squared errors and prices add up to least. scratch: as many words as trellis_scratch
   * says. */
  size_t (*trellis_scratch)(const evenbits_trellis* t);
  void (*trellis_search_f32)(const evenbits_trellis* t, const float* x, uint16_t* symbols, uint32_t* scratch);
  /* How often each symbol comes, and the sum of the values it stands for, added to what is there. */
  void (*trellis_tally)(const uint16_t* symbols, const float* x, size_t n, uint64_t* counts, double* sums);
  /* The symbols as bytes: how many, or capacity + 1 if that is not enough. Reading gives 1, or 0 if the bytes are not those of n
   * values; y is filled in any case. */
  size_t (*trellis_write)(const evenbits_trellis* t, const uint16_t* symbols, uint8_t* out, size_t capacity);
  int (*trellis_read)(const evenbits_trellis* t, const uint8_t* in, size_t size, float* y);

  /* The rows of integers near x, in units of 1 / 32 of a value's for less than 2 bits and of 1 / 64 otherwise. Costs have 16
   * bits: those of a value are its squared difference, of 2^15 at most, over 2^16, and 4 times that from 3 bits on, 16 times that
   * at 4. scratch: as many int16 as bit_shift_scratch says. */
  size_t (*bit_shift_scratch)(const evenbits_bit_shift* t);
  void (*bit_shift_search)(const evenbits_bit_shift* t, const int16_t* x, size_t rows, uint8_t* out, int16_t* scratch);
  /* Values times their row's scale. */
  void (*bit_shift_decode_f32)(const evenbits_bit_shift* t, const uint8_t* in, const float* scale, size_t rows, float* y);
  /* y[c * stride + row] = the row times column c, which prepare_f32 prepared, in the order of product_f32: an octet's values are
   * multiplied before the scale is. */
  void (*bit_shift_product_f32)(const evenbits_bit_shift* t, const uint8_t* in, const float* scale, size_t rows,
                                const float* prepared, size_t columns, float* y, size_t stride);
} evenbits_api;

/* Only in the static library (cmake -DEVENBITS_PYTHON=OFF). The table of the best instruction set of this processor, or
 * of the one that the environment variable EVENBITS_ISA names: null if that one is not available. */
const evenbits_api* evenbits_get_api(void);
/* The table of the instruction set of this name, null if it is not available; of the best one if `isa` is null. */
const evenbits_api* evenbits_get_api_for(const char* isa);

#ifdef EVENBITS_IMPORT_PYTHON
/* The table that the installed Python package chose when it was imported, by EVENBITS_ISA or as the best one; later
 * calls of use_isa do not change it. Null, with an exception set, if there is no package or it is older than this
 * header. Needs the GIL, which the kernels do not. */
static inline const evenbits_api* evenbits_import(void) {
  const evenbits_api* api = (const evenbits_api*)PyCapsule_Import("evenbits._core._api", 0);
  if (!api || api->version >= EVENBITS_API_VERSION) return api;
  PyErr_Format(PyExc_ImportError, "the installed evenbits has version %u of its C interface, and %u is needed: upgrade it",
               (unsigned)api->version, (unsigned)EVENBITS_API_VERSION);
  return NULL;
}
#endif

#ifdef __cplusplus
}
#endif

#endif
