/* The post office of a process host: brings the wishes of a turn to the sockets.
 *
 * Invariants
 *   P1  All wishes of a turn for one peer leave as one bundle, or as few as its bounds allow.
 *   P2  Order per peer is kept: as long as anything waits for a peer, what comes later waits behind
 *       it or is refused, by its row's WHEN_FULL.
 *   P3  Every wish is sent, kept, told to the room as failed, or counted as dropped.
 */
#ifndef LM_ACT_POST_H
#define LM_ACT_POST_H

#include "act_dispatch.h"
#include "act_frames.h"
#include "act_link.h"

/** A message that had to wait; owns its body. */
typedef struct lm_kept {
    struct lm_kept *prev, *next;
    lm_wish_t wish;
} lm_kept_t;

typedef struct {
    lm_dispatch_t *d;
    lm_link_t *own;                    /* bound; NULL if the room binds nothing */
    lm_link_t *links[LM_PARTICIPANTS]; /* connected */
    lm_kept_t *kept[LM_PARTICIPANTS];
    size_t kept_bytes[LM_PARTICIPANTS];
    lm_frames_t frames;
    void **packed; /* of the bundle in frames: lm_wish_t or lm_kept_t */
    size_t packed_room;
} lm_post_t;

/** Writes "name.counter", the address of a participant's generation and the name of its socket. */
void lm_post_address(char address[LM_ADDRESS_BYTES], lm_participant_t participant,
                     uint32_t counter);

/** Connects to a binder, in place of an older connection to it, and greets it so that it learns of
 *  us. Returns false with errno if that fails. */
bool lm_post_connect(lm_post_t *post, lm_participant_t peer, const char *endpoint);

/** Tells the room of pipes that have room again. Belongs at the beginning of a turn. */
void lm_post_room_again(lm_post_t *post);

/** Sends what waits and what the outbox holds, which is empty afterwards. */
void lm_post_flush(lm_post_t *post);

/** When the post office wants to be called again: 0 at once, UINT64_MAX if nothing waits. */
uint64_t lm_post_next_us(const lm_post_t *post, uint64_t now_us);

/** True if something waits for a peer that could be sent to. */
bool lm_post_waits(const lm_post_t *post);

/** Closes all sockets; what was sent may still leave for as long as linger_ms. */
void lm_post_destroy(lm_post_t *post, int linger_ms);

#endif
