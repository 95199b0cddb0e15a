#include "act_link.h"

#include <czmq.h>
#include <poll.h>
#include <pthread.h>
#include <sys/stat.h>

#include "act_limits.h"
#include "base_arena.h"
#include "base_check.h"
#include "base_door.h"

struct lm_link {
    zsock_t *socket;
    void *handle; /* the same for the plain functions */
    int fd;       /* readable when there is something new to be asked about */
    bool empty;   /* L4: nothing was there, and no sign since */
    bool bound;
    char path[160]; /* of a bound link's file; empty if it has none */
    zmq_msg_t address, content;
};

/* ---- making and closing ---------------------------------------------------------------------- */

static void set_up_process(void)
{
    zsys_handler_set(NULL); /* signals are not ZeroMQ's business */
    zsys_set_io_threads(1);
    LM_CHECK(zsys_init(), "ZeroMQ does not start: %s", strerror(errno));
}

void lm_link_prepare_process(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, set_up_process);
}

static lm_link_t *link_new(int type)
{
    lm_link_prepare_process();
    zsock_t *socket = zsock_new(type);
    if (!socket) return NULL;
    zsock_set_maxmsgsize(socket, (int)LM_BUNDLE_BYTES_MAX);
    zsock_set_sndhwm(socket, LM_PIPE_BUNDLES_MAX);
    zsock_set_rcvhwm(socket, LM_PIPE_BUNDLES_MAX);
    zsock_set_linger(socket, 0);
    lm_link_t *link = lm_alloc(sizeof *link);
    link->socket = socket;
    link->handle = zsock_resolve(socket);
    link->fd = zsock_fd(socket);
    zmq_msg_init(&link->address);
    zmq_msg_init(&link->content);
    return link;
}

static bool bind_to(lm_link_t *link, const char *endpoint)
{
    int rc;
    do rc = zsock_bind(link->socket, "%s", endpoint);
    while (rc < 0 && errno == EINTR);
    return rc == 0;
}

static bool connect_to(lm_link_t *link, const char *endpoint)
{
    int rc;
    do rc = zsock_connect(link->socket, "%s", endpoint);
    while (rc < 0 && errno == EINTR);
    return rc == 0;
}

/** Files of ipc endpoints are for this user alone. */
static bool bind_file(lm_link_t *link, const char *endpoint)
{
    snprintf(link->path, sizeof link->path, "%s", endpoint + strlen("ipc://"));
    unlink(link->path);
    return bind_to(link, endpoint) && chmod(link->path, 0600) == 0;
}

lm_link_t *lm_link_bind(const char *endpoint)
{
    bool file = strncmp(endpoint, "ipc://", 6) == 0;
    LM_CHECK(file || strncmp(endpoint, "inproc://", 9) == 0, "%s is not of this machine", endpoint);
    lm_link_t *link = link_new(ZMQ_ROUTER);
    if (!link) return NULL;
    link->bound = true;
    zsock_set_router_mandatory(link->socket, 1);
    zsock_set_router_handover(link->socket, 1);
    if (file ? bind_file(link, endpoint) : bind_to(link, endpoint)) return link;
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
        connect_to(link, endpoint))
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
    if (l->path[0]) unlink(l->path);
    free(l);
    *link = NULL;
}

/* ---- sending and receiving ------------------------------------------------------------------- */

static lm_link_sent_t why_not_sent(const lm_link_t *link)
{
    LM_CHECK(errno == EAGAIN || errno == EHOSTUNREACH, "send on a %s link: %s",
             link->bound ? "bound" : "connected", zmq_strerror(errno));
    return errno == EAGAIN ? LM_LINK_FULL : LM_LINK_GONE;
}

/** Within a process the receiver reads the very bytes that are written here. */
static int send_part(lm_link_t *link, const void *data, size_t size, int flags)
{
    zmq_msg_t part;
    int sent = zmq_msg_init_size(&part, size);
    LM_CHECK(sent == 0, "no memory for a message of %zu bytes", size);
    if (size) memcpy(zmq_msg_data(&part), data, size);
    LM_DOOR_LEAVE(zmq_msg_data(&part));
    do sent = zmq_msg_send(&part, link->handle, flags | ZMQ_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    if (sent >= 0) return sent;
    int why = errno;
    zmq_msg_close(&part);
    errno = why;
    return sent;
}

lm_link_sent_t lm_link_send(lm_link_t *link, const char *address, lm_bytes_t bytes)
{
    LM_CHECK(link->bound == (address != NULL), "an address is for bound links");
    link->empty = false;
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
    if (size >= 0) {
        LM_DOOR_ARRIVE(zmq_msg_data(part));
        return true;
    }
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
    zmq_msg_t *first = link->bound ? &link->address : &link->content;
    *address = *bytes = lm_bytes(NULL, 0);
    if (link->empty) return false;
    link->empty = !receive_part(link, first);
    if (link->empty) return false;
    if (link->bound) {
        *address = view(&link->address);
        if (!zmq_msg_more(&link->address)) return true;
        if (!receive_part(link, &link->content)) return false;
    }
    if (!skip_rest(link, &link->content)) *bytes = view(&link->content);
    return true;
}

void lm_link_look_again(lm_link_t *link)
{
    if (link) link->empty = false;
}

/* ---- waiting --------------------------------------------------------------------------------- */

/* A signal (act_stacks.h) may interrupt whatever asks ZeroMQ. */
static int events_of(lm_link_t *link)
{
    int events = 0, rc;
    size_t size = sizeof events;
    do rc = zmq_getsockopt(link->handle, ZMQ_EVENTS, &events, &size);
    while (rc < 0 && errno == EINTR);
    return rc == 0 ? events : 0;
}

/** Whether there is something of which the descriptor may tell nothing any more. */
static bool has_input(lm_link_t *link)
{
    if (link->empty) return false;
    link->empty = !(events_of(link) & ZMQ_POLLIN);
    return !link->empty;
}

void lm_link_wait(lm_wait_t *items, size_t n, int timeout_ms)
{
    struct pollfd fds[LM_WAIT_MAX];
    LM_CHECK(n <= LM_WAIT_MAX, "%zu things to wait for", n);
    for (size_t i = 0; i < n; i++) {
        lm_link_t *link = items[i].link;
        items[i].ready = link && has_input(link);
        if (items[i].ready) timeout_ms = 0;
        fds[i] = (struct pollfd){.fd = link ? link->fd : items[i].fd, .events = POLLIN};
    }
    int ready = poll(fds, n, timeout_ms);
    LM_CHECK(ready >= 0 || errno == EINTR, "poll: %s", strerror(errno));
    for (size_t i = 0; i < n && ready > 0; i++) {
        if (!fds[i].revents) continue;
        items[i].ready = true;
        lm_link_look_again(items[i].link);
    }
}
