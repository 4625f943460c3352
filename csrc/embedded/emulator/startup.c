/* Start of a Cortex-M in an emulator, with the C library's semihosting: -T cortex_m.ld --specs=rdimon.specs.
 * A fault ends the emulator with exit code 99. */
#include <stdint.h>

extern void _start(void);
extern uint32_t __stack;
void Reset_Handler(void);

static void fault(void) {
  static const uint32_t why[2] = {0x20026u, 99u}; /* SYS_EXIT_EXTENDED, of a run-time error */
  register uint32_t r0 __asm__("r0") = 0x20;
  register const void* r1 __asm__("r1") = why;
  __asm__ volatile("bkpt 0xab" : : "r"(r0), "r"(r1) : "memory");
  for (;;) {}
}

typedef union {
  uint32_t* stack;
  void (*handler)(void);
} vector;
#define FAULT {.handler = fault}
__attribute__((section(".vectors"), used)) const vector vectors[16] = {{.stack = &__stack},
                                                                       {.handler = Reset_Handler},
                                                                       FAULT,
                                                                       FAULT,
                                                                       FAULT,
                                                                       FAULT,
                                                                       FAULT,
                                                                       {0},
                                                                       {0},
                                                                       {0},
                                                                       {0},
                                                                       FAULT,
                                                                       FAULT,
                                                                       {0},
                                                                       FAULT,
                                                                       FAULT};

__attribute__((used)) void Reset_Handler(void) {
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
  *(volatile uint32_t*)0xE000ED88u |= 0xFu << 20; /* CPACR: let floats and vectors through */
  __asm__ volatile("dsb\n isb");
#endif
  _start();
}
