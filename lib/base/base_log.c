#include "base_log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base_voice.h"

enum { LINE_MAX_BYTES = 4096 };

static const char *const level_names[] = {"error", "warn", "info", "debug", "trace"};

void lm_log_setup(const char *node, const char *actor, lm_log_level_t level, bool json)
{
    lm_voice_settings_t settings = {.level = level, .json = json};
    snprintf(settings.node, sizeof settings.node, "%s", node);
    snprintf(settings.actor, sizeof settings.actor, "%s", actor);
    lm_voice_set(lm_voice_mine(), &settings);
}

bool lm_log_level_parse(const char *name, lm_log_level_t *level)
{
    for (int i = LM_LOG_ERROR; i <= LM_LOG_TRACE; i++) {
        if (strcmp(name, level_names[i]) != 0) continue;
        *level = (lm_log_level_t)i;
        return true;
    }
    return false;
}

bool lm_log_enabled(lm_log_level_t level)
{
    return level <= lm_voice_settings(lm_voice_mine())->level;
}

/** Wall clock for people: informative only, nothing is decided by it. */
static void print_time(char *out, size_t size)
{
    struct timespec now;
    struct tm parts;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    size_t n = strftime(out, size, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(out + n, size - n, ".%03ldZ", now.tv_nsec / 1000000);
}

/** Text as the inside of a JSON string; what does not fit is cut at a whole character. */
static void escape_json(char *out, size_t size, const char *text)
{
    size_t n = 0;
    for (const unsigned char *p = (const unsigned char *)text; *p && n + 7 < size; p++) {
        if (*p == '"' || *p == '\\')
            n += (size_t)snprintf(out + n, size - n, "\\%c", *p);
        else if (*p < 0x20)
            n += (size_t)snprintf(out + n, size - n, "\\u%04x", *p);
        else
            out[n++] = (char)*p;
    }
    out[n] = '\0';
}

static int print_line(char *line, size_t size, lm_log_level_t level, const char *text)
{
    const lm_voice_settings_t *who = lm_voice_settings(lm_voice_mine());
    char when[32];
    print_time(when, sizeof when);
    if (!who->json)
        return snprintf(line, size, "%s %-5s %s %s: %s\n", when, level_names[level], who->node,
                        who->actor, text);
    char escaped[LINE_MAX_BYTES - 256];
    escape_json(escaped, sizeof escaped, text);
    return snprintf(line, size,
                    "{\"time\":\"%s\",\"level\":\"%s\",\"node\":\"%s\",\"actor\":\"%s\","
                    "\"message\":\"%s\"}\n",
                    when, level_names[level], who->node, who->actor, escaped);
}

void lm_log(lm_log_level_t level, const char *format, ...)
{
    if (!lm_log_enabled(level)) return;
    char text[LINE_MAX_BYTES / 2], line[LINE_MAX_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    int n = print_line(line, sizeof line, level, text);
    size_t size = n < (int)sizeof line ? (size_t)n : sizeof line - 1;
    /* One write per line keeps lines whole; a log that cannot be written stops nobody. */
    ssize_t written = write(STDERR_FILENO, line, size);
    (void)written;
}
