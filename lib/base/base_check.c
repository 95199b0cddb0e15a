#include "base_check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base_exit.h"
#include "base_log.h"

static void (*last_words_hook)(const char *words);

void lm_check_on_last_words(void (*hook)(const char *words)) { last_words_hook = hook; }

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

void lm_check_failed(const char *file, int line, const char *condition, const char *format, ...)
{
    char what[512], words[768];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    snprintf(words, sizeof words, "%s:%d: (%s) does not hold: %s", base_name(file), line, condition,
             what);
    lm_error("%s", words);
    if (last_words_hook) last_words_hook(words);
#ifdef LM_CHECK_ABORTS /* sanitizer builds: a core and a stack are worth more than a class */
    abort();
#else
    _exit(LM_EXIT_ASSERTION);
#endif
}
