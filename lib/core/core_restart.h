/* Supervision policy: which child process is started, killed, introduced, and when a node ends.
 *
 * A pure machine. It is told what happened (a child said hello, answered, exited; time passed) and
 * wishes for what should happen next; its host forks, kills and sends. Times are CLOCK_MONOTONIC in
 * microseconds. A child is a process; it hosts one or two rooms, which speak for themselves.
 *
 * Invariants
 *   R1  One child's death never restarts another.
 *   R2  A child is spawned only after its predecessor was reaped (S17), with the next counter.
 *   R3  Silence is counted from the last sign of life, or from the end of a pause of this machine's
 *       own (S9): a tick that comes late proves nothing about others.
 *   R4  A stop overtakes every restart that waits.
 *   R5  Words of an earlier start of a child change nothing.
 *
 * States of a child
 *
 *   waiting --(back-off over)--> spawning --(all rooms said hello)--> starting
 *   starting --(all ready)--> ready
 *   spawning, starting, ready --(silent, or not ready in time)--> killing
 *   spawning, starting, ready, killing --(exited)--> waiting
 *   any --(the node stops)--> stopping --(too slow)--> killing --(exited)--> gone
 */
#ifndef LM_CORE_RESTART_H
#define LM_CORE_RESTART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base_exit.h"

enum {
    LM_RESTART_CHILDREN_MAX = 8,
    LM_RESTART_ROOMS_MAX = 2,     /* of one child */
    LM_RESTART_ROOM_NUMBERS = 32, /* room numbers are below this */
    LM_RESTART_WISHES_MAX = 160, /* of one event; the densest, a mode change, needs fewer than 64 */
    LM_RESTART_INTENSITY = 5,    /* deaths in the period below that are still ordinary */
};

#define LM_RESTART_TICK_US UINT64_C(50000)
#define LM_RESTART_LATE_US UINT64_C(200000) /* a tick later than this restarts all counts */
/* For the intensity, and to call a child healthy. */
#define LM_RESTART_PERIOD_US UINT64_C(60000000)
#define LM_RESTART_BACKOFF_MIN_US UINT64_C(100000)
#define LM_RESTART_BACKOFF_MAX_US UINT64_C(10000000)
#define LM_RESTART_DRAIN_US UINT64_C(2000000)
/* Patience with a killed child before the next stage. */
#define LM_RESTART_REAP_US UINT64_C(500000)
/* A stop is over after this, whoever is left, unless lm_restart_stop_within says otherwise. */
#define LM_RESTART_STOP_US UINT64_C(10000000)

/** What a child is and how it is treated. Constant; must outlive the machine. */
typedef struct {
    const char *name;
    uint32_t rooms[LM_RESTART_ROOMS_MAX]; /* numbers 1..31, unique among all children */
    size_t n_rooms;
    uint32_t stop_stage;      /* stages stop one after the other, 0 first */
    bool drains;              /* is asked to hand over its leadership before a stop */
    uint64_t hello_within_us; /* from the spawn to the hello of all its rooms */
    uint64_t ready_within_us; /* from the spawn to the readiness of all its rooms */
    uint64_t ping_every_us;
    uint64_t hang_us;          /* silence after which it is killed */
    uint64_t hang_blocking_us; /* the same while it says that it is in blocking I/O */
    uint64_t stop_us;          /* from the request to stop to the kill */
} lm_restart_spec_t;

typedef enum {
    LM_CHILD_WAITING,
    LM_CHILD_SPAWNING,
    LM_CHILD_STARTING,
    LM_CHILD_READY,
    LM_CHILD_STOPPING,
    LM_CHILD_KILLING,
    LM_CHILD_GONE,
} lm_child_state_t;
/** Name for people: waiting, spawning, starting, ready, stopping, killing, gone. */
const char *lm_child_state_name(lm_child_state_t state);

/** The numbers of lockmgr.bus.v1.NodeMode.Mode. */
typedef enum { LM_NODE_STARTING = 0, LM_NODE_SERVING = 1, LM_NODE_DRAINING = 2 } lm_node_mode_t;

typedef enum {
    LM_WISH_SPAWN, /* child, counter: start a process; answer with lm_restart_spawn_failed if not */
    LM_WISH_KILL,  /* child, why: SIGKILL */
    LM_WISH_START, /* room: send it the configuration */
    LM_WISH_PING,  /* room, sequence */
    LM_WISH_PEER_UP, /* room: tell it that room about is ready */
    LM_WISH_MODE,    /* room, mode: tell it the node's mode */
    LM_WISH_STOP,    /* room, grace_us: ask it to end */
    LM_WISH_DRAIN,   /* room, grace_us: ask it to hand over leadership */
    LM_WISH_END,     /* code: the supervisor itself ends; nothing follows */
} lm_restart_wish_kind_t;

typedef struct {
    lm_restart_wish_kind_t kind;
    size_t child; /* index of a child */
    uint32_t room;
    uint32_t about;
    uint32_t counter;
    uint64_t sequence;
    uint64_t grace_us;
    lm_node_mode_t mode;
    lm_exit_t code;
    const char *why; /* static text */
} lm_restart_wish_t;

/** The wishes of one event, in the order in which they are to be fulfilled. Whoever passes it in
 *  empties it (n = 0) between events. */
typedef struct {
    size_t n;
    lm_restart_wish_t items[LM_RESTART_WISHES_MAX];
} lm_restart_wishes_t;

typedef struct lm_restart lm_restart_t;

/** counters: of the last start of each child, 0 if there was none. */
lm_restart_t *lm_restart_new(const lm_restart_spec_t *specs, size_t n_children,
                             const uint32_t *counters);
void lm_restart_destroy(lm_restart_t **machine);

/** Nothing is ever restarted: the first death stops the node in the usual order, and it ends with
 *  the exit class of the dead, or LM_EXIT_ASSERTION if that was none. For children that are threads
 *  of one process, which live and die together. Before the first event. */
void lm_restart_one_death_ends(lm_restart_t *machine);

/* ---- events ---- */

/** The node begins: all children are spawned. First event, once. */
void lm_restart_begin(lm_restart_t *machine, uint64_t now_us, lm_restart_wishes_t *out);
/** A wished spawn could not be made; counts as a death. */
void lm_restart_spawn_failed(lm_restart_t *machine, size_t child, uint64_t now_us,
                             lm_restart_wishes_t *out);
/** A room spoke its first word; counter is that of the start it belongs to. */
void lm_restart_hello(lm_restart_t *machine, uint32_t room, uint32_t counter, uint64_t now_us,
                      lm_restart_wishes_t *out);
/** A room serves from now on. */
void lm_restart_ready(lm_restart_t *machine, uint32_t room, uint32_t counter, uint64_t now_us,
                      lm_restart_wishes_t *out);
/** A room answered a ping. */
void lm_restart_pong(lm_restart_t *machine, uint32_t room, uint32_t counter, uint64_t now_us);
/** A child was reaped. signal is 0 if it exited by itself with that code. */
void lm_restart_exited(lm_restart_t *machine, size_t child, int code, int signal, uint64_t now_us,
                       lm_restart_wishes_t *out);
/** Time passes; to be called every LM_RESTART_TICK_US, after what has arrived was handed over.
 *  blocking[i] is true if child i says that it is in blocking I/O. */
void lm_restart_tick(lm_restart_t *machine, const bool *blocking, uint64_t now_us,
                     lm_restart_wishes_t *out);
/** A stop is to be over within that time. All its steps get as much more or less of it as that is
 *  more or less than LM_RESTART_STOP_US, the handing over of leadership never more than its two
 *  seconds. */
void lm_restart_stop_within(lm_restart_t *machine, uint64_t total_us);
/** A node that serves goes on with it for so long after it was asked to stop, so that those who
 *  choose among nodes hear of it before the ports close. Part of the time above, and less than it;
 *  to be called after lm_restart_stop_within. 0 is the default. */
void lm_restart_stop_delay(lm_restart_t *machine, uint64_t delay_us);
/** Somebody asks the node to stop. Once; later ones change nothing. */
void lm_restart_stop(lm_restart_t *machine, uint64_t now_us, lm_restart_wishes_t *out);
/** The room that was asked to drain has answered, or never will. */
void lm_restart_drained(lm_restart_t *machine, uint64_t now_us, lm_restart_wishes_t *out);

/* ---- reading ---- */

typedef struct {
    lm_child_state_t state;
    uint32_t counter;    /* of its present or last start */
    uint32_t restarts;   /* starts after the first one */
    uint64_t since_us;   /* in this state since */
    uint64_t backoff_us; /* of a waiting child: how long it waits */
    bool troubled;       /* died more often than the intensity allows */
} lm_restart_view_t;
lm_restart_view_t lm_restart_view(const lm_restart_t *machine, size_t child);
lm_node_mode_t lm_restart_mode(const lm_restart_t *machine);
/** True from the first request to stop on. */
bool lm_restart_is_stopping(const lm_restart_t *machine);

#endif
