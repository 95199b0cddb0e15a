/* Three actors as threads, load from foreign threads, for the thread sanitizer.
 *
 * usage: threads_bus inproc|ipc [none|room|message]
 *
 * A small supervisor introduces a lock and a clients room to each other. Four threads put items
 * into the inlet of the clients room; each becomes a call to the lock, which answers it. room and
 * message plant a race that the sanitizer must find: a variable of a room that another thread
 * writes, and an item that is changed after it was put. A plain program: Criterion does not start
 * under the thread sanitizer.
 */
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "act_introducer.h"
#include "act_thread.h"
#include "base_check.h"
#include "wire_bus.h"
#include "wire_peer.h"

enum { LOADERS = 4, ITEMS_EACH = 3000, NAME_BYTES = 100 };

typedef struct {
    bool last; /* ends the room that takes it */
    unsigned number;
    char name[NAME_BYTES];
} item_t;

/* One actor, whichever room it plays. */
typedef struct {
    const lm_room_t *room;
    lm_thread_t *thread;
    lm_inlet_t *inlet;
    sem_t begun, ended, done;
    sem_t left; /* who ends it puts nothing any more */
    lm_exit_t code;
    unsigned handled, answered; /* of the room's thread alone */
    introducer_t introducer;    /* of the supervisor */
} actor_t;

static actor_t actors[LM_PARTICIPANTS];
static const char *plant = "none";

static bool planted(const char *what) { return strcmp(plant, what) == 0; }

static void wait_for(sem_t *sem)
{
    while (sem_wait(sem) != 0) continue;
}

/* ---- the supervisor -------------------------------------------------------------------------- */

static void on_hello(void *room, const lm_message_t *message, lm_outbox_t *out)
{
    actor_t *s = room;
    introducer_hello(&s->introducer, message, "error", out);
}

static void on_ready(void *room, const lm_message_t *message, lm_outbox_t *out)
{
    actor_t *s = room;
    introducer_ready(&s->introducer, message, out);
}

/* ---- the others ------------------------------------------------------------------------------ */

static void on_start(void *room, const lm_message_t *message, lm_outbox_t *out)
{
    (void)room, (void)message;
    lm_outbox_ready(out);
}

static void on_lock_call(void *room, const lm_message_t *message, lm_outbox_t *out)
{
    actor_t *a = room;
    const lm_peer_lock_call_t *call = message->body;
    lm_peer_lock_answer_t answer = {.stamp = ++a->handled, .text = call->get->name};
    lm_outbox_reply(out, &message->from, LM_MSG_LOCK_ANSWER, &answer);
}

static void on_answer(void *room, const lm_message_t *message, lm_outbox_t *out)
{
    actor_t *a = room;
    const lm_peer_lock_answer_t *answer = message->body;
    (void)out;
    LM_CHECK(answer->text.size > 0, "answer %u has no text", a->answered);
    if (++a->answered == LOADERS * ITEMS_EACH) sem_post(&a->done);
}

static void on_inlet(void *room, void *item, uint64_t now_us, lm_outbox_t *out)
{
    (void)room;
    item_t *it = item;
    if (it->last) {
        lm_outbox_exit(out, LM_EXIT_OK, "");
    } else {
        lm_api_get_request_t get = {.name = lm_bytes_of(it->name)};
        lm_peer_lock_call_t call = {.request_case = LM_PEER_LOCK_CALL_REQUEST_GET, .get = &get};
        lm_outbox_call(out, LM_LOCK, LM_MSG_LOCK_CALL, &call, now_us + 60000000, 0);
    }
    if (!planted("message")) free(it); /* else its owner goes on writing in it, and frees it */
}

static void on_call_failed(void *room, lm_message_number_t number, uint64_t correlation,
                           lm_rc_t why, uint64_t now_us, lm_outbox_t *out)
{
    (void)room, (void)correlation, (void)now_us, (void)out;
    LM_CHECK(false, "call %d failed: %s", (int)number, lm_rc_text(why));
}

static const lm_room_row_t supervisor_rows[] = {{LM_MSG_ACTOR_HELLO, on_hello, LM_ANY_STATE},
                                                {LM_MSG_ACTOR_READY, on_ready, LM_ANY_STATE}};
static const lm_room_row_t lock_rows[] = {{LM_MSG_START, on_start, LM_ANY_STATE},
                                          {LM_MSG_LOCK_CALL, on_lock_call, LM_ANY_STATE}};
static const lm_room_row_t client_rows[] = {{LM_MSG_START, on_start, LM_ANY_STATE},
                                            {LM_MSG_LOCK_ANSWER, on_answer, LM_ANY_STATE}};
static const lm_room_t rooms[] = {
    {.self = LM_SUPERVISOR,
     .binds = true,
     .rows = supervisor_rows,
     .n_rows = 2,
     .on_inlet = on_inlet},
    {.self = LM_LOCK, .binds = true, .rows = lock_rows, .n_rows = 2, .on_inlet = on_inlet},
    {.self = LM_CLIENTS,
     .connects = 1U << LM_LOCK,
     .rows = client_rows,
     .n_rows = 2,
     .on_inlet = on_inlet,
     .on_call_failed = on_call_failed},
};
enum { ROOMS = sizeof rooms / sizeof *rooms };

/* ---- threads --------------------------------------------------------------------------------- */

static actor_t *actor_of(const char *name)
{
    for (int i = 0; i < ROOMS; i++)
        if (strcmp(name, lm_participant_name(rooms[i].self)) == 0) return &actors[rooms[i].self];
    LM_CHECK(false, "nobody is called %s", name);
    return NULL;
}

static lm_exit_t run_actor(const lm_process_t *process)
{
    actor_t *actor = actor_of(process->actor);
    lm_host_t *host = lm_host_new(process, actor->room, actor);
    actor->inlet = lm_host_inlet(host);
    sem_post(&actor->begun);
    lm_exit_t code = lm_host_run(host);
    wait_for(&actor->left);
    lm_host_destroy(&host);
    return code;
}

static void on_ended(void *arg, lm_exit_t code)
{
    actor_t *actor = arg;
    actor->code = code;
    sem_post(&actor->ended);
}

static void begin(const lm_room_t *room, const char *run_dir, bool inproc)
{
    actor_t *actor = &actors[room->self];
    lm_process_t process = {.generation = {.boot_id = 77, .counter = 1}};
    snprintf(process.run_dir, sizeof process.run_dir, "%s", run_dir);
    snprintf(process.supervisor, sizeof process.supervisor,
             inproc ? "inproc://%s/77/supervisor" : "ipc://%s/supervisor.sock", run_dir);
    snprintf(process.actor, sizeof process.actor, "%s", lm_participant_name(room->self));
    actor->room = room;
    sem_init(&actor->begun, 0, 0);
    sem_init(&actor->ended, 0, 0);
    sem_init(&actor->done, 0, 0);
    sem_init(&actor->left, 0, 0);
    actor->thread = lm_thread_new(&process, run_actor, on_ended, actor);
    LM_CHECK(actor->thread, "no thread for %s", process.actor);
    wait_for(&actor->begun);
}

static void put(lm_participant_t to, unsigned number, bool last)
{
    item_t *item = lm_alloc(sizeof *item);
    item->last = last;
    item->number = number;
    snprintf(item->name, sizeof item->name, "a/name/%u/that/is/longer/than/a/small/message",
             number);
    lm_inlet_put(actors[to].inlet, item);
    if (planted("message")) {
        item->name[2] = 'x';
        usleep(1000);
    }
}

static void *load(void *arg)
{
    unsigned first = *(const unsigned *)arg;
    for (unsigned i = 0; i < ITEMS_EACH; i++) put(LM_CLIENTS, first + i, false);
    if (planted("room")) actors[LM_CLIENTS].answered += 0 * first;
    return NULL;
}

static void load_all(void)
{
    pthread_t threads[LOADERS];
    unsigned firsts[LOADERS];
    for (int i = 0; i < LOADERS; i++) {
        firsts[i] = (unsigned)i * ITEMS_EACH;
        LM_CHECK(pthread_create(&threads[i], NULL, load, &firsts[i]) == 0, "thread %d", i);
    }
    for (int i = 0; i < LOADERS; i++) pthread_join(threads[i], NULL);
}

static void end(lm_participant_t who)
{
    actor_t *actor = &actors[who];
    put(who, 0, true);
    sem_post(&actor->left);
    wait_for(&actor->ended);
    LM_CHECK(actor->code == LM_EXIT_OK, "%s ended with %d", lm_participant_name(who), actor->code);
    lm_thread_destroy(&actor->thread);
}

int main(int argc, char **argv)
{
    char run_dir[] = "/tmp/lm-bus-XXXXXX", command[64];
    bool inproc = argc > 1 && strcmp(argv[1], "inproc") == 0;
    if (argc > 2) plant = argv[2];
    LM_CHECK(mkdtemp(run_dir), "no directory in /tmp");
    lm_thread_prepare_process();
    for (int i = 0; i < ROOMS; i++) begin(&rooms[i], run_dir, inproc);
    load_all();
    wait_for(&actors[LM_CLIENTS].done);
    for (int i = ROOMS - 1; i >= 0; i--) end(rooms[i].self);
    printf("%u calls over %s were answered\n", actors[LM_CLIENTS].answered,
           inproc ? "inproc" : "ipc");
    snprintf(command, sizeof command, "rm -rf %s", run_dir);
    return system(command) == 0 ? 0 : 1;
}
