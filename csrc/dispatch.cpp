#include "dispatch.hpp"

#include <atomic>
#include <cstdlib>
#include <stdexcept>
#include <string>

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

static std::vector<const evenbits_api*> detect() {
  const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  std::vector<const evenbits_api*> found;
  if (v4) found.push_back(&avx512::table);
  if (v3) found.push_back(&avx2::table);
  found.push_back(&sse2::table);
  return found;
}
#elif defined(__aarch64__)
namespace neon {
extern const evenbits_api table;
}

static std::vector<const evenbits_api*> detect() { return {&neon::table}; }
#endif

static const evenbits_api* find(std::string_view isa) {
  for (const auto* table : available())
    if (table->isa == isa) return table;
  throw std::invalid_argument("instruction set '" + std::string(isa) + "' is not available on this machine");
}

const std::vector<const evenbits_api*>& available() {
  static const auto found = detect();
  return found;
}

static std::atomic<const evenbits_api*>& current() {
  static std::atomic<const evenbits_api*> table = [] {
    const char* wanted = std::getenv("EVENBITS_ISA");
    return wanted ? find(wanted) : available().front();
  }();
  return table;
}

const evenbits_api& active() { return *current().load(std::memory_order_relaxed); }

void use(std::string_view isa) { current().store(find(isa), std::memory_order_relaxed); }

}  // namespace evenbits
