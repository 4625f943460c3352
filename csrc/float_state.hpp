// Round to nearest, keep denormals: another library may have set a thread to flush them to zero.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace evenbits {

#if defined(__x86_64__)
inline constexpr std::uint64_t kDefaultFloatState = 0x1f80;  // all exceptions masked, nothing flushed
inline std::uint64_t float_state() { return _mm_getcsr(); }
inline void set_float_state(std::uint64_t state) { _mm_setcsr(static_cast<unsigned>(state)); }
#elif defined(__aarch64__)
inline constexpr std::uint64_t kDefaultFloatState = 0;
inline std::uint64_t float_state() {
  std::uint64_t state;
  __asm__ volatile("mrs %0, fpcr" : "=r"(state));
  return state;
}
inline void set_float_state(std::uint64_t state) { __asm__ volatile("msr fpcr, %0" ::"r"(state)); }
#endif

class DefaultFloatState {
  std::uint64_t saved_ = float_state();

 public:
  DefaultFloatState() { set_float_state(kDefaultFloatState); }
  ~DefaultFloatState() { set_float_state(saved_); }
  DefaultFloatState(const DefaultFloatState&) = delete;
  DefaultFloatState& operator=(const DefaultFloatState&) = delete;
};

}  // namespace evenbits
