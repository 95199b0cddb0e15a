/* The simulator: a whole region in one process and one thread, deterministic by seed.
 *
 * What is real: the raft room with its engine, the lock room, both rooms of the frontend, the
 * checks of the runtime (lm_dispatch) and the supervision policy (lm_restart). What is virtual:
 * time, the bus of a node, the network between nodes and clients, disks, and the clients.
 *
 *   sim_queue       events in the order of virtual time
 *   sim_note        the trace: what happened, when, to whom
 *   sim_room        one room of one actor: turns, its part of the bus
 *   sim_node        one node: its actors' processes and their supervisor
 *   sim_net         streams and calls between nodes and clients: the frontend's driver
 *   sim_client      clients: what they ask for, and what they believe
 *   sim_log_check   the logs of all nodes against each other
 *   sim_oracle      the state machine against rules of its own, and against what clients were told
 *   sim_watch       what rooms say to each other, and how they stand after a turn
 *   sim_fault       what goes wrong, drawn by seed
 *   sim_run         one seed from beginning to end
 *   sim_twice       one seed, two times, which must be alike
 *
 * Invariants
 *   M1  Everything that happens is drawn from the seed or follows from it: no clock, no address, no
 *       order of a hash table decides anything. The same seed gives the same trace, byte for byte.
 *   M2  A rule that is found broken ends the seed by sim_fail, which does not return. */
#ifndef LM_SIM_H
#define LM_SIM_H

#include <setjmp.h>

#include "act_dispatch.h"
#include "core_restart.h"
#include "core_table.h"
#include "raft_fake_disk.h"
#include "sim_marks.h"

enum {
    SIM_NODES_MAX = 5,
    SIM_CLIENTS_MAX = 8,
    SIM_NAMES_MAX = 3,
    SIM_NOTES = 4096,
    SIM_TEXT = 24,
};

#define SIM_MS UINT64_C(1000)
#define SIM_S UINT64_C(1000000)

typedef struct sim sim_t;
typedef struct sim_node sim_node_t;
typedef struct sim_room sim_room_t;
typedef struct sim_front sim_front_t;
typedef struct sim_call sim_call_t;
typedef struct sim_client sim_client_t;
typedef struct sim_log_check sim_log_check_t;
typedef struct sim_oracle sim_oracle_t;
typedef struct sim_nemesis sim_nemesis_t;
typedef struct sim_watch sim_watch_t;
typedef struct sim_record sim_record_t;

/* ---- time ------------------------------------------------------------------------------------ */

typedef void sim_act_t(sim_t *sim, void *what, uint64_t number);

typedef struct {
    uint64_t at_us, order;
    sim_act_t *act;
    void *what;
    uint64_t number;
} sim_event_t;

typedef struct {
    sim_event_t *heap;
    size_t n, room;
    uint64_t order;
} sim_queue_t;

/** Lets act happen at that time; what must live until then, whatever happens. */
void sim_at(sim_t *sim, uint64_t at_us, sim_act_t *act, void *what, uint64_t number);
/** Takes the earliest event; false if there is none. */
bool sim_queue_take(sim_queue_t *queue, sim_event_t *event);
void sim_queue_free(sim_queue_t *queue);

/* ---- chance ---------------------------------------------------------------------------------- */

/** A number below bound (not 0). */
uint64_t sim_draw(sim_t *sim, uint64_t bound);
/** A number from low to high, both included. */
uint64_t sim_between(sim_t *sim, uint64_t low, uint64_t high);
/** True once in n times; never if n is 0. */
bool sim_one_in(sim_t *sim, uint64_t n);
/** The same for rooms that want bytes. */
void sim_draw_bytes(void *sim, void *bytes, size_t size);

/* ---- the trace ------------------------------------------------------------------------------- */

typedef struct {
    uint64_t at_us;
    const char *format; /* static; up to four %llu, and %s for text */
    uint64_t numbers[4];
    char text[SIM_TEXT];
    int8_t node;
    uint8_t who;
} sim_note_t;

/** Notes something: node -1 is nobody's, who is a participant or LM_NOBODY. The format has exactly
 *  four %llu at most, in the order of the numbers. */
void sim_note(sim_t *sim, int node, lm_participant_t who, const char *format, uint64_t a,
              uint64_t b, uint64_t c, uint64_t d);
/** The same with a text, which is the %s that the format begins or ends with. */
void sim_note_text(sim_t *sim, int node, lm_participant_t who, const char *format, const char *text,
                   uint64_t a, uint64_t b);
/** Prints one note. */
void sim_print_note(const sim_note_t *note, int file);
/** Prints the last notes, at most that many. */
void sim_print_notes(const sim_t *sim, size_t most, int file);

/** A rule is broken: ends the seed. rule names it: S6, LOG-MATCHING, ... */
__attribute__((format(printf, 3, 4))) _Noreturn void sim_fail(sim_t *sim, const char *rule,
                                                              const char *format, ...);

/* ---- rooms ----------------------------------------------------------------------------------- */

typedef struct sim_bundle {
    struct sim_bundle *next;
    sim_node_t *node;
    lm_participant_t from, to;
    lm_generation_t from_generation;
    uint32_t to_counter;
    bool from_consumer; /* the sender connected to the receiver, not the other way round */
    uint32_t n, size;
    uint8_t bytes[]; /* n times: sizes of envelope and body, envelope, body */
} sim_bundle_t;

typedef struct sim_item {
    struct sim_item *next;
    void *item;
} sim_item_t;

/** A message that waits for a pipe that is full, or for a receiver that is not there yet. */
typedef struct sim_kept {
    struct sim_kept *prev, *next;
    lm_wish_t wish; /* its body is own */
} sim_kept_t;

struct sim_room {
    sim_t *sim;
    sim_node_t *node;
    lm_participant_t who;
    bool alive, said_ready;
    uint32_t links; /* bits of participants that it has connected to */
    lm_dispatch_t d;
    void *room;
    sim_bundle_t *inbox, **inbox_end;
    sim_item_t *items, **items_end;
    sim_kept_t *kept[LM_PARTICIPANTS];      /* in order */
    uint32_t link_counter[LM_PARTICIPANTS]; /* of the start it has connected to */
    uint8_t *packing;
    size_t packed_bytes, packing_room, n_packed;
    const lm_wish_t *packed[256];
    uint64_t turn_at_us, turn_ticket, busy_until_us;
    uint64_t full_until_us[LM_PARTICIPANTS];
    uint64_t arrive_us[LM_PARTICIPANTS]; /* of the last bundle on its way there */
};

/** Brings a room to life as that generation. */
void sim_room_start(sim_room_t *room, const lm_room_t *definition, void *state, uint32_t counter);
/** Its process is no more. Does not free the state. */
void sim_room_stop(sim_room_t *room);
/** Something for its inlet. */
void sim_room_put(sim_room_t *room, void *item);
/** It has something to do, soon. */
void sim_room_poke(sim_room_t *room, uint64_t at_us);
/** A message of the supervisor. */
void sim_room_tell(sim_room_t *room, lm_message_number_t number, const void *body,
                   uint64_t correlation, uint64_t deadline_us);
/** Frees what an event of the bus carries, if it is one. */
void sim_room_forget(const sim_event_t *event);
/** Time on this room's node. */
uint64_t sim_room_clock(const sim_room_t *room);

/* ---- nodes ----------------------------------------------------------------------------------- */

typedef enum { SIM_RAFT, SIM_LOCK, SIM_FRONTEND, SIM_ACTORS } sim_actor_t;

typedef struct {
    bool alive;  /* there is a process */
    bool paused; /* and it does not run */
    bool spawning;
    bool doomed; /* a fault ended it, and not its supervisor */
    uint32_t counter;
    uint64_t died_us, ran_since_us;
    uint64_t stopped_us, stood_us; /* when it was last stopped alone, and for how long */
} sim_process_t;

struct sim_node {
    sim_t *sim;
    int number;
    char name[16];
    bool up;     /* the machine runs and has a supervisor */
    bool paused; /* the whole machine stands still */
    bool sup_paused;
    bool clock_stands;
    uint64_t paused_us; /* since then it stands still */
    uint64_t boots, boot_id;
    int64_t skew_us; /* of its clock */
    lm_restart_t *policy;
    lm_restart_wishes_t wishes;
    uint64_t sup_ticket;
    uint64_t sup_missed_us; /* when a tick of it should have been */
    sim_bundle_t *sup_inbox, **sup_inbox_end;
    uint32_t counters[SIM_ACTORS];
    sim_process_t process[SIM_ACTORS];
    sim_room_t rooms[LM_PARTICIPANTS];
    lm_fake_disk_t *disk;
    uint64_t disk_ticket;
    bool disk_broken; /* its next failure is no fault of the product */
    bool wiped;       /* it has lost its volume */
    sim_front_t *front;
};

void sim_node_init(sim_t *sim, int number);
/** Starts the machine, if it is down. */
void sim_node_boot(sim_node_t *node);
/** The machine loses its power. */
void sim_node_crash(sim_node_t *node);
/** The process is killed from outside; its supervisor will see. */
void sim_node_kill(sim_node_t *node, sim_actor_t actor, const char *why);
/** The process ends by itself. */
void sim_node_exit(sim_node_t *node, sim_actor_t actor, lm_exit_t code, const char *words);
void sim_node_pause(sim_node_t *node, sim_actor_t actor, bool paused);
/** All of it stands still; with_clock: its clock too. */
void sim_node_pause_all(sim_node_t *node, bool paused, bool with_clock);
void sim_node_pause_supervisor(sim_node_t *node, bool paused);
bool sim_node_runs(const sim_node_t *node, sim_actor_t actor);
sim_actor_t sim_node_actor_of(lm_participant_t who);
/** A bundle for the supervisor has arrived. */
void sim_node_to_supervisor(sim_node_t *node, sim_bundle_t *bundle);
/** The disk has been given something to do. */
void sim_node_look_at_disk(sim_node_t *node);
void sim_node_free(sim_node_t *node);
uint64_t sim_node_clock(const sim_node_t *node);

/* ---- the network ----------------------------------------------------------------------------- */

/** A frontend process begins or ends. */
sim_front_t *sim_front_new(sim_node_t *node, uint64_t start);
lm_frontend_driver_t *sim_front_driver(sim_front_t *front);
/** machine: the whole machine is gone, so that nobody tells the other sides. */
void sim_front_die(sim_front_t **front, bool machine);

typedef struct {
    uint64_t latency_min_us, latency_max_us; /* between nodes */
    bool cut[SIM_NODES_MAX][SIM_NODES_MAX];  /* nothing goes from, to */
    uint64_t slow_us[SIM_NODES_MAX][SIM_NODES_MAX];
    bool client_cut[SIM_NODES_MAX];
    uint64_t lost_answers; /* one in so many answers is lost with its connection; 0: none */
    uint64_t resets;       /* one in so many messages meets a connection that breaks */
    uint64_t keepalive_us; /* silence after which a connection is given up */
    bool stalls;           /* buffers are small: a peer that does not read is noticed */
    bool lags;             /* some calls between nodes take a longer way */
    sim_call_t *calls;     /* all there are */
    uint64_t n_calls, next_number;
} sim_net_t;

/** A client calls: its answer goes to sim_client_answered, once, unless it is forgotten before. */
sim_call_t *sim_net_call(sim_t *sim, int client, int node, int method, lm_bytes_t request,
                         uint64_t deadline_us, uint64_t tag);
/** The client goes away; tell: its connection is closed, else it is only not heard any more. */
void sim_net_leave(sim_t *sim, sim_call_t *call, bool tell);
/** Breaks a connection between two nodes, or all of one node to its clients (to -1). */
void sim_net_reset(sim_t *sim, int from, int to);
void sim_net_free(sim_t *sim);

/* ---- clients --------------------------------------------------------------------------------- */

void sim_clients_begin(sim_t *sim);
/** Most of them end in the midst of what they do, and begin again only after some seconds. */
void sim_clients_die(sim_t *sim);
/** They finish what they have begun and begin nothing new. */
void sim_clients_end(sim_t *sim);
bool sim_clients_idle(const sim_t *sim);
/** The end of a call: status is gRPC's. */
void sim_client_answered(sim_t *sim, int client, uint64_t tag, int status, lm_bytes_t message,
                         lm_bytes_t details);
void sim_clients_free(sim_t *sim);

/* ---- checkers -------------------------------------------------------------------------------- */

sim_log_check_t *sim_log_check_new(sim_t *sim);
void sim_log_check_free(sim_log_check_t **check);
/** After every turn of a raft room. */
void sim_log_check_look(sim_t *sim, sim_node_t *node);
/** A fault is about to take from this node's disk what it has stored; not yet has it. */
void sim_log_check_loses(sim_t *sim, const sim_node_t *node);
/** The process of a raft has ended. */
void sim_log_check_gone(sim_t *sim, int node);
/** Last committed index. */
uint64_t sim_log_check_committed(const sim_t *sim);
/** The node that leads in the highest term; -1: nobody leads. */
int sim_log_check_leader(const sim_t *sim);

sim_oracle_t *sim_oracle_new(sim_t *sim);
void sim_oracle_free(sim_oracle_t **oracle);
/** An entry has been committed for the first time anywhere. */
void sim_oracle_committed(sim_t *sim, uint64_t index, uint64_t term, uint32_t type,
                          lm_bytes_t data);
/** After every turn of a lock room. */
void sim_oracle_look(sim_t *sim, sim_node_t *node);

/** What the client of that number believes it holds; until 0: nothing. */
typedef struct {
    uint64_t until_us, from_us;
    uint64_t hold, claim;
    int64_t token;
    int name;
    lm_mode_t mode;
} sim_belief_t;

/** A client was told of its hold. token_floor: what was known when it asked. */
void sim_oracle_told(sim_t *sim, int client, const sim_belief_t *belief, int64_t token_floor);
/** It believes nothing any more: it is about to release. */
void sim_oracle_forgets(sim_t *sim, int client);
/** It was told that what it sent then has renewed its hold. */
void sim_oracle_renewed(sim_t *sim, int client, uint64_t hold, int name, uint64_t sent_us);
/** It was told that its release is done. */
void sim_oracle_released(sim_t *sim, int client, uint64_t hold, int name);
/** It was told that the hold it believes in, or believed in, is not its own. */
void sim_oracle_stale(sim_t *sim, int client, uint64_t sent_us);
/** It was told that the Acquire of that operation will never be executed. */
void sim_oracle_cancelled(sim_t *sim, int client, uint64_t op);
/** A LOCK_CALL has come to the lock of that node. */
void sim_oracle_lock_call(sim_t *sim, const sim_node_t *node, lm_bytes_t body);
/** An answer of that op_seq; floor: what had been answered when it was asked for. */
void sim_oracle_heard(sim_t *sim, uint64_t op_seq, uint64_t floor, bool is_read);
/** The highest token of a name, and the highest op_seq, that any client has been told. */
int64_t sim_oracle_token_floor(const sim_t *sim, int name);
uint64_t sim_oracle_op_seq_floor(const sim_t *sim);
/** Nobody holds or waits for anything. */
bool sim_oracle_is_empty(const sim_t *sim);
/** Commands that have been committed; and when that hold ended, 0: it has not. */
uint64_t sim_oracle_op_seq(const sim_t *sim);
uint64_t sim_oracle_end_of(const sim_t *sim, uint64_t hold);
/** An attempt at an operation is on its way. */
void sim_oracle_asked(sim_t *sim, int client, uint64_t op);
/** The only attempt at it was answered: certainly not applied (S14). */
void sim_oracle_promised(sim_t *sim, int client, uint64_t op);

/** A message of the bus. */
typedef struct {
    lm_message_number_t number;
    uint32_t from_counter, to_counter; /* of the starts that speak and hear */
    uint64_t correlation;
    lm_bytes_t body;
} sim_said_t;

sim_watch_t *sim_watch_new(void);
void sim_watch_free(sim_watch_t **watch);
/** A message is about to be read; or has just been made. */
void sim_watch_said(sim_t *sim, sim_node_t *node, const sim_said_t *said);
void sim_watch_says(sim_t *sim, sim_node_t *node, const sim_said_t *said);
/** After every turn of a room. */
void sim_watch_look(sim_t *sim, sim_room_t *room);
void sim_watch_raft_gone(sim_t *sim, int node);

/* ---- faults ---------------------------------------------------------------------------------- */

sim_nemesis_t *sim_nemesis_new(sim_t *sim);
void sim_nemesis_free(sim_nemesis_t **nemesis);
void sim_nemesis_begin(sim_t *sim);
/** A majority of the nodes has lost its volumes: nothing can be decided any more. */
bool sim_nemesis_has_lost_region(const sim_t *sim);
/** Everything is mended; nothing goes wrong any more. */
void sim_nemesis_end(sim_t *sim);

/* ---- one seed -------------------------------------------------------------------------------- */

typedef struct {
    uint64_t seed;
    int nodes;      /* 0: by seed */
    bool trace;     /* every note is printed as it is made */
    uint64_t steps; /* ends after so many events; 0: no bound */
} sim_options_t;

typedef struct {
    bool failed;
    char rule[32];
    char words[1024];
    uint64_t trace_hash; /* over all notes */
    uint64_t events, virtual_us;
    uint64_t faults[SIM_FAULTS];
    uint64_t probes[SIM_PROBES];
} sim_result_t;

struct sim {
    sim_options_t options;
    sim_result_t *result;
    uint64_t now_us, chance;
    sim_queue_t queue;
    int n_nodes, n_clients, n_names;
    sim_node_t nodes[SIM_NODES_MAX];
    sim_net_t net;
    sim_client_t *clients;
    sim_log_check_t *logs;
    sim_oracle_t *oracle;
    sim_nemesis_t *nemesis;
    sim_watch_t *watch;
    /* by seed */
    uint32_t election_ms, heartbeat_ms, ring_size;
    uint32_t ttl_min_ms, ttl_max_ms;
    uint64_t bus_us_max, turn_us_max, disk_us_max;
    uint32_t snapshot_bytes, trailing;
    uint32_t piece_bytes; /* of images; 0: as in the product */
    uint32_t crowd;       /* commands under way that are one: clients are few */
    bool small_bounds;    /* what waits for a lock is bounded by little more than a snapshot */
    bool calm;            /* nothing goes wrong any more */
    bool stale_bus;       /* messages for a dead actor may reach its successor */
    sim_note_t notes[SIM_NOTES];
    uint64_t n_notes;
    sim_record_t *record; /* NULL: nobody compares */
    jmp_buf end;
    lm_arena_t *scratch; /* emptied after every event */
};

/** A world for one seed; result is filled while it runs. */
sim_t *sim_new(const sim_options_t *options, sim_result_t *result);
/** Runs it to its end, or to the first rule that is broken; what a broken one has allocated stays.
 */
void sim_run(sim_t *sim);
void sim_destroy(sim_t **sim);

/* ---- one seed, two times --------------------------------------------------------------------- */

/** Runs it twice. If the two are not alike (M1) the rule REPLAY is broken, and the first event that
 *  differs is printed with what was noted around it; else result is that of the first. */
void sim_play_twice(const sim_options_t *options, sim_result_t *result);
/** For what records: a note; bytes that are sent; an event has happened. */
void sim_record_note(sim_record_t *record, const sim_note_t *note);
void sim_record_bytes(sim_record_t *record, lm_bytes_t bytes);
void sim_record_event(sim_record_t *record, const sim_t *sim);

static inline void sim_probe(sim_t *sim, sim_probe_t probe) { sim->result->probes[probe]++; }
static inline void sim_count_fault(sim_t *sim, sim_fault_t fault) { sim->result->faults[fault]++; }

#endif
