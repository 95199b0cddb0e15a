/* What fields of client requests must be like; a table of rules. */
#ifndef LM_FRONTEND_FIELDS_H
#define LM_FRONTEND_FIELDS_H

#include "frontend_errors.h"

/** Decodes a client request and checks every rule for it.
 *
 *  Returns LM_RC_OK and sets *request (in the arena), or fills *error: INVALID_ARGUMENT with the
 *  field, or MALFORMED. */
lm_rc_t lm_frontend_fields_decode(const lm_frontend_method_t *method, lm_bytes_t payload,
                                  lm_arena_t *arena, void **request, lm_frontend_error_t *error);

/** Checks a request that is decoded already. */
lm_rc_t lm_frontend_fields_check(lm_frontend_method_id_t method, const void *request,
                                 lm_arena_t *arena, lm_frontend_error_t *error);

#endif
