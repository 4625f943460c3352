// bfloat16 through DLPack, which NumPy, having no such dtype, does not take. Other dtypes are NumPy's own business.
#include <vector>

#include "arrays.hpp"

namespace evenbits {

namespace {

// The structures of DLPack's binary interface, https://dmlc.github.io/dlpack/latest/c_api.html
struct DLTensor {
  void* data;
  std::int32_t device_type, device_id, ndim;
  std::uint8_t dtype_code, dtype_bits;
  std::uint16_t dtype_lanes;
  std::int64_t *shape, *strides;  // in elements; no strides: C-contiguous
  std::uint64_t byte_offset;
};
struct DLManagedTensor {
  DLTensor tensor;
  void* context;
  void (*deleter)(DLManagedTensor*);
};
constexpr int kBfloat16 = 4;
constexpr const char *kFresh = "dltensor", *kTaken = "used_dltensor";

// Memory of the host: of the CPU, pinned for CUDA or ROCm, or managed.
bool on_host(int device) { return device == 1 || device == 3 || device == 11 || device == 13; }

// The bits of a bfloat16 tensor, read-only and in place, or None, its capsule untouched, if it is anything else.
py::object bfloat16_bits(const py::capsule& capsule) {
  PyObject* const handle = capsule.ptr();
  if (!PyCapsule_IsValid(handle, kFresh)) return py::none();
  auto* const managed = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(handle, kFresh));
  const DLTensor& t = managed->tensor;
  if (!on_host(t.device_type) || t.dtype_code != kBfloat16 || t.dtype_bits != 16 || t.dtype_lanes != 1) return py::none();
  std::vector<py::ssize_t> shape(t.shape, t.shape + t.ndim), strides;
  if (t.strides)
    for (int i = 0; i < t.ndim; ++i) strides.push_back(py::ssize_t(t.strides[i]) * 2);
  if (PyCapsule_SetName(handle, kTaken) != 0) throw py::error_already_set();
  const py::capsule owner(managed, [](void* p) {
    auto* const held = static_cast<DLManagedTensor*>(p);
    if (held->deleter) held->deleter(held);
  });
  py::array bits(py::dtype::of<std::uint16_t>(), shape, strides, static_cast<char*>(t.data) + t.byte_offset, owner);
  bits.attr("flags").attr("writeable") = false;
  return bits;
}

}  // namespace

void bind_dlpack(py::module_& m) { m.def("bfloat16_bits", &bfloat16_bits, "capsule"_a); }

}  // namespace evenbits
