// The module evenbits._core: memory checks here and in bindings/, shape and meaning checked in Python.
#include "bindings/arrays.hpp"

PYBIND11_MODULE(_core, m, pybind11::mod_gil_not_used()) {
  using namespace evenbits;
  m.attr("__version__") = EVENBITS_VERSION;
  m.def("isa", [] { return active().isa; });
  m.def("use_isa", &use, "isa"_a);
  m.def("available_isas", [] {
    py::list names;
    for (const auto* table : available()) names.append(table->isa);
    return names;
  });
  m.def("enter_default_float_state", [] {
    const std::uint64_t before = float_state();
    set_float_state(kDefaultFloatState);
    return before;
  });
  m.def("leave_float_state", &set_float_state, "state"_a);
  bind_transforms(m);
  bind_fast_calls(m);
  bind_dlpack(m);
  bind_embedding(m);
  bind_reductions(m);
  bind_random(m);
  bind_rounding(m);
  bind_packing(m);
  bind_codebooks(m);
  bind_codewords(m);
  bind_encode(m);
  bind_joint(m);
  bind_products(m);
  bind_path_following(m);
  bind_entropy(m);
  bind_trellis(m);
  bind_bit_shift(m);
  m.attr("_api") = py::capsule(&active(), "evenbits._core._api");
}
