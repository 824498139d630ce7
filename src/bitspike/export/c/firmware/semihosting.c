/* Arm semihosting: a breakpoint asks the debugger, or qemu, to print or to end. */
#include <stdint.h>

#include "firmware.h"

void bitspike_print(const char *text);

enum { WRITE0 = 0x04, EXIT = 0x18 };

#define APPLICATION_EXIT UINT32_C(0x20026)
#define RUN_TIME_ERROR UINT32_C(0x20023)

static void ask(uint32_t operation, uintptr_t argument)
{
    register uint32_t r0 __asm__("r0") = operation;
    register uintptr_t r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
}

void firmware_print(const char *text)
{
    ask(WRITE0, (uintptr_t)text);
}

void firmware_exit(int code)
{
    ask(EXIT, code == 0 ? APPLICATION_EXIT : RUN_TIME_ERROR);
    for (;;) {
    }
}

/* The self-test's output. */
void bitspike_print(const char *text)
{
    firmware_print(text);
}
