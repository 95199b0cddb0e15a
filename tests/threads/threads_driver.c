/* The frontend's gRPC driver between two rooms and many clients, for the thread sanitizer.
 *
 * usage: threads_driver
 *
 * The rooms are threads that answer what comes, late or at once, and call the own port themselves.
 * The clients have deadlines of all lengths, so that calls are cancelled at every step; some keep a
 * hold, which the rooms renew; one sends what leads to nothing until its connection is ended, again
 * and again. In the midst of it the driver is shut.
 *
 * Before that drivers are shut while the rooms are still opening them.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "act_inlet.h"
#include "base_check.h"
#include "base_log.h"
#include "client.h"
#include "frontend_actor.h"
#include "frontend_driver.h"

enum {
    CALLERS = 6,
    KEEPERS = 2,
    SECONDS = 4,
    SECONDS_MAX = 40,
    GOOD_MIN = 100,
    LATE_MAX = 64,
    SHORT_LIVES = 100
};

typedef struct {
    lm_participant_t self;
    lm_inlet_t *inlet;
    sem_t listening;
    lm_frontend_handle_t *late[LATE_MAX]; /* answered when the ring comes round */
    unsigned next, answered, asked;
    bool closed;
    pthread_t thread;
} room_t;

static lm_frontend_driver_t *driver;
static lm_frontend_listen_t how = {.address = "127.0.0.1",
                                   .streams_max = 100,
                                   .request_bytes_max = 65536,
                                   .keepalive_time_ms = 30000,
                                   .keepalive_timeout_ms = 10000,
                                   .keepalive_min_interval_ms = 10000,
                                   .reflection = true};
static room_t clients = {.self = LM_CLIENTS}, peers = {.self = LM_PEERS};
static char endpoint[32];
static _Atomic bool over;
static _Atomic unsigned good, bad;

static void put(void *inlet, void *event) { lm_inlet_put(inlet, event); }

static uint32_t free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    LM_CHECK(bind(fd, (struct sockaddr *)&address, sizeof address) == 0, "no port");
    LM_CHECK(getsockname(fd, (struct sockaddr *)&address, &size) == 0, "no name");
    close(fd);
    return ntohs(address.sin_port);
}

/* ---- the rooms ------------------------------------------------------------------------------- */

static void answer(room_t *room, lm_frontend_handle_t *handle)
{
    lm_arena_t *arena = lm_arena_new();
    lm_api_renew_response_t renewed = {.lease_remaining_ms = 200};
    lm_frontend_finish_t finish = {0};
    if (handle->method->id == LM_METHOD_RENEW)
        finish.message = lm_wire_encode(&lm_api_renew_response_type, &renewed, arena);
    if (++room->answered % 50 == 0)
        finish = (lm_frontend_finish_t){.status = 14, .text = "come again", .pushback_ms = 1};
    driver->ops->finish(driver, handle, &finish);
    lm_arena_destroy(&arena);
}

static void call_self(room_t *room)
{
    bool forward = room->self == LM_CLIENTS;
    lm_frontend_target_t target = {.kind = forward ? LM_CHANNEL_FORWARD : LM_CHANNEL_REGION,
                                   .port = forward ? how.grpc_port : how.region_port};
    snprintf(target.host, sizeof target.host, "127.0.0.1");
    lm_frontend_handle_t *handle =
        driver->ops->call(driver, &target, forward ? LM_METHOD_GET : LM_METHOD_REGION_HELLO,
                          lm_bytes(NULL, 0), lm_clock_us() + 20000, room);
    if (handle && ++room->asked % 3 == 0) driver->ops->cancel(driver, handle);
}

static void on_called(room_t *room, lm_frontend_event_t *event)
{
    lm_frontend_handle_t **place = &room->late[room->next++ % LATE_MAX];
    bool now = event->handle->method->id == LM_METHOD_RENEW || room->next % 4 != 0;
    if (room->self == LM_CLIENTS && room->next % 20 == 0) call_self(room);
    if (now) {
        answer(room, event->handle);
        return;
    }
    if (*place) answer(room, *place);
    *place = event->handle;
}

static void on_event(room_t *room, lm_frontend_event_t *event)
{
    switch (event->kind) {
    case LM_FRONTEND_LISTENING: sem_post(&room->listening); break;
    case LM_FRONTEND_CALLED: on_called(room, event); break;
    case LM_FRONTEND_OVER:
    case LM_FRONTEND_ANSWERED:
        for (int i = 0; i < LATE_MAX; i++)
            if (room->late[i] == event->handle) room->late[i] = NULL;
        driver->ops->drop(driver, event->handle);
        break;
    case LM_FRONTEND_CLOSED: room->closed = true; break;
    default: break;
    }
    lm_frontend_event_free(event);
}

/** Those that are left are answered at the end, as a room does that drains. */
static void *run_room(void *arg)
{
    room_t *room = arg;
    struct pollfd fd = {.fd = lm_inlet_fd(room->inlet), .events = POLLIN};
    driver->ops->listen(driver, room->self, &how);
    while (!room->closed) {
        void **events;
        poll(&fd, 1, 100);
        size_t n = lm_inlet_take(room->inlet, &events);
        for (size_t i = 0; i < n; i++) on_event(room, events[i]);
        if (room->self == LM_PEERS && !atomic_load(&over)) call_self(room);
        if (room->self == LM_CLIENTS) driver->ops->refused(driver);
        for (int i = 0; i < LATE_MAX && atomic_load(&over); i++) {
            if (room->late[i]) answer(room, room->late[i]);
            room->late[i] = NULL;
        }
    }
    return NULL;
}

static void begin_room(room_t *room)
{
    sem_init(&room->listening, 0, 0);
    LM_CHECK(pthread_create(&room->thread, NULL, run_room, room) == 0, "no thread");
}

static void end_room(room_t *room)
{
    void **events;
    pthread_join(room->thread, NULL);
    size_t n = lm_inlet_take(room->inlet, &events);
    for (size_t i = 0; i < n; i++) lm_frontend_event_free(events[i]);
}

/* ---- the clients ----------------------------------------------------------------------------- */

static void *call_again_and_again(void *arg)
{
    unsigned n = *(const unsigned *)arg;
    lm_client_t *client = lm_client_open(endpoint);
    lm_arena_t *arena = lm_arena_new();
    lm_api_get_request_t get = {.name = lm_bytes_of("a/lock")};
    while (!atomic_load(&over)) {
        const void *response;
        lm_client_result_t result =
            lm_client_call(client, LM_CLIENT_GET, &get, 1 + n++ % 40, arena, &response);
        atomic_fetch_add(result.grpc_status == 0 ? &good : &bad, 1);
        lm_arena_reset(arena);
    }
    lm_arena_destroy(&arena);
    lm_client_close(&client);
    return NULL;
}

static void *keep_again_and_again(void *arg)
{
    (void)arg;
    lm_client_t *client = lm_client_open(endpoint);
    lm_api_acquire_response_t grant = {
        .hold_id = lm_bytes_of("1-1"), .ttl_ms = 200, .lease_remaining_ms = 200};
    while (!atomic_load(&over)) {
        lm_client_result_t result = {.sent_us = lm_client_clock_us()};
        lm_keeper_t *keeper = lm_keeper_start(client, "kept", "me", &grant, &result, -1);
        for (int i = 0; i < 50 && lm_keeper_holds(keeper); i++) usleep(10000);
        lm_keeper_cause(keeper);
        lm_keeper_stop(&keeper, true);
    }
    lm_client_close(&client);
    return NULL;
}

/* Frames without end, of a kind that does not exist. */
static void *waste_again_and_again(void *arg)
{
    static const char hello[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
    static uint8_t frames[17 * 500];
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons((uint16_t)how.grpc_port)};
    (void)arg;
    for (size_t i = 0; i < sizeof frames; i += 17) frames[i + 2] = 8, frames[i + 3] = 32;
    while (!atomic_load(&over)) {
        struct timeval patience = {.tv_usec = 200000};
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
        if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
            send(fd, hello, sizeof hello - 1, MSG_NOSIGNAL);
        while (!atomic_load(&over) && send(fd, frames, sizeof frames, MSG_NOSIGNAL) > 0) continue;
        close(fd);
        usleep(10000);
    }
    return NULL;
}

/* ---- a short life ---------------------------------------------------------------------------- */

static void *listen_to_the_end(void *arg)
{
    room_t *room = arg;
    driver->ops->listen(driver, room->self, &how);
    if (room->self == LM_PEERS) usleep(room->next);
    driver->ops->shut(driver, 0);
    while (!room->closed) {
        void **events;
        struct pollfd fd = {.fd = lm_inlet_fd(room->inlet), .events = POLLIN};
        poll(&fd, 1, 100);
        size_t n = lm_inlet_take(room->inlet, &events);
        for (size_t i = 0; i < n; i++) {
            lm_frontend_event_t *event = events[i];
            room->closed |= event->kind == LM_FRONTEND_CLOSED;
            lm_frontend_event_free(event);
        }
    }
    return NULL;
}

/** One room shuts at once, the other one some microseconds later. */
static void open_and_shut(unsigned later_us)
{
    room_t rooms[] = {{.self = LM_CLIENTS}, {.self = LM_PEERS, .next = later_us}};
    for (int i = 0; i < 2; i++) rooms[i].inlet = lm_inlet_new();
    driver = lm_frontend_driver_new((lm_frontend_inlet_t){put, rooms[0].inlet},
                                    (lm_frontend_inlet_t){put, rooms[1].inlet}, true);
    for (int i = 0; i < 2; i++)
        LM_CHECK(pthread_create(&rooms[i].thread, NULL, listen_to_the_end, &rooms[i]) == 0,
                 "no thread");
    for (int i = 0; i < 2; i++) end_room(&rooms[i]);
    lm_frontend_driver_destroy(&driver);
    for (int i = 0; i < 2; i++) lm_inlet_destroy(&rooms[i].inlet);
}

int main(void)
{
    pthread_t threads[CALLERS + KEEPERS], wasting;
    unsigned seeds[CALLERS + KEEPERS];
    lm_log_setup("n1", "frontend", LM_LOG_WARN, false);
    lm_frontend_actor_begin_process();
    how.grpc_port = free_port();
    how.region_port = free_port();
    snprintf(endpoint, sizeof endpoint, "127.0.0.1:%u", how.grpc_port);
    for (unsigned i = 0; i < SHORT_LIVES; i++) open_and_shut(i * 20);
    clients.inlet = lm_inlet_new();
    peers.inlet = lm_inlet_new();
    driver = lm_frontend_driver_new((lm_frontend_inlet_t){put, clients.inlet},
                                    (lm_frontend_inlet_t){put, peers.inlet}, true);
    begin_room(&clients);
    begin_room(&peers);
    while (sem_wait(&clients.listening) != 0) continue;
    for (unsigned i = 0; i < CALLERS + KEEPERS; i++) {
        seeds[i] = i * 7;
        void *(*run)(void *) = i < CALLERS ? call_again_and_again : keep_again_and_again;
        LM_CHECK(pthread_create(&threads[i], NULL, run, &seeds[i]) == 0, "no thread");
    }
    LM_CHECK(pthread_create(&wasting, NULL, waste_again_and_again, NULL) == 0, "no thread");
    sleep(SECONDS);
    /* A busy machine needs longer for calls that may take milliseconds. */
    for (int i = 0; i < SECONDS_MAX && atomic_load(&good) <= GOOD_MIN; i++) sleep(1);
    driver->ops->shut(driver, 200000);
    usleep(300000);
    atomic_store(&over, true);
    for (int i = 0; i < CALLERS + KEEPERS; i++) pthread_join(threads[i], NULL);
    pthread_join(wasting, NULL);
    uint64_t ended = driver->ops->refused(driver).wasteful;
    end_room(&clients);
    end_room(&peers);
    lm_frontend_driver_destroy(&driver);
    lm_inlet_destroy(&clients.inlet);
    lm_inlet_destroy(&peers.inlet);
    lm_frontend_actor_end_process();
    printf("%u calls were answered, %u were not; the rooms called %u and %u times\n", good, bad,
           clients.asked, peers.asked);
    printf("%llu connections were ended\n", (unsigned long long)ended);
    return good > GOOD_MIN && ended > 0 ? 0 : 1;
}
