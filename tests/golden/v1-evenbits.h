/* The structs of version 1 of the C interface, for ever. */
#include <stddef.h>
#include <stdint.h>

typedef struct evenbits_hadamard {
  size_t n;
  size_t m;
  const int8_t* base;
} evenbits_hadamard;

typedef struct evenbits_stream {
  uint64_t seed, stream, first;
} evenbits_stream;

typedef struct evenbits_radix {
  uint32_t levels;
  uint32_t upper;
  uint32_t per;
  uint32_t bits;
} evenbits_radix;

typedef struct evenbits_rotation {
  evenbits_hadamard h;
  size_t d;
  const float* signs;
  float scale;
  uint32_t bits;
  const float* levels;
  const float* thresholds;
} evenbits_rotation;

typedef struct evenbits_packed {
  size_t rows, n;
  const uint8_t* codes;
  size_t row_bytes;
  uint32_t bits;
  const float* levels;
  const float* scale;
  const float* zero;
  size_t group;
} evenbits_packed;

/* Evenly spaced levels from -peak to peak, in units of a row's root mean square; one level is 0. */
typedef struct evenbits_alphabet {
  uint32_t levels;
  float peak; /* 0 for one level */
} evenbits_alphabet;

typedef struct evenbits_units {
  uint8_t unit[256];
  float center;
  float step;
} evenbits_units;

typedef struct evenbits_refinement {
  size_t n;
  int passes;
  double decay;
  uint64_t events;
  size_t count, order, most;
  double total, least;
  double level, slack;
  float first;
  float smallest;
} evenbits_refinement;

typedef struct evenbits_refined {
  size_t bytes;
  uint64_t events;
  size_t nonzeros;
  double total;
} evenbits_refined;

typedef struct evenbits_path {
  size_t n;
  double low, high;
  double offset, shrink, gap;
} evenbits_path;

typedef struct evenbits_trellis {
  size_t n;
  uint32_t lanes;
  uint32_t order;
  uint32_t bins;
  float fineness;
  const float* points;
  const float* prices;
  const uint16_t* magnitudes;
  const uint32_t* shares;
  const uint32_t* starts;
  const uint16_t* slots;
  const float* values;
  uint32_t contexts;
} evenbits_trellis;

typedef struct evenbits_bit_shift {
  size_t n;
  uint32_t memory;
  uint32_t bits, per;
} evenbits_bit_shift;

typedef struct evenbits_api {
  uint32_t version;
  const char* isa;
  void (*hadamard_f32)(const float* x, float* y, size_t rows, const evenbits_hadamard* h, const float* before, const float* after,
                       float scale);
  void (*hadamard_f64)(const double* x, double* y, size_t rows, const evenbits_hadamard* h, const double* before,
                       const double* after, double scale);
  void (*hadamard_i32)(const int32_t* x, int32_t* y, size_t rows, const evenbits_hadamard* h);
  void (*random_words)(evenbits_stream s, size_t count, uint32_t* out);
  void (*round_nearest_f32_u8)(const float* x, size_t rows, size_t n, size_t group, const float* scale, const float* zero,
                               uint32_t top, uint8_t* codes);
  void (*round_nearest_f32_u16)(const float* x, size_t rows, size_t n, size_t group, const float* scale, const float* zero,
                                uint32_t top, uint16_t* codes);
  void (*round_nearest_f64_u8)(const double* x, size_t rows, size_t n, size_t group, const double* scale, const double* zero,
                               uint32_t top, uint8_t* codes);
  void (*round_nearest_f64_u16)(const double* x, size_t rows, size_t n, size_t group, const double* scale, const double* zero,
                                uint32_t top, uint16_t* codes);
  void (*round_stochastic_f32_u8)(const float* x, size_t rows, size_t n, size_t group, const float* scale, const float* zero,
                                  uint32_t top, evenbits_stream s, uint8_t* codes);
  void (*round_stochastic_f32_u16)(const float* x, size_t rows, size_t n, size_t group, const float* scale, const float* zero,
                                   uint32_t top, evenbits_stream s, uint16_t* codes);
  void (*round_stochastic_f64_u8)(const double* x, size_t rows, size_t n, size_t group, const double* scale, const double* zero,
                                  uint32_t top, evenbits_stream s, uint8_t* codes);
  void (*round_stochastic_f64_u16)(const double* x, size_t rows, size_t n, size_t group, const double* scale, const double* zero,
                                   uint32_t top, evenbits_stream s, uint16_t* codes);
  void (*round_bfloat16)(const float* x, size_t n, evenbits_stream s, uint16_t* out);
  void (*round_float16)(const float* x, size_t n, evenbits_stream s, uint16_t* out);
  void (*round_error_f32)(const float* x, size_t rows, size_t n, size_t group, const float* scale, const float* zero,
                          const float* step, uint32_t top, double* errors);
  void (*nearest_level_f32)(const float* x, size_t rows, size_t n, size_t group, const float* scale, const float* thresholds,
                            size_t count, uint8_t* codes);
  void (*dequantize_u8)(const uint8_t* codes, size_t rows, size_t n, size_t group, const float* table, const float* scale,
                        const float* zero, float* y);
  void (*dequantize_u16)(const uint16_t* codes, size_t rows, size_t n, size_t group, const float* table, const float* scale,
                         const float* zero, float* y);
  uint32_t (*pack_u8)(const uint8_t* codes, size_t rows, size_t n, uint32_t bits, uint8_t* packed, size_t row_bytes);
  uint32_t (*pack_u16)(const uint16_t* codes, size_t rows, size_t n, uint32_t bits, uint8_t* packed, size_t row_bytes);
  void (*unpack_u8)(const uint8_t* packed, size_t rows, size_t n, uint32_t bits, size_t row_bytes, uint8_t* codes);
  void (*unpack_u16)(const uint8_t* packed, size_t rows, size_t n, uint32_t bits, size_t row_bytes, uint16_t* codes);
  void (*pack_radix_u8)(const uint8_t* codes, size_t rows, size_t n, evenbits_radix r, uint8_t* packed, size_t row_bytes);
  void (*pack_radix_u16)(const uint16_t* codes, size_t rows, size_t n, evenbits_radix r, uint8_t* packed, size_t row_bytes);
  void (*unpack_radix_u8)(const uint8_t* packed, size_t rows, size_t n, evenbits_radix r, size_t row_bytes, uint8_t* codes);
  void (*unpack_radix_u16)(const uint8_t* packed, size_t rows, size_t n, evenbits_radix r, size_t row_bytes, uint16_t* codes);
  void (*dot_f32)(const float* x, const float* y, size_t rows, size_t n, size_t group, double* out);
  void (*extremes_f32)(const float* x, size_t rows, size_t n, size_t group, float* least, float* greatest);
  size_t (*first_nonfinite_f32)(const float* x, size_t n);
  size_t (*first_nonfinite_f64)(const double* x, size_t n);
  void (*kashin_f32)(const float* x, float* a, size_t rows, const evenbits_hadamard* h, const float* signs, uint32_t iterations,
                     float eta, float delta, int closing, float* scratch);
  size_t (*encode_rotated_f32)(const float* x, size_t rows, const evenbits_rotation* r, int fit, uint8_t* packed,
                               size_t row_bytes, float* scales, float* scratch);
  size_t (*decode_rotated_f32)(const uint8_t* packed, size_t row_bytes, const float* scales, size_t rows,
                               const evenbits_rotation* r, float* x, float* scratch);
  void (*prepare_f32)(const float* x, size_t columns, size_t n, float* prepared);
  void (*product_f32)(const evenbits_packed* w, const float* prepared, size_t columns, float* y, size_t stride);
  void (*prepare_i8)(const float* x, size_t columns, size_t n, uint32_t bits, size_t group, void* prepared);
  void (*product_i8)(const evenbits_packed* w, const evenbits_units* u, const void* prepared, size_t columns, float* y,
                     size_t stride);
  void (*hadamard_f16)(const uint16_t* x, uint16_t* y, size_t rows, const evenbits_hadamard* h, const float* before,
                       const float* after, float scale, float* scratch);
  void (*hadamard_bf16)(const uint16_t* x, uint16_t* y, size_t rows, const evenbits_hadamard* h, const float* before,
                        const float* after, float scale, float* scratch);
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
  size_t (*encode_levels)(const int16_t* levels, size_t rows, size_t n, uint8_t* out, size_t capacity, uint8_t* scratch);
  size_t (*decode_levels)(const uint8_t* in, size_t size, size_t rows, size_t n, int16_t* levels, uint8_t* scratch);
  size_t (*refine_scratch)(const evenbits_refinement* r);
  evenbits_refined (*refine_encode)(const evenbits_refinement* r, const float* w, float* y, uint8_t* out, size_t capacity,
                                    uint64_t* scratch);
  evenbits_refined (*refine_decode)(const evenbits_refinement* r, const uint8_t* in, size_t size, float* y, uint8_t* scratch);
  void (*multiply_add_f32)(const float* a, size_t a_row, size_t a_step, const float* b, size_t b_step, size_t rows,
                           size_t columns, size_t depth, double* c, size_t c_row, double* scratch);
  void (*multiply_add_f64)(const double* a, size_t a_row, size_t a_step, const double* b, size_t b_step, size_t rows,
                           size_t columns, size_t depth, double* c, size_t c_row, double* scratch);
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
  size_t (*trellis_scratch)(const evenbits_trellis* t);
  void (*trellis_search_f32)(const evenbits_trellis* t, const float* x, uint16_t* symbols, uint32_t* scratch);
  void (*trellis_tally)(const uint16_t* symbols, const float* x, size_t n, uint64_t* counts, double* sums);
  size_t (*trellis_write)(const evenbits_trellis* t, const uint16_t* symbols, uint8_t* out, size_t capacity);
  int (*trellis_read)(const evenbits_trellis* t, const uint8_t* in, size_t size, float* y);
  size_t (*bit_shift_scratch)(const evenbits_bit_shift* t);
  void (*bit_shift_search)(const evenbits_bit_shift* t, const int16_t* x, size_t rows, uint8_t* out, int16_t* scratch);
  void (*bit_shift_decode_f32)(const evenbits_bit_shift* t, const uint8_t* in, const float* scale, size_t rows, float* y);
  void (*bit_shift_product_f32)(const evenbits_bit_shift* t, const uint8_t* in, const float* scale, size_t rows,
                                const float* prepared, size_t columns, float* y, size_t stride);
} evenbits_api;
