/* Real sockets: who is seen, who is ended, and how soon. What has to go is decided by
 * frontend_guard.h, which has a test of its own. */
#include "frontend_sentry.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "frontend_limits.h"

enum { STREAMS_MAX = 100 };

enum { PIECE = 16384, PAUSE_MS = 10, ROUNDS_MAX = 3000 };

static int listener;
static lm_frontend_sentry_t *sentry;

static uint16_t port_of(int fd)
{
    struct sockaddr_in name;
    socklen_t size = sizeof name;
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&name, &size), 0);
    return ntohs(name.sin_port);
}

static void begin(const lm_frontend_listen_t *how)
{
    sentry = lm_frontend_sentry_new(how, true, NULL);
    cr_assert(sentry);
}

static void set_up(void)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    listener = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(bind(listener, (struct sockaddr *)&name, sizeof name), 0);
    cr_assert_eq(listen(listener, 64), 0);
    lm_frontend_listen_t how = {
        .grpc_port = port_of(listener), .region_port = 1, .streams_max = STREAMS_MAX};
    begin(&how);
}

static void tear_down(void)
{
    lm_frontend_sentry_destroy(&sentry);
    close(listener);
}

TestSuite(frontend_sentry, .init = set_up, .fini = tear_down, .timeout = 120);

typedef struct {
    int theirs, ours;
    uint64_t key;
} pair_t;

static pair_t connect_one(void)
{
    struct sockaddr_in name = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                               .sin_port = htons(port_of(listener))};
    pair_t pair = {.theirs = socket(AF_INET, SOCK_STREAM, 0)};
    char peer[64];
    cr_assert_eq(connect(pair.theirs, (struct sockaddr *)&name, sizeof name), 0);
    pair.ours = accept(listener, NULL, NULL);
    cr_assert_geq(pair.ours, 0);
    snprintf(peer, sizeof peer, "ipv4:127.0.0.1:%u", port_of(pair.theirs));
    pair.key = lm_frontend_sentry_key(peer, port_of(listener));
    return pair;
}

static void close_pair(const pair_t *pair)
{
    close(pair->theirs);
    close(pair->ours);
}

static bool is_shut(const pair_t *pair)
{
    struct pollfd poll_fd = {.fd = pair->theirs, .events = POLLRDHUP};
    return poll(&poll_fd, 1, 0) == 1;
}

/* Sends a piece and reads it on this side. */
static void pass(const pair_t *pair)
{
    static char piece[PIECE];
    size_t left = PIECE;
    if (send(pair->theirs, piece, PIECE, MSG_NOSIGNAL) != PIECE) return;
    while (left > 0) {
        ssize_t n = recv(pair->ours, piece, left, 0);
        if (n <= 0) return;
        left -= (size_t)n;
    }
}

/* Passes so many bytes, with a pause now and then; returns how many it took until the end, or 0. */
static size_t pass_all(const pair_t *pair, size_t bytes, bool useful)
{
    for (size_t passed = PIECE; passed <= bytes; passed += PIECE) {
        pass(pair);
        if (useful) lm_frontend_sentry_credit(sentry, pair->key, PIECE);
        if (passed % (8 * PIECE) == 0) usleep(PAUSE_MS * 1000);
        if (is_shut(pair)) return passed;
    }
    usleep(300000);
    return is_shut(pair) ? bytes : 0;
}

Test(frontend_sentry, addresses_as_grpc_writes_them)
{
    uint64_t four = lm_frontend_sentry_key("ipv4:10.1.2.3:4567", 9090);
    cr_assert_neq(four, 0);
    cr_assert_eq(four, lm_frontend_sentry_key("ipv6:%5B::ffff:10.1.2.3%5D:4567", 9090));
    cr_assert_neq(four, lm_frontend_sentry_key("ipv4:10.1.2.3:4568", 9090));
    cr_assert_neq(four, lm_frontend_sentry_key("ipv4:10.1.2.3:4567", 9091));
    cr_assert_neq(lm_frontend_sentry_key("ipv6:%5Bfe80::1%25eth0%5D:1", 9090), 0);
    cr_assert_eq(lm_frontend_sentry_key("unix:/tmp/x", 9090), 0);
    cr_assert_eq(lm_frontend_sentry_key("ipv4:nonsense:1", 9090), 0);
    cr_assert_eq(lm_frontend_sentry_key("", 9090), 0);
}

Test(frontend_sentry, what_leads_to_nothing_ends_the_connection)
{
    pair_t pair = connect_one(), other = connect_one();
    size_t passed = pass_all(&pair, 16 * LM_WASTE_BYTES, false);
    cr_assert_gt(passed, LM_WASTE_BYTES);
    cr_assert(!is_shut(&other));
    cr_assert_eq(lm_frontend_sentry_figures(sentry).ended[LM_GUARD_WASTEFUL], 1);
    close_pair(&pair);
    close_pair(&other);
}

Test(frontend_sentry, no_port_is_left_out)
{
    lm_frontend_listen_t hows[] = {
        {.grpc_port = 1, .region_port = port_of(listener), .streams_max = STREAMS_MAX},
        {.grpc_port = 1,
         .region_port = 2,
         .raft_port = port_of(listener),
         .streams_max = STREAMS_MAX}};
    for (size_t i = 0; i < sizeof hows / sizeof *hows; i++) {
        lm_frontend_sentry_destroy(&sentry);
        begin(&hows[i]);
        pair_t pair = connect_one();
        cr_expect_gt(pass_all(&pair, 16 * LM_WASTE_BYTES, false), 0, "port %zu", i);
        close_pair(&pair);
    }
}

Test(frontend_sentry, what_leads_to_something_does_not)
{
    pair_t pair = connect_one();
    cr_assert_eq(pass_all(&pair, 16 * LM_WASTE_BYTES, true), 0);
    cr_assert_eq(lm_frontend_sentry_figures(sentry).ended[LM_GUARD_WASTEFUL], 0);
    cr_assert_eq(lm_frontend_sentry_figures(sentry).open, 1);
    close_pair(&pair);
}

Test(frontend_sentry, calls_that_are_taken_back_do)
{
    pair_t pair = connect_one();
    cr_assert_eq(pass_all(&pair, 4 * LM_WASTE_BYTES, true), 0);
    lm_frontend_sentry_credit(sentry, pair.key, -4 * LM_WASTE_BYTES);
    for (int i = 0; i < ROUNDS_MAX && !is_shut(&pair); i++) usleep(PAUSE_MS * 1000);
    cr_assert(is_shut(&pair));
    close_pair(&pair);
}

Test(frontend_sentry, what_is_unread_when_it_is_ended_is_thrown_away)
{
    static char piece[PIECE];
    pair_t pair = connect_one();
    cr_assert_eq(send(pair.theirs, piece, PIECE, MSG_NOSIGNAL), PIECE);
    lm_frontend_sentry_credit(sentry, pair.key, -4 * LM_WASTE_BYTES);
    ssize_t n = -1;
    for (int i = 0; i < ROUNDS_MAX && n != 0; i++) {
        usleep(PAUSE_MS * 1000);
        n = recv(pair.ours, piece, 1, MSG_PEEK | MSG_DONTWAIT);
    }
    cr_assert_eq(n, 0, "its end is all there is to read");
    cr_assert(is_shut(&pair));
    close_pair(&pair);
}

Test(frontend_sentry, too_many_streams_end_the_connection)
{
    pair_t pair = connect_one();
    lm_frontend_sentry_count(sentry, pair.key, LM_STREAMS_SLACK * STREAMS_MAX, false);
    usleep(500000);
    cr_assert(!is_shut(&pair));
    lm_frontend_sentry_count(sentry, pair.key, 1, false);
    for (int i = 0; i < ROUNDS_MAX && !is_shut(&pair); i++) usleep(PAUSE_MS * 1000);
    cr_assert(is_shut(&pair));
    close_pair(&pair);
}

Test(frontend_sentry, a_node_may_have_large_messages_on_their_way)
{
    pair_t pair = connect_one();
    lm_frontend_sentry_vouch(sentry, pair.key);
    cr_assert_eq(pass_all(&pair, 8 * LM_WASTE_BYTES, false), 0);
    close_pair(&pair);
}

Test(frontend_sentry, who_goes_on_has_less)
{
    for (int i = 0; i < 3; i++) {
        pair_t pair = connect_one();
        cr_assert_gt(pass_all(&pair, 16 * LM_WASTE_BYTES, false), LM_WASTE_BYTES);
        close_pair(&pair);
    }
    pair_t pair = connect_one();
    cr_assert_neq(pass_all(&pair, LM_WASTE_BYTES, false), 0);
    close_pair(&pair);
}

#ifndef __SANITIZE_ADDRESS__ /* it takes much by itself */
Test(frontend_sentry, memory_that_no_call_explains_ends_the_greediest)
{
    pair_t greedy = connect_one(), good = connect_one();
    for (int i = 0; i < 8; i++) {
        pass(&greedy);
        pass(&good);
        lm_frontend_sentry_credit(sentry, good.key, PIECE);
    }
    usleep(1000000);
    cr_assert(!is_shut(&greedy), "memory is what it should be");
    void *memory = malloc(LM_MEMORY_BYTES);
    cr_assert(memory);
    memset(memory, 1, LM_MEMORY_BYTES);
    for (int i = 0; i < ROUNDS_MAX && !is_shut(&greedy); i++) usleep(PAUSE_MS * 1000);
    cr_assert(is_shut(&greedy));
    usleep(1000000);
    cr_assert(!is_shut(&good));
    free(memory);
    close_pair(&greedy);
    close_pair(&good);
}
#endif

/* ---- few descriptors ------------------------------------------------------------------------- */

enum { N = 50 };

static struct rlimit before;

/* An eighth is kept free; ten of them are used. */
static void make_descriptors_few(void)
{
    struct rlimit few;
    int lowest = dup(listener);
    close(lowest);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = (rlim_t)lowest + (rlim_t)lowest / 8 - 8;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
}

/* N connections of another process, which ends with this one's end of the pipe. */
static void accept_strangers(pair_t pairs[N], int *until)
{
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        struct sockaddr_in name = {.sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                   .sin_port = htons(port_of(listener))};
        close(ends[1]);
        for (int i = 0; i < N; i++)
            if (connect(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&name, sizeof name) < 0)
                _exit(1);
        _exit(read(ends[0], &name, 1) < 0);
    }
    close(ends[0]);
    *until = ends[1];
    for (int i = 0; i < N; i++) {
        struct sockaddr_in name;
        socklen_t size = sizeof name;
        char peer[64];
        pairs[i].theirs = pairs[i].ours = accept(listener, (struct sockaddr *)&name, &size);
        snprintf(peer, sizeof peer, "ipv4:127.0.0.1:%u", ntohs(name.sin_port));
        pairs[i].key = lm_frontend_sentry_key(peer, port_of(listener));
    }
}

Test(frontend_sentry, few_descriptors_end_those_that_never_called_first)
{
    pair_t pairs[N];
    int until;
    accept_strangers(pairs, &until);
    for (int i = N / 2; i < N; i++) lm_frontend_sentry_credit(sentry, pairs[i].key, 1);
    make_descriptors_few();
    for (int i = 0; i < ROUNDS_MAX && !is_shut(&pairs[N / 2 - 1]); i++) usleep(PAUSE_MS * 1000);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    cr_assert_gt(lm_frontend_sentry_figures(sentry).ended[LM_GUARD_CROWDED], 0);
    cr_assert(!is_shut(&pairs[0]), "the oldest goes last");
    cr_assert(is_shut(&pairs[N / 2 - 1]));
    for (int i = N / 2; i < N; i++) cr_assert(!is_shut(&pairs[i]));
    for (int i = 0; i < N; i++) close(pairs[i].ours);
    close(until);
}

Test(frontend_sentry, few_descriptors_do_not_end_what_comes_from_this_process)
{
    pair_t pairs[N];
    for (int i = 0; i < N; i++) pairs[i] = connect_one();
    make_descriptors_few();
    usleep(2000000);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    cr_assert_eq(lm_frontend_sentry_figures(sentry).ended[LM_GUARD_CROWDED], 0);
    for (int i = 0; i < N; i++) cr_assert(!is_shut(&pairs[i]));
    for (int i = 0; i < N; i++) close_pair(&pairs[i]);
}
