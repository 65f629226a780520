// The program that a malicious package has the kernel run instead of the programs of others.
#include <unistd.h>

int main(void) { return write(1, "taken over\n", 11) != 11; }
