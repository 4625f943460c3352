/* A Python extension in what C99 and C++ have in common, which takes the kernels from the installed package. */
#define PY_SSIZE_T_CLEAN
#define EVENBITS_IMPORT_PYTHON
#include <evenbits.h>

/* The Hadamard transform of a buffer of float32, in place. */
static PyObject* hadamard(PyObject* self, PyObject* buffer) {
  const evenbits_api* api = evenbits_import();
  Py_buffer view;
  (void)self;
  if (!api || PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE) != 0) return NULL;
  const evenbits_hadamard h = {(size_t)view.len / sizeof(float), 1, NULL};
  Py_BEGIN_ALLOW_THREADS;
  api->hadamard_f32((float*)view.buf, (float*)view.buf, 1, &h, NULL, NULL, 1.0f);
  Py_END_ALLOW_THREADS;
  PyBuffer_Release(&view);
  return PyUnicode_FromString(api->isa);
}

static PyMethodDef methods[] = {{"hadamard", hadamard, METH_O, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "extension", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_extension(void) { return PyModule_Create(&definition); }
