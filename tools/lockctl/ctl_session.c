/* Verbs about sessions: open, keepalive, close, show, list. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client_session.h"
#include "ctl.h"

enum { LIST_PAGE = 500, SECRET_MAX = 256 };

/* ---- the secret ------------------------------------------------------------------------------ */

/** The first line of the file. */
static const char *read_secret(const char *path)
{
    static char secret[SECRET_MAX];
    FILE *file = fopen(path, "re");
    if (!file) {
        fprintf(stderr, "lockctl: %s: %s\n", path, strerror(errno));
        return NULL;
    }
    if (!fgets(secret, sizeof secret, file)) secret[0] = '\0';
    fclose(file);
    secret[strcspn(secret, "\r\n")] = '\0';
    if (secret[0]) return secret;
    fprintf(stderr, "lockctl: %s has no secret in its first line\n", path);
    return NULL;
}

const char *ctl_secret(const ctl_options_t *options)
{
    const char *secret = options->secret ? options->secret : getenv("LOCKCTL_SECRET");
    if (options->secret_file) return read_secret(options->secret_file);
    if (secret && *secret) return secret;
    fprintf(stderr, "lockctl: --secret, --secret-file or LOCKCTL_SECRET is needed\n");
    return NULL;
}

/** For its owner's eyes only, also if the file was there before. */
static int write_secret(const char *path, lm_bytes_t secret)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool written =
        fd >= 0 && fchmod(fd, 0600) == 0 && dprintf(fd, "%.*s\n", LM_BYTES_ARG(secret)) > 0;
    if (!written) fprintf(stderr, "lockctl: %s: %s\n", path, strerror(errno));
    if (fd >= 0) close(fd);
    return written ? CTL_OK : CTL_USAGE;
}

/* ---- which ----------------------------------------------------------------------------------- */

static const char *session_id(const ctl_options_t *options)
{
    const char *id = options->n_words > 2 ? options->words[2] : options->session_id;
    if (!id) fprintf(stderr, "lockctl: session %s needs an id\n", options->words[1]);
    return id;
}

/* ---- verbs ----------------------------------------------------------------------------------- */

static int open_session(lm_client_t *client, const ctl_options_t *options)
{
    lm_arena_t *arena = lm_arena_new();
    const void *message = NULL;
    lm_api_open_session_request_t request = {
        .client = lm_bytes_of(options->owner ? options->owner : ctl_make_owner()),
        .request_id = lm_bytes_of(options->request_id),
        .ttl_ms = options->ttl_ms > 0 ? options->ttl_ms : 0,
    };
    lm_client_result_t result = lm_client_call(client, LM_CLIENT_OPEN_SESSION, &request,
                                               ctl_timeout_ms(options, 0), arena, &message);
    int code = result.grpc_status != 0 ? ctl_fail(options, &result) : CTL_OK;
    if (code == CTL_OK) {
        const lm_api_open_session_response_t *r = message;
        json_t *json = ctl_json_of(lm_client_response_type(LM_CLIENT_OPEN_SESSION), r);
        if (options->secret_file) {
            code = write_secret(options->secret_file, r->secret);
            json_object_del(json, "secret");
        }
        ctl_print(options, json, NULL, "sessionId");
        json_decref(json);
    }
    lm_arena_destroy(&arena);
    return code;
}

static int keep_once(lm_client_t *client, const ctl_options_t *options, const char *id,
                     const char *secret)
{
    lm_arena_t *arena = lm_arena_new();
    const void *message = NULL;
    lm_api_keep_alive_request_t request = {.session_id = lm_bytes_of(id),
                                           .secret = lm_bytes_of(secret)};
    lm_client_result_t result = lm_client_call(client, LM_CLIENT_KEEP_ALIVE, &request,
                                               ctl_timeout_ms(options, 0), arena, &message);
    int code = result.grpc_status != 0 ? ctl_fail(options, &result) : CTL_OK;
    if (code == CTL_OK) {
        const lm_api_keep_alive_response_t *r = message;
        json_t *json = ctl_json_of(lm_client_response_type(LM_CLIENT_KEEP_ALIVE), r);
        ctl_print(options, json, NULL, "leaseRemainingMs");
        json_decref(json);
        if (r->result != LM_API_KEEP_ALIVE_RESULT_ALIVE)
            code = r->result == LM_API_KEEP_ALIVE_RESULT_DENIED ? CTL_DENIED : CTL_LOST;
    }
    lm_arena_destroy(&arena);
    return code;
}

/** Until it is lost or a signal comes. */
static int watch(const ctl_options_t *options, lm_session_t *session, int signals_fd)
{
    struct signalfd_siginfo info;
    struct pollfd fds[] = {{.fd = signals_fd, .events = POLLIN},
                           {.fd = lm_session_fd(session), .events = POLLIN}};
    lm_session_state_t told = LM_SESSION_SAFE;
    for (;;) {
        poll(fds, 2, -1);
        lm_session_state_t state = lm_session_step(session);
        if (state != told && !options->quiet)
            fprintf(stderr, "lockctl: the session is %s%s%s\n", lm_session_state_name(state),
                    state == LM_SESSION_LOST ? ": " : "", lm_session_cause(session));
        told = state;
        if (state == LM_SESSION_LOST) return CTL_LOST;
        if (read(signals_fd, &info, sizeof info) == (ssize_t)sizeof info &&
            info.ssi_signo != SIGCHLD)
            return CTL_SIGNAL + (int)info.ssi_signo;
    }
}

static int keep_session(lm_client_t *client, const ctl_options_t *options)
{
    const char *id = session_id(options), *secret = id ? ctl_secret(options) : NULL;
    if (!secret) return CTL_USAGE;
    if (options->once) return keep_once(client, options, id, secret);
    lm_client_result_t result;
    lm_session_options_t how = {
        .session_id = id, .secret = secret, .timeout_ms = ctl_timeout_ms(options, 0)};
    lm_session_t *session = lm_session_open(client, &how, &result);
    if (!session) return ctl_fail(options, &result);
    int signals_fd = ctl_signals_fd();
    int code = watch(options, session, signals_fd);
    close(signals_fd);
    lm_session_close(&session, 0);
    return code;
}

static int close_session(lm_client_t *client, const ctl_options_t *options)
{
    const char *id = session_id(options), *secret = id ? ctl_secret(options) : NULL;
    if (!secret) return CTL_USAGE;
    lm_api_close_session_request_t request = {.session_id = lm_bytes_of(id),
                                              .secret = lm_bytes_of(secret)};
    return ctl_call_and_show(client, options, LM_CLIENT_CLOSE_SESSION, &request, "header.opSeq");
}

static int show_session(lm_client_t *client, const ctl_options_t *options)
{
    const char *id = session_id(options);
    if (!id) return CTL_USAGE;
    lm_api_get_session_request_t request = {.session_id = lm_bytes_of(id)};
    return ctl_call_and_show(client, options, LM_CLIENT_GET_SESSION, &request, "session.client");
}

/** Adds one page of sessions to the list and says where the next begins; "" after the last. */
static lm_client_result_t fetch_page(lm_client_t *client, const ctl_options_t *options,
                                     lm_arena_t *arena, lm_bytes_t *page_token, json_t *list)
{
    lm_api_list_sessions_request_t request = {.page_size = LIST_PAGE, .page_token = *page_token};
    const void *message = NULL;
    lm_client_result_t result = lm_client_call(client, LM_CLIENT_LIST_SESSIONS, &request,
                                               ctl_timeout_ms(options, 0), arena, &message);
    if (result.grpc_status != 0) return result;
    const lm_api_list_sessions_response_t *page = message;
    for (size_t i = 0; i < page->n_sessions; i++)
        json_array_append_new(list, ctl_json_of(&lm_api_session_info_type, &page->sessions[i]));
    *page_token = page->next_page_token;
    return result;
}

static int list_sessions(lm_client_t *client, const ctl_options_t *options)
{
    static const ctl_column_t columns[] = {{"SESSION", "sessionId"},
                                           {"CLIENT", "client"},
                                           {"TTL MS", "ttlMs"},
                                           {"REMAINING MS", "leaseRemainingMs"},
                                           {"HOLDS", "holdCount"},
                                           {"WAITS", "waitCount"},
                                           {NULL, NULL}};
    lm_arena_t *arena = lm_arena_new();
    json_t *list = json_array();
    lm_bytes_t page_token = lm_bytes(NULL, 0);
    size_t limit = options->limit > 0 ? (size_t)options->limit : SIZE_MAX;
    int code = CTL_OK;
    do {
        lm_client_result_t result = fetch_page(client, options, arena, &page_token, list);
        if (result.grpc_status != 0) code = ctl_fail(options, &result);
    } while (code == CTL_OK && page_token.size > 0 && json_array_size(list) < limit);
    while (json_array_size(list) > limit) json_array_remove(list, json_array_size(list) - 1);
    if (code == CTL_OK) ctl_print(options, list, columns, "sessionId");
    json_decref(list);
    lm_arena_destroy(&arena);
    return code;
}

int ctl_session(lm_client_t *client, const ctl_options_t *options)
{
    static const struct {
        const char *name;
        ctl_verb_t *verb;
        int most;
    } verbs[] = {{"open", open_session, 1},
                 {"keepalive", keep_session, 2},
                 {"close", close_session, 2},
                 {"show", show_session, 2},
                 {"list", list_sessions, 1}};
    const char *name = options->n_words > 1 ? options->words[1] : "";
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        if (strcmp(name, verbs[i].name) != 0) continue;
        bool fits = ctl_has_words(options, 1, verbs[i].most, "fewer words there");
        return fits ? verbs[i].verb(client, options) : CTL_USAGE;
    }
    fprintf(stderr, "lockctl: session takes open, keepalive, close, show or list\n");
    return CTL_USAGE;
}
