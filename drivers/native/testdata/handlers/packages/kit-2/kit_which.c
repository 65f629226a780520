#include <unistd.h>

__attribute__((constructor)) static void begin(void)
{
    (void)!write(1, "kit_which 2\n", 12);
}
