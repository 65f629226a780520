#include <stdlib.h>

__attribute__((constructor)) static void begin(void)
{
    exit(3);
}
