/* Result codes of everything that can fail in an expected way. */
#ifndef LM_BASE_RESULT_H
#define LM_BASE_RESULT_H

#include <stdbool.h>

#include "base_bytes.h"

typedef enum {
#define LM_RESULT(name, number, grpc_status, applied, text) LM_RC_##name = (number),
#include "base_result.def"
#undef LM_RESULT
} lm_rc_t;

/** The greatest code. */
#define LM_RC_LAST LM_RC_WRONG_PORT

/** Name without prefix, for example "NO_LEADER"; "UNKNOWN_CODE" for a number that is none. It is
 *  also the ErrorInfo reason a caller sees. */
const char *lm_rc_name(lm_rc_t code);
/** Code of that name; false if there is none. */
bool lm_rc_parse(lm_bytes_t name, lm_rc_t *code);
/** A sentence for people. */
const char *lm_rc_text(lm_rc_t code);
/** The gRPC status code that goes with it; 2 (UNKNOWN) for a number that is none. */
int lm_rc_grpc_status(lm_rc_t code);
/** True if a caller who gets it knows that nothing was changed. */
bool lm_rc_not_applied(lm_rc_t code);

#endif
