/* watch: which environment variables code asks for. The reasons are in watch.h. */
#include "watch.h"
#include "names.h"
#include "next.h"

#include <libintl.h>
#include <locale.h>
#include <nl_types.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <wchar.h>

static atomic_bool watching;
static struct names asked = {.all = "*", .busy = ATOMIC_FLAG_INIT};

static void ask(const char *name)
{
    if (atomic_load_explicit(&watching, memory_order_relaxed))
        names_add(&asked, name);
}

void ps_watch(void)
{
    names_clear(&asked);
    atomic_store(&watching, 1);
}

const char *ps_watched(void)
{
    atomic_store(&watching, 0);
    return asked.text;
}

/* ---- what libraries call: by a name ---- */

#define ASKS(type, function, parameters, names, ...) \
    PS_WATCH type function parameters \
    { \
        NEXT(function); \
        names; \
        return next(__VA_ARGS__); \
    }

ASKS(char *, getenv, (const char *name), ask(name), name)
ASKS(char *, secure_getenv, (const char *name), ask(name), name)

/* ---- and what reads a variable for its caller ---- */

#define ZONE ask("TZ")

ASKS(struct tm *, localtime, (const time_t *time), ZONE, time)
ASKS(struct tm *, localtime_r, (const time_t *time, struct tm *to), ZONE, time, to)
ASKS(time_t, mktime, (struct tm *time), ZONE, time)
ASKS(time_t, timelocal, (struct tm *time), ZONE, time)
ASKS(char *, ctime, (const time_t *time), ZONE, time)
ASKS(char *, ctime_r, (const time_t *time, char *to), ZONE, time, to)

PS_WATCH void tzset(void)
{
    NEXT(tzset);
    ZONE;
    next();
}

/* The name of the zone, and the seconds since 1970; the rest of a format goes by the time that it is given. */
static void ask_format(const char *format)
{
    for (const char *at = format; (at = strchr(at, '%')) && at[1]; at += 2)
        if (at[1] == 'Z' || at[1] == 's')
            ZONE;
}

static void ask_wide_format(const wchar_t *format)
{
    for (const wchar_t *at = format; (at = wcschr(at, L'%')) && at[1]; at += 2)
        if (at[1] == L'Z' || at[1] == L's')
            ZONE;
}

ASKS(size_t, strftime, (char *to, size_t room, const char *format, const struct tm *time), ask_format(format), to, room, format, time)
ASKS(size_t, strftime_l, (char *to, size_t room, const char *format, const struct tm *time, locale_t locale), ask_format(format), to, room, format, time, locale)
ASKS(size_t, wcsftime, (wchar_t *to, size_t room, const wchar_t *format, const struct tm *time), ask_wide_format(format), to, room, format, time)
ASKS(size_t, wcsftime_l, (wchar_t *to, size_t room, const wchar_t *format, const struct tm *time, locale_t locale), ask_wide_format(format), to, room, format, time, locale)

static const struct category {
    int number;
    const char *variable;
} categories[] = {
    {LC_CTYPE, "LC_CTYPE"}, {LC_NUMERIC, "LC_NUMERIC"}, {LC_TIME, "LC_TIME"}, {LC_COLLATE, "LC_COLLATE"}, {LC_MONETARY, "LC_MONETARY"}, {LC_MESSAGES, "LC_MESSAGES"},
    {LC_PAPER, "LC_PAPER"}, {LC_NAME, "LC_NAME"}, {LC_ADDRESS, "LC_ADDRESS"}, {LC_TELEPHONE, "LC_TELEPHONE"}, {LC_MEASUREMENT, "LC_MEASUREMENT"}, {LC_IDENTIFICATION, "LC_IDENTIFICATION"},
};

/* The empty name of a locale means: as the variables say. Any but "C" is looked for below LOCPATH. */
static void ask_locale(int mask, const char *name)
{
    if (!name || strcmp(name, "C") == 0 || strcmp(name, "POSIX") == 0)
        return;
    ask("LOCPATH");
    if (*name)
        return;
    ask("LC_ALL");
    ask("LANG");
    for (size_t i = 0; i < sizeof categories / sizeof *categories; i++)
        if (mask & 1 << categories[i].number)
            ask(categories[i].variable);
}

ASKS(char *, setlocale, (int category, const char *name), ask_locale(category == LC_ALL ? LC_ALL_MASK : 1 << category, name), category, name)
ASKS(locale_t, newlocale, (int mask, const char *name, locale_t base), ask_locale(mask, name), mask, name, base)

/* Translations. The locale was set before. Headers have some of these as macros. */
#undef gettext
#undef dgettext
#undef ngettext
#undef dngettext
#define LANGUAGE ask("LANGUAGE")

ASKS(char *, gettext, (const char *text), LANGUAGE, text)
ASKS(char *, dgettext, (const char *domain, const char *text), LANGUAGE, domain, text)
ASKS(char *, dcgettext, (const char *domain, const char *text, int category), LANGUAGE, domain, text, category)
ASKS(char *, ngettext, (const char *one, const char *more, unsigned long n), LANGUAGE, one, more, n)
ASKS(char *, dngettext, (const char *domain, const char *one, const char *more, unsigned long n), LANGUAGE, domain, one, more, n)
ASKS(char *, dcngettext, (const char *domain, const char *one, const char *more, unsigned long n, int category), LANGUAGE, domain, one, more, n, category)

static void ask_catalog(int flag)
{
    ask("NLSPATH");
    ask(flag == NL_CAT_LOCALE ? "LC_MESSAGES" : "LANG");
}

ASKS(nl_catd, catopen, (const char *name, int flag), ask_catalog(flag), name, flag)
ASKS(char *, tempnam, (const char *directory, const char *prefix), ask("TMPDIR"), directory, prefix)
