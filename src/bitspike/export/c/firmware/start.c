/* From reset to main on a Cortex-M: the vector table, the data sections, and how deep the stack went. */
#include <stdint.h>

#include "firmware.h"

extern uint32_t firmware_data_from[], firmware_data_start[], firmware_data_end[];
extern uint32_t firmware_bss_start[], firmware_bss_end[];
extern uint32_t firmware_stack_top[];

int main(void);

void reset(void);
void fault(void);

#define PAINT UINT32_C(0xC0FFEE11)

/* What the processor reads at reset: the stack's top, then where each exception goes. */
__attribute__((section(".vectors"), used)) static void *const vectors[16] = {
    (void *)firmware_stack_top,
    (void *)(uintptr_t)reset,
    (void *)(uintptr_t)fault,
    (void *)(uintptr_t)fault,
    (void *)(uintptr_t)fault,
    (void *)(uintptr_t)fault,
    (void *)(uintptr_t)fault,
};

void fault(void)
{
    firmware_print("fault\n");
    firmware_exit(1);
}

static void print_stack(void)
{
    char text[12];
    uint32_t at = sizeof text - 1u;
    const uint32_t *deepest = firmware_bss_end;
    uint32_t bytes;
    while (*deepest == PAINT) {
        deepest++;
    }
    bytes = (uint32_t)((uintptr_t)firmware_stack_top - (uintptr_t)deepest);
    text[at] = '\0';
    do {
        text[--at] = (char)('0' + bytes % 10u);
        bytes /= 10u;
    } while (bytes != 0u);
    firmware_print("stack ");
    firmware_print(text + at);
    firmware_print(" bytes\n");
}

void reset(void)
{
    const uint32_t *from = firmware_data_from;
    uint32_t *now;
    int code;
    __asm__ volatile("mov %0, sp" : "=r"(now));
    for (volatile uint32_t *word = firmware_bss_end; word < now - 8; word++) {
        *word = PAINT;
    }
    for (uint32_t *word = firmware_data_start; word < firmware_data_end; word++) {
        *word = *from++;
    }
    for (volatile uint32_t *word = firmware_bss_start; word < firmware_bss_end; word++) {
        *word = 0;
    }
    code = main();
    print_stack();
    firmware_exit(code);
}
