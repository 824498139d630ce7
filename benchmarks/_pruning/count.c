/* Runs a network on the raw images of a file and prints their logits: to count the instructions that this takes. */
#include <stdint.h>
#include <stdio.h>

#include "network.h"

int main(int count, char **words)
{
    static uint8_t frame[NETWORK_FRAME_BYTES];
    FILE *file = count == 2 ? fopen(words[1], "rb") : NULL;
    if (file == NULL) {
        return 2;
    }
    while (fread(frame, 1, sizeof frame, file) == sizeof frame) {
        network_init();
        while (network_step(frame)) {
        }
        for (uint32_t i = 0; i < NETWORK_CLASSES; i++) {
            (void)printf("%ld%c", (long)network_logits()[i], i + 1 < NETWORK_CLASSES ? ' ' : '\n');
        }
    }
    (void)fclose(file);
    return 0;
}
