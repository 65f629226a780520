/*
 * addon: what a Node.js process of Pipsqueak cannot do in JavaScript. One shared object, loaded twice: preloaded by the dynamic
 * linker (preload.c has to be there before V8 is), and as a Node-API addon, which is the same copy of it.
 */
#ifndef PIPSQUEAK_ADDON_H
#define PIPSQUEAK_ADDON_H

#include <node_api.h>

/* Ends all other threads of the process, where they stand; they must be waiting for work, with no lock held. 0, or -1 with errno
 * ETIMEDOUT when one is still there after a second. */
int ps_end_threads(void);

/* Has V8's thread, which ps_end_threads has ended in a zygote, go on in this process. The number of threads that there are more now, or
 * -1 with errno. */
int ps_wake_worker(void);

/* Has libuv's handlers for a forked process wait, before a fork into a sandbox; runs them, in the child that stands in it; or has them not wait any more, in
 * the parent. */
void ps_hold_handlers(void);
void ps_run_handlers(void);
void ps_drop_handlers(void);

/* Writes down what descriptors the process has, before a fork; makes the same again, in the child that has entered its sandbox, and returns
 * the number that the endpoint is moved to, or -1 where there is none. A child that cannot make them exits. The first returns 0, or
 * -1 with errno. */
int ps_note_descriptors(void);
int ps_make_descriptors(int instance);

/* Adds receive, send and the rest of the endpoint to the exports. */
void ps_export_endpoint(napi_env env, napi_value exports);
void ps_set_endpoint(int fd);

/* Throws an Error with the text and errno's description, and returns NULL. */
napi_value ps_throw(napi_env env, const char *what);

void ps_export(napi_env env, napi_value exports, const char *name, napi_callback call);

#endif
