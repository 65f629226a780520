/*
 * needs: hides from the loader what loaded libraries need.
 *
 * When dlopen loads an object, glibc goes through all that the object needs and all that this needs in turn, and compares each name with
 * that of each library there is. A handler of OpenCV needs three libraries, and these 130 more: most of its import was this walk, and a
 * page fault for the names of each. It finds only what a zygote has loaded long ago. So a zygote marks the needs
 * in the libraries' dynamic sections, in memory, as entries that the loader does not know.
 *
 * An object that is loaded then sees the symbols of the libraries that it names itself, which is what linkers ask for. One that
 * takes a symbol from a library that it does not name cannot be loaded so; then the needs are shown again. And they are shown to whatever calls
 * dlopen later: that is the dlopen of this program, by which the loader binds all libraries.
 */
#ifndef PIPSQUEAK_NEEDS_H
#define PIPSQUEAK_NEEDS_H

#include "json.h"

/* Hides the needs of all libraries that are loaded, and shows them again. Any number of threads may show them. */
void needs_hide(void);
void needs_show(void);

/* Is dlopen, with the needs hidden as long as that does. What is only asked for (RTLD_NOLOAD) never shows them. */
void *needs_open(const char *path, int mode);

/* Has the names of libraries that dlopen is asked for from now on, there or not, added to a text, each with a newline behind it; NULL ends that. */
void needs_watch(struct text *names);

#endif
