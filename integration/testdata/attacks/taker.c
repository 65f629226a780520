// The program that a malicious package has the kernel run instead of the programs of others.
#include <string.h>
#include <unistd.h>

int main(int count, char **arguments) { return count == 0 || write(1, arguments[0], strlen(arguments[0])) < 0 || write(1, "\n", 1) < 0; }
