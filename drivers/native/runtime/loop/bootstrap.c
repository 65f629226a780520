/* bootstrap: starts a function's own program. */
#include "bootstrap.h"

#include "site.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

/* Adds a variable, unless the function has set it. */
static void add_default(struct text *all, struct json given, const char *name, const char *format, ...) __attribute__((format(printf, 4, 5)));

static void add_default(struct text *all, struct json given, const char *name, const char *format, ...)
{
    char value[4096];
    va_list arguments;
    if (json_member(given, name).length)
        return;
    va_start(arguments, format);
    vsnprintf(value, sizeof value, format, arguments);
    va_end(arguments);
    text_format(all, "%s=%s", name, value);
    text_add(all, "", 1);
}

void add_program_path(struct text *path, struct json packages)
{
    static const char *const directories[] = {"usr/bin", "usr/games"};
    struct json items = json_items(packages), key, package;
    while (json_next(&items, &key, &package)) {
        for (size_t i = 0; i < sizeof directories / sizeof *directories; i++) {
            size_t begin = path->length;
            json_add_text(path, package);
            text_format(path, "/%s", directories[i]);
            if (access(path->at + begin, X_OK) == 0)
                text_add(path, ":", 1);
            else
                path->length = begin;
        }
    }
}

/* Adds what core says, but for where the API is, with the programs of the packages before others. */
static void add_given(struct text *all, struct json given, struct json packages)
{
    struct json items = json_items(given), name, value;
    while (json_next(&items, &name, &value)) {
        size_t begin = all->length;
        json_add_text(all, name);
        bool ours = strcmp(all->at + begin, "AWS_LAMBDA_RUNTIME_API") == 0, path = strcmp(all->at + begin, "PATH") == 0;
        text_add(all, "=", 1);
        if (path)
            add_program_path(all, packages);
        json_add_text(all, value);
        text_add(all, "", 1);
        if (ours)
            all->length = begin;
    }
}

char **bootstrap_environment(struct json load, const char *directory, const char *library_path, int port)
{
    struct text all = {0}, function = {0}, handler = {0};
    struct json given = json_member(load, "env");
    long long version = json_integer(json_member(load, "version")), memory = json_integer(json_member(load, "memory"));
    json_add_text(&function, json_member(load, "function"));
    json_add_text(&handler, json_member(load, "handler"));
    add_given(&all, given, json_member(load, "packages"));
    add_default(&all, given, "_HANDLER", "%s", handler.at);
    add_default(&all, given, "LAMBDA_TASK_ROOT", "%s", directory);
    add_default(&all, given, "LAMBDA_RUNTIME_DIR", "%s", directory);
    add_default(&all, given, "AWS_LAMBDA_FUNCTION_NAME", "%s", function.at);
    add_default(&all, given, "AWS_LAMBDA_FUNCTION_VERSION", "%lld", version);
    add_default(&all, given, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "%lld", memory >> 20);
    add_default(&all, given, "AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand");
    add_default(&all, given, "AWS_LAMBDA_LOG_GROUP_NAME", "%s", function.at);
    add_default(&all, given, "AWS_LAMBDA_LOG_STREAM_NAME", "%s/%lld", function.at, version);
    add_default(&all, given, "TZ", ":UTC");
    add_default(&all, given, "PORT", "%d", SITE_PORT);
    if (library_path && !json_member(given, "LD_LIBRARY_PATH").length) { /* may be long */
        text_format(&all, "LD_LIBRARY_PATH=%s", library_path);
        text_add(&all, "", 1);
    }
    text_format(&all, "AWS_LAMBDA_RUNTIME_API=127.0.0.1:%d", port);
    text_add(&all, "", 1);
    text_free(&function);
    text_free(&handler);

    size_t n = 0;
    for (size_t i = 0; i < all.length; i++)
        n += !all.at[i];
    char **environment = calloc(n + 1, sizeof *environment);
    for (size_t i = 0, at = 0; environment && i < n; i++, at += strlen(all.at + at) + 1)
        environment[i] = all.at + at;
    return environment;
}

pid_t bootstrap_start(const char *program, const char *directory, char *const environment[])
{
    pid_t pid = -1;
    sigset_t none, all;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t actions;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addchdir_np(&actions, directory);
    char *const arguments[] = {(char *)program, NULL};
    int error = posix_spawn(&pid, program, &actions, &attributes, arguments, environment);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    errno = error;
    return error ? -1 : pid;
}

/* ---- why not ---- */

static const char *machine_name(unsigned machine)
{
    switch (machine) {
    case EM_X86_64:
        return "x86_64 (GOARCH=amd64)";
    case EM_AARCH64:
        return "aarch64 (GOARCH=arm64)";
    case EM_386:
        return "32-bit x86";
    case EM_ARM:
        return "32-bit ARM";
    }
    return "another kind of machine";
}

static void explain_format(struct text *text, const char *head, size_t length)
{
    struct utsname host = {0};
    uname(&host);
    const unsigned char *b = (const unsigned char *)head;
    if (length == 0) {
        text_format(text, "it is empty; put the program there");
    } else if (length >= sizeof(Elf32_Ehdr) && memcmp(head, ELFMAG, SELFMAG) == 0) {
        Elf32_Ehdr elf; /* as far as e_machine both classes are the same */
        memcpy(&elf, head, sizeof elf);
        text_format(text, "it is a program for %s, and this worker is %s; build it for that", machine_name(elf.e_machine), host.machine);
    } else if (length >= 4 && (b[0] & 0xfe) == 0xce && b[1] == 0xfa && b[2] == 0xed && b[3] == 0xfe) {
        text_format(text, "it is a program for macOS; build it for Linux on %s (in Go with GOOS=linux)", host.machine);
    } else if (length >= 2 && head[0] == 'M' && head[1] == 'Z') {
        text_format(text, "it is a program for Windows; build it for Linux on %s (in Go with GOOS=linux)", host.machine);
    } else {
        text_format(text, "it is neither a program for Linux nor a script that begins with a line such as #!/bin/bash");
    }
}

/* Finds what has to be there for a file that is itself there: what a script names in its first line, or a program as its loader. */
static void explain_missing(struct text *text, const char *head, size_t length)
{
    if (length >= 2 && head[0] == '#' && head[1] == '!') {
        size_t begin = 2, end;
        while (begin < length && (head[begin] == ' ' || head[begin] == '\t'))
            begin++;
        for (end = begin; end < length && !strchr(" \t\r\n", head[end]); end++)
            ;
        text_format(text, "its first line names the interpreter ");
        text_add(text, head + begin, end - begin);
        if (end < length && head[end] == '\r')
            text_format(text, " and ends with a carriage return; save the file with the line ends of Unix");
        else
            text_format(text, ", which a function does not see; name another one, or bring it along in the function's directory");
        return;
    }
    Elf64_Ehdr elf;
    if (length >= sizeof elf && memcmp(head, ELFMAG, SELFMAG) == 0 && head[EI_CLASS] == ELFCLASS64) {
        memcpy(&elf, head, sizeof elf);
        for (size_t i = 0; i < elf.e_phnum; i++) {
            Elf64_Phdr part;
            if (elf.e_phoff > length || elf.e_phoff + (i + 1) * sizeof part > length)
                break;
            memcpy(&part, head + elf.e_phoff + i * sizeof part, sizeof part);
            if (part.p_type == PT_INTERP && part.p_offset < length && part.p_filesz <= length - part.p_offset) {
                text_format(text, "it needs the loader %.*s, which is not on this worker; link it statically (in Go with CGO_ENABLED=0)",
                            (int)strnlen(head + part.p_offset, part.p_filesz), head + part.p_offset);
                return;
            }
        }
    }
    text_format(text, "the interpreter or loader that it needs is not on this worker");
}

void bootstrap_explain(struct text *text, const char *program, int error)
{
    char head[4096];
    struct stat status;
    text_format(text, "%s cannot be started: ", program);
    if (stat(program, &status) < 0) {
        text_format(text, "%s; put the program into the function's directory under that name", strerror(errno));
        return;
    }
    int file = open(program, O_RDONLY | O_CLOEXEC);
    ssize_t n = file < 0 ? -1 : read(file, head, sizeof head);
    if (file >= 0)
        close(file);
    size_t length = n > 0 ? (size_t)n : 0;
    if (error == EACCES && !(status.st_mode & 0111))
        text_format(text, "it has no permission to be executed; run chmod +x on it and deploy again. Files that are packed on Windows have no such "
                          "permission: pack them in WSL, or a program in Go with aws-lambda-go's build-lambda-zip");
    else if (error == ENOEXEC)
        explain_format(text, head, length);
    else if (error == ENOENT || error == ELIBBAD)
        explain_missing(text, head, length);
    else
        text_format(text, "%s", strerror(error));
}
