/* What clients see of a session's number and secret: hex digits. */
#ifndef LM_LOCK_SESSION_ID_H
#define LM_LOCK_SESSION_ID_H

#include <stdbool.h>

#include "base_arena.h"
#include "base_limits.h"

/** 16 digits, in the arena. */
lm_bytes_t lm_lock_session_id_make(lm_arena_t *arena, uint64_t number);
/** False if the text is not exactly what that makes of a number that is not 0. */
bool lm_lock_session_id_parse(lm_bytes_t text, uint64_t *number);

/** 32 digits, in the arena, of LM_SESSION_SECRET_BYTES bytes. */
lm_bytes_t lm_lock_session_secret_make(lm_arena_t *arena, lm_bytes_t secret);
/** False if the text is not exactly what that makes of some bytes. */
bool lm_lock_session_secret_parse(lm_bytes_t text, uint8_t secret[LM_SESSION_SECRET_BYTES]);

#endif
