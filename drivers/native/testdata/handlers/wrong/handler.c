#include <pipsqueak.h>
kit_nonsense ???
