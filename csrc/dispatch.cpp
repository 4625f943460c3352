// No C++ run-time library here: this file and the kernels are the static library, which serves C programs too.
#include "dispatch.hpp"

#include <cstdlib>
#include <cstring>

// EVENBITS_TABLES: KERNELS(isa) for each instruction set of the build, the best first.
#define KERNELS(isa)               \
  namespace evenbits::isa {        \
  extern const evenbits_api table; \
  }
EVENBITS_TABLES
#undef KERNELS

namespace evenbits {

// Whether this processor runs the kernels; every one is here that CMakeLists.txt has.
namespace runs {
#if defined(__x86_64__)
#define HAS(feature) __builtin_cpu_supports(feature)
inline bool sse2() { return true; }
inline bool avx2() { return HAS("avx2") && HAS("fma") && HAS("bmi2"); }
inline bool avx512() { return avx2() && HAS("avx512f") && HAS("avx512bw") && HAS("avx512dq") && HAS("avx512vl"); }
inline bool avx512vbmi() { return avx512() && HAS("avx512vbmi") && HAS("avx512vnni"); }
#undef HAS
#else
inline bool neon() { return true; }
#endif
}  // namespace runs

Tables available() {
#if defined(__x86_64__)
  __builtin_cpu_init();  // a program may ask from one of its own constructors
#endif
  Tables found{};
#define KERNELS(isa) \
  if (runs::isa()) found.add(isa::table);
  EVENBITS_TABLES
#undef KERNELS
  return found;
}

}  // namespace evenbits

extern "C" const evenbits_api* evenbits_get_api_for(const char* isa) {
  for (const auto* table : evenbits::available())
    if (!isa || std::strcmp(table->isa, isa) == 0) return table;
  return nullptr;
}

extern "C" const evenbits_api* evenbits_get_api() { return evenbits_get_api_for(std::getenv("EVENBITS_ISA")); }
