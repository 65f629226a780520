/* addon: what a Node.js process of Pipsqueak cannot do in JavaScript, as a Node-API addon. */
#ifndef PIPSQUEAK_ADDON_H
#define PIPSQUEAK_ADDON_H

#include <node_api.h>

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
