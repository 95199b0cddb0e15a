#include "frontend_audit.h"

#include <inttypes.h>
#include <stdio.h>

#include "base_log.h"

enum { SECOND_US = 1000000 };

void lm_frontend_audit_quote(lm_bytes_t text, char quoted[LM_AUDIT_BYTES + 8])
{
    size_t n = 0;
    bool whole = true;
    quoted[n++] = '"';
    for (size_t i = 0; i < text.size && whole; i++) {
        uint8_t c = text.data[i];
        bool plain = c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
        whole = n + (plain ? 1 : 4) < LM_AUDIT_BYTES;
        if (whole) n += (size_t)snprintf(quoted + n, 5, plain ? "%c" : "\\x%02x", c);
    }
    snprintf(quoted + n, 5, whole ? "\"" : "\"...");
}

/* Whether there may be one more line in this second. */
static bool may_write(lm_frontend_audit_t *audit, uint64_t now_us)
{
    lm_frontend_audit_tick(audit, now_us);
    if (audit->n_lines < LM_AUDIT_LINES) {
        audit->n_lines++;
        return true;
    }
    audit->left_out++;
    return false;
}

void lm_frontend_audit_tick(lm_frontend_audit_t *audit, uint64_t now_us)
{
    if (now_us - audit->began_us < SECOND_US) return;
    if (audit->left_out) lm_warn("audit left out %" PRIu64 " lines", audit->left_out);
    *audit = (lm_frontend_audit_t){.began_us = now_us};
}

void lm_frontend_audit_refused(lm_frontend_audit_t *audit, lm_frontend_driver_t *driver,
                               lm_frontend_handle_t *handle, const lm_frontend_audit_line_t *line,
                               uint64_t now_us)
{
    char identity[LM_AUDIT_BYTES + 8], name[LM_AUDIT_BYTES + 8], address[LM_ADDRESS_BYTES];
    if (!may_write(audit, now_us)) return;
    lm_frontend_audit_quote(line->identity, identity);
    lm_frontend_audit_quote(line->name, name);
    driver->ops->address(driver, handle, address);
    lm_warn("audit refused reason=%s method=%s identity=%s name=%s from=%s", line->reason,
            handle->method->name, identity, name, *address ? address : "?");
}
