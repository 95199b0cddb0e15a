#include "frontend_fields.h"

#include <inttypes.h>
#include <string.h>

#include "base_fault.h"
#include "frontend_limits.h"
#include "wire_api.h"

typedef enum { TEXT, HEX, NUMBER_64, NUMBER_32 } kind_t;

typedef struct {
    lm_frontend_method_id_t method;
    const char *name;
    kind_t kind;
    size_t offset;
    int64_t min, max; /* of a number, which may be 0 too if zero is true; of a text's size */
    bool zero;
    size_t session; /* where the request has a SessionPart; the field is empty or 0 if it is set */
} rule_t;

#define ACQUIRE(field) LM_METHOD_ACQUIRE, #field, offsetof(lm_api_acquire_request_t, field)
#define RELEASE(field) LM_METHOD_RELEASE, #field, offsetof(lm_api_release_request_t, field)
#define RENEW(field) LM_METHOD_RENEW, #field, offsetof(lm_api_renew_request_t, field)
#define CANCEL(field) LM_METHOD_CANCEL, #field, offsetof(lm_api_cancel_request_t, field)
#define GET(field) LM_METHOD_GET, #field, offsetof(lm_api_get_request_t, field)
#define LIST(field) LM_METHOD_LIST, #field, offsetof(lm_api_list_request_t, field)
#define OPEN(field) LM_METHOD_OPEN_SESSION, #field, offsetof(lm_api_open_session_request_t, field)
#define KEEP(field) LM_METHOD_KEEP_ALIVE, #field, offsetof(lm_api_keep_alive_request_t, field)
#define CLOSE(field) \
    LM_METHOD_CLOSE_SESSION, #field, offsetof(lm_api_close_session_request_t, field)
#define SHOW(field) LM_METHOD_GET_SESSION, #field, offsetof(lm_api_get_session_request_t, field)
#define SESSIONS(field) \
    LM_METHOD_LIST_SESSIONS, #field, offsetof(lm_api_list_sessions_request_t, field)
#define RULE_(method, name, at, kind, min, max, ...)  \
    {                                                 \
        method, name, kind, at, min, max, __VA_ARGS__ \
    }
#define RULE(place, kind, min, max) RULE_EXPANDED(place, kind, min, max, false, 0)
/* Of what a session stands for. */
#define ALONE(type, place, kind, min, max) \
    RULE_EXPANDED(place, kind, min, max, false, offsetof(lm_api_##type##_request_t, session))
#define RULE_EXPANDED(...) RULE_(__VA_ARGS__)

static const rule_t rules[] = {
    RULE(ACQUIRE(name), TEXT, 1, LM_NAME_BYTES_MAX),
    ALONE(acquire, ACQUIRE(owner), TEXT, 1, LM_OWNER_BYTES_MAX),
    RULE(ACQUIRE(request_id), TEXT, 0, LM_REQUEST_ID_BYTES_MAX),
    RULE(ACQUIRE(mode), NUMBER_32, 0, LM_API_LOCK_MODE_SHARED),
    ALONE(acquire, ACQUIRE(ttl_ms), NUMBER_64, 0, INT64_MAX),
    RULE(ACQUIRE(wait_ms), NUMBER_64, -1, LM_WAIT_MS_MAX),
    RULE(RELEASE(name), TEXT, 1, LM_NAME_BYTES_MAX),
    ALONE(release, RELEASE(owner), TEXT, 1, LM_OWNER_BYTES_MAX),
    RULE(RELEASE(hold_id), TEXT, 1, LM_HOLD_ID_BYTES_MAX),
    RULE(RELEASE(request_id), TEXT, 0, LM_REQUEST_ID_BYTES_MAX),
    RULE(RENEW(name), TEXT, 1, LM_NAME_BYTES_MAX),
    RULE(RENEW(owner), TEXT, 1, LM_OWNER_BYTES_MAX),
    RULE(RENEW(hold_id), TEXT, 1, LM_HOLD_ID_BYTES_MAX),
    RULE(RENEW(ttl_ms), NUMBER_64, 0, INT64_MAX),
    ALONE(cancel, CANCEL(owner), TEXT, 1, LM_OWNER_BYTES_MAX),
    RULE(CANCEL(request_id), TEXT, 0, LM_REQUEST_ID_BYTES_MAX),
    RULE(GET(name), TEXT, 1, LM_NAME_BYTES_MAX),
    RULE(LIST(prefix), TEXT, 0, LM_NAME_BYTES_MAX),
    RULE(LIST(page_size), NUMBER_32, 0, LM_PAGE_SIZE_MAX),
    RULE(LIST(page_token), TEXT, 0, LM_PAGE_TOKEN_BYTES_MAX),
    RULE(OPEN(client), TEXT, 1, LM_OWNER_BYTES_MAX),
    RULE(OPEN(request_id), TEXT, 0, LM_REQUEST_ID_BYTES_MAX),
    RULE_EXPANDED(OPEN(ttl_ms), NUMBER_64, LM_SESSION_TTL_MS_MIN, LM_TTL_MS_MAX, true, 0),
    RULE(KEEP(session_id), HEX, LM_SESSION_ID_DIGITS, LM_SESSION_ID_DIGITS),
    RULE(KEEP(secret), HEX, LM_SESSION_SECRET_DIGITS, LM_SESSION_SECRET_DIGITS),
    RULE(CLOSE(session_id), HEX, LM_SESSION_ID_DIGITS, LM_SESSION_ID_DIGITS),
    RULE(CLOSE(secret), HEX, LM_SESSION_SECRET_DIGITS, LM_SESSION_SECRET_DIGITS),
    RULE(SHOW(session_id), HEX, LM_SESSION_ID_DIGITS, LM_SESSION_ID_DIGITS),
    RULE(SESSIONS(page_size), NUMBER_32, 0, LM_PAGE_SIZE_MAX),
    RULE(SESSIONS(page_token), HEX, 0, LM_SESSION_ID_DIGITS),
};

static int64_t value_of(const rule_t *rule, const void *request)
{
    const char *at = (const char *)request + rule->offset;
    switch (rule->kind) {
    case TEXT:
    case HEX: return (int64_t)((const lm_bytes_t *)(const void *)at)->size;
    case NUMBER_64: return *(const int64_t *)(const void *)at;
    case NUMBER_32: return *(const int32_t *)(const void *)at;
    }
    return 0;
}

static lm_bytes_t sentence(const rule_t *rule, int64_t value, lm_arena_t *arena)
{
    if (rule->kind == HEX)
        return lm_arena_print(arena, "must be %" PRId64 " hex digits in lower case", rule->max);
    if (rule->kind == TEXT && value == 0) return lm_bytes_of("must not be empty");
    if (rule->kind == TEXT)
        return lm_arena_print(arena, "must be at most %" PRId64 " bytes", rule->max);
    if (rule->max == INT64_MAX)
        return lm_arena_print(arena, "must be at least %" PRId64, rule->min);
    return lm_arena_print(arena, "must be from %" PRId64 " to %" PRId64, rule->min, rule->max);
}

static bool is_hex(lm_bytes_t text)
{
    for (size_t i = 0; i < text.size; i++)
        if (!strchr("0123456789abcdef", text.data[i])) return false;
    return true;
}

static bool is_kept(const rule_t *rule, const void *request, int64_t value)
{
    if (rule->zero && value == 0) return true;
    if (value < rule->min || value > rule->max) return false;
    const char *at = (const char *)request + rule->offset;
    return rule->kind != HEX || is_hex(*(const lm_bytes_t *)(const void *)at);
}

static lm_rc_t refuse(lm_frontend_error_t *error, const char *field, lm_bytes_t rule)
{
    *error = (lm_frontend_error_t){
        .code = LM_RC_INVALID_ARGUMENT, .field = lm_bytes_of(field), .rule = rule};
    return LM_RC_INVALID_ARGUMENT;
}

/* ---- requests in a session ------------------------------------------------------------------- */

static const lm_api_session_part_t *session_of(const void *request, size_t offset)
{
    if (!offset) return NULL;
    const char *at = (const char *)request + offset;
    return *(lm_api_session_part_t *const *)(const void *)at;
}

static const struct {
    lm_frontend_method_id_t method;
    size_t session, request_id;
    bool needs_id;
} in_sessions[] = {
    {LM_METHOD_ACQUIRE, offsetof(lm_api_acquire_request_t, session),
     offsetof(lm_api_acquire_request_t, request_id), false},
    {LM_METHOD_RELEASE, offsetof(lm_api_release_request_t, session),
     offsetof(lm_api_release_request_t, request_id), false},
    {LM_METHOD_CANCEL, offsetof(lm_api_cancel_request_t, session),
     offsetof(lm_api_cancel_request_t, request_id), true},
};

static lm_rc_t check_part(const lm_api_session_part_t *part, lm_frontend_error_t *error)
{
    if (part->session_id.size != LM_SESSION_ID_DIGITS || !is_hex(part->session_id))
        return refuse(error, "session.session_id",
                      lm_bytes_of("must be 16 hex digits in lower case"));
    if (part->secret.size != LM_SESSION_SECRET_DIGITS || !is_hex(part->secret))
        return refuse(error, "session.secret", lm_bytes_of("must be 32 hex digits in lower case"));
    return LM_RC_OK;
}

static lm_rc_t check_session(lm_frontend_method_id_t method, const void *request,
                             lm_frontend_error_t *error)
{
    for (size_t i = 0; i < sizeof in_sessions / sizeof *in_sessions; i++) {
        if (in_sessions[i].method != method) continue;
        const lm_api_session_part_t *part = session_of(request, in_sessions[i].session);
        const char *at = (const char *)request + in_sessions[i].request_id;
        bool has_id = ((const lm_bytes_t *)(const void *)at)->size > 0;
        bool has_number = part && part->request_number;
        if (part && check_part(part, error) != LM_RC_OK) return LM_RC_INVALID_ARGUMENT;
        if (has_number && has_id)
            return refuse(error, "request_id",
                          lm_bytes_of("must be empty if there is a request number"));
        if (in_sessions[i].needs_id && !has_id && !has_number)
            return refuse(error, "request_id", lm_bytes_of("must not be empty"));
    }
    return LM_RC_OK;
}

lm_rc_t lm_frontend_fields_check(lm_frontend_method_id_t method, const void *request,
                                 lm_arena_t *arena, lm_frontend_error_t *error)
{
    if (method == LM_METHOD_KEEP_ALIVE_STREAM) method = LM_METHOD_KEEP_ALIVE;
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        const rule_t *rule = &rules[i];
        if (rule->method != method) continue;
        int64_t value = value_of(rule, request);
        if (session_of(request, rule->session)) {
            if (value == 0) continue;
            return refuse(error, rule->name,
                          lm_bytes_of(rule->kind == TEXT ? "must be empty in a session"
                                                         : "must be 0 in a session"));
        }
        if (is_kept(rule, request, value)) continue;
        if (LM_FAULT(NAMELESS) && value == 0) continue;
        return refuse(error, rule->name, sentence(rule, value, arena));
    }
    return check_session(method, request, error);
}

lm_rc_t lm_frontend_fields_decode(const lm_frontend_method_t *method, lm_bytes_t payload,
                                  lm_arena_t *arena, void **request, lm_frontend_error_t *error)
{
    lm_wire_error_t wire = {0};
    lm_rc_t code = lm_wire_decode(method->request, payload, arena, request, &wire);
    if (code == LM_RC_OK) return lm_frontend_fields_check(method->id, *request, arena, error);
    *error = (lm_frontend_error_t){.code = code};
    if (wire.field && *wire.field) {
        error->field = lm_bytes_of(wire.field);
        error->rule = lm_bytes_of(wire.rule);
    }
    return code;
}
