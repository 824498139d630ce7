/* The self-test's output on a host. */
#include <stdio.h>

#include "selftest.h"

void bitspike_print(const char *text)
{
    (void)fputs(text, stdout);
}
