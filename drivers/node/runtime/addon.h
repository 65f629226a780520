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

/* Runs the child's fork handlers that libraries and node itself have registered, once more. */
void ps_run_fork_handlers(void);

/* Makes the event loop of a child that has just entered its sandbox usable. Every descriptor up to top is gone that the zygote
 * had, and the numbers are still in libuv's memory. Returns the number that the endpoint is moved to, -1 when there is none. */
int ps_reopen_loop(struct uv_loop_s *loop, int top, int instance);

/* Adds receive, send and the rest of the endpoint to the exports. */
void ps_export_endpoint(napi_env env, napi_value exports);
void ps_set_endpoint(int fd);

/* Throws an Error with the text and errno's description, and returns NULL. */
napi_value ps_throw(napi_env env, const char *what);

void ps_export(napi_env env, napi_value exports, const char *name, napi_callback call);

#endif
