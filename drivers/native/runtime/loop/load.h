/*
 * load: loads shared libraries and a function's handler with the dynamic loader.
 */
#ifndef PIPSQUEAK_LOAD_H
#define PIPSQUEAK_LOAD_H

#include "json.h"

#include "../include/pipsqueak.h"

#define CODE "/function"
#define BOOTSTRAP CODE "/bootstrap"
#define REHEARSAL "/pipsqueak/native/loop/rehearsal.so"

/* Why something cannot be loaded, as core.Error has it. The message is empty when all is well. */
struct failure {
    const char *kind, *fault;
    struct text message;
};

/* Loads the modules of a request, which are names of shared libraries, in their order. The loader finds them, and what they
 * need, in the request's packages, where it would look were these installed: LD_LIBRARY_PATH is /proc/self/cwd, which it read when
 * this process began, and links to all of them are in the working directory as long as it looks. Times gets the seconds that each
 * took, as a JSON object. */
void load_modules(struct json request, struct text *times, struct failure *failure);

/* Whether the function of that handler is the program BOOTSTRAP: there is one, and no shared object for the handler. */
bool is_program(const char *name);

/* Adds the directories in which the packages have libraries, as LD_LIBRARY_PATH has them, for a program that starts itself again. */
void add_library_path(struct text *path, struct json packages);

/* Maps what is in memory of the loaded modules. A fork does not copy what maps a file unchanged, so each few pages would cost their
 * first user a fault. */
void map_modules(void);

/* A loaded handler. */
struct handler {
    ps_handler *call;
    int (*init)(ps_context *);
};

/* Loads the symbol of the shared object at the path. */
void open_handler(const char *path, const char *symbol, struct handler *handler, struct failure *failure);

/* Loads "directory/file.symbol". File and symbol may have dots; the first dot counts that makes the name of a file. */
void load_handler(const char *name, struct handler *handler, struct failure *failure);

#endif
