#include <unistd.h>

__attribute__((constructor)) static void begin(void)
{
    (void)!write(1, "kit_which 1\n", 12);
}
