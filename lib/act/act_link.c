#include "act_link.h"

#include <czmq.h>
#include <pthread.h>
#include <sys/stat.h>

#include "act_limits.h"
#include "base_arena.h"
#include "base_check.h"

struct lm_link {
    zsock_t *socket;
    void *handle; /* the same for the plain functions */
    bool bound;
    char path[160]; /* of a bound link's file */
    zmq_msg_t address, content;
};

/* ---- making and closing ---------------------------------------------------------------------- */

static void set_up_process(void)
{
    zsys_handler_set(NULL); /* signals are not ZeroMQ's business */
    zsys_set_io_threads(1);
    LM_CHECK(zsys_init(), "ZeroMQ does not start: %s", strerror(errno));
}

static lm_link_t *link_new(int type)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, set_up_process);
    zsock_t *socket = zsock_new(type);
    if (!socket) return NULL;
    zsock_set_maxmsgsize(socket, (int)LM_BUNDLE_BYTES_MAX);
    zsock_set_sndhwm(socket, LM_PIPE_BUNDLES_MAX);
    zsock_set_rcvhwm(socket, LM_PIPE_BUNDLES_MAX);
    zsock_set_linger(socket, 0);
    lm_link_t *link = lm_alloc(sizeof *link);
    link->socket = socket;
    link->handle = zsock_resolve(socket);
    zmq_msg_init(&link->address);
    zmq_msg_init(&link->content);
    return link;
}

lm_link_t *lm_link_bind(const char *endpoint)
{
    LM_CHECK(strncmp(endpoint, "ipc://", 6) == 0, "%s is not of this machine", endpoint);
    lm_link_t *link = link_new(ZMQ_ROUTER);
    if (!link) return NULL;
    snprintf(link->path, sizeof link->path, "%s", endpoint + 6);
    link->bound = true;
    zsock_set_router_mandatory(link->socket, 1);
    zsock_set_router_handover(link->socket, 1);
    unlink(link->path);
    if (zsock_bind(link->socket, "%s", endpoint) == 0 && chmod(link->path, 0600) == 0) return link;
    int why = errno;
    lm_link_close(&link, 0);
    errno = why;
    return NULL;
}

lm_link_t *lm_link_connect(const char *endpoint, const char *address)
{
    lm_link_t *link = link_new(ZMQ_DEALER);
    if (!link) return NULL;
    if (zmq_setsockopt(link->handle, ZMQ_ROUTING_ID, address, strlen(address)) == 0 &&
        zsock_connect(link->socket, "%s", endpoint) == 0)
        return link;
    int why = errno;
    lm_link_close(&link, 0);
    errno = why;
    return NULL;
}

void lm_link_close(lm_link_t **link, int linger_ms)
{
    if (!*link) return;
    lm_link_t *l = *link;
    zmq_msg_close(&l->address);
    zmq_msg_close(&l->content);
    zsock_set_linger(l->socket, linger_ms);
    zsock_destroy(&l->socket);
    if (l->bound) unlink(l->path);
    free(l);
    *link = NULL;
}

/* ---- sending and receiving ------------------------------------------------------------------- */

static lm_link_sent_t why_not_sent(const lm_link_t *link)
{
    LM_CHECK(errno == EAGAIN || errno == EHOSTUNREACH, "%s: %s", link->bound ? link->path : "send",
             zmq_strerror(errno));
    return errno == EAGAIN ? LM_LINK_FULL : LM_LINK_GONE;
}

static int send_part(lm_link_t *link, const void *data, size_t size, int flags)
{
    int sent;
    do sent = zmq_send(link->handle, data, size, flags | ZMQ_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    return sent;
}

lm_link_sent_t lm_link_send(lm_link_t *link, const char *address, lm_bytes_t bytes)
{
    LM_CHECK(link->bound == (address != NULL), "an address is for bound links");
    if (address && send_part(link, address, strlen(address), ZMQ_SNDMORE) < 0)
        return why_not_sent(link);
    if (send_part(link, bytes.data, bytes.size, 0) >= 0) return LM_LINK_SENT;
    lm_link_sent_t why = why_not_sent(link);
    LM_CHECK(!address, "a bound link took an address and not the message behind it");
    return why;
}

static bool receive_part(lm_link_t *link, zmq_msg_t *part)
{
    int size;
    do size = zmq_msg_recv(part, link->handle, ZMQ_DONTWAIT);
    while (size < 0 && errno == EINTR);
    if (size >= 0) return true;
    LM_CHECK(errno == EAGAIN, "receive: %s", zmq_strerror(errno));
    return false;
}

/** Reads what is left of a message; true if there was anything. */
static bool skip_rest(lm_link_t *link, zmq_msg_t *last)
{
    bool any = false;
    while (zmq_msg_more(last) && receive_part(link, last)) any = true;
    return any;
}

static lm_bytes_t view(zmq_msg_t *part) { return lm_bytes(zmq_msg_data(part), zmq_msg_size(part)); }

bool lm_link_receive(lm_link_t *link, lm_bytes_t *address, lm_bytes_t *bytes)
{
    *address = *bytes = lm_bytes(NULL, 0);
    if (link->bound) {
        if (!receive_part(link, &link->address)) return false;
        *address = view(&link->address);
        if (!zmq_msg_more(&link->address)) return true;
    }
    if (!receive_part(link, &link->content)) return false;
    if (!skip_rest(link, &link->content)) *bytes = view(&link->content);
    return true;
}

void lm_link_wait(lm_wait_t *items, size_t n, int timeout_ms)
{
    zmq_pollitem_t poll_items[LM_WAIT_MAX];
    LM_CHECK(n <= LM_WAIT_MAX, "%zu things to wait for", n);
    for (size_t i = 0; i < n; i++)
        poll_items[i] = (zmq_pollitem_t){.socket = items[i].link ? items[i].link->handle : NULL,
                                         .fd = items[i].fd,
                                         .events = ZMQ_POLLIN};
    int ready = zmq_poll(poll_items, (int)n, timeout_ms);
    LM_CHECK(ready >= 0 || errno == EINTR, "poll: %s", zmq_strerror(errno));
    for (size_t i = 0; i < n; i++) items[i].ready = ready > 0 && poll_items[i].revents != 0;
}
