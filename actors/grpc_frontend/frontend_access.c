#include "frontend_access.h"

#include <stdio.h>
#include <string.h>

#include "base_check.h"
#include "base_log.h"
#include "frontend_clients_state.h"
#include "frontend_proof.h"

static const struct {
    const char *reason;
    lm_rc_t code;
    const char *text;
} refusals[LM_REFUSALS_N] = {
#define LM_REFUSAL(name, label, rc, words) [LM_REFUSED_##name] = {label, LM_RC_##rc, words},
    LM_REFUSALS(LM_REFUSAL)
#undef LM_REFUSAL
};

static void refuse(lm_frontend_clients_t *room, lm_frontend_handle_t *handle,
                   lm_frontend_refusal_t why, lm_bytes_t identity, lm_bytes_t name)
{
    room->refused[why]++;
    lm_frontend_audit_line_t line = {
        .reason = refusals[why].reason, .identity = identity, .name = name};
    lm_frontend_audit_refused(&room->frame.audit, room->frame.driver, handle, &line,
                              room->frame.now_us);
}

static bool refuse_with(lm_frontend_clients_t *room, lm_frontend_handle_t *handle,
                        lm_frontend_refusal_t why, lm_bytes_t name, lm_frontend_error_t *error)
{
    bool known = refusals[why].code == LM_RC_PERMISSION_DENIED;
    lm_bytes_t identity = known ? lm_frontend_access_identity(room, handle) : lm_bytes(NULL, 0);
    refuse(room, handle, why, identity, name);
    *error =
        (lm_frontend_error_t){.code = refusals[why].code, .text = lm_bytes_of(refusals[why].text)};
    return false;
}

/* ---- who ------------------------------------------------------------------------------------- */

static bool has_tls(const lm_frontend_clients_t *room)
{
    return room->frame.config->tls_cert.size > 0;
}

static bool is_restricted(const lm_frontend_clients_t *room)
{
    return room->frame.config->access.size > 0;
}

static lm_bytes_t name_of_token(const lm_frontend_clients_t *room,
                                const lm_frontend_bearer_t *bearer)
{
    if (!room->access || !bearer->readable) return lm_bytes(NULL, 0);
    return lm_access_name_of(room->access, bearer->digest);
}

lm_bytes_t lm_frontend_access_identity(const lm_frontend_clients_t *room,
                                       const lm_frontend_handle_t *handle)
{
    if (handle->bearer) return name_of_token(room, handle->bearer);
    return lm_frontend_proof_identity(room->frame.config, handle);
}

bool lm_frontend_access_admit(lm_frontend_clients_t *room, lm_frontend_handle_t *handle,
                              lm_frontend_error_t *error)
{
    lm_right_t needs = handle->method->needs;
    lm_bytes_t none = lm_bytes(NULL, 0);
    if (needs == LM_RIGHT_OPEN || needs == LM_RIGHT_NODE) return true;
    const lm_frontend_bearer_t *bearer = handle->bearer;
    if (bearer && !has_tls(room))
        return refuse_with(room, handle, LM_REFUSED_TOKEN_IN_PLAINTEXT, none, error);
    if (bearer && !bearer->readable)
        return refuse_with(room, handle, LM_REFUSED_TOKEN_UNREADABLE, none, error);
    bool known = lm_frontend_access_identity(room, handle).size > 0;
    if (bearer && !known) return refuse_with(room, handle, LM_REFUSED_TOKEN_UNKNOWN, none, error);
    bool needed = is_restricted(room) || lm_frontend_proof_needed(room->frame.config);
    if (known || !needed) return true;
    return refuse_with(room, handle, LM_REFUSED_NO_NAME, none, error);
}

void lm_frontend_access_not_a_node(lm_frontend_clients_t *room, lm_frontend_handle_t *handle,
                                   lm_bytes_t node)
{
    refuse(room, handle, LM_REFUSED_NOT_A_NODE,
           lm_frontend_proof_identity(room->frame.config, handle), node);
}

/* ---- what it may ----------------------------------------------------------------------------- */

/* The name or prefix in the request; NULL: its method is about none, or a stream has sent none yet.
 */
static const lm_bytes_t *name_in(const lm_frontend_method_t *method, const void *request)
{
    static const lm_bytes_t all;
    if (method->names == LM_NAMES_NONE) return NULL;
    if (method->names == LM_NAMES_ALL) return &all;
    LM_CHECK(request || method->stream, "%s without its request", method->path);
    if (!request) return NULL;
    return (const lm_bytes_t *)(const void *)((const char *)request + method->names_at);
}

static lm_access_verdict_t judge(const lm_frontend_clients_t *room,
                                 const lm_frontend_handle_t *handle, const lm_bytes_t *name)
{
    if (!room->access) return LM_ACCESS_NO_ROLE;
    return lm_access_judge(room->access, lm_frontend_access_identity(room, handle),
                           handle->method->needs, name);
}

bool lm_frontend_access_permit(lm_frontend_clients_t *room, lm_frontend_handle_t *handle,
                               const void *request, lm_frontend_error_t *error)
{
    static const lm_frontend_refusal_t whys[] = {[LM_ACCESS_NO_ROLE] = LM_REFUSED_NO_ROLE,
                                                 [LM_ACCESS_NO_RIGHT] = LM_REFUSED_NO_RIGHT,
                                                 [LM_ACCESS_OUTSIDE] = LM_REFUSED_OUTSIDE_PREFIX};
    lm_right_t needs = handle->method->needs;
    if (needs == LM_RIGHT_OPEN || needs == LM_RIGHT_NODE || !is_restricted(room)) return true;
    /* On a stream the token may have gone since it was opened. */
    if (lm_frontend_access_identity(room, handle).size == 0)
        return refuse_with(room, handle, LM_REFUSED_NO_NAME, lm_bytes(NULL, 0), error);
    const lm_bytes_t *name = name_in(handle->method, request);
    lm_access_verdict_t verdict = judge(room, handle, name);
    if (verdict == LM_ACCESS_ALLOWED) return true;
    return refuse_with(room, handle, whys[verdict], name ? *name : lm_bytes(NULL, 0), error);
}

/* ---- the file -------------------------------------------------------------------------------- */

typedef struct {
    unsigned line, n;
    char text[160];
} fault_t;

static void on_fault(void *arg, unsigned line, const char *text)
{
    fault_t *fault = arg;
    if (fault->n++) return;
    fault->line = line;
    snprintf(fault->text, sizeof fault->text, "%s", text);
}

bool lm_frontend_access_read(lm_frontend_clients_t *room, const lm_frontend_event_t *event)
{
    lm_bytes_t path = room->frame.config->access;
    fault_t fault = {0};
    lm_access_t *access = lm_access_parse(lm_frontend_event_payload(event), on_fault, &fault);
    if (!access) {
        lm_warn("the file of access is not used: %.*s:%u %s%s", LM_BYTES_ARG(path), fault.line,
                fault.text, fault.n > 1 ? ", and more" : "");
        return room->access != NULL;
    }
    lm_access_destroy(&room->access);
    room->access = access;
    lm_info("audit access is read: %.*s, %zu tokens, %zu grants", LM_BYTES_ARG(path),
            lm_access_tokens(access), lm_access_grants(access));
    return true;
}

/* ---- figures --------------------------------------------------------------------------------- */

void lm_frontend_access_report(const lm_frontend_clients_t *room, lm_frontend_report_t *report)
{
    for (size_t i = 0; i < LM_REFUSALS_N; i++)
        lm_frontend_report_add(report, "lockmgr_frontend_refused_total",
                               "Calls refused because of who makes them, by reason.",
                               LM_BUS_METRIC_KIND_COUNTER, "reason",
                               lm_bytes_of(refusals[i].reason), (double)room->refused[i]);
    lm_frontend_refused_t driver = room->frame.driver->ops->refused(room->frame.driver);
    if (!has_tls(room)) return;
    lm_frontend_report_add(report, "lockmgr_tls_handshakes_failed_total",
                           "Connections, in and out, that ended before TLS was agreed on.",
                           LM_BUS_METRIC_KIND_COUNTER, NULL, lm_bytes(NULL, 0),
                           (double)driver.handshakes);
    lm_frontend_report_add(report, "lockmgr_tls_certificate_expiry_timestamp_seconds",
                           "When the certificate in force expires, in seconds since 1970.",
                           LM_BUS_METRIC_KIND_GAUGE, NULL, lm_bytes(NULL, 0),
                           (double)driver.certificate_expires_s);
}
