/* Drives the consensus engine: events in; term, vote and entries to disk, messages to peers out.
 *
 * Every step of the engine is followed by its duties in this order: term and vote, truncation and
 * new entries go to the disk; then messages; then committed entries are applied. Messages wait
 * until term and vote are durable, and so does every later event.
 *
 * Invariants
 *   E1  No message leaves before the term and vote it was made under are on stable storage.
 *   E2  The log here and the engine's own idea of it have the same length; its commit index never
 *       falls, never passes the end, and is applied without a gap.
 *   E3  The engine hears that an entry is stored only if it is still the one that was written.
 *   E4  An error of the engine or of the disk is the end: lm_raft_engine_fault says why.
 */
#ifndef LM_RAFT_ENGINE_H
#define LM_RAFT_ENGINE_H

#include "base_result.h"
#include "raft_disk.h"
#include "raft_log.h"
#include "wire_peer.h"

typedef struct lm_raft_engine lm_raft_engine_t;

/** Sends a frame whose body is set; its ids are the sender's to fill. Not kept. */
typedef void lm_raft_send_t(void *arg, uint64_t server_id, lm_peer_frame_t *frame);

typedef struct {
    lm_raft_disk_t *disk;
    lm_raft_send_t *send;
    void *arg;
    uint32_t election_timeout_ms;
    uint32_t heartbeat_ms;
    uint32_t seed;
} lm_raft_engine_options_t;

typedef enum { LM_RAFT_FOLLOWER_ROLE, LM_RAFT_CANDIDATE_ROLE, LM_RAFT_LEADER_ROLE } lm_raft_role_t;

/** An engine for the server that identity names. */
lm_raft_engine_t *lm_raft_engine_new(const lm_raft_engine_options_t *options,
                                     const lm_raft_identity_t *identity);
void lm_raft_engine_destroy(lm_raft_engine_t **engine);

/** Starts it with what was read from disk. A single voter begins a new term, so that no two of its
 *  leaderships have the same. */
void lm_raft_engine_start(lm_raft_engine_t *engine, const lm_raft_done_t *loaded, uint64_t now_us);

/** A frame of another server that concerns the engine. False if it
 *  breaks a rule that no correct server breaks, or if there is no room for it: it was not handled.
 */
bool lm_raft_engine_receive(lm_raft_engine_t *engine, uint64_t from_id,
                            const lm_peer_frame_t *frame, uint64_t now_us);

/** A report of the disk: METADATA or APPENDED. */
void lm_raft_engine_done(lm_raft_engine_t *engine, const lm_raft_done_t *done, uint64_t now_us);

/** Adds one entry as leader. Its size is a multiple of 8. LM_RC_OK and *index, or NOT_LEADER. */
lm_rc_t lm_raft_engine_submit(lm_raft_engine_t *engine, lm_bytes_t data, uint64_t now_us,
                              uint64_t *index);

/** Begins to give leadership to a voter. False if this node does not lead or is giving already. */
bool lm_raft_engine_transfer(lm_raft_engine_t *engine, uint64_t server_id, uint64_t now_us);

/** Lets time pass. late: this node's own clock tick came late by more than a heartbeat; then it
 * does not count the silence of others, at most three times in a row. */
void lm_raft_engine_tick(lm_raft_engine_t *engine, uint64_t now_us, bool late);
/** When the engine wants the next tick. */
uint64_t lm_raft_engine_wake_us(const lm_raft_engine_t *engine);

/** Whether it may ask for votes of its own accord. While it may not, it still answers everybody,
 * and forgets a silent leader, so that others can be elected. */
void lm_raft_engine_may_campaign(lm_raft_engine_t *engine, bool may);
/** Whether the link to a peer is up: entries are not sent into the void. */
void lm_raft_engine_link(lm_raft_engine_t *engine, uint64_t server_id, bool up);

/** What it is; all of it durable. */
lm_raft_role_t lm_raft_engine_role(const lm_raft_engine_t *engine);
uint64_t lm_raft_engine_term(const lm_raft_engine_t *engine);
/** Id of the leader; 0 if none is known. */
uint64_t lm_raft_engine_leader(const lm_raft_engine_t *engine);
/** Id of the server that leadership is being given to; 0 if none. */
uint64_t lm_raft_engine_transferee(const lm_raft_engine_t *engine);
uint64_t lm_raft_engine_commit(const lm_raft_engine_t *engine);
/** Last index when this node became leader: committed means that all older entries are. */
uint64_t lm_raft_engine_leader_start(const lm_raft_engine_t *engine);
/** As leader: the last index that is stored on a server. */
uint64_t lm_raft_engine_match(const lm_raft_engine_t *engine, uint64_t server_id);
const lm_raft_log_t *lm_raft_engine_log(const lm_raft_engine_t *engine);
/** Elections begun: the real ones, not the soundings before. */
uint64_t lm_raft_engine_elections(const lm_raft_engine_t *engine);
/** Code LM_EXIT_OK as long as all is well. */
const lm_raft_fault_t *lm_raft_engine_fault(const lm_raft_engine_t *engine);

#endif
