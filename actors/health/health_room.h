/* The health actor's room: what every actor last said of itself, and what follows from it.
 *
 * Nothing is asked when a request comes: actors push, the answers are made from what is here. The
 * dump of threads alone is taken then, by the driver.
 *
 * Invariants
 *   H1  Loss of quorum, of peers or of other regions never turns liveness or the root DOWN: a
 *       restart would cure none of it.
 *   H2  The root is DOWN only for what a restart can cure: raft says its disk fails, or an actor
 *       has said nothing for STUCK_US although this room ran all that time.
 *   H3  A full disk shows in its own component only: no restart makes room.
 *   H4  Readiness is OUT_OF_SERVICE before the first leader, while lock has not caught up, and
 *       while the node drains.
 */
#ifndef LM_HEALTH_ROOM_H
#define LM_HEALTH_ROOM_H

#include "act_room.h"
#include "health_system.h"
#include "health_threads.h"
#include "wire_bus.h"

/** In order of severity, worst first. */
typedef enum { HEALTH_DOWN, HEALTH_OUT_OF_SERVICE, HEALTH_UP, HEALTH_UNKNOWN } health_status_t;

/* Raft needs a new file of 8 MiB now and then, and room for an image. */
#define HEALTH_DISK_THRESHOLD (UINT64_C(64) << 20)

typedef struct health health_t;

/** What an actor last said. The report lives until the next one of the same actor. */
typedef struct {
    const lm_bus_status_report_t *report; /* NULL: has said nothing yet */
    uint64_t heard_us;
} health_voice_t;

const lm_room_t *health_room_definition(void);
health_t *health_room_new(void);
void health_room_destroy(health_t **health);

/** Called when START has come: the driver may listen now. Set before the host runs. Returning
 *  something else than LM_EXIT_OK ends the actor with it. */
void health_room_on_start(health_t *health,
                          lm_exit_t (*start)(void *arg, const lm_bus_node_config_t *), void *arg);
/** Finds out what the kernel says of this machine and of the node's processes, which are the
 *  children and their parent. */
typedef void (*health_look_t)(void *arg, const lm_bus_child_table_t *children,
                              health_system_t *system);
/** tick is called about once a second, for the driver's own timers, and look before it every
 *  LOOK_US, once the supervisor has told of its children. */
void health_room_on_tick(health_t *health, void (*tick)(void *arg), health_look_t look, void *arg);

/** Takes the threads of the node's processes; they stay valid until it is called again. It may wait
 *  for them, HEALTH_THREADS_WAIT_MS at most, so it does not take them more than once a second. */
typedef const health_threads_t *(*health_dump_t)(void *arg, const lm_bus_child_table_t *children);
void health_room_on_dump(health_t *health, health_dump_t dump, void *arg);

/* ---- what the answers are made from ---------------------------------------------------------- */

/** NULL before START. */
const lm_bus_node_config_t *health_config(const health_t *health);
const health_voice_t *health_voice(const health_t *health, lm_participant_t participant);
/** NULL before raft has spoken. */
const lm_bus_raft_role_event_t *health_role(const health_t *health);

/** A request of the actuator was refused for want of a token; and how many have been. */
void health_note_stranger(health_t *health);
uint64_t health_strangers(const health_t *health);

/** What the supervisor last said of the actors; NULL if it has said nothing yet. */
const lm_bus_child_table_t *health_children(const health_t *health);
/** NULL if the supervisor has not told of its children yet. */
const health_threads_t *health_threads(const health_t *health);
/** What the kernel last said; without processes before the first look. */
const health_system_t *health_system(const health_t *health);

/** DOWN when the disk of the data directory has less than HEALTH_DISK_THRESHOLD bytes free. */
health_status_t health_disk(const health_t *health);
health_status_t health_liveness(const health_t *health, const char **reason);
health_status_t health_readiness(const health_t *health, const char **reason);
/** Status of the raft or region component as its actor reported it. */
health_status_t health_component(const health_t *health, lm_participant_t participant);
/** "UP" and so on. */
const char *health_status_name(health_status_t status);
/** The worse of two. */
health_status_t health_worse(health_status_t a, health_status_t b);
/** 503 for DOWN and OUT_OF_SERVICE, 200 for the others. */
unsigned health_http_code(health_status_t status);

#endif
