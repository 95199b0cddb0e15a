/* How a region comes into being (SAFETY S18): a pure machine, one per node.
 *
 *      empty ----> accepted ----> started          all but the first node by name
 *      empty ----> accepted ----> formed ----> started                 the first node
 *
 * The first node draws the identity of the region once every configured node has told it, in answer
 * to its own question, that it is empty and configured alike. It offers that identity; the others
 * make it durable and say so; when all have, the first makes that fact durable and all may start.
 *
 * Invariants
 *   B1  Nobody votes before every node of the region has held the identity durably at one time.
 *   B2  A first node that has formed a region never offers again: a node that loses its data later
 *       would be given back a vote that it has already cast.
 *   B3  An offer counts only for the very start of the empty node it was made to (its nonce), and a
 *       claim to be empty only as an answer to this start of the hearer.
 *   B4  What is said has been made durable before.
 */
#ifndef LM_RAFT_BOOTSTRAP_H
#define LM_RAFT_BOOTSTRAP_H

#include "base_arena.h"
#include "raft_identity.h"
#include "wire_peer.h"

/** Fills size bytes with chance. */
typedef void lm_raft_random_t(void *arg, void *bytes, size_t size);

enum {
    LM_RAFT_SAY_STATE = 1,
    LM_RAFT_SAY_OFFER = 2,
    LM_RAFT_SAY_ACCEPT = 4,
    LM_RAFT_SAY_START = 8,
};

/** What the machine wants done; taken and cleared by the caller. */
typedef struct {
    bool save; /* make identity durable, then call lm_raft_bootstrap_saved */
    bool run;  /* write the first entry, then call lm_raft_bootstrap_written */
    uint8_t say[LM_RAFT_SERVERS_MAX]; /* LM_RAFT_SAY_ bits for each node */
} lm_raft_bootstrap_wish_t;

typedef struct {
    bool heard, empty, started, same_config, answered, accepted;
    char cluster_id[LM_RAFT_ID_SIZE];
    uint64_t nonce, offered_nonce;
} lm_raft_bootstrap_peer_t;

typedef struct {
    uint32_t self, n; /* indexes into names, which are sorted */
    char names[LM_RAFT_SERVERS_MAX][LM_RAFT_NAME_SIZE];
    uint64_t config_hash, nonce;
    lm_raft_identity_t identity; /* as durable */
    lm_raft_identity_t draft;    /* as being saved */
    bool saving, running;
    lm_raft_bootstrap_peer_t peers[LM_RAFT_SERVERS_MAX];
    lm_raft_bootstrap_wish_t wish;
    lm_raft_random_t *random;
    void *random_arg;
} lm_raft_bootstrap_t;

/** Begins with what is durable. names are sorted, n of them, self among them; identity has at least
 *  region and node set. */
void lm_raft_bootstrap_begin(lm_raft_bootstrap_t *machine, const char *const *names, uint32_t n,
                             uint32_t self, const lm_raft_identity_t *identity,
                             lm_raft_random_t *random, void *random_arg);

/** Something was heard from node i. */
void lm_raft_bootstrap_state(lm_raft_bootstrap_t *machine, uint32_t i,
                             const lm_peer_bootstrap_state_t *state);
void lm_raft_bootstrap_offer(lm_raft_bootstrap_t *machine, uint32_t i,
                             const lm_peer_bootstrap_offer_t *offer);
void lm_raft_bootstrap_accept(lm_raft_bootstrap_t *machine, uint32_t i,
                              const lm_peer_bootstrap_accept_t *accept);
void lm_raft_bootstrap_start(lm_raft_bootstrap_t *machine, uint32_t i,
                             const lm_peer_bootstrap_start_t *start);
/** A message of a voter of this node's own region has come: the region has been formed. */
void lm_raft_bootstrap_member(lm_raft_bootstrap_t *machine);
/** The draft is durable. */
void lm_raft_bootstrap_saved(lm_raft_bootstrap_t *machine);
/** The first entry of the log is durable: stage STARTED is next, and then a vote. */
void lm_raft_bootstrap_written(lm_raft_bootstrap_t *machine);
/** It is time to say again what may have been lost. */
void lm_raft_bootstrap_tick(lm_raft_bootstrap_t *machine);

/** Fills a frame with what is to be said to node i; what is one LM_RAFT_SAY_ bit. The memory is the
 *  arena's. */
void lm_raft_bootstrap_frame(lm_raft_bootstrap_t *machine, uint32_t i, unsigned what,
                             lm_peer_frame_t *frame, lm_arena_t *arena);

/** Why the region is not there yet, as a sentence; empty if there is nothing to say. */
void lm_raft_bootstrap_problem(const lm_raft_bootstrap_t *machine, char *text, size_t size);

/** Hash over region and sorted node names. */
uint64_t lm_raft_bootstrap_hash(const char *region, const char *const *names, uint32_t n);

#endif
