/* What is said of a child that has ended. */
#ifndef LM_SUP_OBITUARY_H
#define LM_SUP_OBITUARY_H

#include <sys/types.h>

#include "sup_children.h"

/** How a child ended. */
typedef struct {
    size_t child;
    pid_t pid;
    uint32_t counter;
    int code; /* exit status, if signal is 0 */
    int signal;
    uint64_t lived_us;
    const char *killed_why; /* static text; NULL: we did not kill it */
    char last_words[1024];  /* empty: it died without a word */
} lm_sup_death_t;

/** Logs how it ended and what follows; view is that of the policy machine after the death. */
void lm_sup_obituary_log(const lm_sup_death_t *death, const lm_restart_view_t *view);

#endif
