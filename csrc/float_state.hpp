// Round to nearest, keep denormals: another library may have set a thread to flush them to zero.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace evenbits {

class DefaultFloatState {
#if defined(__x86_64__)
  unsigned saved_ = _mm_getcsr();

 public:
  DefaultFloatState() { _mm_setcsr(0x1f80); }  // all exceptions masked, nothing flushed
  ~DefaultFloatState() { _mm_setcsr(saved_); }
#elif defined(__aarch64__)
  static std::uint64_t get() {
    std::uint64_t v;
    __asm__ volatile("mrs %0, fpcr" : "=r"(v));
    return v;
  }
  static void set(std::uint64_t v) { __asm__ volatile("msr fpcr, %0" ::"r"(v)); }
  std::uint64_t saved_ = get();

 public:
  DefaultFloatState() { set(0); }
  ~DefaultFloatState() { set(saved_); }
#endif
  DefaultFloatState(const DefaultFloatState&) = delete;
  DefaultFloatState& operator=(const DefaultFloatState&) = delete;
};

}  // namespace evenbits
