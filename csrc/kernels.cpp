// Compiled once per instruction set (see CMakeLists.txt). Includes nothing from
// the standard library that defines code: a linker may keep one copy of it for all.
#include "kernels/codebook.hpp"
#include "kernels/democratic.hpp"
#include "kernels/encode.hpp"
#include "kernels/hadamard.hpp"
#include "kernels/kashin.hpp"
#include "kernels/kashin_split.hpp"
#include "kernels/packing.hpp"
#include "kernels/product.hpp"
#include "kernels/product_i8.hpp"
#include "kernels/radix.hpp"
#include "kernels/random.hpp"
#include "kernels/reduce.hpp"
#include "kernels/rounding.hpp"
#include "kernels/sign_frame.hpp"
#include "kernels_bit_shift.hpp"
#include "kernels_codewords.hpp"
#include "kernels_entropy.hpp"
#include "kernels_path_following.hpp"
#include "kernels_trellis.hpp"

#define EVENBITS_STRING_(x) #x
#define EVENBITS_STRING(x) EVENBITS_STRING_(x)

namespace evenbits::EVENBITS_ISA {
extern const evenbits_api table;
// In the order of evenbits.h.
const evenbits_api table = {
    EVENBITS_API_VERSION,
    EVENBITS_STRING(EVENBITS_ISA),
    hadamard_f32,
    hadamard_f64,
    hadamard_i32,
    random_words,
    round_nearest_f32_u8,
    round_nearest_f32_u16,
    round_nearest_f64_u8,
    round_nearest_f64_u16,
    round_stochastic_f32_u8,
    round_stochastic_f32_u16,
    round_stochastic_f64_u8,
    round_stochastic_f64_u16,
    round_bfloat16,
    round_float16,
    round_error_f32,
    nearest_level_f32,
    dequantize_u8,
    dequantize_u16,
    pack_u8,
    pack_u16,
    unpack_u8,
    unpack_u16,
    pack_radix_u8,
    pack_radix_u16,
    unpack_radix_u8,
    unpack_radix_u16,
    dot_f32,
    extremes_f32,
    first_nonfinite_f32,
    first_nonfinite_f64,
    kashin_f32,
    encode_rotated_f32,
    decode_rotated_f32,
    prepare_f32,
    product_f32,
    prepare_i8,
    product_i8,
    hadamard_f16,
    hadamard_bf16,
    rotate_f32,
    rotate_f64,
    rotate_f16,
    rotate_bf16,
    sign_frame_f32,
    democratic_f32,
    kashin_split_f32,
    kashin_joint_f32,
    encode_levels,
    decode_levels,
    refine_scratch,
    refine_encode,
    refine_decode,
    multiply_add_f32,
    multiply_add_f64,
    follow_path_f32,
    follow_path_f64,
    nearest_codeword_f32,
    sum_codewords_f32,
    group_sums_f64,
    indexed_product_f64,
    windows_u8,
    trellis_scratch,
    trellis_search_f32,
    trellis_tally,
    trellis_write,
    trellis_read,
    bit_shift_scratch,
    bit_shift_search,
    bit_shift_decode_f32,
    bit_shift_product_f32,
};
}  // namespace evenbits::EVENBITS_ISA
