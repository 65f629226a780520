/*
 * rehearse: makes the first event of an instance faster, while nobody waits for it.
 */
#ifndef PIPSQUEAK_REHEARSE_H
#define PIPSQUEAK_REHEARSE_H

/* Maps the pages of all shared libraries that are in memory anyway. A fork does not copy what maps a file unchanged, so each
 * page of a library would cost its first user a fault. */
void map_libraries(void);

/* Loads a handler of this runtime's own, that does nothing, and calls it. What the loader, the heap and the stack write to is
 * copied then, page by page, and not when an event waits. */
void rehearse(void);

#endif
