/*
 * lambda: serves AWS's Lambda Runtime API to a function's own program, in an instance.
 *
 *      core                     instance (this)                     bootstrap
 *        | H ---------------------->| starts it ----------------------->|
 *        |                          |<------------ GET invocation/next  |
 *        |<---------------------- P |                                   |
 *        | E ---------------------->| answers the GET ----------------->|
 *        |                          |<---- POST invocation/ID/response  |
 *        |<---------------------- R |                                   |
 *
 * An event is taken from core only when somebody waits for one. So an event that finds the program dead has not been read, and core
 * gives it to another instance (E11 of PROTOCOL.md).
 */
#ifndef PIPSQUEAK_LAMBDA_H
#define PIPSQUEAK_LAMBDA_H

#include "frames.h"

/* Runs the program `bootstrap` in the directory for core at the other end of the endpoint, whose H was load. library_path
 * becomes LD_LIBRARY_PATH when the function has not set one; NULL for none. The process must have one thread and no children. It
 * ends with core's interest in it, or with the program: with its exit code, or with 128 + the signal that killed it, of which core is
 * told (E17). */
_Noreturn void ps_serve_bootstrap(struct endpoint *endpoint, const char *directory, const char *library_path, struct json load);

#endif
