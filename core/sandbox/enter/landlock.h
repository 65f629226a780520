/*
 * landlock: the second wall around the files of a process that forks into no further sandbox. The first one is its mounts. By this one it
 * reads its root directory, writes to files of /dev and /proc that let it, and changes only what is below the directories that its orders
 * name: also should a mount be writable that must not be. It reaches no abstract socket and signals no process outside its sandbox.
 */
#ifndef PIPSQUEAK_LANDLOCK_H
#define PIPSQUEAK_LANDLOCK_H

#include <stdint.h>

/* Restricts the calling process, by what the version of Landlock that the kernel has can do. The directories are `length` bytes of
 * NUL-terminated paths. The process has set no_new_privs, and has one thread. Returns 0, or -1 with errno. */
int ps_landlock(uint32_t version, const char *directories, uint32_t length);

#endif
