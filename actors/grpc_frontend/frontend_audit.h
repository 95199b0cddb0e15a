/* Audit lines: one fixed form for whoever keeps logs.
 *
 *   audit refused reason=outside_prefix method=Acquire identity="ci" name="prod/db" from=ipv4:...
 *   audit left out 17 lines
 *
 * Invariants
 *   FW1  A value that somebody else has chosen stands in quotes, on one line, cut at
 *        LM_AUDIT_BYTES: nobody writes lines of his own. Tokens, keys and secrets are in none.
 *   FW2  At most LM_AUDIT_LINES a second; how many were left out is said when the second is over.
 */
#ifndef LM_FRONTEND_AUDIT_H
#define LM_FRONTEND_AUDIT_H

#include "frontend_driver.h"

enum { LM_AUDIT_LINES = 20, LM_AUDIT_BYTES = 128 };

typedef struct {
    uint64_t began_us; /* the second that is counted */
    unsigned n_lines;
    uint64_t left_out;
} lm_frontend_audit_t;

/** One refusal. identity, name: empty if there is none to tell. */
typedef struct {
    const char *reason;
    lm_bytes_t identity;
    lm_bytes_t name;
} lm_frontend_audit_line_t;

void lm_frontend_audit_refused(lm_frontend_audit_t *audit, lm_frontend_driver_t *driver,
                               lm_frontend_handle_t *handle, const lm_frontend_audit_line_t *line,
                               uint64_t now_us);
/** To be called about once a second. */
void lm_frontend_audit_tick(lm_frontend_audit_t *audit, uint64_t now_us);

/** A text as it stands in an audit line, quotes and all. */
void lm_frontend_audit_quote(lm_bytes_t text, char quoted[LM_AUDIT_BYTES + 8]);

#endif
