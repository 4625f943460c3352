// The choice that the extension keeps: the one piece of state it has.
#include <atomic>
#include <cstdlib>
#include <stdexcept>

#include "dispatch.hpp"

namespace evenbits {

static const evenbits_api* find(const char* isa) {
  if (const auto* table = evenbits_get_api_for(isa)) return table;
  throw std::invalid_argument("instruction set '" + std::string(isa) + "' is not available on this machine");
}

static std::atomic<const evenbits_api*>& current() {
  static std::atomic<const evenbits_api*> table = find(std::getenv("EVENBITS_ISA"));
  return table;
}

const evenbits_api& active() { return *current().load(std::memory_order_relaxed); }

void use(const std::string& isa) { current().store(find(isa.c_str()), std::memory_order_relaxed); }

}  // namespace evenbits
