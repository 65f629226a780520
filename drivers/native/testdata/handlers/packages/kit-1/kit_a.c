#include "draw.h"
#include <string.h>

char *kit_block;

__attribute__((constructor)) static void begin(void)
{
    kit_block = memset(malloc(24 << 20), 'k', 24 << 20);
    draw();
    (void)!write(1, "kit_a\n", 6);
}
