/*
 * rehearse: makes the first event of an instance faster, while nobody waits for it.
 */
#ifndef PIPSQUEAK_REHEARSE_H
#define PIPSQUEAK_REHEARSE_H

/* Loads a handler of this runtime's own, that does nothing, and calls it. What the loader, the heap and the stack write to is
 * copied then, page by page, and what the loader reads of shared libraries is mapped, which a fork does not do, and not when an event
 * waits. */
void rehearse(void);

#endif
