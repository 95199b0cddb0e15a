/* The frontend's driver is shut by one room at every step of what the other room does to open it,
 * and gRPC says that a finish has failed which has arrived.
 *
 * The linker puts this file between the driver and gRPC (--wrap), so that the very step is met.
 */
#include "frontend_driver.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <grpc/grpc.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "act_host.h"
#include "act_inlet.h"
#include "frontend_actor.h"

enum { NEVER = 0, MANY = 1000, HURRY_US = 20000, WAIT_US = 10000000 };

typedef struct {
    unsigned listening, not_bound, closed;
} told_t;

static lm_frontend_driver_t *driver;
static lm_inlet_t *clients, *peers;
static lm_frontend_listen_t how;
static uint32_t raft_port; /* free, for those who want one */
static unsigned steps, shut_at;

/* The gRPC thread gets the time to do whatever it believes to be its part now. */
static void step(void)
{
    if (++steps != shut_at) return;
    driver->ops->shut(driver, 0);
    usleep(HURRY_US);
}

/* ---- between the driver and gRPC ------------------------------------------------------------- */

void *__real_grpc_server_create(const void *args, void *reserved);
void *__wrap_grpc_server_create(const void *args, void *reserved);
void *__wrap_grpc_server_create(const void *args, void *reserved)
{
    step();
    return __real_grpc_server_create(args, reserved);
}

void *__real_grpc_server_register_method(void *server, const char *method, const char *host,
                                         int handling, uint32_t flags);
void *__wrap_grpc_server_register_method(void *server, const char *method, const char *host,
                                         int handling, uint32_t flags);
void *__wrap_grpc_server_register_method(void *server, const char *method, const char *host,
                                         int handling, uint32_t flags)
{
    step();
    return __real_grpc_server_register_method(server, method, host, handling, flags);
}

int __real_grpc_server_add_http2_port(void *server, const char *address, void *credentials);
int __wrap_grpc_server_add_http2_port(void *server, const char *address, void *credentials);
int __wrap_grpc_server_add_http2_port(void *server, const char *address, void *credentials)
{
    step();
    return __real_grpc_server_add_http2_port(server, address, credentials);
}

void __real_grpc_server_start(void *server);
void __wrap_grpc_server_start(void *server);
void __wrap_grpc_server_start(void *server)
{
    step();
    __real_grpc_server_start(server);
}

int __real_grpc_server_request_registered_call(void *server, void *method, void *call,
                                               void *deadline, void *metadata, void *payload,
                                               void *queue, void *notified, void *tag);
int __wrap_grpc_server_request_registered_call(void *server, void *method, void *call,
                                               void *deadline, void *metadata, void *payload,
                                               void *queue, void *notified, void *tag);
int __wrap_grpc_server_request_registered_call(void *server, void *method, void *call,
                                               void *deadline, void *metadata, void *payload,
                                               void *queue, void *notified, void *tag)
{
    step();
    return __real_grpc_server_request_registered_call(server, method, call, deadline, metadata,
                                                      payload, queue, notified, tag);
}

/* Completions that gRPC reports from now on are failures. */
static _Atomic bool all_fail;

grpc_event __real_grpc_completion_queue_next(grpc_completion_queue *queue, gpr_timespec deadline,
                                             void *reserved);
grpc_event __wrap_grpc_completion_queue_next(grpc_completion_queue *queue, gpr_timespec deadline,
                                             void *reserved);
grpc_event __wrap_grpc_completion_queue_next(grpc_completion_queue *queue, gpr_timespec deadline,
                                             void *reserved)
{
    grpc_event event = __real_grpc_completion_queue_next(queue, deadline, reserved);
    if (all_fail && event.type == GRPC_OP_COMPLETE) event.success = 0;
    return event;
}

/* ---- the stage ------------------------------------------------------------------------------- */

static void put(void *inlet, void *event) { lm_inlet_put(inlet, event); }

/* A socket on a free port; it may be closed to make room. */
static int take_port(uint32_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

static void set_up(void)
{
    lm_frontend_actor_begin_process();
    how = (lm_frontend_listen_t){.address = "127.0.0.1",
                                 .streams_max = 100,
                                 .request_bytes_max = 65536,
                                 .keepalive_time_ms = 30000,
                                 .keepalive_timeout_ms = 10000,
                                 .keepalive_min_interval_ms = 10000,
                                 .reflection = true};
    int fds[] = {take_port(&how.grpc_port), take_port(&how.region_port), take_port(&raft_port)};
    for (int i = 0; i < 3; i++) close(fds[i]);
}

static void tear_down(void) { lm_frontend_actor_end_process(); }

TestSuite(frontend_driver, .init = set_up, .fini = tear_down, .timeout = 120);

static void begin(unsigned at)
{
    steps = 0;
    shut_at = at;
    clients = lm_inlet_new();
    peers = lm_inlet_new();
    driver = lm_frontend_driver_new((lm_frontend_inlet_t){put, clients},
                                    (lm_frontend_inlet_t){put, peers}, true);
}

static void take(lm_inlet_t *inlet, told_t *told)
{
    void **events;
    size_t n = lm_inlet_take(inlet, &events);
    for (size_t i = 0; i < n; i++) {
        lm_frontend_event_t *event = events[i];
        told->listening += event->kind == LM_FRONTEND_LISTENING;
        told->not_bound += event->kind == LM_FRONTEND_NOT_BOUND;
        told->closed += event->kind == LM_FRONTEND_CLOSED;
        lm_frontend_event_free(event);
    }
}

static void end(void)
{
    told_t rest = {0};
    lm_frontend_driver_destroy(&driver);
    take(clients, &rest);
    take(peers, &rest);
    lm_inlet_destroy(&clients);
    lm_inlet_destroy(&peers);
}

static void listen_both(void)
{
    driver->ops->listen(driver, LM_CLIENTS, &how);
    driver->ops->listen(driver, LM_PEERS, &how);
}

/* What a room is told until it is told that everything is closed. */
static told_t hear(lm_inlet_t *inlet)
{
    told_t told = {0};
    uint64_t until_us = lm_clock_us() + WAIT_US;
    struct pollfd fd = {.fd = lm_inlet_fd(inlet), .events = POLLIN};
    while (!told.closed && lm_clock_us() < until_us) {
        poll(&fd, 1, 100);
        take(inlet, &told);
    }
    return told;
}

static void assert_only_closed(void)
{
    lm_inlet_t *const inlets[] = {clients, peers};
    for (int i = 0; i < 2; i++) {
        told_t told = hear(inlets[i]);
        cr_expect(told.closed == 1 && told.listening == 0 && told.not_bound == 0,
                  "shut at step %u, room %d: closed %u, listening %u, not bound %u", shut_at, i,
                  told.closed, told.listening, told.not_bound);
    }
}

/* ---- tests ----------------------------------------------------------------------------------- */

Test(frontend_driver, opens_and_shuts)
{
    begin(NEVER);
    listen_both();
    driver->ops->shut(driver, 0);
    driver->ops->shut(driver, 0);
    told_t told = hear(clients);
    cr_assert_eq(told.listening, 1);
    cr_assert_eq(told.closed, 1);
    end();
}

static void shut_at_every_step(void)
{
    unsigned at = 0;
    do {
        begin(++at);
        listen_both();
        if (steps >= at) assert_only_closed();
        end();
    } while (steps >= at && at < MANY);
    cr_assert_gt(at, 20, "only %u steps", at);
    cr_assert_lt(at, MANY);
}

Test(frontend_driver, may_be_shut_at_every_step_of_its_opening) { shut_at_every_step(); }

Test(frontend_driver, may_be_shut_at_every_step_of_opening_a_third_port)
{
    how.raft_port = raft_port;
    shut_at_every_step();
}

Test(frontend_driver, may_be_shut_while_it_finds_its_port_taken)
{
    uint32_t port;
    int taken = take_port(&port);
    how.region_port = port;
    unsigned at = 0;
    do {
        begin(++at);
        listen_both();
        if (steps >= at) assert_only_closed();
        end();
    } while (steps >= at && at < MANY);
    close(taken);
}

Test(frontend_driver, opens_nothing_when_it_is_shut_already)
{
    for (int before = 0; before < 2; before++) {
        begin(NEVER);
        if (before) driver->ops->shut(driver, 0);
        driver->ops->listen(driver, LM_CLIENTS, &how);
        driver->ops->shut(driver, 0);
        driver->ops->listen(driver, LM_PEERS, &how);
        assert_only_closed();
        cr_expect_eq(steps, 0);
        end();
    }
}

typedef struct {
    bool over, undelivered, answered;
    int status;
} ends_t;

static void on_event(const lm_frontend_event_t *event, ends_t *ends)
{
    static const lm_frontend_finish_t answer;
    switch (event->kind) {
    case LM_FRONTEND_LISTENING: {
        lm_frontend_target_t self = {
            .kind = LM_CHANNEL_FRESH, .host = "127.0.0.1", .port = how.region_port};
        driver->ops->call(driver, &self, LM_METHOD_REGION_HELLO, lm_bytes("", 0),
                          lm_clock_us() + WAIT_US, NULL);
        return;
    }
    case LM_FRONTEND_CALLED:
        all_fail = true;
        driver->ops->finish(driver, event->handle, &answer);
        return;
    case LM_FRONTEND_OVER:
        ends->over = true;
        ends->undelivered = event->undelivered;
        break;
    case LM_FRONTEND_ANSWERED:
        ends->answered = true;
        ends->status = event->status;
        break;
    default: cr_assert_fail("event of kind %d", (int)event->kind);
    }
    driver->ops->drop(driver, event->handle);
}

/* ---- figures --------------------------------------------------------------------------------- */

static uint64_t n_of(const lm_histogram_t *histogram)
{
    uint64_t counts[LM_HISTOGRAM_BUCKETS], n = 0;
    lm_histogram_read(histogram, counts);
    for (int i = 0; i < LM_HISTOGRAM_BUCKETS; i++) n += counts[i];
    return n;
}

/* Of one row, all statuses together. */
static uint64_t n_handled(const lm_frontend_figures_t *figures, size_t row)
{
    uint64_t n = 0;
    for (int status = 0; status < LM_GRPC_STATUSES; status++) n += figures->handled[row][status];
    return n;
}

static void call_self(lm_frontend_method_id_t method, uint32_t port)
{
    lm_frontend_target_t self = {.kind = LM_CHANNEL_FRESH, .host = "127.0.0.1", .port = port};
    driver->ops->call(driver, &self, method, lm_bytes("", 0), lm_clock_us() + WAIT_US, NULL);
}

/* The room answers a call, and drops what is over; returns how many of its calls were answered. */
static unsigned serve(lm_inlet_t *inlet)
{
    static const lm_frontend_finish_t answer = {.status = 3};
    unsigned n_answered = 0;
    void **events;
    size_t n = lm_inlet_take(inlet, &events);
    for (size_t i = 0; i < n; i++) {
        lm_frontend_event_t *event = events[i];
        if (event->kind == LM_FRONTEND_CALLED) driver->ops->finish(driver, event->handle, &answer);
        bool last = event->kind == LM_FRONTEND_OVER || event->kind == LM_FRONTEND_ANSWERED;
        if (last) driver->ops->drop(driver, event->handle);
        n_answered += event->kind == LM_FRONTEND_ANSWERED;
        lm_frontend_event_free(event);
    }
    return n_answered;
}

static void assert_row(const lm_frontend_figures_t *figures, size_t row, int status, uint64_t n)
{
    cr_expect_eq(figures->started[row], n, "row %zu: %lu began", row, figures->started[row]);
    cr_expect_eq(figures->handled[row][status], n, "row %zu: %lu have status %d", row,
                 figures->handled[row][status], status);
    cr_expect_eq(n_handled(figures, row), n, "row %zu: %lu ended", row, n_handled(figures, row));
    cr_expect_eq(n_of(&figures->took[row]), n, "row %zu: %lu times", row,
                 n_of(&figures->took[row]));
}

/* One that a room answers, one that the driver refuses for load, one of a method that does not
 * exist there. */
Test(frontend_driver, counts_whatever_comes_in_once_refused_or_not)
{
    enum { WANTED = 3, SHED = 1024 };
    begin(NEVER);
    listen_both();
    driver->ops->shed(driver, SHED);
    call_self(LM_METHOD_REGION_HELLO, how.region_port);
    call_self(LM_METHOD_ACQUIRE, how.grpc_port);
    call_self(LM_METHOD_REGION_HELLO, how.grpc_port);
    const lm_frontend_figures_t *figures = driver->ops->figures(driver);
    uint64_t until_us = lm_clock_us() + WAIT_US;
    unsigned n_answered = 0;
    uint64_t n_ended = 0;
    while ((n_answered < WANTED || n_ended < WANTED) && lm_clock_us() < until_us) {
        usleep(2000);
        n_answered += serve(peers);
        n_answered += serve(clients);
        n_ended = n_handled(figures, LM_METHOD_REGION_HELLO) +
                  n_handled(figures, LM_METHOD_ACQUIRE) + n_handled(figures, LM_METHODS);
    }
    cr_assert_eq(n_answered, WANTED, "%u answers", n_answered);
    assert_row(figures, LM_METHOD_REGION_HELLO, 3, 1);
    assert_row(figures, LM_METHOD_ACQUIRE, 14, 1);
    assert_row(figures, LM_METHODS, 12, 1);
    cr_expect_eq(driver->ops->refused(driver).shed, 1);
    cr_expect_eq(driver->ops->refused(driver).unknown_method, 1);
    end();
}

/* Serves until so many calls are answered, and so many of that method have ended. */
static void await_answers(unsigned wanted, lm_frontend_method_id_t method, uint64_t ended)
{
    const lm_frontend_figures_t *figures = driver->ops->figures(driver);
    uint64_t until_us = lm_clock_us() + WAIT_US;
    unsigned n_answered = 0;
    while ((n_answered < wanted || n_handled(figures, method) < ended) &&
           lm_clock_us() < until_us) {
        usleep(2000);
        n_answered += serve(clients);
        n_answered += serve(peers);
    }
    cr_assert_eq(n_answered, wanted, "%u answers", n_answered);
}

/* Nodes have a port of their own: what they call is there and nowhere else, and what clients call
 * is not. Both ports tell whether they are alive. */
Test(frontend_driver, nodes_may_have_a_port_of_their_own)
{
    enum { WANTED = 6, REFUSED = 2 };
    how.raft_port = raft_port;
    begin(NEVER);
    listen_both();
    call_self(LM_METHOD_FORWARD, how.raft_port);
    call_self(LM_METHOD_FORWARD, how.grpc_port);
    call_self(LM_METHOD_GET, how.raft_port);
    call_self(LM_METHOD_GET, how.grpc_port);
    call_self(LM_METHOD_HEALTH_CHECK, how.raft_port);
    call_self(LM_METHOD_HEALTH_CHECK, how.grpc_port);
    const lm_frontend_figures_t *figures = driver->ops->figures(driver);
    await_answers(WANTED, LM_METHOD_HEALTH_CHECK, 2);
    assert_row(figures, LM_METHOD_FORWARD, 3, 1);
    assert_row(figures, LM_METHOD_GET, 3, 1);
    assert_row(figures, LM_METHOD_HEALTH_CHECK, 3, 2);
    assert_row(figures, LM_METHODS, 12, REFUSED);
    end();
}

Test(frontend_driver, without_reflection_its_methods_do_not_exist)
{
    enum { WANTED = 3, REFUSED = 2 };
    how.reflection = false;
    begin(NEVER);
    listen_both();
    call_self(LM_METHOD_REFLECTION, how.grpc_port);
    call_self(LM_METHOD_REFLECTION_ALPHA, how.grpc_port);
    call_self(LM_METHOD_GET, how.grpc_port);
    const lm_frontend_figures_t *figures = driver->ops->figures(driver);
    await_answers(WANTED, LM_METHOD_GET, 1);
    assert_row(figures, LM_METHOD_GET, 3, 1);
    assert_row(figures, LM_METHODS, 12, REFUSED);
    end();
}

/* A connection on which nothing is ever called. */
static int connect_raw(uint32_t port)
{
    static const char hello[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0";
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(send(fd, hello, sizeof hello, MSG_NOSIGNAL), sizeof hello);
    return fd;
}

/* Whether frames that have come on it tell it to go. */
static bool is_told_to_go(int fd)
{
    enum { HEAD = 9, KIND_AT = 3, GOAWAY = 7 };
    uint8_t bytes[4096];
    ssize_t n = recv(fd, bytes, sizeof bytes, MSG_PEEK | MSG_DONTWAIT);
    for (ssize_t at = 0; at + HEAD <= n; at += HEAD + bytes[at + 2] + 256 * bytes[at + 1])
        if (bytes[at + KIND_AT] == GOAWAY) return true;
    return false;
}

Test(frontend_driver, connections_of_clients_alone_have_an_age)
{
    enum { AGE_MS = 1000 };
    how.raft_port = raft_port;
    how.connection_age_ms = AGE_MS;
    how.connection_grace_ms = AGE_MS;
    begin(NEVER);
    driver->ops->listen(driver, LM_PEERS, &how);
    told_t told = {0};
    uint64_t until_us = lm_clock_us() + WAIT_US;
    driver->ops->listen(driver, LM_CLIENTS, &how);
    while (!told.listening && lm_clock_us() < until_us) {
        usleep(2000);
        take(clients, &told);
    }
    uint64_t begin_us = lm_clock_us();
    const int client = connect_raw(how.grpc_port), region = connect_raw(how.region_port),
              node = connect_raw(how.raft_port);
    while (!is_told_to_go(client) && lm_clock_us() < until_us) usleep(2000);
    cr_expect(is_told_to_go(client));
    cr_expect_gt(lm_clock_us() - begin_us, AGE_MS * 850);
    usleep(AGE_MS * 500);
    cr_expect(!is_told_to_go(region) && !is_told_to_go(node));
    close(client);
    close(region);
    close(node);
    end();
}

/* A caller that goes before its answer. */
Test(frontend_driver, counts_a_call_whose_caller_has_gone_as_cancelled)
{
    begin(NEVER);
    listen_both();
    lm_frontend_target_t self = {
        .kind = LM_CHANNEL_FRESH, .host = "127.0.0.1", .port = how.region_port};
    lm_frontend_handle_t *call = driver->ops->call(driver, &self, LM_METHOD_REGION_HELLO,
                                                   lm_bytes("", 0), lm_clock_us() + WAIT_US, NULL);
    const lm_frontend_figures_t *figures = driver->ops->figures(driver);
    uint64_t until_us = lm_clock_us() + WAIT_US;
    while (figures->started[LM_METHOD_REGION_HELLO] == 0 && lm_clock_us() < until_us) usleep(2000);
    driver->ops->cancel(driver, call);
    while (n_handled(figures, LM_METHOD_REGION_HELLO) == 0 && lm_clock_us() < until_us)
        usleep(2000);
    assert_row(figures, LM_METHOD_REGION_HELLO, 1, 1);
    end();
}

/* ---- what has arrived ------------------------------------------------------------------------ */

/* Answers share writes: one that breaks off fails for those too that went out whole. */
Test(frontend_driver, s10a_what_grpc_has_taken_may_have_arrived)
{
    ends_t ends = {0};
    begin(NEVER);
    listen_both();
    uint64_t until_us = lm_clock_us() + WAIT_US;
    struct pollfd fd = {.fd = lm_inlet_fd(peers), .events = POLLIN};
    while (!(ends.over && ends.answered) && lm_clock_us() < until_us) {
        poll(&fd, 1, 100);
        void **events;
        size_t n = lm_inlet_take(peers, &events);
        for (size_t i = 0; i < n; i++) {
            on_event(events[i], &ends);
            lm_frontend_event_free(events[i]);
        }
    }
    cr_assert(ends.over && ends.answered);
    cr_expect_eq(ends.status, 0, "status %d", ends.status);
    cr_expect_not(ends.undelivered);
    end();
}
