#include "health_http.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base_arena.h"
#include "base_log.h"
#include "health_pages.h"
#include "health_token.h"

enum {
    CONNECTIONS_MAX = 256, /* far below the descriptor limit, so that accepting never fails */
    CONNECTIONS_PER_IP_MAX = 64,
    IDLE_SECONDS = 10,
    MEMORY_PER_CONNECTION = 16 * 1024,
    BODY_BYTES_MAX = 16 * 1024,
    DUMP_EVERY_US = 1000000, /* however many ask */
};

struct health_http {
    health_t *health;
    lm_host_t *host;
    struct MHD_Daemon *daemon;
    int epoll_fd;
    health_token_t *token; /* NULL: none is asked for */
    lm_arena_t *arena;     /* has what was last taken of threads */
    health_threads_t threads;
    uint64_t threads_until_us;
};

static enum MHD_Result send_answer(struct MHD_Connection *connection, health_answer_t *answer)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(answer->size, answer->body, MHD_RESPMEM_MUST_FREE);
    MHD_add_response_header(response, "Content-Type", answer->content_type);
    if (answer->code == 405) MHD_add_response_header(response, "Allow", "GET, HEAD");
    if (answer->code == 401)
        MHD_add_response_header(response, "WWW-Authenticate", "Bearer realm=\"lockmgr\"");
    enum MHD_Result rc = MHD_queue_response(connection, answer->code, response);
    MHD_destroy_response(response);
    return rc;
}

static enum MHD_Result note_tag(void *arg, enum MHD_ValueKind kind, const char *key,
                                const char *value)
{
    health_request_t *request = arg;
    (void)kind;
    if (strcmp(key, "tag") != 0) return MHD_YES;
    if (request->n_tags == HEALTH_TAGS_MAX)
        request->too_many_tags = true;
    else
        request->tags[request->n_tags++] = value ? value : "";
    return MHD_YES;
}

/* Bodies are not wanted. A short one is read and forgotten, so that the connection can go on; a
 * long one ends it. How much has come is kept in *state. */
static bool takes_body(size_t upload_size, void **state)
{
    uintptr_t come = (uintptr_t)*state + upload_size;
    *state = (void *)come;
    return come <= BODY_BYTES_MAX;
}

static bool is_stranger(const health_http_t *http, struct MHD_Connection *connection)
{
    if (!http->token) return false;
    return !health_token_admits(
        http->token,
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_AUTHORIZATION));
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **state)
{
    health_http_t *http = arg;
    (void)version;
    (void)upload;
    if (!*state) { /* the head has come */
        *state = (void *)(uintptr_t)1;
        return MHD_YES;
    }
    if (*upload_size) {
        bool takes = takes_body(*upload_size, state);
        *upload_size = 0;
        return takes ? MHD_YES : MHD_NO;
    }
    health_request_t request = {
        .path = url,
        .accept = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Accept"),
        .included_names =
            MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, "includedNames"),
    };
    MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, note_tag, &request);
    request.stranger = is_stranger(http, connection);
    bool reads = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
    health_answer_t answer = reads ? health_pages_get(http->health, &request)
                                   : health_pages_refuse(http->health, &request);
    if (answer.code == 401) health_note_stranger(http->health);
    return send_answer(connection, &answer);
}

static void run_daemon(void *arg, uint64_t now_us, lm_outbox_t *out)
{
    (void)now_us;
    (void)out;
    MHD_run(((health_http_t *)arg)->daemon);
}

/** Lets the daemon end connections that have been idle too long. */
static void on_tick(void *arg)
{
    health_http_t *http = arg;
    if (http->token) health_token_look(http->token, lm_clock_us());
    if (http->daemon) MHD_run(http->daemon);
}

static void look(void *arg, const lm_bus_child_table_t *children, health_system_t *system)
{
    const lm_bus_node_config_t *config = health_config(((health_http_t *)arg)->health);
    char path[4096];
    snprintf(path, sizeof path, "%.*s", LM_BYTES_ARG(config->data_dir));
    health_system_look(system, children, path);
}

static const health_threads_t *take_threads(void *arg, const lm_bus_child_table_t *children)
{
    health_http_t *http = arg;
    const lm_bus_node_config_t *config = health_config(http->health);
    uint64_t now_us = lm_clock_us();
    if (now_us < http->threads_until_us) return &http->threads;
    health_system_t system;
    lm_arena_reset(http->arena);
    health_system_list(&system, children);
    http->threads =
        health_threads_take(&system, lm_arena_text(http->arena, config->run_dir), http->arena);
    http->threads_until_us = now_us + DUMP_EVERY_US;
    return &http->threads;
}

/** A listening socket on the wanted address, IPv4 or IPv6; -1 with the reason logged. */
static int open_listener(const char *address, uint32_t port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICHOST};
    struct addrinfo *found = NULL;
    char service[16];
    int one = 1;
    snprintf(service, sizeof service, "%u", port);
    int rc = getaddrinfo(address, service, &hints, &found);
    if (rc != 0) {
        lm_error("listen address %s: %s", address, gai_strerror(rc));
        return -1;
    }
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    bool open = fd >= 0 && bind(fd, found->ai_addr, found->ai_addrlen) == 0 && listen(fd, 128) == 0;
    freeaddrinfo(found);
    if (open) return fd;
    lm_error("actuator port %u on %s: %m", port, address);
    if (fd >= 0) close(fd);
    return -1;
}

/* False, with the reason logged: the file that the supervisor has read cannot be read any more. */
static bool open_token(health_http_t *http, const lm_bus_node_config_t *config)
{
    char path[256], why[120];
    if (config->actuator_token.size == 0) return true;
    snprintf(path, sizeof path, "%.*s", LM_BYTES_ARG(config->actuator_token));
    http->token = health_token_new(path, why);
    if (!http->token) lm_error("actuator.token: %s %s", path, why);
    return http->token != NULL;
}

static lm_exit_t start(void *arg, const lm_bus_node_config_t *config)
{
    health_http_t *http = arg;
    if (!open_token(http, config)) return LM_EXIT_TRY_LATER;
    char address[128];
    snprintf(address, sizeof address, "%.*s", LM_BYTES_ARG(config->listen));
    int listener = open_listener(address, config->actuator_port);
    if (listener < 0) return LM_EXIT_TRY_LATER;
    http->daemon = MHD_start_daemon(
        MHD_USE_EPOLL, 0, NULL, NULL, on_request, http, MHD_OPTION_LISTEN_SOCKET, listener,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
        (unsigned)CONNECTIONS_PER_IP_MAX, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY_PER_CONNECTION, MHD_OPTION_END);
    if (!http->daemon) {
        lm_error("the HTTP server does not start");
        close(listener);
        return LM_EXIT_SYSTEM;
    }
    http->epoll_fd = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    lm_host_watch(http->host, http->epoll_fd, run_daemon, http);
    lm_info("actuator on http://%s:%u/actuator", address, config->actuator_port);
    return LM_EXIT_OK;
}

health_http_t *health_http_new(health_t *health, lm_host_t *host)
{
    health_http_t *http = lm_alloc(sizeof *http);
    http->health = health;
    http->host = host;
    http->arena = lm_arena_new();
    health_room_on_start(health, start, http);
    health_room_on_tick(health, on_tick, look, http);
    health_room_on_dump(health, take_threads, http);
    return http;
}

void health_http_destroy(health_http_t **http)
{
    health_http_t *h = *http;
    if (!h) return;
    if (h->daemon) {
        lm_host_unwatch(h->host, h->epoll_fd);
        MHD_stop_daemon(h->daemon);
    }
    health_token_destroy(&h->token);
    lm_arena_destroy(&h->arena);
    free(h);
    *http = NULL;
}
