#include "health_http.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base_arena.h"
#include "base_log.h"
#include "health_pages.h"

enum {
    CONNECTIONS_MAX = 256, /* far below the descriptor limit, so that accepting never fails */
    CONNECTIONS_PER_IP_MAX = 64,
    IDLE_SECONDS = 10,
    MEMORY_PER_CONNECTION = 16 * 1024,
};

struct health_http {
    health_t *health;
    lm_host_t *host;
    struct MHD_Daemon *daemon;
    int epoll_fd;
};

static enum MHD_Result send_answer(struct MHD_Connection *connection, health_answer_t *answer,
                                   const char *allow)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(answer->size, answer->body, MHD_RESPMEM_MUST_FREE);
    MHD_add_response_header(response, "Content-Type", answer->content_type);
    if (allow) MHD_add_response_header(response, "Allow", allow);
    enum MHD_Result rc = MHD_queue_response(connection, answer->code, response);
    MHD_destroy_response(response);
    return rc;
}

static enum MHD_Result refuse(struct MHD_Connection *connection, unsigned code, const char *words,
                              const char *allow)
{
    health_answer_t answer = {.code = code, .content_type = "text/plain", .body = strdup(words)};
    answer.size = strlen(answer.body);
    return send_answer(connection, &answer, allow);
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **state)
{
    static int seen;
    health_http_t *http = arg;
    (void)version;
    (void)upload;
    if (!*state) { /* the head has come; a body may follow and is not wanted */
        *state = &seen;
        return MHD_YES;
    }
    if (*upload_size) {
        *upload_size = 0;
        return MHD_YES;
    }
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        return health_pages_known(http->health, url)
                   ? refuse(connection, 405, "only GET and HEAD\n", "GET, HEAD")
                   : refuse(connection, 404, "there is no such page\n", NULL);
    health_request_t request = {
        .path = url,
        .accept = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Accept"),
        .included_names =
            MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, "includedNames"),
    };
    health_answer_t answer = health_pages_get(http->health, &request);
    return send_answer(connection, &answer, NULL);
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
    if (http->daemon) MHD_run(http->daemon);
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

static lm_exit_t start(void *arg, const lm_bus_node_config_t *config)
{
    health_http_t *http = arg;
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
    health_room_on_start(health, start, http);
    health_room_on_tick(health, on_tick, http);
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
    free(h);
    *http = NULL;
}
