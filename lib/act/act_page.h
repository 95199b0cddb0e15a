/* A page of shared memory per actor, RUN/<actor>.page: last words, and since when it has been in
 * blocking I/O.
 *
 * The actor writes it, the supervisor reads it, also after the actor's death. */
#ifndef LM_ACT_PAGE_H
#define LM_ACT_PAGE_H

#include <stdatomic.h>
#include <stdint.h>

typedef struct {
    _Atomic uint64_t blocking_since_us; /* CLOCK_MONOTONIC; 0: not in blocking I/O */
    _Atomic uint32_t spoken;            /* 1: somebody writes, or has written, the last words */
    char last_words[1024];              /* NUL-terminated; empty: died without a word */
} lm_page_t;

/** Maps the page of an actor, made anew and empty. NULL if the run directory refuses it. */
lm_page_t *lm_page_create(const char *run_dir, const char *actor);
/** Maps an existing page for reading. NULL if there is none. */
const lm_page_t *lm_page_open(const char *run_dir, const char *actor);
void lm_page_close(const lm_page_t **page);

/** The page of the calling thread's voice, set by lm_process_start or lm_thread_new; NULL in tests.
 */
lm_page_t *lm_page_mine(void);

#endif
