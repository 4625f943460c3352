/* Any bytes as codes, tables and shapes that keep the decoder's conditions, in buffers of exactly their sizes:
 *   clang -g -O1 -fsanitize=fuzzer,address,undefined -Icsrc/embedded tests/embedded/fuzz.c csrc/embedded/evenbits_decode.c -o
 * fuzz
 *   ./fuzz -runs=20000000 -max_len=160
 * Without libFuzzer: -DSTANDALONE=100000 makes a program that draws so many inputs itself. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "evenbits_decode.h"

static const uint8_t* data;
static size_t left, place;
static uint32_t byte(void) {
  uint32_t v;
  if (!left) return 0;
  v = data[place % left] + 37u * (uint32_t)(place / left);
  place++;
  return v & 255u;
}
static uint32_t below(uint32_t n) { return (byte() | byte() << 8) % n; }
static void* filled(size_t count) { /* exactly count bytes */
  uint8_t* p = (uint8_t*)malloc(count ? count : 1);
  size_t i;
  for (i = 0; i < count; i++) p[i] = (uint8_t)byte();
  return p;
}

static unsigned length_of(uint64_t v) {
  unsigned n = 0;
  for (; v; v >>= 1) n++;
  return n;
}
/* bits of a block of so many digits, or 0 if it has more than 64 */
static unsigned block_bits(uint32_t levels, uint32_t upper, uint32_t digits) {
  uint64_t values = 1;
  uint32_t i;
  for (i = 0; i < digits; i++) {
    const uint32_t count = levels + (i < upper);
    if (values > UINT64_MAX / count) return 0;
    values *= count;
  }
  return length_of(values - 1);
}

int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  eb_codes codes;
  eb_embedding e;
  uint32_t groups, entries, scales, i, crc;
  const uint32_t lengths[] = {1, 2, 4, 8, 12, 16, 20, 24, 32, 40, 64};
  const uint32_t orders[] = {1, 1, 1, 1, 12, 1, 20, 24, 1, 20, 1};
  memset(&codes, 0, sizeof codes), memset(&e, 0, sizeof e);
  data = bytes, left = size, place = 0;

  codes.rows = 1 + below(3);
  codes.n = 1 + below(70);
  codes.levels = 256;
  codes.bits = (uint8_t)(1 + below(8));
  codes.row_bytes = (codes.n * codes.bits + 31) / 32 * 4;
  entries = 1u << codes.bits;
  if (byte() & 1u) {
    uint32_t rest;
    codes.levels = (uint16_t)(2 + below(255));
    codes.per = (uint8_t)(1 + below(64));
    codes.upper = (uint8_t)below(codes.per);
    codes.bits = (uint8_t)block_bits(codes.levels, codes.upper, codes.per);
    if (!codes.bits) return 0;
    if (codes.bits < 62) codes.bits = (uint8_t)(codes.bits + below(3));
    rest = codes.n % codes.per;
    codes.last = (uint8_t)block_bits(codes.levels, codes.upper, rest);
    codes.split = codes.n / codes.per * codes.upper + (rest < codes.upper ? rest : codes.upper);
    codes.row_bytes = (codes.n / codes.per * codes.bits + codes.last + 31) / 32 * 4;
    entries = codes.levels + (codes.split ? codes.levels + 1u : 0u);
  }
  codes.group = byte() & 1u ? codes.n : 1 + below(codes.n);
  groups = (codes.n + codes.group - 1) / codes.group;
  codes.stride = byte() & 1u ? groups : groups == 1 ? 0 : groups;
  scales = codes.stride ? codes.rows * groups : 1;
  codes.bytes = (const uint8_t*)filled(codes.rows * codes.row_bytes);

  { /* integers */
    eb_layer_i8 w;
    int32_t* multipliers = (int32_t*)filled(4 * scales);
    int8_t *x = (int8_t*)filled(codes.n), *y = (int8_t*)filled(codes.rows * 3);
    int32_t* wide = (int32_t*)filled(4 * codes.rows * 2);
    memset(&w, 0, sizeof w);
    for (i = 0; i < scales; i++) multipliers[i] /= 256;
    w.codes = codes;
    w.units = (const int16_t*)filled(2 * entries);
    w.multipliers = multipliers;
    w.zeros = byte() & 1u ? (const uint8_t*)filled(scales) : NULL;
    w.bias = byte() & 1u ? (const int32_t*)filled(4 * codes.rows) : NULL;
    w.zero_unit = (int16_t)below(64);
    w.shift = (uint8_t)(1 + below(60));
    w.bias_shift = (uint8_t)below(31);
    w.least = byte() & 1u ? 0 : -127;
    eb_matvec_i8(&w, x, y, 3);
    eb_matvec_i32(&w, x, wide, 2);
    for (i = 0; i < codes.rows; i++)
      if (y[3 * i] < w.least) abort();
    crc = eb_crc32_words(eb_crc32(0, (const uint8_t*)y, codes.rows), wide, codes.rows);
    free((void*)w.units), free(multipliers), free((void*)w.zeros), free((void*)w.bias), free(x), free(y), free(wide);
  }
  { /* floats, whatever they are */
    eb_layer_f32 w;
    float *x = (float*)filled(4 * codes.n), *y = (float*)filled(4 * codes.rows);
    memset(&w, 0, sizeof w);
    w.codes = codes;
    w.levels = (const float*)filled(4 * entries);
    w.scale_bytes = byte() & 1u ? 2 : 4;
    w.bfloat16 = byte() & 1u;
    w.scales = filled(w.scale_bytes * scales);
    w.zeros = byte() & 1u ? (const uint8_t*)filled(scales) : NULL;
    w.bias = byte() & 1u ? (const float*)filled(4 * codes.rows) : NULL;
    w.relu = byte() & 1u;
    eb_matvec_f32(&w, x, y, 1);
    eb_softmax_f32(y, codes.rows);
    crc = eb_crc32_words(crc, y, codes.rows);
    free((void*)w.levels), free((void*)w.scales), free((void*)w.zeros), free((void*)w.bias), free(x), free(y);
  }
  { /* trellises: the same values from any one on, and sums */
    eb_trellis t;
    eb_trellis_i8 w;
    eb_trellis_f32 v;
    eb_trellis_cursor c;
    const uint32_t row = below(codes.rows), memory = 8 + below(9), all = memory + below(90);
    uint32_t first;
    int64_t sum = 0, wide_sum = 0;
    int8_t* x = (int8_t*)filled(all);
    int16_t* z = (int16_t*)filled(2 * all);
    float *f = (float*)filled(4 * all), *g = (float*)filled(4 * codes.rows);
    int32_t* y = (int32_t*)filled(4 * codes.rows);
    memset(&t, 0, sizeof t), memset(&w, 0, sizeof w), memset(&v, 0, sizeof v);
    t.rows = codes.rows, t.memory = (uint8_t)memory, t.n = byte() & 1u ? all : 1 + below(all);
    t.of = byte() & 1u ? 1 : 1 + (below(65536) | below(2) << 15);
    t.whole = (uint8_t)(1 + below(4));
    t.part = t.whole < 4 ? below(65536) % t.of : 0;
    t.bits = all * t.whole + (uint32_t)((uint64_t)all * t.part / t.of);
    t.row_bytes = (t.bits + 7) / 8;
    t.multiplier = byte() << 24 | byte() << 16 | below(65536);
    t.bytes = (const uint8_t*)filled(t.rows * t.row_bytes);
    eb_trellis_begin(&c, &t, row, 0);
    first = below(all);
    for (i = 0; i < all; i++) {
      const int32_t value = eb_trellis_next(&c);
      if (i < t.n) sum += value * x[i], wide_sum += value * z[i];
      if (i == first) {
        eb_trellis_cursor d;
        eb_trellis_begin(&d, &t, row, i);
        if (eb_trellis_next(&d) != value) abort();
      }
    }
    if (eb_trellis_dot_i8(&t, row, x) != sum || eb_trellis_dot_i16(&t, row, z) != wide_sum) abort();
    w.codes = v.codes = t;
    w.multipliers = (const int32_t*)filled(4 * t.rows), w.bias = byte() & 1u ? (const int32_t*)filled(4 * t.rows) : NULL;
    w.shift = (uint8_t)(1 + below(60)), w.bias_shift = (uint8_t)below(31), w.least = byte() & 1u ? 0 : -127;
    eb_trellis_matvec_i8(&w, x, (int8_t*)y, 4);
    eb_trellis_matvec_i32(&w, x, y, 1);
    v.scales = (const float*)filled(4 * t.rows), v.bias = byte() & 1u ? (const float*)filled(4 * t.rows) : NULL;
    v.relu = byte() & 1u;
    eb_trellis_matvec_f32(&v, f, g, 1);
    crc = eb_crc32_words(eb_crc32_words(crc, y, t.rows), g, t.rows);
    free((void*)t.bytes), free((void*)w.multipliers), free((void*)w.bias), free((void*)v.scales), free((void*)v.bias);
    free(x), free(z), free(f), free(g), free(y);
  }
  { /* rotations, frames, subsets */
    const uint32_t which = below(sizeof lengths / sizeof *lengths), n = lengths[which], m = orders[which];
    int8_t* x;
    float* f;
    void* room = malloc(4 * (n + (m > 1 ? m : 0)));
    for (i = 0; i < 2; i++) e.seed[i] = byte() << 24 | byte(), e.stream[i] = byte() << 24 | byte();
    e.n = n, e.m = (uint16_t)m, e.d = 1 + below(n);
    e.frame = byte() & 1u;
    e.rounds = (uint8_t)(e.frame ? 1 : 1 + below(3));
    e.support = e.frame && byte() & 1u ? byte() << 24 : 0xFFFFFFFFu;
    e.kept = byte() & 1u ? byte() << 24 : 0xFFFFFFFFu;
    e.base = m > 1 ? (const uint8_t*)filled((m * m + 7) / 8) : NULL;
    e.multiplier = (int32_t)(1 + below(65535));
    e.shift = (uint8_t)(1 + below(40));
    e.scale = 0.125f;
    x = (int8_t*)filled(e.d), f = (float*)filled(4 * e.d);
    crc = eb_crc32(crc, (const uint8_t*)eb_embed_i8(&e, x, (int32_t*)room), 1);
    crc = eb_crc32_words(crc, eb_embed_f32(&e, f, (float*)room), 1);
    free(x), free(f), free(room), free((void*)e.base);
  }
  { /* windows */
    eb_image image = {(uint16_t)(1 + below(3)), (uint16_t)(1 + below(6)), (uint16_t)(1 + below(6)), (uint16_t)(1 + below(3)),
                      (uint16_t)(1 + below(3)), (uint16_t)(1 + below(2)), (uint16_t)below(3)};
    int8_t* x = (int8_t*)filled((size_t)image.channels * image.height * image.width);
    const size_t count = (size_t)image.channels * image.kernel_height * image.kernel_width;
    int8_t* out = (int8_t*)malloc(count);
    eb_window_i8(&image, x, below(6), below(6), out);
    crc = eb_crc32(crc, (const uint8_t*)out, (uint32_t)count);
    free(x), free(out);
  }
  free((void*)codes.bytes);
  return crc == 1 ? -1 : 0; /* so that nothing is left out */
}

#ifdef STANDALONE
int main(void) {
  uint32_t state = 1, i, k;
  uint8_t input[160];
  for (i = 0; i < STANDALONE; i++) {
    for (k = 0; k < sizeof input; k++) state = state * 1664525u + 1013904223u, input[k] = (uint8_t)(state >> 24);
    LLVMFuzzerTestOneInput(input, sizeof input);
  }
  puts("done");
  return 0;
}
#endif
