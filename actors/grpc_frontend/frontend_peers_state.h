/* What the files of the peers room share. */
#ifndef LM_FRONTEND_PEERS_STATE_H
#define LM_FRONTEND_PEERS_STATE_H

#include <uthash.h>

#include "frontend_challenge.h"
#include "frontend_frame.h"
#include "frontend_limits.h"
#include "frontend_peers.h"
#include "wire_bus.h"
#include "wire_peer.h"

/** What one incoming link has shown of itself. */
typedef struct lm_frontend_incoming {
    struct lm_frontend_incoming *prev, *next;
    lm_frontend_handle_t *handle;
    struct lm_frontend_peer *peer; /* NULL until its hello was accepted, and after its end */
    uint64_t opened_us;
    uint64_t epoch;
    char cluster_id[64]; /* as its hello said; empty: none yet */
    /* where nodes share a key, from its hello to its proof: who it says it is, and what both have
     * said */
    struct lm_frontend_peer *claims;
    char own_cluster_id[64];
    uint8_t nonce[LM_NONCE_BYTES], own_nonce[LM_NONCE_BYTES];
    bool finished;
} lm_frontend_incoming_t;

typedef enum {
    LM_LINK_WAITING, /* for the time of the next attempt */
    LM_LINK_OPENING, /* hello sent, not answered */
    LM_LINK_UP,
    LM_LINK_ENDING, /* cancelled, not over */
} lm_frontend_link_state_t;

/** Another voter of the region. */
typedef struct lm_frontend_peer {
    const lm_bus_peer_config_t *config;
    /* the link to it */
    lm_frontend_link_state_t state;
    lm_frontend_handle_t *handle;
    uint64_t since_us; /* of the state */
    uint64_t retry_at_us, backoff_us;
    uint64_t connect_within_us; /* how long the hello may wait for a connection */
    uint64_t said_us;           /* when it was found to be on its way; 0: not yet */
    bool told_up;
    uint64_t server_id; /* as it answered */
    char cluster_id[64];
    char own_cluster_id[64]; /* as this node's hello said */
    uint8_t own_nonce[LM_NONCE_BYTES];
    /* the link from it */
    lm_frontend_incoming_t *incoming;
    uint64_t n_epochs;
    uint64_t frames_out, frames_in, dropped, opened;
    char problem[120]; /* why the last attempt failed; logged once */
} lm_frontend_peer_t;

/** A hello to another region on its way. */
typedef struct lm_frontend_hello {
    struct lm_frontend_hello *prev, *next;
    lm_frontend_handle_t *handle;
    char region[256];
    lm_frontend_target_t target;
    lm_bytes_t identity; /* serialized, owned: what this region says of itself */
    bool proven;         /* the second call is on its way */
    uint8_t nonce[LM_NONCE_BYTES];
} lm_frontend_hello_t;

/** A hello of another region that the gateway decides about. */
typedef struct {
    uint64_t correlation;
    lm_frontend_handle_t *handle; /* NULL: has gone */
    UT_hash_handle hh;
} lm_frontend_greeting_t;

/** The calls to an own listener. */
typedef struct {
    uint32_t port;
    lm_frontend_handle_t *check; /* NULL: none is on its way */
    uint64_t at_us;              /* of the next */
    unsigned failed;             /* in a row */
} lm_frontend_watch_t;

struct lm_frontend_peers {
    lm_frontend_frame_t frame;
    uint32_t counter;
    uint64_t seed;
    lm_arena_t *identity_texts;
    const lm_bus_raft_identity_t *identity; /* NULL until raft has told it */
    uint64_t tick_at_us, report_at_us;

    lm_frontend_peer_t *peers;
    size_t n_peers;
    uint64_t connect_within_us; /* of new links, as name servers have taught it; 0: nothing yet */
    lm_frontend_incoming_t *incoming;
    lm_frontend_hello_t *hellos;
    lm_frontend_keys_t *region_keys; /* those of region.peer_key; NULL: there are none */
    lm_frontend_greeting_t *greetings;
    lm_frontend_challenges_t *challenges; /* NULL: none has been asked for */

    lm_frontend_watch_t watches[2]; /* of the gRPC port and of that of the nodes */
    size_t n_watches;

    uint64_t undecodable, oversized, unknown_peers, wrong_cluster, wrong_region, replaced, unproven;
};

/* ---- frontend_peers.c ------------------------------------------------------------------------ */

/** Another voter of the region, by name; NULL if there is none of that name. */
lm_frontend_peer_t *lm_frontend_peers_find(lm_frontend_peers_t *room, lm_bytes_t name);
/** Writes the audit line of a caller that is not listened to; name: the node or region that it says
 *  it is. */
void lm_frontend_peers_refused(lm_frontend_peers_t *room, lm_frontend_handle_t *handle,
                               lm_bytes_t name, lm_rc_t why);

/* ---- frontend_link.c: the links to the peers ------------------------------------------------- */

/** Frames of raft for peers; those that cannot be sent now are dropped and counted. */
void lm_frontend_link_on_send(void *room, const lm_message_t *message, lm_outbox_t *out);
/** A message of the other side came, or the last event of a link. */
void lm_frontend_link_received(lm_frontend_peers_t *room, lm_frontend_event_t *event);
void lm_frontend_link_over(lm_frontend_peers_t *room, lm_frontend_event_t *event);
/** The peer has a link to here, proven, since now: what waits for it to come back waits no more. */
void lm_frontend_link_knocked(lm_frontend_peers_t *room, lm_frontend_peer_t *peer);
/** Opens what is due, ends what is stuck. */
void lm_frontend_link_tick(lm_frontend_peers_t *room);
/** Every link is up: the next tick has nothing to do but to look for one that is stuck. */
bool lm_frontend_link_is_settled(const lm_frontend_peers_t *room);
/** Tells a new raft actor which links are up. */
void lm_frontend_link_tell_all(lm_frontend_peers_t *room);
/** What this node says of itself in a hello to a node of that name. */
lm_peer_link_hello_t lm_frontend_link_self(const lm_frontend_peers_t *room, lm_bytes_t to);
/** What both hellos of a link say, for proofs; a view of its arguments. */
lm_frontend_agreed_t lm_frontend_link_agreed(const lm_frontend_peers_t *room, lm_bytes_t calling,
                                             lm_bytes_t called, const char *calling_cluster,
                                             const char *called_cluster,
                                             const uint8_t calling_nonce[LM_NONCE_BYTES],
                                             const uint8_t called_nonce[LM_NONCE_BYTES]);
/** Checks the hello of a node; LM_RC_OK, or why it is not to be spoken with. Counts refusals. */
lm_rc_t lm_frontend_link_check(lm_frontend_peers_t *room, const lm_peer_link_hello_t *hello);

/* ---- frontend_incoming.c: the links from the peers ------------------------------------------- */

/** The events of a link that another node has opened. */
void lm_frontend_incoming_opened(lm_frontend_peers_t *room, lm_frontend_handle_t *handle);
void lm_frontend_incoming_received(lm_frontend_peers_t *room, lm_frontend_event_t *event);
void lm_frontend_incoming_half_closed(lm_frontend_peers_t *room, lm_frontend_handle_t *handle);
void lm_frontend_incoming_over(lm_frontend_peers_t *room, lm_frontend_handle_t *handle);
/** Ends links that said no hello in time. */
void lm_frontend_incoming_tick(lm_frontend_peers_t *room);
/** Every link has said its hello. */
bool lm_frontend_incoming_is_settled(const lm_frontend_peers_t *room);
/** The own identity is known now, or another: ends links of other clusters. */
void lm_frontend_incoming_recheck(lm_frontend_peers_t *room);
/** Finishes every link with that error. */
void lm_frontend_incoming_end_all(lm_frontend_peers_t *room, lm_rc_t why);

/* ---- frontend_region.c: hellos between regions ----------------------------------------------- */

/** The gateway greets another region; that region's answer, or why there is none. */
void lm_frontend_region_on_out(void *room, const lm_message_t *message, lm_outbox_t *out);
void lm_frontend_region_answered(lm_frontend_peers_t *room, lm_frontend_event_t *event);
void lm_frontend_region_free(lm_frontend_hello_t *hello);
/** A hello came in. */
void lm_frontend_region_called(lm_frontend_peers_t *room, lm_frontend_event_t *event);
/** The gateway's answer to it, or that there will be none; the end of the call. */
void lm_frontend_region_on_answer(void *room, const lm_message_t *message, lm_outbox_t *out);
void lm_frontend_region_failed(lm_frontend_peers_t *room, uint64_t correlation, lm_rc_t why);
void lm_frontend_region_over(lm_frontend_peers_t *room, lm_frontend_handle_t *handle);

/* ---- frontend_watchdog.c --------------------------------------------------------------------- */

/** Chooses the own listeners that are called: those that the region cannot do without. */
void lm_frontend_watchdog_start(lm_frontend_peers_t *room);
/** Calls them when it is time; late_us is how late this tick is. */
void lm_frontend_watchdog_tick(lm_frontend_peers_t *room, uint64_t late_us);
/** False: it is not the answer to such a call. */
bool lm_frontend_watchdog_answered(lm_frontend_peers_t *room, const lm_frontend_event_t *event);

#endif
