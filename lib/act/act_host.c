/* The loop that runs one room, in a process of its own or in a thread among others.
 *
 * One turn: wait; read what is there from all sockets, the supervisor's last, so that a reply of a
 * dead generation is heard before its successor is announced; watched descriptors and the inlet;
 * the wake-up if it is due; the end of the turn; the outbox.
 *
 * Invariants
 *   H1  One reading of the clock per turn.
 *   H2  A turn's reading is bounded, except after a late tick: then everything is read first (S9).
 *   H3  A bundle is from whom its connection says: the address of a consumer is its participant and
 *       counter, a connected link has one binder of one generation.
 *   H4  The host ends with its supervisor: with its process, or when another one speaks for it.
 */
#include "act_host.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "act_inlet.h"
#include "act_limits.h"
#include "act_post.h"
#include "act_process.h"
#include "base_check.h"
#include "base_log.h"
#include "wire_bus.h"

enum {
    PARENT_CHECK_US = 1000 * 1000, /* the kernel's signal is the rule, this is the net below it */
    LAST_SEND_US = 200 * 1000,     /* for what waits when the room ends */
    LINGER_MS = 200,
    SETTLE_MS = 5, /* after a freeze ZeroMQ's own thread needs a moment to hand over */
};

typedef struct {
    int fd;
    void (*on_ready)(void *arg, uint64_t now_us, lm_outbox_t *out);
    void *arg;
} watched_t;

struct lm_host {
    const lm_process_t *process;
    lm_dispatch_t d;
    lm_post_t post;
    lm_inlet_t *inlet;
    watched_t watched[LM_WATCHED_MAX];
    size_t n_watched;
    lm_wait_t wait[LM_WAIT_MAX];
    size_t n_wait;
    size_t turn_bytes;
    char endpoint[160]; /* of the room's own socket; empty if it has none */
    bool said_ready;
    uint64_t parent_check_us;
};

/* ---- making and destroying ------------------------------------------------------------------- */

static void connect_peer(void *arg, lm_participant_t peer, lm_generation_t generation,
                         lm_bytes_t endpoint)
{
    lm_host_t *host = arg;
    char text[160], words[256];
    snprintf(text, sizeof text, "%.*s", LM_BYTES_ARG(endpoint));
    lm_debug("%s is there with generation %u at %s", lm_participant_name(peer), generation.counter,
             text);
    if (lm_post_connect(&host->post, peer, text)) return;
    snprintf(words, sizeof words, "cannot connect to %s at %s: %s", lm_participant_name(peer), text,
             strerror(errno));
    lm_outbox_exit(&host->d.out, LM_EXIT_SYSTEM, words);
}

/** From now on log lines have the node's name, level and form. */
static void set_up_log(void *arg, const void *body)
{
    const lm_host_t *host = arg;
    const lm_bus_node_config_t *config = body;
    char node[64], level_name[16];
    lm_log_level_t level = LM_LOG_INFO;
    snprintf(node, sizeof node, "%.*s", LM_BYTES_ARG(config->node));
    snprintf(level_name, sizeof level_name, "%.*s", LM_BYTES_ARG(config->log_level));
    lm_log_level_parse(level_name, &level);
    bool json = lm_bytes_equal(config->log_format, lm_bytes_of("json"));
    if (host->process->actor[0]) lm_log_setup(node, host->process->actor, level, json);
}

static const lm_dispatch_host_t host_functions = {.connect = connect_peer, .on_start = set_up_log};

lm_host_t *lm_host_new(const lm_process_t *process, const lm_room_t *definition, void *room)
{
    lm_host_t *host = lm_alloc(sizeof *host);
    host->process = process;
    lm_dispatch_init(&host->d, definition, room, process->generation, &host_functions, host);
    host->post.d = &host->d;
    host->inlet = lm_inlet_new();
    lm_dispatch_begin(&host->d, lm_clock_us());
    return host;
}

void lm_host_destroy(lm_host_t **host)
{
    if (!*host) return;
    lm_post_destroy(&(*host)->post, LINGER_MS);
    lm_inlet_destroy(&(*host)->inlet);
    lm_dispatch_destroy(&(*host)->d);
    free(*host);
    *host = NULL;
}

lm_inlet_t *lm_host_inlet(lm_host_t *host) { return host->inlet; }

size_t lm_host_counters(const lm_host_t *host, const lm_host_counter_t **counters)
{
    return lm_outbox_counters(&host->d.out, counters);
}

/* ---- watched descriptors --------------------------------------------------------------------- */

static watched_t *find_watched(lm_host_t *host, int fd)
{
    for (size_t i = 0; i < host->n_watched; i++)
        if (host->watched[i].fd == fd) return &host->watched[i];
    return NULL;
}

void lm_host_watch(lm_host_t *host, int fd,
                   void (*on_ready)(void *arg, uint64_t now_us, lm_outbox_t *out), void *arg)
{
    watched_t *watched = find_watched(host, fd);
    if (!watched) {
        LM_CHECK(host->n_watched < LM_WATCHED_MAX, "%d descriptors are watched", LM_WATCHED_MAX);
        watched = &host->watched[host->n_watched++];
    }
    *watched = (watched_t){.fd = fd, .on_ready = on_ready, .arg = arg};
}

void lm_host_unwatch(lm_host_t *host, int fd)
{
    watched_t *watched = find_watched(host, fd);
    if (watched) *watched = host->watched[--host->n_watched];
}

/* ---- reading --------------------------------------------------------------------------------- */

static void count_dropped(lm_host_t *host, lm_counter_t counter, uint32_t n)
{
    host->d.counters.rows[counter].value += n ? n : 1;
}

/** Whether the sender named in a bundle is the one its connection belongs to. */
static bool is_its_own(const lm_frames_reader_t *reader, lm_participant_t connection,
                       lm_bytes_t address)
{
    char own[LM_ADDRESS_BYTES];
    if (connection != LM_NOBODY) return reader->from == connection;
    lm_post_address(own, reader->from, reader->generation.counter);
    return lm_bytes_equal(address, lm_bytes_of(own));
}

/** Whether a bundle of that generation may be read; a newer consumer is adopted here. */
static bool adopt(lm_host_t *host, const lm_frames_reader_t *reader, lm_participant_t connection)
{
    lm_outbox_t *out = &host->d.out;
    lm_generation_t known = out->peers[reader->from].generation;
    int order = lm_generation_compare(reader->generation, known);
    if (order <= 0) return order == 0;
    if (connection == LM_SUPERVISOR &&
        (known.boot_id != 0 || reader->generation.boot_id != out->generation.boot_id)) {
        lm_outbox_exit(out, LM_EXIT_TRY_LATER, "another supervisor has taken over");
        return false;
    }
    if (connection != LM_NOBODY && connection != LM_SUPERVISOR) return false;
    lm_dispatch_peer_up(&host->d, reader->from, reader->generation);
    return true;
}

static void on_bundle(lm_host_t *host, lm_participant_t connection, lm_bytes_t address,
                      lm_bytes_t bytes)
{
    lm_frames_reader_t reader;
    lm_bytes_t envelope, body;
    host->turn_bytes += bytes.size;
    lm_rc_t rc = lm_frames_open(&reader, bytes);
    if (rc != LM_RC_OK)
        count_dropped(host, rc == LM_RC_TOO_LARGE ? LM_COUNT_OVERSIZED : LM_COUNT_UNDECODABLE, 1);
    else if (!is_its_own(&reader, connection, address))
        count_dropped(host, LM_COUNT_WRONG_SENDER, reader.n);
    else if (!adopt(host, &reader, connection))
        count_dropped(host, LM_COUNT_STALE, reader.n);
    else
        while (lm_frames_next(&reader, &envelope, &body))
            lm_dispatch_message(&host->d, reader.from, envelope, body);
}

static size_t read_link(lm_host_t *host, lm_participant_t connection, lm_link_t *link)
{
    size_t n = 0;
    lm_bytes_t address, bytes;
    while (link && n < LM_TURN_BUNDLES_MAX && host->turn_bytes < LM_TURN_BYTES_MAX &&
           lm_link_receive(link, &address, &bytes)) {
        on_bundle(host, connection, address, bytes);
        n++;
    }
    return n;
}

static bool is_ready(const lm_host_t *host, const lm_link_t *link)
{
    for (size_t i = 0; i < host->n_wait; i++)
        if (host->wait[i].link == link) return link && host->wait[i].ready;
    return false;
}

/** What the supervisor tells may be later than what others have sent meanwhile. */
static void look_before_supervisor(lm_host_t *host)
{
    if (!is_ready(host, host->post.links[LM_SUPERVISOR])) return;
    lm_link_look_again(host->post.own);
    for (int p = 0; p < LM_PARTICIPANTS; p++) lm_link_look_again(host->post.links[p]);
}

static size_t read_once(lm_host_t *host)
{
    host->turn_bytes = 0;
    look_before_supervisor(host);
    size_t n = read_link(host, LM_NOBODY, host->post.own);
    for (int p = LM_SUPERVISOR + 1; p < LM_PARTICIPANTS; p++)
        n += read_link(host, (lm_participant_t)p, host->post.links[p]);
    return n + read_link(host, LM_SUPERVISOR, host->post.links[LM_SUPERVISOR]);
}

static void add_wait(lm_host_t *host, lm_link_t *link, int fd)
{
    if (!link && fd < 0) return;
    host->wait[host->n_wait++] = (lm_wait_t){.link = link, .fd = fd};
}

static void wait_for_links(lm_host_t *host, int timeout_ms)
{
    host->n_wait = 0;
    add_wait(host, host->post.own, -1);
    for (int p = 0; p < LM_PARTICIPANTS; p++) add_wait(host, host->post.links[p], -1);
    lm_link_wait(host->wait, host->n_wait, timeout_ms);
}

static void read_inlet(lm_host_t *host)
{
    void **items;
    size_t n = lm_inlet_take(host->inlet, &items);
    for (size_t i = 0; i < n; i++) lm_dispatch_inlet(&host->d, items[i]);
}

/** After a late tick everything that had been sent by then has to be read before timers fire. */
static void read_empty(lm_host_t *host)
{
    size_t total = 0, n;
    do {
        n = read_once(host);
        if (n == 0) {
            wait_for_links(host, SETTLE_MS);
            n = read_once(host);
        }
        total += n;
    } while (n > 0 && total < LM_LATE_BUNDLES_MAX);
    read_inlet(host);
}

/* ---- the loop -------------------------------------------------------------------------------- */

/** Sleeps until something is to be done. The inlet is the last but the watched descriptors. */
static void wait_for_work(lm_host_t *host)
{
    uint64_t now_us = lm_clock_us();
    uint64_t next_us = lm_dispatch_next_us(&host->d);
    uint64_t post_us = lm_post_next_us(&host->post, now_us);
    if (post_us < next_us) next_us = post_us;
    if (host->parent_check_us < next_us) next_us = host->parent_check_us;
    host->n_wait = 0;
    add_wait(host, host->post.own, -1);
    for (int p = 0; p < LM_PARTICIPANTS; p++) add_wait(host, host->post.links[p], -1);
    add_wait(host, NULL, lm_inlet_fd(host->inlet));
    for (size_t i = 0; i < host->n_watched; i++) add_wait(host, NULL, host->watched[i].fd);
    int timeout_ms = next_us <= now_us ? 0 : (int)((next_us - now_us + 999) / 1000);
    lm_link_wait(host->wait, host->n_wait, timeout_ms);
}

/* What this turn itself has put into the inlet belongs to it as well: nobody is told of a state in
 * between. */
static void read_descriptors(lm_host_t *host)
{
    bool inlet = false;
    for (size_t i = 0; i < host->n_wait; i++) {
        if (host->wait[i].link || !host->wait[i].ready) continue;
        watched_t *watched = find_watched(host, host->wait[i].fd);
        if (watched) watched->on_ready(watched->arg, host->d.out.now_us, &host->d.out);
        inlet |= host->wait[i].fd == lm_inlet_fd(host->inlet);
    }
    if (inlet || !lm_inlet_is_empty(host->inlet)) read_inlet(host);
}

static void check_parent(lm_host_t *host, uint64_t now_us)
{
    if (now_us < host->parent_check_us) return;
    host->parent_check_us = now_us + PARENT_CHECK_US;
    if (host->process->parent_pid != 0 && getppid() != host->process->parent_pid)
        lm_outbox_exit(&host->d.out, LM_EXIT_TRY_LATER, "the supervisor is gone");
}

static void say_ready(lm_host_t *host)
{
    if (!host->d.out.ready || host->said_ready || host->d.out.self == LM_SUPERVISOR) return;
    host->said_ready = true;
    lm_bus_actor_ready_t ready = {.endpoint = lm_bytes_of(host->endpoint)};
    lm_outbox_send(&host->d.out, LM_SUPERVISOR, LM_MSG_ACTOR_READY, &ready);
}

static void turn(lm_host_t *host)
{
    lm_dispatch_t *d = &host->d;
    uint64_t now_us = lm_clock_us();
    uint64_t wake_us = d->out.wake_at_us;
    lm_dispatch_begin(d, now_us);
    check_parent(host, now_us);
    lm_post_room_again(&host->post);
    if (wake_us < now_us && now_us - wake_us > LM_LATE_US)
        read_empty(host);
    else
        read_once(host);
    read_descriptors(host);
    lm_dispatch_wake(d);
    lm_dispatch_end(d);
    say_ready(host);
    lm_post_flush(&host->post);
    lm_dispatch_clear(d);
}

/* ---- beginning and end ----------------------------------------------------------------------- */

static void fail_to_start(lm_host_t *host, const char *what, const char *endpoint)
{
    char words[256];
    snprintf(words, sizeof words, "cannot %s %s: %s", what, endpoint, strerror(errno));
    lm_outbox_exit(&host->d.out, LM_EXIT_SYSTEM, words);
}

static void bind_own(lm_host_t *host)
{
    const lm_process_t *process = host->process;
    char address[LM_ADDRESS_BYTES];
    lm_post_address(address, host->d.out.self, process->generation.counter);
    if (host->d.out.self == LM_SUPERVISOR)
        snprintf(host->endpoint, sizeof host->endpoint, "%s", process->supervisor);
    else
        lm_process_endpoint(process, address, host->endpoint, sizeof host->endpoint);
    host->post.own = lm_link_bind(host->endpoint);
    if (!host->post.own) fail_to_start(host, "bind", host->endpoint);
}

static void say_hello(lm_host_t *host)
{
    lm_outbox_t *out = &host->d.out;
    lm_bus_actor_hello_t hello = {.pid = (uint32_t)getpid()};
    if (!lm_post_connect(&host->post, LM_SUPERVISOR, host->process->supervisor)) {
        fail_to_start(host, "connect to", host->process->supervisor);
        return;
    }
    out->peers[LM_SUPERVISOR].there = true;
    lm_outbox_send(out, LM_SUPERVISOR, LM_MSG_ACTOR_HELLO, &hello);
}

/** A room that ends may have last messages in the queue; they get a short while. */
static void send_the_rest(lm_host_t *host)
{
    uint64_t end_us = lm_clock_us() + LAST_SEND_US;
    while (lm_post_waits(&host->post) && lm_clock_us() < end_us) {
        usleep(1000);
        lm_post_flush(&host->post);
        lm_dispatch_clear(&host->d);
    }
}

static lm_exit_t end(lm_host_t *host)
{
    const lm_outbox_t *out = &host->d.out;
    send_the_rest(host);
    lm_post_destroy(&host->post, LINGER_MS);
    if (out->exit_code == LM_EXIT_OK) return LM_EXIT_OK;
    lm_error("%s ends: %s", lm_participant_name(out->self), out->words);
    lm_process_last_words(out->words);
    return out->exit_code;
}

lm_exit_t lm_host_run(lm_host_t *host)
{
    lm_outbox_t *out = &host->d.out;
    if (host->d.definition->binds) bind_own(host);
    if (!out->ended && out->self != LM_SUPERVISOR) say_hello(host);
    lm_dispatch_begin(&host->d, lm_clock_us());
    lm_post_flush(&host->post);
    lm_dispatch_clear(&host->d);
    while (!out->ended) {
        wait_for_work(host);
        turn(host);
    }
    return end(host);
}
