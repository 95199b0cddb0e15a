/* Verbs about locks: acquire, release, renew, get, list. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"

enum { LIST_PAGE = 500 };

const char *ctl_make_owner(void)
{
    static char owner[160];
    char host[64] = "host", id[33];
    gethostname(host, sizeof host - 1);
    lm_client_make_id(id);
    snprintf(owner, sizeof owner, "lockctl-%s-%d-%.8s", host, (int)getpid(), id);
    return owner;
}

/** Exit codes by gRPC status; everything else is CTL_UNAVAILABLE. */
static int exit_of(const lm_client_result_t *result)
{
    static const struct {
        int status, code;
    } table[] = {{3, CTL_USAGE},   {4, CTL_TIMEOUT}, {7, CTL_DENIED},
                 {16, CTL_DENIED}, {9, CTL_LOST},    {8, CTL_NOT_ACQUIRED}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].status == result->grpc_status) return table[i].code;
    return CTL_UNAVAILABLE;
}

int ctl_fail(const ctl_options_t *options, const lm_client_result_t *result)
{
    if (!options->quiet)
        fprintf(stderr, "lockctl: %s%s%s%s%s\n", result->endpoint, *result->endpoint ? ": " : "",
                result->text, result->own ? " " : "", result->own ? lm_rc_name(result->code) : "");
    return exit_of(result);
}

bool ctl_has_words(const ctl_options_t *options, int least, int most, const char *what)
{
    if (options->n_words - 1 >= least && options->n_words - 1 <= most) return true;
    fprintf(stderr, "lockctl: %s takes %s\n", options->words[0], what);
    return false;
}

static bool needs(const char *value, const char *option)
{
    if (value && *value) return true;
    fprintf(stderr, "lockctl: %s is needed\n", option);
    return false;
}

int ctl_call_and_show(lm_client_t *client, const ctl_options_t *options, lm_client_method_t method,
                      const void *request, const char *simple)
{
    lm_arena_t *arena = lm_arena_new();
    const void *message = NULL;
    lm_client_result_t result =
        lm_client_call(client, method, request, ctl_timeout_ms(options, 0), arena, &message);
    int code = CTL_OK;
    if (result.grpc_status != 0) {
        code = ctl_fail(options, &result);
    } else {
        json_t *json = ctl_json_of(lm_client_response_type(method), message);
        ctl_print(options, json, NULL, simple);
        json_decref(json);
    }
    lm_arena_destroy(&arena);
    return code;
}

/** What release and renew need besides a name. */
static bool has_hold(const ctl_options_t *options)
{
    return ctl_has_words(options, 1, 1, "the name of a lock") &&
           (options->session_id || needs(options->owner, "--owner")) &&
           needs(options->hold_id, "--hold-id");
}

lm_api_lock_mode_t ctl_mode(const ctl_options_t *options)
{
    return options->shared ? LM_API_LOCK_MODE_SHARED : LM_API_LOCK_MODE_EXCLUSIVE;
}

/** The session of a request, in *part; *in stays NULL without --session. False: no secret. */
static bool enter(const ctl_options_t *options, lm_api_session_part_t *part,
                  lm_api_session_part_t **in)
{
    *in = NULL;
    if (!options->session_id) return true;
    const char *secret = ctl_secret(options);
    if (!secret) return false;
    *part = (lm_api_session_part_t){.session_id = lm_bytes_of(options->session_id),
                                    .secret = lm_bytes_of(secret)};
    *in = part;
    return true;
}

int ctl_acquire(lm_client_t *client, const ctl_options_t *options)
{
    if (!ctl_has_words(options, 1, 1, "the name of a lock")) return CTL_USAGE;
    lm_api_session_part_t part;
    lm_api_session_part_t *session;
    if (!enter(options, &part, &session)) return CTL_USAGE;
    int64_t wait_ms = ctl_wait_ms(options, 0);
    const char *owner = options->owner ? options->owner : ctl_make_owner();
    lm_api_acquire_request_t request = {
        .name = lm_bytes_of(options->words[1]),
        .owner = lm_bytes_of(session ? NULL : owner),
        .request_id = lm_bytes_of(options->request_id),
        .mode = ctl_mode(options),
        .ttl_ms = options->ttl_ms > 0 ? options->ttl_ms : 0,
        .wait_ms = wait_ms,
        .session = session,
    };
    lm_arena_t *arena = lm_arena_new();
    const void *message = NULL;
    lm_client_result_t result = lm_client_call(client, LM_CLIENT_ACQUIRE, &request,
                                               ctl_timeout_ms(options, wait_ms), arena, &message);
    int code;
    if (result.grpc_status != 0) {
        code = ctl_fail(options, &result);
    } else {
        const lm_api_acquire_response_t *r = message;
        json_t *json = ctl_json_of(lm_client_response_type(LM_CLIENT_ACQUIRE), r);
        if (!session) json_object_set_new(json, "owner", json_string(owner));
        ctl_print(options, json, NULL, "token");
        json_decref(json);
        code = r->result == LM_API_ACQUIRE_RESULT_GRANTED ? CTL_OK : (int)options->conflict_code;
    }
    lm_arena_destroy(&arena);
    return code;
}

int ctl_release(lm_client_t *client, const ctl_options_t *options)
{
    lm_api_session_part_t part;
    lm_api_session_part_t *session;
    if (!has_hold(options) || !enter(options, &part, &session)) return CTL_USAGE;
    lm_api_release_request_t request = {
        .name = lm_bytes_of(options->words[1]),
        .owner = lm_bytes_of(options->owner),
        .hold_id = lm_bytes_of(options->hold_id),
        .request_id = lm_bytes_of(options->request_id),
        .session = session,
    };
    return ctl_call_and_show(client, options, LM_CLIENT_RELEASE, &request, "token");
}

int ctl_renew(lm_client_t *client, const ctl_options_t *options)
{
    if (!has_hold(options) || !needs(options->owner, "--owner")) return CTL_USAGE;
    lm_api_renew_request_t request = {
        .name = lm_bytes_of(options->words[1]),
        .owner = lm_bytes_of(options->owner),
        .hold_id = lm_bytes_of(options->hold_id),
        .ttl_ms = options->ttl_ms > 0 ? options->ttl_ms : 0,
    };
    return ctl_call_and_show(client, options, LM_CLIENT_RENEW, &request, "leaseRemainingMs");
}

int ctl_get(lm_client_t *client, const ctl_options_t *options)
{
    if (!ctl_has_words(options, 1, 1, "the name of a lock")) return CTL_USAGE;
    lm_api_get_request_t request = {.name = lm_bytes_of(options->words[1])};
    return ctl_call_and_show(client, options, LM_CLIENT_GET, &request,
                             "lock.holders.0.owner|lock.holders.0.client");
}

/** Adds one page of locks to the list and says where the next begins; "" after the last. */
static lm_client_result_t fetch_page(lm_client_t *client, const ctl_options_t *options,
                                     const char *prefix, lm_arena_t *arena, lm_bytes_t *page_token,
                                     json_t *list)
{
    lm_api_list_request_t request = {
        .prefix = lm_bytes_of(prefix), .page_size = LIST_PAGE, .page_token = *page_token};
    const void *message = NULL;
    lm_client_result_t result = lm_client_call(client, LM_CLIENT_LIST, &request,
                                               ctl_timeout_ms(options, 0), arena, &message);
    if (result.grpc_status != 0) return result;
    const lm_api_list_response_t *page = message;
    for (size_t i = 0; i < page->n_locks; i++)
        json_array_append_new(list, ctl_json_of(&lm_api_lock_info_type, &page->locks[i]));
    *page_token = page->next_page_token;
    return result;
}

int ctl_list(lm_client_t *client, const ctl_options_t *options)
{
    static const ctl_column_t columns[] = {{"NAME", "name"},
                                           {"OWNER", "holders.0.owner|holders.0.client"},
                                           {"MODE", "holders.0.mode"},
                                           {"TOKEN", "holders.0.token"},
                                           {"HOLDERS", "holderCount"},
                                           {"WAITERS", "waiterCount"},
                                           {NULL, NULL}};
    if (!ctl_has_words(options, 0, 1, "at most one prefix")) return CTL_USAGE;
    const char *prefix = options->n_words > 1 ? options->words[1] : "";
    lm_arena_t *arena = lm_arena_new();
    json_t *list = json_array();
    lm_bytes_t page_token = lm_bytes(NULL, 0);
    size_t limit = options->limit > 0 ? (size_t)options->limit : SIZE_MAX;
    int code = CTL_OK;
    do {
        lm_client_result_t result = fetch_page(client, options, prefix, arena, &page_token, list);
        if (result.grpc_status != 0) code = ctl_fail(options, &result);
    } while (code == CTL_OK && page_token.size > 0 && json_array_size(list) < limit);
    while (json_array_size(list) > limit) json_array_remove(list, json_array_size(list) - 1);
    if (code == CTL_OK) ctl_print(options, list, columns, "name");
    json_decref(list);
    lm_arena_destroy(&arena);
    return code;
}
