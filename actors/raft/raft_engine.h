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
 *   E5  The log here, the engine's idea of it and the snapshot fit: the log begins behind the same
 *       entry in both, at most behind that of the snapshot.
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
    uint32_t trailing_entries; /* kept before a snapshot, as far as their bytes allow */
    uint64_t log_bytes_max;    /* in memory; beyond, no entries are taken from a leader */
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

/* ---- snapshots ----
 *
 * The disk writes images, the room sees to them; the engine only hears of what has become of them.
 */

/** Describes a snapshot behind the entry at index, which is committed and stored here: its term and
 *  the configuration in force then. False if that is not known any more. */
bool lm_raft_engine_mark(const lm_raft_engine_t *engine, uint64_t index, lm_raft_image_t *image);
/** How many entries before the snapshot of that index may stay; at least 1. */
uint32_t lm_raft_engine_trailing(const lm_raft_engine_t *engine, uint64_t index);
/** Whether the log reached that entry of that term when nobody had trimmed it yet: then an image of
 *  it is a snapshot of this node's own log, else it must be installed. */
bool lm_raft_engine_reaches(const lm_raft_engine_t *engine, uint64_t index, uint64_t term);
/** The image has become the node's snapshot, of entries that its log has; on disk at most the given
 *  number of entries was kept before it. */
void lm_raft_engine_snapshot(lm_raft_engine_t *engine, const lm_raft_image_t *image,
                             uint32_t trailing, uint64_t now_us);
/** What is wrong with an image that another server offers, as the end of a sentence that begins
 *  with the server: it contradicts what is committed here. NULL if nothing is. */
const char *lm_raft_engine_objection(const lm_raft_engine_t *engine, const lm_raft_image_t *image);
/** Begins to install an image that is complete on disk in the place of the whole log. False if that
 *  is not possible now: no leader is known, or term and vote are being written. If true, the log is
 *  gone, and image_finish is to be called at once. */
bool lm_raft_engine_install(lm_raft_engine_t *engine, const lm_raft_image_t *image,
                            uint64_t now_us);
/** The image given to lm_raft_engine_install has become the node's snapshot. */
void lm_raft_engine_installed(lm_raft_engine_t *engine, uint64_t now_us);
bool lm_raft_engine_is_installing(const lm_raft_engine_t *engine);
/** The snapshot that the log goes on from; index 0: there is none. */
const lm_raft_image_t *lm_raft_engine_image(const lm_raft_engine_t *engine);

/** Adds one entry as leader. Its size is a multiple of 8. LM_RC_OK and *index, or NOT_LEADER. */
lm_rc_t lm_raft_engine_submit(lm_raft_engine_t *engine, lm_bytes_t data, uint64_t now_us,
                              uint64_t *index);

/** Begins to give leadership to a voter. False if this node does not lead or is giving already. */
bool lm_raft_engine_transfer(lm_raft_engine_t *engine, uint64_t server_id, uint64_t now_us);

/** Lets time pass. late: this node's own clock tick came late by more than a heartbeat; then it
 *  does not count the silence of others, at most three times in a row. */
void lm_raft_engine_tick(lm_raft_engine_t *engine, uint64_t now_us, bool late);
/** When the engine wants the next tick. */
uint64_t lm_raft_engine_wake_us(const lm_raft_engine_t *engine);

/** Whether it may ask for votes of its own accord. While it may not, it still answers everybody,
 *  and forgets a silent leader, so that others can be elected. */
void lm_raft_engine_may_campaign(lm_raft_engine_t *engine, bool may);
/** Bytes of entries that are not stored yet. */
uint64_t lm_raft_engine_unstored(const lm_raft_engine_t *engine);
/** As leader: a server that says, again and again, that it lacks what it once acknowledged; 0 if
 *  there is none. The engine does not believe it, so that this leader cannot send it what it lacks
 *  (S19). */
uint64_t lm_raft_engine_forgetful(const lm_raft_engine_t *engine, uint64_t now_us);
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
/** Last index that is stored here. */
uint64_t lm_raft_engine_stored(const lm_raft_engine_t *engine);
/** Last index when this node became leader: committed means that all older entries are. */
uint64_t lm_raft_engine_leader_start(const lm_raft_engine_t *engine);
/** As leader: the last index that is stored on a server. */
uint64_t lm_raft_engine_match(const lm_raft_engine_t *engine, uint64_t server_id);
const lm_raft_log_t *lm_raft_engine_log(const lm_raft_engine_t *engine);
/** What makes this node begin an election. A single voter needs none. */
typedef enum {
    LM_RAFT_ELECTION_TIMEOUT,  /* it has heard no leader for an election timeout */
    LM_RAFT_ELECTION_TRANSFER, /* the leader gives leadership to it */
    LM_RAFT_ELECTIONS_N,
} lm_raft_election_t;

/** Elections begun: the real ones, not the soundings before. All of them, and those of one cause.
 */
uint64_t lm_raft_engine_elections(const lm_raft_engine_t *engine);
uint64_t lm_raft_engine_elections_of(const lm_raft_engine_t *engine, lm_raft_election_t cause);
/** Soundings of other nodes, before an election of theirs, that were answered with no. */
uint64_t lm_raft_engine_prevotes_rejected(const lm_raft_engine_t *engine);
/** Messages that were refused because no correct server sends them (raft_accept.h). */
uint64_t lm_raft_engine_unacceptable(const lm_raft_engine_t *engine);
/** Frames whose entries were not taken because too many wait to be stored, or are here at all. */
uint64_t lm_raft_engine_stripped(const lm_raft_engine_t *engine);
/** Code LM_EXIT_OK as long as all is well. */
const lm_raft_fault_t *lm_raft_engine_fault(const lm_raft_engine_t *engine);

#endif
