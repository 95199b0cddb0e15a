/* Errors as gRPC clients see them: status code, sentence, and google.rpc details.
 *
 * Every refusal of ours carries an ErrorInfo {reason: name of the result code, domain "lockmgr"}:
 * a bare UNAVAILABLE may come from anybody on the way and says nothing about the outcome (S14). */
#ifndef LM_FRONTEND_ERRORS_H
#define LM_FRONTEND_ERRORS_H

#include "frontend_driver.h"

typedef struct {
    lm_rc_t code;
    lm_bytes_t text;  /* empty: that of the code */
    lm_bytes_t field; /* name of the field that breaks a rule; empty: none */
    lm_bytes_t rule;  /* which rule, as the end of a sentence that begins with the field */
} lm_frontend_error_t;

/** Serialized google.rpc.Status with ErrorInfo; RetryInfo if a repeat makes sense; BadRequest if a
 *  field is named. Lives in the arena. */
lm_bytes_t lm_frontend_error_details(const lm_frontend_error_t *error, lm_arena_t *arena);

/** Ends a call with an error. */
void lm_frontend_error_finish(lm_frontend_driver_t *driver, lm_frontend_handle_t *handle,
                              const lm_frontend_error_t *error, lm_arena_t *arena);

#endif
