// No C++ run-time library here: this file and the kernels are the static library, which serves C programs too.
#include "dispatch.hpp"

#include <cstdlib>
#include <cstring>

namespace evenbits {

#if defined(__x86_64__)
namespace sse2 {
extern const evenbits_api table;
}
namespace avx2 {
extern const evenbits_api table;
}
namespace avx512 {
extern const evenbits_api table;
}
namespace avx512vbmi {
extern const evenbits_api table;
}

Tables available() {
  __builtin_cpu_init();  // a program may ask from one of its own constructors
  const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  const bool vbmi = v4 && __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vnni");
  Tables found{};
  if (vbmi) found.add(avx512vbmi::table);
  if (v4) found.add(avx512::table);
  if (v3) found.add(avx2::table);
  found.add(sse2::table);
  return found;
}
#elif defined(__aarch64__)
namespace neon {
extern const evenbits_api table;
}

Tables available() { return {{&neon::table}, 1}; }
#endif

}  // namespace evenbits

extern "C" const evenbits_api* evenbits_get_api_for(const char* isa) {
  for (const auto* table : evenbits::available())
    if (!isa || std::strcmp(table->isa, isa) == 0) return table;
  return nullptr;
}

extern "C" const evenbits_api* evenbits_get_api() { return evenbits_get_api_for(std::getenv("EVENBITS_ISA")); }
