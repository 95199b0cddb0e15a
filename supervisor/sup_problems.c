#include "sup_problems.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base_arena.h"

enum { PROBLEM_MAX_BYTES = 1024 };

void lm_sup_problems_add(lm_sup_problems_t *problems, const char *where, const char *format, ...)
{
    char *line = lm_alloc(PROBLEM_MAX_BYTES);
    int at = where && *where ? snprintf(line, PROBLEM_MAX_BYTES, "%s: ", where) : 0;
    if (at >= PROBLEM_MAX_BYTES) at = PROBLEM_MAX_BYTES - 1;
    va_list args;
    va_start(args, format);
    vsnprintf(line + at, (size_t)(PROBLEM_MAX_BYTES - at), format, args);
    va_end(args);
    problems->items = lm_realloc(problems->items, (problems->n + 1) * sizeof *problems->items);
    problems->items[problems->n++] = line;
}

void lm_sup_problems_clear(lm_sup_problems_t *problems)
{
    for (size_t i = 0; i < problems->n; i++) free(problems->items[i]);
    free(problems->items);
    *problems = (lm_sup_problems_t){0};
}
