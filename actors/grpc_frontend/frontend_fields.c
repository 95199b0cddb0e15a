#include "frontend_fields.h"

#include <inttypes.h>

#include "frontend_limits.h"
#include "wire_api.h"

typedef enum { TEXT, NUMBER_64, NUMBER_32 } kind_t;

typedef struct {
    lm_frontend_method_id_t method;
    const char *name;
    kind_t kind;
    size_t offset;
    int64_t min, max; /* of a number; of a text's size in bytes */
} rule_t;

#define ACQUIRE(field) LM_METHOD_ACQUIRE, #field, offsetof(lm_api_acquire_request_t, field)
#define RELEASE(field) LM_METHOD_RELEASE, #field, offsetof(lm_api_release_request_t, field)
#define RENEW(field) LM_METHOD_RENEW, #field, offsetof(lm_api_renew_request_t, field)
#define CANCEL(field) LM_METHOD_CANCEL, #field, offsetof(lm_api_cancel_request_t, field)
#define GET(field) LM_METHOD_GET, #field, offsetof(lm_api_get_request_t, field)
#define LIST(field) LM_METHOD_LIST, #field, offsetof(lm_api_list_request_t, field)
#define RULE_(method, name, at, kind, min, max) \
    {                                           \
        method, name, kind, at, min, max        \
    }
#define RULE(place, kind, min, max) RULE_EXPANDED(place, kind, min, max)
#define RULE_EXPANDED(...) RULE_(__VA_ARGS__)

static const rule_t rules[] = {
    RULE(ACQUIRE(name), TEXT, 1, LM_NAME_BYTES_MAX),
    RULE(ACQUIRE(owner), TEXT, 1, LM_OWNER_BYTES_MAX),
    RULE(ACQUIRE(request_id), TEXT, 0, LM_REQUEST_ID_BYTES_MAX),
    RULE(ACQUIRE(mode), NUMBER_32, 0, LM_API_LOCK_MODE_SHARED),
    RULE(ACQUIRE(ttl_ms), NUMBER_64, 0, INT64_MAX),
    RULE(ACQUIRE(wait_ms), NUMBER_64, -1, LM_WAIT_MS_MAX),
    RULE(RELEASE(name), TEXT, 1, LM_NAME_BYTES_MAX),
    RULE(RELEASE(owner), TEXT, 1, LM_OWNER_BYTES_MAX),
    RULE(RELEASE(hold_id), TEXT, 1, LM_HOLD_ID_BYTES_MAX),
    RULE(RELEASE(request_id), TEXT, 0, LM_REQUEST_ID_BYTES_MAX),
    RULE(RENEW(name), TEXT, 1, LM_NAME_BYTES_MAX),
    RULE(RENEW(owner), TEXT, 1, LM_OWNER_BYTES_MAX),
    RULE(RENEW(hold_id), TEXT, 1, LM_HOLD_ID_BYTES_MAX),
    RULE(RENEW(ttl_ms), NUMBER_64, 0, INT64_MAX),
    RULE(CANCEL(owner), TEXT, 1, LM_OWNER_BYTES_MAX),
    RULE(CANCEL(request_id), TEXT, 1, LM_REQUEST_ID_BYTES_MAX),
    RULE(GET(name), TEXT, 1, LM_NAME_BYTES_MAX),
    RULE(LIST(prefix), TEXT, 0, LM_NAME_BYTES_MAX),
    RULE(LIST(page_size), NUMBER_32, 0, LM_PAGE_SIZE_MAX),
    RULE(LIST(page_token), TEXT, 0, LM_PAGE_TOKEN_BYTES_MAX),
};

static int64_t value_of(const rule_t *rule, const void *request)
{
    const char *at = (const char *)request + rule->offset;
    switch (rule->kind) {
    case TEXT: return (int64_t)((const lm_bytes_t *)(const void *)at)->size;
    case NUMBER_64: return *(const int64_t *)(const void *)at;
    case NUMBER_32: return *(const int32_t *)(const void *)at;
    }
    return 0;
}

static lm_bytes_t sentence(const rule_t *rule, int64_t value, lm_arena_t *arena)
{
    if (rule->kind == TEXT && value == 0) return lm_bytes_of("must not be empty");
    if (rule->kind == TEXT)
        return lm_arena_print(arena, "must be at most %" PRId64 " bytes", rule->max);
    if (rule->max == INT64_MAX)
        return lm_arena_print(arena, "must be at least %" PRId64, rule->min);
    return lm_arena_print(arena, "must be from %" PRId64 " to %" PRId64, rule->min, rule->max);
}

lm_rc_t lm_frontend_fields_check(lm_frontend_method_id_t method, const void *request,
                                 lm_arena_t *arena, lm_frontend_error_t *error)
{
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        const rule_t *rule = &rules[i];
        if (rule->method != method) continue;
        int64_t value = value_of(rule, request);
        if (value >= rule->min && value <= rule->max) continue;
        *error = (lm_frontend_error_t){.code = LM_RC_INVALID_ARGUMENT,
                                       .field = lm_bytes_of(rule->name),
                                       .rule = sentence(rule, value, arena)};
        return LM_RC_INVALID_ARGUMENT;
    }
    return LM_RC_OK;
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
