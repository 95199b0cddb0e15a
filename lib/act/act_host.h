/* Hosts bring rooms to life, and what they offer to drivers.
 *
 * The process host is a process whose main thread runs one room's loop over ipc://; the thread host
 * (act_thread.h) is a thread that does the same over inproc://. No room can tell which it is in.
 * The frontend runs a second room in one more thread. Everything here is called by the thread that
 * runs the loop, except where it says any.
 */
#ifndef LM_ACT_HOST_H
#define LM_ACT_HOST_H

#include "act_room.h"

/** What the supervisor hands to an actor; to a process on its command line:
 *  --supervisor ENDPOINT --run-dir DIR --boot BOOT_ID --counter N --parent PID */
typedef struct {
    char supervisor[128]; /* ipc://... or inproc://...; the actor's own is of the same kind */
    char run_dir[96];
    lm_generation_t generation;
    int parent_pid; /* 0: nobody is watched */
    char actor[32]; /* its name in log lines */
} lm_process_t;

/** The set-up of an actor, from the hand-over to its end: makes the room and its host, runs it, and
 *  takes all apart. Returns the exit class. Every actor has one, for whichever host. */
typedef lm_exit_t lm_actor_run_t(const lm_process_t *process);

/** Reads the command line, sets the parent-death signal and compares the parent, ignores INT, TERM,
 *  HUP and PIPE, opens the page for last words (act_page.h). name is the actor's. Returns
 *  LM_EXIT_OK, or the exit class with which main must end (the reason has been printed). */
lm_exit_t lm_process_start(lm_process_t *process, int argc, char **argv, const char *name);

typedef struct lm_host lm_host_t;

/** A host for one room. definition and process must outlive it; room is what handlers get.
 *
 *  The supervisor runs its room on a host too: its definition says self = LM_SUPERVISOR and binds =
 *  true, and it fills lm_process_t itself: supervisor is the endpoint to bind (for example
 *  "ipc://RUN/supervisor.sock"; a stale socket file there is removed, so it must hold the lock of
 *  the run directory), run_dir, its own generation, parent_pid 0 (nobody is watched). on_peer_up is
 *  called for a participant's first message, before its ACTOR_HELLO is handled; from then on
 *  lm_outbox_send reaches it. The fork of a child belongs into a handler of the same thread. */
lm_host_t *lm_host_new(const lm_process_t *process, const lm_room_t *definition, void *room);
void lm_host_destroy(lm_host_t **host);

/** Runs the room until it ends: connects to the supervisor, says hello, handles what comes. Returns
 *  the exit class. */
lm_exit_t lm_host_run(lm_host_t *host);

/** Lets on_ready be called in the loop's thread whenever fd is readable (level-triggered). */
void lm_host_watch(lm_host_t *host, int fd,
                   void (*on_ready)(void *arg, uint64_t now_us, lm_outbox_t *out), void *arg);
void lm_host_unwatch(lm_host_t *host, int fd);

/** Counters of the runtime of this host; the same that lm_outbox_counters gives to its room. */
size_t lm_host_counters(const lm_host_t *host, const lm_host_counter_t **counters);

/* ---- the inlet: how foreign threads speak to a room ---------------------------------------------
 * An unbounded queue of pointers and one eventfd. Items are handed to on_inlet in order; ownership
 * passes to the room. */
typedef struct lm_inlet lm_inlet_t;
lm_inlet_t *lm_host_inlet(lm_host_t *host);
/** Any thread. */
void lm_inlet_put(lm_inlet_t *inlet, void *item);

/** CLOCK_MONOTONIC in microseconds, for hosts and drivers; rooms get it as an argument. */
uint64_t lm_clock_us(void);

#endif
