/* A small region of raft rooms in one process: virtual time, a network and disks that fail by seed,
 * and beside each room a stand-in for its lock actor that keeps a history.
 *
 * What it checks all the time, with LM_CHECK:
 *   - entries come to a lock without gap, never twice, each behind the one it has (S15);
 *   - one index holds one entry, on every node and for ever;
 *   - a lock that waits for nothing else proposes only under its own pair, and raft keeps to it
 * (S8);
 *   - an image holds the history up to just the entry it is named after (S16);
 *   - a read index is never below what had been acknowledged before the read began (S22). */
#ifndef LM_RAFT_CLUSTER_H
#define LM_RAFT_CLUSTER_H

#include "act_test_host.h"
#include "raft_fake_disk.h"
#include "raft_room.h"
#include "wire_bus.h"

#define LM_CLUSTER_MAX 5

typedef struct lm_cluster lm_cluster_t;

typedef struct {
    uint32_t nodes;
    uint64_t seed;
    uint32_t loss_percent;
    uint32_t latency_us_max;
    uint32_t disk_us_max;
    uint32_t snapshot_bytes, trailing_entries; /* 0: the product's */
    uint32_t image_padding;                    /* bytes that make images larger */
    bool may_end;                              /* a raft that ends by itself is no failure */
    uint32_t lock_drops_percent;               /* of the parts of an image, the lock gives it up */
} lm_cluster_options_t;

/** All nodes run, with empty disks. */
lm_cluster_t *lm_cluster_new(const lm_cluster_options_t *options);
void lm_cluster_destroy(lm_cluster_t **cluster);
uint64_t lm_cluster_chance(lm_cluster_t *cluster, uint64_t bound);

/** Lets virtual time pass. */
void lm_cluster_run(lm_cluster_t *cluster, uint64_t ms);
/** Lets it pass until there is a leader whose lock has taken over, at most ms. The node, or -1. */
int lm_cluster_elect(lm_cluster_t *cluster, uint64_t ms);

/** Kills a node's raft; its lock lives on if keep_lock. */
void lm_cluster_kill(lm_cluster_t *cluster, uint32_t node, bool keep_lock);
/** The same when just so many elementary steps of its disk's work have been done. False if there
 *  were fewer. */
bool lm_cluster_kill_at(lm_cluster_t *cluster, uint32_t node, bool keep_lock, unsigned steps);
void lm_cluster_start(lm_cluster_t *cluster, uint32_t node);
/** What the node's raft ended with, when it was allowed to (option may_end); else LM_EXIT_OK. It is
 *  down then. */
lm_exit_t lm_cluster_exit(const lm_cluster_t *cluster, uint32_t node);
bool lm_cluster_is_up(const lm_cluster_t *cluster, uint32_t node);
/** Restarts only the lock of a node; it begins with nothing. */
void lm_cluster_restart_lock(lm_cluster_t *cluster, uint32_t node);
/** A lock that answers nobody. */
void lm_cluster_silence_lock(lm_cluster_t *cluster, uint32_t node, bool silent);
/** A lock that says it is well but takes no further entries. */
void lm_cluster_stall_lock(lm_cluster_t *cluster, uint32_t node, bool stalled);
/** A lock that begins images and sends nothing of them. */
void lm_cluster_stop_parts(lm_cluster_t *cluster, uint32_t node, bool stopped);
/** Cuts or heals the link between two nodes, both ways. Healing begins new streams. */
void lm_cluster_cut(lm_cluster_t *cluster, uint32_t a, uint32_t b, bool cut);
/** New streams between two nodes, while frames of the old are still under way (S24). */
void lm_cluster_reconnect(lm_cluster_t *cluster, uint32_t a, uint32_t b);
/** The process does not run for a while; what comes waits. */
void lm_cluster_pause(lm_cluster_t *cluster, uint32_t node, bool paused);
void lm_cluster_loss(lm_cluster_t *cluster, uint32_t percent);

/** How often the locks of leaders propose and read, in ms; 0: never. */
void lm_cluster_load(lm_cluster_t *cluster, uint32_t every_ms);
/** Bytes of a command, a multiple of 8; 0: a few. */
void lm_cluster_payload(lm_cluster_t *cluster, size_t bytes);

lm_test_host_t *lm_cluster_host(lm_cluster_t *cluster, uint32_t node);
lm_fake_disk_t *lm_cluster_disk(lm_cluster_t *cluster, uint32_t node);
const char *lm_cluster_name(const lm_cluster_t *cluster, uint32_t node);

/* ---- what the locks saw ---------------------------------------------------------------------- */

uint64_t lm_cluster_applied(const lm_cluster_t *cluster, uint32_t node);
/** Messages with entries that its lock has taken. */
uint64_t lm_cluster_deliveries(const lm_cluster_t *cluster, uint32_t node);
uint64_t lm_cluster_hash(const lm_cluster_t *cluster, uint32_t node);
bool lm_cluster_leads(const lm_cluster_t *cluster, uint32_t node);
uint64_t lm_cluster_term(const lm_cluster_t *cluster, uint32_t node);
/** Last problem that the node's raft told. */
const char *lm_cluster_problem(const lm_cluster_t *cluster, uint32_t node);
/** What the last DRAINED of a node said; -1 if there was none. */
int lm_cluster_drained(const lm_cluster_t *cluster, uint32_t node);
/** Commands acknowledged by any leader; reads answered. */
uint64_t lm_cluster_acknowledged(const lm_cluster_t *cluster);
uint64_t lm_cluster_reads(const lm_cluster_t *cluster);
/** Forgets the history: the region is to be another one. */
void lm_cluster_forget(lm_cluster_t *cluster);
/** True if every acknowledged command is in the history. */
bool lm_cluster_keeps_promises(const lm_cluster_t *cluster);
/** How often an attaching lock was told to begin anew although it had something. */
uint64_t lm_cluster_resets(const lm_cluster_t *cluster);
/** Images that locks have loaded, and those that they have completed. */
uint64_t lm_cluster_restores(const lm_cluster_t *cluster);
uint64_t lm_cluster_images(const lm_cluster_t *cluster);
/** Whether a node's lock is writing an image. */
bool lm_cluster_is_taking(const lm_cluster_t *cluster, uint32_t node);
/** A metric that the node's raft told last; 0 if it is none. */
double lm_cluster_metric(const lm_cluster_t *cluster, uint32_t node, const char *name);
/** The same with one label of that value; NULL: any. NULL if there is none. */
const lm_bus_metric_t *lm_cluster_sample(const lm_cluster_t *cluster, uint32_t node,
                                         const char *name, const char *label);
/** How many different cluster ids have been seen. */
uint32_t lm_cluster_ids(const lm_cluster_t *cluster);

#endif
