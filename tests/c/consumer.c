/* A program in what C99 and C++ have in common. Prints the active instruction set, then a line "set: operation, CRC-32"
 * for everything that each available one computes; tests/test_c_api.py computes the same in Python. */
#include <evenbits.h>
#include <stdio.h>
#include <string.h>

enum { rows = 3, n = 256, group = 100, groups = 3, count = rows * n, bits = 3, row_bytes = n * bits / 8 };

static void print(const evenbits_api* api, const char* operation, const void* data, size_t size) {
  const unsigned char* bytes = (const unsigned char*)data;
  uint32_t crc = 0xffffffffu;
  for (size_t i = 0; i < size; ++i) {
    crc ^= bytes[i];
    for (int k = 0; k < 8; ++k) crc = (crc >> 1) ^ (crc & 1 ? 0xedb88320u : 0);
  }
  printf("%s: %s, %08x\n", api->isa, operation, (unsigned)~crc);
}

static int compute(const evenbits_api* api) {
  static uint32_t words[count];
  static float x[count], y[count], signs[n], scratch[2 * n];
  static uint8_t codes[count], packed[rows * row_bytes], unpacked[count];
  static uint16_t halves[count];
  const evenbits_hadamard h = {n, 1, NULL};
  const evenbits_stream input = {7, 3, 5}, rounding = {8, 0, 1};
  const float scale[rows * groups] = {3.5f, 7, 14, 1, 2, 3, 4, 5, 6}, zero[rows * groups] = {3.5f, 0, -7, 1, 2, 3, 0, 1, 2};
  const float levels[1 << bits] = {-4, -3, -2, -1, 0, 1, 2, 4};
  const evenbits_packed weights = {rows, n, packed, row_bytes, bits, levels, scale, zero, n / 2};
  double sums[rows * groups];

  api->random_words(input, count, words);
  print(api, "words", words, sizeof words);
  for (int i = 0; i < count; ++i) x[i] = (float)(words[i] >> 8) / 16777216.0f;

  api->hadamard_f32(x, y, rows, &h, NULL, NULL, 0.0625f);
  print(api, "hadamard", y, sizeof y);
  api->round_nearest_f32_u8(x, rows, n, group, scale, zero, 7, codes);
  print(api, "nearest", codes, sizeof codes);
  api->round_stochastic_f32_u8(x, rows, n, group, scale, zero, 7, rounding, codes);
  print(api, "stochastic", codes, sizeof codes);
  api->round_bfloat16(x, count, rounding, halves);
  print(api, "bfloat16", halves, sizeof halves);
  api->dot_f32(x, y, rows, n, group, sums);
  print(api, "dot", sums, sizeof sums);

  for (int i = 0; i < n; ++i) signs[i] = i % 3 ? 1.0f : -1.0f;
  api->kashin_f32(x, y, rows, &h, signs, 4, 0.75f, 0.5f, 1, scratch);
  print(api, "kashin", y, sizeof y);
  api->democratic_f32(x, y, rows, &h, signs, 4, scratch);
  print(api, "democratic", y, sizeof y);

  api->pack_u8(codes, rows, n, bits, packed, row_bytes);
  print(api, "packed", packed, sizeof packed);
  api->prepare_f32(x, 2, n, scratch);
  api->product_f32(&weights, scratch, 2, y, rows);
  print(api, "product", y, 2 * rows * sizeof *y);
  api->unpack_u8(packed, rows, n, bits, row_bytes, unpacked);
  return memcmp(codes, unpacked, sizeof codes) != 0;
}

int main(void) {
  static const char* const names[] = {"sse2", "avx2", "avx512", "avx512vbmi", "neon"};
  const evenbits_api* api = evenbits_get_api();
  int failed = 0;
  printf("%s\n", api ? api->isa : "none");
  for (size_t i = 0; i < sizeof names / sizeof *names; ++i)
    if ((api = evenbits_get_api_for(names[i])) != NULL) failed |= api->version != EVENBITS_API_VERSION || compute(api);
  return failed;
}
