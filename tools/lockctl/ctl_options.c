/* The command line: one table of options, alike for every verb. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"

enum { DEFAULT_TIMEOUT_MS = 5000 };

typedef enum { TEXT, DURATION, NUMBER, FLAG, FORM } kind_t;

typedef struct {
    const char *names[3];
    kind_t kind;
    size_t offset;
} option_t;

#define AT(member) offsetof(ctl_options_t, member)

static const option_t table[] = {
    {{"--endpoints"}, TEXT, AT(endpoints)},
    {{"--cacert"}, TEXT, AT(tls.ca)},
    {{"--cert"}, TEXT, AT(tls.cert)},
    {{"--key"}, TEXT, AT(tls.key)},
    {{"--server-name"}, TEXT, AT(tls.server_name)},
    {{"--token-file"}, TEXT, AT(tls.token_file)},
    {{"--timeout"}, DURATION, AT(timeout_ms)},
    {{"-o", "--output"}, FORM, AT(form)},
    {{"-q", "--quiet"}, FLAG, AT(quiet)},
    {{"--owner"}, TEXT, AT(owner)},
    {{"--hold-id"}, TEXT, AT(hold_id)},
    {{"--request-id"}, TEXT, AT(request_id)},
    {{"--session"}, TEXT, AT(session_id)},
    {{"--secret"}, TEXT, AT(secret)},
    {{"--secret-file"}, TEXT, AT(secret_file)},
    {{"--once"}, FLAG, AT(once)},
    {{"--ttl"}, DURATION, AT(ttl_ms)},
    {{"-w", "--wait"}, DURATION, AT(wait_ms)},
    {{"-n", "--no-wait"}, FLAG, AT(no_wait)},
    {{"-s", "--shared"}, FLAG, AT(shared)},
    {{"-x", "--exclusive"}, FLAG, AT(exclusive)},
    {{"-E", "--conflict-exit-code"}, NUMBER, AT(conflict_code)},
    {{"--kill-after"}, DURATION, AT(kill_after_ms)},
    {{"--limit"}, NUMBER, AT(limit)},
    {{"-i", "--interval"}, DURATION, AT(interval_ms)},
    {{"-c", "--count"}, NUMBER, AT(count)},
};

static const char *const form_names[] = {"table", "json", "yaml", "simple"};

bool ctl_duration_parse(const char *text, int64_t *ms)
{
    static const struct {
        const char *unit;
        double ms;
    } units[] = {{"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
    char *end;
    errno = 0;
    double number = strtod(text, &end);
    if (end == text || errno || !isfinite(number) || number < 0) return false;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (strcmp(end, units[i].unit) != 0) continue;
        double all = number * units[i].ms;
        if (all > 1e15) return false;
        *ms = (int64_t)(all + 0.5);
        return true;
    }
    return false;
}

static const option_t *find(const char *name, size_t length)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        for (size_t k = 0; k < 3 && table[i].names[k]; k++)
            if (strlen(table[i].names[k]) == length && !strncmp(table[i].names[k], name, length))
                return &table[i];
    return NULL;
}

static bool parse_number(const char *text, int64_t *number)
{
    char *end;
    errno = 0;
    *number = strtoll(text, &end, 10);
    return end != text && *end == '\0' && errno == 0 && *number >= 0;
}

static bool parse_form(const char *text, ctl_form_t *form)
{
    for (int i = CTL_TABLE; i <= CTL_SIMPLE; i++) {
        if (strcmp(text, form_names[i]) != 0) continue;
        *form = (ctl_form_t)i;
        return true;
    }
    return false;
}

static bool set(const option_t *option, const char *name, const char *value, ctl_options_t *options)
{
    char *at = (char *)options + option->offset;
    const char *rule = NULL;
    switch (option->kind) {
    case FLAG: *(bool *)at = true; break;
    case TEXT: *(const char **)(void *)at = value; break;
    case DURATION:
        if (!ctl_duration_parse(value, (int64_t *)(void *)at))
            rule = "takes a time such as 30s, 500ms, 2m or 1h";
        break;
    case NUMBER:
        if (!parse_number(value, (int64_t *)(void *)at)) rule = "takes a number, 0 or greater";
        break;
    case FORM:
        if (!parse_form(value, (ctl_form_t *)(void *)at))
            rule = "takes table, json, yaml or simple";
        break;
    }
    if (rule) fprintf(stderr, "lockctl: %s %s, not \"%s\"\n", name, rule, value);
    return rule == NULL;
}

/** Reads one option at argv[*i]; moves *i over its value. */
static bool read_option(int argc, char **argv, int *i, ctl_options_t *options)
{
    const char *arg = argv[*i], *equals = strchr(arg, '=');
    size_t length = equals ? (size_t)(equals - arg) : strlen(arg);
    const option_t *option = find(arg, length);
    if (!option) {
        fprintf(stderr, "lockctl: there is no option %s (see lockctl --help)\n", arg);
        return false;
    }
    if (option->kind == FLAG && equals) {
        fprintf(stderr, "lockctl: %s takes no value\n", option->names[0]);
        return false;
    }
    const char *value = equals ? equals + 1 : NULL;
    if (option->kind != FLAG && !value) {
        if (*i + 1 >= argc) {
            fprintf(stderr, "lockctl: %s needs a value\n", arg);
            return false;
        }
        value = argv[++*i];
    }
    return set(option, option->names[0], value, options);
}

static bool check(const ctl_options_t *o)
{
    const char *problem = NULL;
    if (o->shared && o->exclusive)
        problem = "--shared and --exclusive exclude each other";
    else if (o->no_wait && o->wait_ms >= 0)
        problem = "--no-wait and --wait exclude each other";
    else if (o->secret && o->secret_file)
        problem = "--secret and --secret-file exclude each other";
    else if (o->session_id && o->owner)
        problem = "--session and --owner exclude each other: the session is the owner";
    else if (o->session_id && o->ttl_ms >= 0)
        problem = "--session and --ttl exclude each other: the lease is the session's";
    else if (o->conflict_code > 255)
        problem = "--conflict-exit-code must be at most 255";
    else if (o->timeout_ms == 0)
        problem = "--timeout must be more than 0";
    if (problem) fprintf(stderr, "lockctl: %s\n", problem);
    return problem == NULL;
}

bool ctl_options_read(int argc, char **argv, ctl_options_t *options)
{
    const char *endpoints = getenv("LOCKCTL_ENDPOINTS");
    *options = (ctl_options_t){
        .endpoints = endpoints && *endpoints ? endpoints : "127.0.0.1:9090",
        .tls = {.ca = getenv("LOCKCTL_CACERT"),
                .cert = getenv("LOCKCTL_CERT"),
                .key = getenv("LOCKCTL_KEY"),
                .server_name = getenv("LOCKCTL_SERVER_NAME"),
                .token_file = getenv("LOCKCTL_TOKEN_FILE"),
                .token = getenv("LOCKCTL_TOKEN")},
        .timeout_ms = -1,
        .ttl_ms = -1,
        .wait_ms = -1,
        .conflict_code = CTL_NOT_ACQUIRED,
        .kill_after_ms = 5000,
        .limit = -1,
        .interval_ms = -1,
        .count = -1,
        .words = calloc((size_t)argc + 1, sizeof(char *)),
    };
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--") == 0) {
            options->command = argv + i + 1;
            break;
        }
        if (argv[i][0] != '-' || argv[i][1] == '\0')
            options->words[options->n_words++] = argv[i];
        else if (!read_option(argc, argv, &i, options))
            return false;
    }
    /* What the command line says counts more than what the environment says. */
    if (options->tls.token_file != getenv("LOCKCTL_TOKEN_FILE")) options->tls.token = NULL;
    return check(options);
}

int64_t ctl_wait_ms(const ctl_options_t *options, int64_t otherwise)
{
    if (options->no_wait) return 0;
    return options->wait_ms >= 0 ? options->wait_ms : otherwise;
}

uint64_t ctl_timeout_ms(const ctl_options_t *options, int64_t wait_ms)
{
    int64_t timeout = options->timeout_ms > 0 ? options->timeout_ms : DEFAULT_TIMEOUT_MS;
    return (uint64_t)(timeout + (wait_ms > 0 ? wait_ms : 0));
}
