/* What a board can say to the machine that debugs or emulates it. */
#ifndef FIRMWARE_H
#define FIRMWARE_H

void firmware_print(const char *text);

/* Ends the emulation; its exit code is 0 for 0, else 1. */
void firmware_exit(int code);

#endif
