/* Messages of the engine and frames of the wire: one made from the other, and checked.
 *
 * Invariants
 *   M1  A message that reaches the engine satisfies everything the engine assumes of it; its own
 *       checks are compiled away.
 *   M2  Three amendments of what the engine says: a refused pre-vote carries the refuser's own
 *       term; a refused append carries a hint that saves going back entry by entry; a follower's
 *       commit index never goes back.
 */
#ifndef LM_RAFT_MESSAGES_H
#define LM_RAFT_MESSAGES_H

#include <raft.h>

#include "raft_disk.h"
#include "raft_log.h"
#include "wire_peer.h"

/** A received message, with memory of its own. */
typedef struct {
    struct raft_message message;
    void *batch;                /* of the entries; raft_malloc */
    struct raft_entry *entries; /* the whole array; what the message has may be its end */
} lm_raft_received_t;

/** Makes a message of a frame's body; from_name must live as long as the message. False if the body
 *  is none of the engine's, or breaks what a correct server keeps. */
bool lm_raft_messages_in(uint64_t from_id, const char *from_name, const lm_peer_frame_t *frame,
                         lm_raft_received_t *received);
/** Frees the array of entries, and their bytes unless batch_too is false: the engine has them. */
void lm_raft_messages_free(lm_raft_received_t *received, bool batch_too);
/** Bytes it occupies. */
size_t lm_raft_messages_size(const lm_raft_received_t *received);

/** True if the bytes are an encoded configuration that the engine can decode. */
bool lm_raft_messages_is_configuration(lm_bytes_t data);

/** Leaves out of an AppendEntries what is known to be the same here because it is committed: the
 *  engine could not compare it if it has been trimmed. term is that of the committed entry. Entries
 *  that are left out and their bytes are freed with received. */
void lm_raft_messages_skip(lm_raft_received_t *received, uint64_t commit, uint64_t term);
/** Leaves out all entries; what remains is a heartbeat. */
void lm_raft_messages_strip(lm_raft_received_t *received);
/** Keeps the commit index of a follower from going back. */
void lm_raft_messages_clamp(struct raft_message *message, uint64_t commit);

/** What a message that goes out is made of besides itself. */
typedef struct {
    const struct raft *raft;
    const lm_raft_log_t *log;
    const lm_raft_image_t *image; /* the node's snapshot */
    uint64_t commit;
} lm_raft_outgoing_t;

/** Fills a frame's body from any message but AppendEntries; body is memory for it. */
typedef union {
    lm_peer_request_vote_t request_vote;
    lm_peer_request_vote_result_t request_vote_result;
    lm_peer_append_entries_result_t append_entries_result;
    lm_peer_timeout_now_t timeout_now;
    struct {
        lm_peer_install_snapshot_t install;
        lm_peer_snapshot_offer_t offer;
    } snapshot;
} lm_raft_body_t;
/** Describes an image to others; points into it. */
void lm_raft_messages_offer(const lm_raft_image_t *image, lm_peer_snapshot_offer_t *offer);
/** Takes what another node offers. False if no correct node would. */
bool lm_raft_messages_offered(const lm_peer_snapshot_offer_t *offer, lm_raft_image_t *image);
void lm_raft_messages_out(const lm_raft_outgoing_t *from, const struct raft_message *message,
                          lm_raft_body_t *body, lm_peer_frame_t *frame);

/** One of the frames that carry an AppendEntries: entries from `from_index` on, at most up to
 *  last_index and about bytes_max. Returns the index of the last one in it, from_index - 1 if none.
 *  The entries array is in the arena. */
uint64_t lm_raft_messages_append(const lm_raft_outgoing_t *from,
                                 const struct raft_append_entries *message, uint64_t from_index,
                                 uint64_t last_index, size_t bytes_max,
                                 lm_peer_append_entries_t *body, lm_arena_t *arena);

#endif
