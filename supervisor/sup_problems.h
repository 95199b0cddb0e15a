/* A list of sentences: what is wrong with a configuration, all at once. */
#ifndef LM_SUP_PROBLEMS_H
#define LM_SUP_PROBLEMS_H

#include <stddef.h>

typedef struct {
    char **items; /* owned */
    size_t n;
} lm_sup_problems_t;

/** Adds "where: text"; where may be empty or NULL. */
__attribute__((format(printf, 3, 4))) void lm_sup_problems_add(lm_sup_problems_t *problems,
                                                               const char *where,
                                                               const char *format, ...);
/** Empties the list and frees what it held. */
void lm_sup_problems_clear(lm_sup_problems_t *problems);

#endif
