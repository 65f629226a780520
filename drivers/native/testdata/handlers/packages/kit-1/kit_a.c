#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *kit_block;
long kit_drawn;

__attribute__((constructor)) static void begin(void)
{
    kit_block = memset(malloc(24 << 20), 'k', 24 << 20);
    kit_drawn = rand();
    (void)!write(1, "kit_a\n", 6);
}
