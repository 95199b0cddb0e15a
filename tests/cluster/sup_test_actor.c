/* Any of the five actors, as far as a supervisor can tell: it says hello, becomes ready, answers
 * pings, stops. Copied to the names of the real ones beside a lockmgrd, it lets the supervisor be
 * tested by itself.
 *
 * Which one it is, its name says. DATA/<actor>.behave may hold a word for how it misbehaves from
 * its next START on:
 *
 *   exit N     ends with that code          check      fails a check
 *   hang       never returns to its loop    late       never becomes ready
 *   stubborn   does not stop when asked     orphan     leaves a process behind that nobody waits
 * for block MS   works on the disk that long, and says so
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "act_host.h"
#include "act_page.h"
#include "base_check.h"
#include "base_log.h"
#include "wire_bus.h"

typedef struct {
    lm_participant_t self;
    const char *actor;
    bool stubborn;
} fake_t;

/* ---- misbehaviour ---- */

static bool misbehaves(const fake_t *fake, lm_bytes_t data_dir, char *word, size_t size, int *value)
{
    char path[512], text[64] = "";
    snprintf(path, sizeof path, "%.*s/%s.behave", LM_BYTES_ARG(data_dir), fake->actor);
    FILE *stream = fopen(path, "re");
    if (!stream) return false;
    bool read = fgets(text, sizeof text, stream) != NULL;
    fclose(stream);
    *value = 0;
    LM_CHECK(size >= 16, "%zu", size);
    return read && sscanf(text, "%15s %d", word, value) >= 1;
}

static void leave_an_orphan(void)
{
    if (fork() != 0) return;
    if (fork() == 0) usleep(300000);
    _exit(0);
}

/** Returns false if the actor must not become ready. */
static bool behave(fake_t *fake, const char *word, int value, lm_outbox_t *out)
{
    if (strcmp(word, "exit") == 0) lm_outbox_exit(out, (lm_exit_t)value, "told to end");
    LM_CHECK(strcmp(word, "check") != 0, "told to fail, value %d", value);
    while (strcmp(word, "hang") == 0) pause();
    if (strcmp(word, "orphan") == 0) leave_an_orphan();
    if (strcmp(word, "block") == 0) {
        atomic_store(&lm_page_mine()->blocking_since_us, lm_clock_us());
        usleep((useconds_t)value * 1000);
        atomic_store(&lm_page_mine()->blocking_since_us, 0);
    }
    fake->stubborn = strcmp(word, "stubborn") == 0;
    return strcmp(word, "late") != 0 && strcmp(word, "exit") != 0;
}

/** Of raft: the data belongs to one process at a time. */
static bool has_data(lm_bytes_t data_dir)
{
    char path[512];
    snprintf(path, sizeof path, "%.*s/lock", LM_BYTES_ARG(data_dir));
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0;
}

/* ---- the room ---- */

static void on_start(void *room, const lm_message_t *message, lm_outbox_t *out)
{
    fake_t *fake = room;
    const lm_bus_node_config_t *config = message->body;
    char word[16] = "";
    int value = 0;
    if (fake->self == LM_RAFT && !has_data(config->data_dir)) {
        lm_outbox_exit(out, LM_EXIT_TRY_LATER, "the data directory is in use");
        return;
    }
    bool odd = misbehaves(fake, config->data_dir, word, sizeof word, &value);
    if (odd && !behave(fake, word, value, out)) return;
    lm_info("%s of %.*s is ready", lm_participant_name(fake->self), LM_BYTES_ARG(config->node));
    lm_outbox_ready(out);
}

static void on_node_mode(void *room, const lm_message_t *message, lm_outbox_t *out)
{
    (void)out;
    const fake_t *fake = room;
    const lm_bus_node_mode_t *mode = message->body;
    lm_info("%s hears mode %d", lm_participant_name(fake->self), mode->mode);
}

static void on_drain(void *room, const lm_message_t *message, lm_outbox_t *out)
{
    const fake_t *fake = room;
    lm_bus_drained_t drained = {.done = true};
    lm_info("%s drains", lm_participant_name(fake->self));
    lm_outbox_reply(out, &message->from, LM_MSG_DRAINED, &drained);
}

static void on_child_table(void *room, const lm_message_t *message, lm_outbox_t *out)
{
    (void)room, (void)out;
    const lm_bus_child_table_t *table = message->body;
    LM_CHECK(table->n_children == 5, "%zu children", table->n_children);
}

static void on_peer_up(void *room, lm_participant_t peer, lm_generation_t generation,
                       uint64_t now_us, lm_outbox_t *out)
{
    (void)now_us, (void)out;
    const fake_t *fake = room;
    lm_info("%s meets %s, start %u", lm_participant_name(fake->self), lm_participant_name(peer),
            generation.counter);
}

static void on_stop(void *room, uint64_t now_us, uint64_t grace_us, lm_outbox_t *out)
{
    (void)now_us;
    const fake_t *fake = room;
    lm_info("%s is asked to stop within %u ms", lm_participant_name(fake->self),
            (unsigned)(grace_us / 1000));
    while (fake->stubborn) pause();
    lm_outbox_exit(out, LM_EXIT_OK, "");
}

static const lm_room_row_t rows[] = {{LM_MSG_START, on_start, LM_ANY_STATE},
                                     {LM_MSG_NODE_MODE, on_node_mode, LM_ANY_STATE}};
static const lm_room_row_t raft_rows[] = {{LM_MSG_START, on_start, LM_ANY_STATE},
                                          {LM_MSG_NODE_MODE, on_node_mode, LM_ANY_STATE},
                                          {LM_MSG_DRAIN, on_drain, LM_ANY_STATE}};
static const lm_room_row_t health_rows[] = {{LM_MSG_START, on_start, LM_ANY_STATE},
                                            {LM_MSG_NODE_MODE, on_node_mode, LM_ANY_STATE},
                                            {LM_MSG_CHILD_TABLE, on_child_table, LM_ANY_STATE}};

#define ROOM(number, own_socket, consumes, table)                                               \
    {                                                                                           \
        .self = (number), .binds = (own_socket), .connects = (consumes), .rows = (table),       \
        .n_rows = sizeof(table) / sizeof *(table), .on_peer_up = on_peer_up, .on_stop = on_stop \
    }

static const lm_room_t definitions[] = {
    ROOM(LM_RAFT, true, 0, raft_rows),
    ROOM(LM_LOCK, true, 1u << LM_RAFT, rows),
    ROOM(LM_GATEWAY, true, 1u << LM_LOCK, rows),
    ROOM(LM_CLIENTS, false, 1u << LM_LOCK, rows),
    ROOM(LM_PEERS, false, 1u << LM_RAFT | 1u << LM_GATEWAY, rows),
    ROOM(LM_HEALTH, true, 0, health_rows),
};

/* ---- the process ---- */

typedef struct {
    lm_process_t *process;
    fake_t fake;
    lm_exit_t code;
} run_t;

static void *run_room(void *arg)
{
    run_t *run = arg;
    lm_host_t *host = lm_host_new(run->process, &definitions[run->fake.self - LM_RAFT], &run->fake);
    run->code = lm_host_run(host);
    lm_host_destroy(&host);
    return NULL;
}

int main(int argc, char **argv)
{
    lm_process_t process;
    const char *dash = strrchr(argv[0], '-');
    const char *actor = dash ? dash + 1 : argv[0];
    bool frontend = strcmp(actor, "frontend") == 0;
    lm_exit_t code = lm_process_start(&process, argc, argv, actor);
    if (code != LM_EXIT_OK) return code;
    lm_participant_t self = frontend ? LM_CLIENTS : lm_participant_parse(actor);
    LM_CHECK(self >= LM_RAFT, "there is no actor %s", actor);
    run_t first = {.process = &process, .fake = {.self = self, .actor = actor}};
    run_t second = {.process = &process, .fake = {.self = LM_PEERS, .actor = "peers"}};
    pthread_t thread;
    if (frontend) pthread_create(&thread, NULL, run_room, &second);
    run_room(&first);
    if (frontend) pthread_join(thread, NULL);
    return first.code;
}
