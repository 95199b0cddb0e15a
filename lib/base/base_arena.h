/* Memory that is given back all at once, at the end of a turn or of a message.
 *
 * Blocks grow as needed and are kept for the next round. Allocation never fails: running out of
 * memory ends the process, as everywhere in lockmgr. Not for several threads at once. */
#ifndef LM_BASE_ARENA_H
#define LM_BASE_ARENA_H

#include <stddef.h>

#include "base_bytes.h"

typedef struct lm_arena lm_arena_t;

lm_arena_t *lm_arena_new(void);
void lm_arena_destroy(lm_arena_t **arena);

/** Zeroed memory, aligned for any type; size 0 gives a valid pointer. */
void *lm_arena_alloc(lm_arena_t *arena, size_t size);

/** A copy of the bytes that lives in the arena. */
lm_bytes_t lm_arena_copy(lm_arena_t *arena, lm_bytes_t bytes);

/** A formatted text in the arena, NUL behind its end but not counted. */
__attribute__((format(printf, 2, 3))) lm_bytes_t lm_arena_print(lm_arena_t *arena,
                                                                const char *format, ...);

/** A NUL-terminated copy. */
char *lm_arena_text(lm_arena_t *arena, lm_bytes_t bytes);

/** Makes all memory of the arena free again; at most 1 MiB of it is kept. */
void lm_arena_reset(lm_arena_t *arena);

/** malloc, calloc, realloc that end the process instead of failing. */
void *lm_alloc(size_t size);
void *lm_realloc(void *old, size_t size);

#endif
