/* Runs the self-test of a network exported under the name "model". */
#include <stdio.h>

#include "model.h"

int main(void) {
  static model_memory memory;
  const int failed = model_selftest(&memory);
  printf("%d inputs, %d outputs, %d bytes of RAM: self-test %s\n", MODEL_INPUTS, MODEL_OUTPUTS, (int)sizeof memory,
         failed ? "FAILED" : "passed");
  return failed;
}
