/* What kit_a and kit_b draw when they are loaded, as JSON: from each source that the handler has. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

static char drawn[400];

const char *kit_drawn(void) { return drawn; }

static void draw(void)
{
    uint64_t bytes, device; /* the second as std::random_device gets it */
    char name[] = "/tmp/kit-random-XXXXXX";
    if (getrandom(&bytes, sizeof bytes, 0) < 0 || getentropy(&device, sizeof device) < 0 || !mkdtemp(name))
        abort();
    int first = rand(), second = rand();
    snprintf(drawn, sizeof drawn, "{\"rand\":\"%d %d\",\"getrandom\":\"%ju\",\"device\":\"%ju\",\"temporary\":\"%s\"}",
             first, second, (uintmax_t)bytes, (uintmax_t)device, name);
}
