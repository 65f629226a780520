/* The attacks as an addon of Node.js: attacks(names), and what came of those of a package. */
typedef struct napi_env__ *napi_env;
typedef struct napi_value__ *napi_value;
typedef struct napi_info__ *napi_info;
int napi_create_string_utf8(napi_env, const char *, unsigned long, napi_value *);
int napi_create_function(napi_env, const char *, unsigned long, napi_value (*)(napi_env, napi_info), void *, napi_value *);
int napi_get_cb_info(napi_env, napi_info, unsigned long *, napi_value *, napi_value *, void **);
int napi_get_value_string_utf8(napi_env, napi_value, char *, unsigned long, unsigned long *);
const char *attacks(const char *);

#ifdef AT_IMPORT
const char *attacks_of_package(void);

static napi_value run(napi_env env, napi_info info) {
    napi_value told;
    (void)info;
    napi_create_string_utf8(env, attacks_of_package(), (unsigned long)-1, &told);
    return told;
}
#else
static napi_value run(napi_env env, napi_info info) {
    static char wanted[1 << 16];
    unsigned long count = 1;
    napi_value argument;
    napi_get_cb_info(env, info, &count, &argument, 0, 0);
    napi_get_value_string_utf8(env, argument, wanted, sizeof wanted, &count);
    napi_create_string_utf8(env, attacks(wanted), (unsigned long)-1, &argument);
    return argument;
}
#endif

__attribute__((visibility("default"))) napi_value napi_register_module_v1(napi_env env, napi_value exports) {
    napi_create_function(env, "attacks", (unsigned long)-1, run, 0, &exports);
    return exports;
}
