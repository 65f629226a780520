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

#include <stddef.h>

/* Runs the program `bootstrap` in the directory for core at the other end of the endpoint, whose H had this body. library_path
 * becomes LD_LIBRARY_PATH where the function has not set one; NULL for none. The process must have one thread and no children. It
 * ends with core's interest in it, or with the program: with its exit code, or with 128 + the signal that killed it, for as pid 1 of
 * a sandbox it cannot be killed by a signal of its own. */
_Noreturn void ps_serve_bootstrap(int endpoint, const char *directory, const char *library_path, const char *load, size_t length);

#endif
