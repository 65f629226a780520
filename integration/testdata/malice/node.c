// The malicious library as an addon of Node.js: its exports are the attempts, as text.
#include "mischief.c"

typedef struct napi_env__ *napi_env;
typedef struct napi_value__ *napi_value;
int napi_create_string_utf8(napi_env env, const char *text, size_t length, napi_value *result);

__attribute__((visibility("default"))) napi_value napi_register_module_v1(napi_env env, napi_value exports) {
	napi_create_string_utf8(env, mischief_attempts(), (size_t)-1, &exports);
	return exports;
}
