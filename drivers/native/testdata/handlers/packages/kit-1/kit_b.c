#include "draw.h"

__attribute__((constructor)) static void begin(void)
{
    usleep(50000);
    draw();
    (void)!write(1, "kit_b\n", 6);
}
