#include <atomic>

#include "arrays.hpp"

namespace evenbits {

// The rows of a code array and the size of their bit strings.
struct Rows {
  std::size_t count, n, bytes;
};
static Rows packed_rows(const py::array& codes, std::size_t n, const py::array& packed) {
  const std::size_t rows = rows_of(codes, n, "codes");
  if (rows ? size(packed) % rows : size(packed))
    throw py::value_error("packed does not have " + std::to_string(rows) + " rows of equal size");
  return {rows, n, rows ? size(packed) / rows : 0};
}
static void require_room(Rows r, std::size_t bits) {
  if (r.count && r.bytes < (bits + 7) / 8)  // n is at most the size of an array: bits did not overflow
    throw py::value_error("packed has rows of " + std::to_string(r.bytes) + " bytes for " + std::to_string(bits) + " bits");
}

// Calls f with the elements of `codes` in their own type and the kernel for it.
template <class Codes, class Narrow, class Wide, class F>
static void with_codes(Codes& codes, Narrow narrow, Wide wide, F f) {
  if (py::dtype::of<std::uint8_t>().equal(codes.dtype())) f(elements<std::uint8_t>(codes, "codes"), narrow);
  else f(elements<std::uint16_t>(codes, "codes"), wide);
}
template <class T, class Byte, class F>
static void for_rows(Rows r, T* codes, Byte* packed, std::size_t workers, F f) {
  py::gil_scoped_release unlocked;
  parallel_rows(r.count, r.n, workers, [&](std::size_t begin, std::size_t end) {
    if (begin < end) f(codes + begin * r.n, packed + begin * r.bytes, end - begin);
  });
}

static void require_bits(std::uint32_t bits, std::size_t width, Rows r) {
  if (bits < 1 || bits > width) throw py::value_error("bits must be from 1 to " + std::to_string(width));
  require_room(r, r.n * bits);
}
// Returns the bits of all codes that are above the lowest `bits`.
static std::uint32_t pack(const py::array& codes, std::size_t n, std::uint32_t bits, py::array packed, std::size_t workers) {
  const Rows r = packed_rows(codes, n, packed);
  std::uint8_t* out = elements<std::uint8_t>(packed, "packed");
  std::atomic<std::uint32_t> rest{0};
  with_codes(codes, active().pack_u8, active().pack_u16, [&](auto* in, auto kernel) {
    require_bits(bits, 8 * sizeof *in, r);
    for_rows(r, in, out, workers, [&](auto* c, auto* p, std::size_t rows) { rest |= kernel(c, rows, n, bits, p, r.bytes); });
  });
  return rest;
}
static void unpack(const py::array& packed, std::size_t n, std::uint32_t bits, py::array codes, std::size_t workers) {
  const Rows r = packed_rows(codes, n, packed);
  const std::uint8_t* in = elements<std::uint8_t>(packed, "packed");
  with_codes(codes, active().unpack_u8, active().unpack_u16, [&](auto* out, auto kernel) {
    require_bits(bits, 8 * sizeof *out, r);
    for_rows(r, out, in, workers, [&](auto* c, auto* p, std::size_t rows) { kernel(p, rows, n, bits, r.bytes, c); });
  });
}

// The bits that a block of `digits` digits needs; above 64 where it needs more than 64.
static std::uint32_t block_bits(evenbits_radix r, std::size_t digits) {
  __extension__ unsigned __int128 top = 0;  // the greatest value of the block
  for (std::size_t j = 0; j < digits && top >> 64 == 0; ++j) {
    const std::uint32_t levels = r.levels + (j < r.upper);
    top = top * levels + (levels - 1);
  }
  std::uint32_t bits = 0;
  for (; top; top >>= 1) ++bits;
  return bits;
}
static evenbits_radix radix_of(std::uint32_t levels, std::uint32_t upper, std::uint32_t per, std::uint32_t bits) {
  const evenbits_radix r = {levels, upper, per, bits};
  if (levels < 2 || levels > 65536 - (upper > 0) || per < 1 || per > 64 || upper > per || bits > 64 || block_bits(r, per) > bits)
    throw py::value_error("levels, upper, per and bits do not make a block of digits");
  return r;
}
static void pack_radix(const py::array& codes, std::size_t n, std::uint32_t levels, std::uint32_t upper, std::uint32_t per,
                       std::uint32_t bits, py::array packed, std::size_t workers) {
  const evenbits_radix radix = radix_of(levels, upper, per, bits);
  const Rows r = packed_rows(codes, n, packed);
  require_room(r, n / per * bits + block_bits(radix, n % per));
  std::uint8_t* out = elements<std::uint8_t>(packed, "packed");
  with_codes(codes, active().pack_radix_u8, active().pack_radix_u16, [&](auto* in, auto kernel) {
    for_rows(r, in, out, workers, [&](auto* c, auto* p, std::size_t rows) { kernel(c, rows, n, radix, p, r.bytes); });
  });
}
static void unpack_radix(const py::array& packed, std::size_t n, std::uint32_t levels, std::uint32_t upper, std::uint32_t per,
                         std::uint32_t bits, py::array codes, std::size_t workers) {
  const evenbits_radix radix = radix_of(levels, upper, per, bits);
  const Rows r = packed_rows(codes, n, packed);
  require_room(r, n / per * bits + block_bits(radix, n % per));
  const std::uint8_t* in = elements<std::uint8_t>(packed, "packed");
  with_codes(codes, active().unpack_radix_u8, active().unpack_radix_u16, [&](auto* out, auto kernel) {
    for_rows(r, out, in, workers, [&](auto* c, auto* p, std::size_t rows) { kernel(p, rows, n, radix, r.bytes, c); });
  });
}

void bind_packing(py::module_& m) {
  m.def("pack", &pack, "codes"_a, "n"_a, "bits"_a, "packed"_a, "workers"_a);
  m.def("unpack", &unpack, "packed"_a, "n"_a, "bits"_a, "codes"_a, "workers"_a);
  m.def("pack_radix", &pack_radix, "codes"_a, "n"_a, "levels"_a, "upper"_a, "per"_a, "bits"_a, "packed"_a, "workers"_a);
  m.def("unpack_radix", &unpack_radix, "packed"_a, "n"_a, "levels"_a, "upper"_a, "per"_a, "bits"_a, "codes"_a, "workers"_a);
}

}  // namespace evenbits
