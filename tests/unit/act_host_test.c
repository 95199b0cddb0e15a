/* Real hosts over real sockets in a run directory of their own: a small supervisor, a toy in the
 * place of lock and a toy in the place of the clients room, each in a thread or in a process. */
#include "act_host.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "act_frames.h"
#include "act_introducer.h"
#include "act_limits.h"
#include "act_link.h"
#include "wire_bus.h"
#include "wire_peer.h"

/* One actor of the test, whichever room it plays. */
typedef struct {
    lm_process_t process;
    lm_host_t *host;
    pthread_t thread;
    lm_exit_t exit;
    _Atomic int answered, failed, last_failure, peers_up, handled, late_wakes, pongs, ready;
    _Atomic int room_again, roles, committed, out_of_order, last_answer;
    uint64_t last_role;
    bool never_answers, ticks;
    introducer_t introducer; /* of the supervisor */
} actor_t;

/* Work for the thread of a room: what, and a way to wait until it is done. */
typedef struct {
    void (*work)(actor_t *actor, uint64_t now_us, lm_outbox_t *out, void *arg);
    void *arg;
    sem_t done;
} item_t;

static char run_dir[64];
static char supervisor_endpoint[128];

static void on_inlet(void *room, void *item, uint64_t now_us, lm_outbox_t *out)
{
    item_t *i = item;
    i->work(room, now_us, out, i->arg);
    sem_post(&i->done);
}

static void make(actor_t *actor, void (*work)(actor_t *, uint64_t, lm_outbox_t *, void *),
                 void *arg)
{
    item_t item = {.work = work, .arg = arg};
    sem_init(&item.done, 0, 0);
    lm_inlet_put(lm_host_inlet(actor->host), &item);
    while (sem_wait(&item.done) != 0) continue;
    sem_destroy(&item.done);
}

#define WAIT_FOR(condition)                                             \
    do {                                                                \
        for (int ms_ = 0; !(condition); ms_++) {                        \
            cr_assert_lt(ms_, 20000, "never happened: %s", #condition); \
            usleep(1000);                                               \
        }                                                               \
    } while (0)

/* ---- the supervisor -------------------------------------------------------------------------- */

static void on_hello(void *room, const lm_message_t *message, lm_outbox_t *out)
{
    actor_t *s = room;
    introducer_hello(&s->introducer, message, "", out);
}

static void on_ready(void *room, const lm_message_t *message, lm_outbox_t *out)
{
    actor_t *s = room;
    introducer_ready(&s->introducer, message, out);
    s->ready++;
}

static void on_pong(void *room, const lm_message_t *message, lm_outbox_t *out)
{
    (void)message;
    (void)out;
    ((actor_t *)room)->pongs++;
}

static const lm_room_row_t supervisor_rows[] = {
    {LM_MSG_ACTOR_HELLO, on_hello, LM_ANY_STATE},
    {LM_MSG_ACTOR_READY, on_ready, LM_ANY_STATE},
    {LM_MSG_PONG, on_pong, LM_ANY_STATE},
};

static const lm_room_t supervisor_room = {.self = LM_SUPERVISOR,
                                          .binds = true,
                                          .rows = supervisor_rows,
                                          .n_rows = 3,
                                          .on_inlet = on_inlet};

/* ---- toys ------------------------------------------------------------------------------------ */

static void on_start(void *room, const lm_message_t *message, lm_outbox_t *out)
{
    actor_t *a = room;
    lm_outbox_ready(out);
    if (a->ticks) lm_outbox_wake(out, message->now_us + 50000);
}

/** Says which generation it is and how many late wakes it has had. */
static void on_lock_call(void *room, const lm_message_t *message, lm_outbox_t *out)
{
    actor_t *a = room;
    lm_peer_lock_answer_t answer = {.stamp = a->process.generation.counter,
                                    .code = (uint32_t)a->late_wakes};
    a->handled++;
    if (!a->never_answers) lm_outbox_reply(out, &message->from, LM_MSG_LOCK_ANSWER, &answer);
}

static void on_answer(void *room, const lm_message_t *message, lm_outbox_t *out)
{
    actor_t *a = room;
    const lm_peer_lock_answer_t *answer = message->body;
    (void)out;
    a->last_answer = (int)answer->stamp;
    a->late_wakes += (int)answer->code;
    a->answered++;
}

static void on_role(void *room, const lm_message_t *message, lm_outbox_t *out)
{
    actor_t *a = room;
    const lm_bus_raft_role_event_t *role = message->body;
    (void)out;
    if (role->term != a->last_role + 1) a->out_of_order++;
    a->last_role = role->term;
    a->roles++;
}

static void on_committed(void *room, const lm_message_t *message, lm_outbox_t *out)
{
    (void)message;
    (void)out;
    ((actor_t *)room)->committed++;
}

static void on_call_failed(void *room, lm_message_number_t number, uint64_t correlation,
                           lm_rc_t why, uint64_t now_us, lm_outbox_t *out)
{
    actor_t *a = room;
    (void)number, (void)correlation, (void)now_us, (void)out;
    a->last_failure = (int)why;
    a->failed++;
}

static void on_peer_up(void *room, lm_participant_t peer, lm_generation_t generation,
                       uint64_t now_us, lm_outbox_t *out)
{
    (void)peer, (void)generation, (void)now_us, (void)out;
    ((actor_t *)room)->peers_up++;
}

static void on_wake(void *room, uint64_t now_us, uint64_t late_us, lm_outbox_t *out)
{
    actor_t *a = room;
    a->late_wakes += late_us > 200000;
    lm_outbox_wake(out, now_us + 50000);
}

static void on_room_again(void *room, lm_participant_t peer, uint64_t now_us, lm_outbox_t *out)
{
    (void)peer, (void)now_us, (void)out;
    ((actor_t *)room)->room_again++;
}

static const lm_room_row_t lock_rows[] = {
    {LM_MSG_START, on_start, LM_ANY_STATE},
    {LM_MSG_LOCK_CALL, on_lock_call, LM_ANY_STATE},
    {LM_MSG_RAFT_ROLE, on_role, LM_ANY_STATE},
    {LM_MSG_COMMITTED, on_committed, LM_ANY_STATE},
};
static const lm_room_row_t client_rows[] = {
    {LM_MSG_START, on_start, LM_ANY_STATE},
    {LM_MSG_LOCK_ANSWER, on_answer, LM_ANY_STATE},
};

static const lm_room_t lock_room = {.self = LM_LOCK,
                                    .binds = true,
                                    .connects = 1u << LM_RAFT,
                                    .rows = lock_rows,
                                    .n_rows = 4,
                                    .on_inlet = on_inlet,
                                    .on_wake = on_wake,
                                    .on_peer_up = on_peer_up,
                                    .on_call_failed = on_call_failed};
static const lm_room_t raft_room = {.self = LM_RAFT,
                                    .binds = true,
                                    .rows = client_rows,
                                    .n_rows = 1,
                                    .on_inlet = on_inlet,
                                    .on_peer_up = on_peer_up,
                                    .on_room_again = on_room_again};
static const lm_room_t client_room = {.self = LM_CLIENTS,
                                      .connects = 1u << LM_LOCK,
                                      .rows = client_rows,
                                      .n_rows = 2,
                                      .on_inlet = on_inlet,
                                      .on_peer_up = on_peer_up,
                                      .on_call_failed = on_call_failed};

/* ---- starting and ending --------------------------------------------------------------------- */

static void *run(void *arg)
{
    actor_t *actor = arg;
    actor->exit = lm_host_run(actor->host);
    return NULL;
}

static void prepare(actor_t *actor, const lm_room_t *room, uint32_t counter)
{
    actor->process.generation = (lm_generation_t){.boot_id = 77, .counter = counter};
    snprintf(actor->process.run_dir, sizeof actor->process.run_dir, "%s", run_dir);
    snprintf(actor->process.supervisor, sizeof actor->process.supervisor, "%s",
             supervisor_endpoint);
    actor->host = lm_host_new(&actor->process, room, actor);
}

static void start(actor_t *actor, const lm_room_t *room, uint32_t counter)
{
    prepare(actor, room, counter);
    cr_assert_eq(pthread_create(&actor->thread, NULL, run, actor), 0);
}

static void leave(actor_t *actor, uint64_t now_us, lm_outbox_t *out, void *arg)
{
    (void)actor, (void)now_us, (void)arg;
    lm_outbox_exit(out, LM_EXIT_OK, "");
}

static void join(actor_t *actor)
{
    pthread_join(actor->thread, NULL);
    lm_host_destroy(&actor->host);
}

static void end(actor_t *actor)
{
    make(actor, leave, NULL);
    join(actor);
}

static actor_t supervisor, lock, clients;

static void set_up(void)
{
    snprintf(run_dir, sizeof run_dir, "/tmp/lm-act-XXXXXX");
    cr_assert_not_null(mkdtemp(run_dir));
    snprintf(supervisor_endpoint, sizeof supervisor_endpoint, "ipc://%s/supervisor.sock", run_dir);
}

static void tear_down(void)
{
    char command[96];
    snprintf(command, sizeof command, "rm -rf '%s'", run_dir);
    cr_assert_eq(system(command), 0);
}

TestSuite(act_host, .init = set_up, .fini = tear_down, .timeout = 60);

/** The same over inproc://, as threads of one process talk. */
static void set_up_threads(void)
{
    set_up();
    snprintf(supervisor_endpoint, sizeof supervisor_endpoint, "inproc://%s/77/supervisor", run_dir);
}

TestSuite(act_threads, .init = set_up_threads, .fini = tear_down, .timeout = 60);

#define TEST_IN_BOTH(name)              \
    static void name(void);             \
    Test(act_host, name) { name(); }    \
    Test(act_threads, name) { name(); } \
    static void name(void)

static void start_all(void)
{
    start(&supervisor, &supervisor_room, 1);
    start(&lock, &lock_room, 1);
    start(&clients, &client_room, 1);
    WAIT_FOR(supervisor.ready == 2 && clients.peers_up == 2); /* supervisor and lock */
}

static void end_all(void)
{
    end(&clients);
    end(&lock);
    end(&supervisor);
}

/* ---- what they are asked to do --------------------------------------------------------------- */

static void call_lock(actor_t *actor, uint64_t now_us, lm_outbox_t *out, void *arg)
{
    lm_peer_lock_call_t call = {0};
    (void)actor, (void)arg;
    lm_outbox_call(out, LM_LOCK, LM_MSG_LOCK_CALL, &call, now_us + 30000000, 0);
}

static void stand_still(actor_t *actor, uint64_t now_us, lm_outbox_t *out, void *arg)
{
    (void)actor, (void)now_us, (void)out;
    while (sem_wait(arg) != 0) continue;
}

/** Lets an actor stand still until the semaphore is posted. */
static void freeze(actor_t *actor, item_t *item, sem_t *until)
{
    sem_init(until, 0, 0);
    *item = (item_t){.work = stand_still, .arg = until};
    sem_init(&item->done, 0, 0);
    lm_inlet_put(lm_host_inlet(actor->host), item);
}

static void read_counter(actor_t *actor, uint64_t now_us, lm_outbox_t *out, void *arg)
{
    const lm_host_counter_t *counters;
    struct {
        const char *name;
        uint64_t value;
    } *wanted = arg;
    (void)now_us, (void)out;
    size_t n = lm_host_counters(actor->host, &counters);
    for (size_t i = 0; i < n; i++)
        if (strcmp(counters[i].name, wanted->name) == 0) wanted->value = counters[i].value;
}

static uint64_t counter(actor_t *actor, const char *name)
{
    struct {
        const char *name;
        uint64_t value;
    } wanted = {.name = name, .value = UINT64_MAX};
    make(actor, read_counter, &wanted);
    cr_assert_neq(wanted.value, UINT64_MAX, "%s", name);
    return wanted.value;
}

/* ---- tests ----------------------------------------------------------------------------------- */

Test(act_host, a_call_and_its_reply)
{
    start_all();
    make(&clients, call_lock, NULL);
    WAIT_FOR(clients.answered == 1);
    cr_assert_eq(clients.last_answer, 1);
    struct stat status;
    char path[160];
    snprintf(path, sizeof path, "%s/lock.1", run_dir);
    cr_assert_eq(stat(path, &status), 0);
    cr_assert_eq(status.st_mode & 0777, 0600, "the socket is for its user alone");
    end_all();
    cr_assert_neq(stat(path, &status), 0, "the socket is gone");
}

static void ping(actor_t *actor, uint64_t now_us, lm_outbox_t *out, void *arg)
{
    lm_bus_ping_t body = {.sequence = 5};
    (void)actor, (void)now_us, (void)arg;
    lm_outbox_send(out, LM_LOCK, LM_MSG_PING, &body);
    lm_outbox_send(out, LM_CLIENTS, LM_MSG_PING, &body);
}

static void stop_lock(actor_t *actor, uint64_t now_us, lm_outbox_t *out, void *arg)
{
    lm_bus_stop_t body = {.grace_ms = 100};
    (void)actor, (void)now_us, (void)arg;
    lm_outbox_send(out, LM_LOCK, LM_MSG_STOP, &body);
}

TEST_IN_BOTH(pings_are_answered_and_a_stop_ends)
{
    start_all();
    make(&supervisor, ping, NULL);
    WAIT_FOR(supervisor.pongs == 2);
    make(&supervisor, stop_lock, NULL);
    join(&lock);
    cr_assert_eq(lock.exit, LM_EXIT_OK);
    end(&clients);
    end(&supervisor);
}

TEST_IN_BOTH(calls_made_before_the_peer_is_there_wait_for_it)
{
    start(&supervisor, &supervisor_room, 1);
    start(&clients, &client_room, 1);
    WAIT_FOR(supervisor.ready == 1);
    for (int i = 0; i < 10; i++) make(&clients, call_lock, NULL);
    start(&lock, &lock_room, 1);
    WAIT_FOR(clients.answered == 10);
    cr_assert_eq(clients.failed, 0);
    end_all();
}

TEST_IN_BOTH(unanswered_calls_go_to_the_next_generation)
{
    static actor_t next;
    lock.never_answers = true;
    start_all();
    for (int i = 0; i < 100; i++) make(&clients, call_lock, NULL);
    WAIT_FOR(lock.handled == 100);
    end(&lock);
    start(&next, &lock_room, 2);
    WAIT_FOR(clients.answered == 100);
    cr_assert_eq(clients.last_answer, 2);
    cr_assert_eq(clients.failed, 0);
    cr_assert_eq(counter(&clients, "lockmgr_bus_repeated_total"), 100);
    end(&clients);
    end(&next);
    end(&supervisor);
}

/* Each of the nodes has a supervisor, a lock and a clients room of the same numbers. */
Test(act_threads, several_nodes_fit_into_one_process)
{
    static actor_t others[3];
    start_all();
    for (int i = 0; i < 3; i++) {
        lm_process_t *process = &others[i].process;
        static const lm_room_t *const rooms[] = {&supervisor_room, &lock_room, &client_room};
        process->generation = (lm_generation_t){.boot_id = 78, .counter = 1};
        snprintf(process->run_dir, sizeof process->run_dir, "%s", run_dir);
        snprintf(process->supervisor, sizeof process->supervisor, "inproc://%s/78/supervisor",
                 run_dir);
        others[i].host = lm_host_new(process, rooms[i], &others[i]);
        cr_assert_eq(pthread_create(&others[i].thread, NULL, run, &others[i]), 0);
    }
    WAIT_FOR(others[0].ready == 2 && others[2].peers_up == 2);
    for (int i = 0; i < 10; i++) make(&clients, call_lock, NULL);
    for (int i = 0; i < 20; i++) make(&others[2], call_lock, NULL);
    WAIT_FOR(clients.answered == 10 && others[2].answered == 20);
    cr_assert_eq(lock.handled, 10);
    cr_assert_eq(others[1].handled, 20);
    for (int i = 2; i >= 0; i--) end(&others[i]);
    end_all();
}

/* ---- processes ------------------------------------------------------------------------------- */

/** A lock in a process of its own that begins when a byte can be read from gate. */
static pid_t fork_lock(uint32_t generation, int gate, bool never_answers, bool ticks)
{
    pid_t pid = fork();
    if (pid != 0) return pid;
    char byte;
    static actor_t child;
    child.never_answers = never_answers;
    child.ticks = ticks;
    if (read(gate, &byte, 1) != 1) _exit(1);
    prepare(&child, &lock_room, generation);
    _exit(lm_host_run(child.host));
}

Test(act_host, a_killed_process_loses_no_call)
{
    int gates[2][2];
    cr_assert_eq(pipe(gates[0]) | pipe(gates[1]), 0);
    pid_t first = fork_lock(1, gates[0][0], true, false);
    pid_t second = fork_lock(2, gates[1][0], false, false);
    start(&supervisor, &supervisor_room, 1);
    start(&clients, &client_room, 1);
    cr_assert_eq(write(gates[0][1], "x", 1), 1);
    WAIT_FOR(supervisor.ready == 2 && clients.peers_up == 2);
    for (int i = 0; i < 500; i++) make(&clients, call_lock, NULL);
    kill(first, SIGKILL);
    waitpid(first, NULL, 0);
    for (int i = 0; i < 500; i++) make(&clients, call_lock, NULL);
    cr_assert_eq(write(gates[1][1], "x", 1), 1);
    WAIT_FOR(clients.answered == 1000);
    cr_assert_eq(clients.last_answer, 2);
    cr_assert_eq(clients.failed, 0);
    make(&supervisor, stop_lock, NULL);
    int status;
    waitpid(second, &status, 0);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == LM_EXIT_OK);
    end(&clients);
    end(&supervisor);
}

Test(act_host, s9_after_a_freeze_the_inbox_is_read_before_timers_fire)
{
    int gate[2];
    cr_assert_eq(pipe(gate), 0);
    pid_t frozen = fork_lock(1, gate[0], false, true);
    start(&supervisor, &supervisor_room, 1);
    start(&clients, &client_room, 1);
    cr_assert_eq(write(gate[1], "x", 1), 1);
    WAIT_FOR(supervisor.ready == 2 && clients.peers_up == 2);
    make(&clients, call_lock, NULL);
    WAIT_FOR(clients.answered == 1);
    kill(frozen, SIGSTOP);
    usleep(400000);
    for (int i = 0; i < 300; i++) make(&clients, call_lock, NULL);
    usleep(100000);
    kill(frozen, SIGCONT);
    WAIT_FOR(clients.answered == 301);
    cr_assert_eq(clients.late_wakes, 0, "all 300 were handled before the late wake");
    usleep(100000);
    make(&clients, call_lock, NULL);
    WAIT_FOR(clients.answered == 302);
    cr_assert_eq(clients.late_wakes, 1);
    kill(frozen, SIGKILL);
    waitpid(frozen, NULL, 0);
    end(&clients);
    end(&supervisor);
}

/* ---- full pipes ------------------------------------------------------------------------------ */

Test(act_host, ten_thousand_calls_to_a_stopped_peer_are_answered_or_refused)
{
    item_t item;
    sem_t until;
    start_all();
    freeze(&lock, &item, &until);
    for (int i = 0; i < 10000; i++) make(&clients, call_lock, NULL);
    WAIT_FOR(clients.failed > 0);
    cr_assert_eq(clients.last_failure, LM_RC_OVERLOADED);
    cr_assert_eq(clients.answered, 0);
    sem_post(&until);
    WAIT_FOR(clients.answered + clients.failed == 10000);
    cr_assert_geq(clients.answered, LM_PIPE_BUNDLES_MAX);
    cr_assert_eq(clients.answered, lock.handled);
    cr_assert_eq(counter(&clients, "lockmgr_bus_overloaded_total"), (uint64_t)clients.failed);
    make(&clients, call_lock, NULL);
    WAIT_FOR(clients.answered + clients.failed == 10001);
    cr_assert_eq(clients.answered, lock.handled, "and it goes on as before");
    end_all();
}

typedef struct {
    uint64_t term;
    int committed, refused;
} stream_t;

static void stream(actor_t *actor, uint64_t now_us, lm_outbox_t *out, void *arg)
{
    stream_t *s = arg;
    lm_bus_raft_role_event_t role = {.term = ++s->term};
    lm_bus_committed_t committed = {.commit_index = 1};
    (void)actor, (void)now_us;
    lm_outbox_send(out, LM_LOCK, LM_MSG_RAFT_ROLE, &role);
    if (lm_outbox_send(out, LM_LOCK, LM_MSG_COMMITTED, &committed))
        s->committed++;
    else
        s->refused++;
}

TEST_IN_BOTH(what_must_be_kept_arrives_in_order_and_the_source_is_stopped)
{
    static actor_t raft;
    item_t item;
    sem_t until;
    stream_t s = {0};
    start(&supervisor, &supervisor_room, 1);
    start(&raft, &raft_room, 1);
    start(&lock, &lock_room, 1);
    WAIT_FOR(supervisor.ready == 2 && raft.peers_up == 2); /* supervisor and lock */
    freeze(&lock, &item, &until);
    for (int i = 0; i < 5000; i++) make(&raft, stream, &s);
    cr_assert_gt(s.refused, 0);
    cr_assert_gt(counter(&raft, "lockmgr_bus_kept_total"), 0);
    sem_post(&until);
    WAIT_FOR(lock.roles == 5000 && lock.committed == s.committed);
    cr_assert_eq(lock.out_of_order, 0);
    WAIT_FOR(raft.room_again > 0);
    int refused = s.refused;
    make(&raft, stream, &s);
    cr_assert_eq(s.refused, refused, "there is room again");
    end(&lock);
    end(&raft);
    end(&supervisor);
}

/* ---- strangers ------------------------------------------------------------------------------- */

static lm_link_t *dial_lock(const char *address)
{
    char endpoint[160];
    snprintf(endpoint, sizeof endpoint, "ipc://%s/lock.1", run_dir);
    lm_link_t *link = lm_link_connect(endpoint, address);
    cr_assert_not_null(link);
    return link;
}

/** A bundle of one LOCK_CALL as that start of the clients room would send it. */
static void send_call_as(lm_link_t *link, uint32_t start_counter)
{
    lm_frames_t frames = {0};
    lm_arena_t *arena = lm_arena_new();
    lm_bus_generation_t from = {.boot_id = 77, .counter = start_counter}, to = {77, 1};
    lm_bus_envelope_t envelope = {.version = 1,
                                  .number = LM_MSG_LOCK_CALL,
                                  .from = LM_CLIENTS,
                                  .to = LM_LOCK,
                                  .from_generation = &from,
                                  .to_generation = &to,
                                  .correlation = 1};
    lm_frames_begin(&frames, LM_CLIENTS, (lm_generation_t){77, start_counter});
    lm_frames_add(&frames, lm_wire_encode(&lm_bus_envelope_type, &envelope, arena),
                  lm_bytes_of(""));
    cr_assert_eq(lm_link_send(link, NULL, lm_frames_bytes(&frames)), LM_LINK_SENT);
    lm_arena_destroy(&arena);
    lm_frames_destroy(&frames);
}

static void start_two_clients_after_each_other(void)
{
    static actor_t next;
    start_all();
    make(&clients, call_lock, NULL);
    WAIT_FOR(clients.answered == 1);
    end(&clients);
    start(&next, &client_room, 2);
    make(&next, call_lock, NULL);
    WAIT_FOR(next.answered == 1);
    end(&next);
}

Test(act_host, a_zombie_is_counted_and_dropped)
{
    start_two_clients_after_each_other();
    cr_assert_eq(lock.handled, 2);
    lm_link_t *zombie = dial_lock("clients.1");
    send_call_as(zombie, 1);
    WAIT_FOR(counter(&lock, "lockmgr_bus_stale_generation_total") == 1);
    cr_assert_eq(lock.handled, 2);
    lm_link_close(&zombie, 0);
    end(&lock);
    end(&supervisor);
}

Test(act_host, a_stranger_is_counted_and_dropped)
{
    start_all();
    lm_link_t *stranger = dial_lock("health.9");
    send_call_as(stranger, 9);
    WAIT_FOR(counter(&lock, "lockmgr_bus_wrong_sender_total") == 1);
    cr_assert_eq(lm_link_send(stranger, NULL, lm_bytes_of("what is this")), LM_LINK_SENT);
    cr_assert_eq(lm_link_send(stranger, NULL, lm_bytes_of("")), LM_LINK_SENT);
    WAIT_FOR(counter(&lock, "lockmgr_bus_undecodable_total") == 2);
    uint64_t seed = 123456789;
    for (int i = 0; i < 500; i++) {
        uint8_t bytes[64];
        for (size_t b = 0; b < sizeof bytes; b++) {
            seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
            bytes[b] = (uint8_t)seed;
        }
        bytes[0] = i % 2 ? 1 : bytes[0];
        cr_assert_eq(lm_link_send(stranger, NULL, lm_bytes(bytes, sizeof bytes)), LM_LINK_SENT);
    }
    WAIT_FOR(counter(&lock, "lockmgr_bus_undecodable_total") +
                 counter(&lock, "lockmgr_bus_oversized_total") +
                 counter(&lock, "lockmgr_bus_wrong_sender_total") ==
             503);
    cr_assert_eq(lock.handled, 0);
    lm_link_close(&stranger, 0);
    make(&clients, call_lock, NULL);
    WAIT_FOR(clients.answered == 1);
    end_all();
}

Test(act_host, an_oversized_bundle_is_refused_by_the_socket)
{
    start_all();
    lm_link_t *stranger = dial_lock("health.9");
    uint8_t *bytes = calloc(1, LM_BUNDLE_BYTES_MAX + 1);
    cr_assert_eq(lm_link_send(stranger, NULL, lm_bytes(bytes, LM_BUNDLE_BYTES_MAX)), LM_LINK_SENT);
    WAIT_FOR(counter(&lock, "lockmgr_bus_undecodable_total") == 1);
    cr_assert_eq(lm_link_send(stranger, NULL, lm_bytes(bytes, LM_BUNDLE_BYTES_MAX + 1)),
                 LM_LINK_SENT);
    usleep(200000);
    cr_assert_eq(counter(&lock, "lockmgr_bus_undecodable_total"), 1, "it was not even read");
    make(&clients, call_lock, NULL);
    WAIT_FOR(clients.answered == 1);
    lm_link_close(&stranger, 0);
    free(bytes);
    end_all();
}

static void outgrow(actor_t *actor, uint64_t now_us, lm_outbox_t *out, void *arg)
{
    static char text[131072];
    memset(text, 'a', sizeof text);
    lm_peer_call_context_t context = {.identity = lm_bytes(text, sizeof text)};
    lm_peer_lock_call_t call = {.context = &context};
    (void)actor, (void)now_us, (void)arg;
    lm_outbox_call(out, LM_LOCK, LM_MSG_LOCK_CALL, &call, 0, 0);
}

Test(act_host, an_oversized_body_never_leaves)
{
    start_all();
    make(&clients, outgrow, NULL);
    WAIT_FOR(clients.failed == 1);
    cr_assert_eq(clients.last_failure, LM_RC_TOO_LARGE);
    cr_assert_eq(lock.handled, 0);
    end_all();
}

Test(act_host, an_actor_ends_when_another_supervisor_takes_over)
{
    lm_frames_t greeting = {0};
    start_all();
    end(&supervisor);
    lm_link_t *usurper = lm_link_bind(supervisor_endpoint);
    cr_assert_not_null(usurper);
    lm_frames_begin(&greeting, LM_SUPERVISOR, (lm_generation_t){78, 1});
    WAIT_FOR(lm_link_send(usurper, "clients.1", lm_frames_bytes(&greeting)) == LM_LINK_SENT);
    WAIT_FOR(lm_link_send(usurper, "lock.1", lm_frames_bytes(&greeting)) == LM_LINK_SENT);
    join(&clients);
    join(&lock);
    cr_assert_eq(clients.exit, LM_EXIT_TRY_LATER);
    cr_assert_eq(lock.exit, LM_EXIT_TRY_LATER);
    lm_link_close(&usurper, 0);
    lm_frames_destroy(&greeting);
}

/* ---- descriptors, inlet ---------------------------------------------------------------------- */

static void on_pipe(void *arg, uint64_t now_us, lm_outbox_t *out)
{
    int *fds = arg;
    char byte;
    (void)now_us, (void)out;
    cr_assert_eq(read(fds[0], &byte, 1), 1);
    lm_host_unwatch(clients.host, fds[0]);
    clients.handled++;
}

static void watch(actor_t *actor, uint64_t now_us, lm_outbox_t *out, void *arg)
{
    int *fds = arg;
    (void)now_us, (void)out;
    lm_host_watch(actor->host, fds[0], on_pipe, fds);
}

Test(act_host, a_watched_descriptor_is_read_by_the_room)
{
    int fds[2];
    cr_assert_eq(pipe(fds), 0);
    start_all();
    make(&clients, watch, fds);
    cr_assert_eq(write(fds[1], "xy", 2), 2);
    WAIT_FOR(clients.handled == 1);
    usleep(50000);
    cr_assert_eq(clients.handled, 1, "unwatched after the first");
    end_all();
}

enum { PUTTERS = 4, PUTS = 20000 };

static void count_item(actor_t *actor, uint64_t now_us, lm_outbox_t *out, void *arg)
{
    int *next = arg;
    (void)now_us, (void)out;
    (*next)++;
    actor->handled++;
}

static void *put_many(void *arg)
{
    item_t *items = arg;
    for (int i = 0; i < PUTS; i++) lm_inlet_put(lm_host_inlet(clients.host), &items[i]);
    return NULL;
}

Test(act_host, many_threads_put_into_the_inlet)
{
    pthread_t threads[PUTTERS];
    int counts[PUTTERS] = {0};
    item_t *items = calloc(PUTTERS * PUTS, sizeof *items);
    start_all();
    for (int t = 0; t < PUTTERS; t++) {
        for (int i = 0; i < PUTS; i++) {
            item_t *item = &items[t * PUTS + i];
            *item = (item_t){.work = count_item, .arg = &counts[t]};
            sem_init(&item->done, 0, 0);
        }
        pthread_create(&threads[t], NULL, put_many, &items[t * PUTS]);
    }
    for (int t = 0; t < PUTTERS; t++) pthread_join(threads[t], NULL);
    WAIT_FOR(clients.handled == PUTTERS * PUTS);
    for (int t = 0; t < PUTTERS; t++) cr_assert_eq(counts[t], PUTS);
    end_all();
    free(items);
}
