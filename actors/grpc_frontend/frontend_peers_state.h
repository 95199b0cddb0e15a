/* What the files of the peers room share. */
#ifndef LM_FRONTEND_PEERS_STATE_H
#define LM_FRONTEND_PEERS_STATE_H

#include <uthash.h>

#include "frontend_config.h"
#include "frontend_errors.h"
#include "frontend_figures.h"
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
    bool told_up;
    uint64_t server_id; /* as it answered */
    char cluster_id[64];
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
} lm_frontend_hello_t;

/** A hello of another region that the gateway decides about. */
typedef struct {
    uint64_t correlation;
    lm_frontend_handle_t *handle; /* NULL: has gone */
    UT_hash_handle hh;
} lm_frontend_greeting_t;

struct lm_frontend_peers {
    lm_frontend_driver_t *driver;
    uint32_t counter;
    uint64_t seed;
    lm_arena_t *scratch, *texts, *identity_texts;

    lm_outbox_t *out; /* of the turn */
    uint64_t now_us;

    const lm_bus_node_config_t *config;     /* NULL until START */
    const lm_bus_raft_identity_t *identity; /* NULL until raft has told it */
    bool listening, stopping;
    uint64_t tick_at_us, report_at_us, warned_at_us;

    lm_frontend_peer_t *peers;
    size_t n_peers;
    lm_frontend_incoming_t *incoming;
    lm_frontend_hello_t *hellos;
    lm_frontend_greeting_t *greetings;

    lm_frontend_handle_t *check; /* the call to the own listener */
    uint64_t check_at_us;
    unsigned checks_failed;

    lm_frontend_figures_t figures;
    uint64_t undecodable, oversized, unknown_peers, wrong_cluster, wrong_region, replaced;
};

/* ---- frontend_peers.c ------------------------------------------------------------------------ */

void lm_frontend_peers_fail(lm_frontend_peers_t *room, lm_frontend_handle_t *handle,
                            const lm_frontend_error_t *error);
void lm_frontend_peers_finish(lm_frontend_peers_t *room, lm_frontend_handle_t *handle,
                              lm_bytes_t message);
lm_frontend_peer_t *lm_frontend_peers_find(lm_frontend_peers_t *room, lm_bytes_t name);

/* ---- frontend_link.c: the links to the peers ------------------------------------------------- */

void lm_frontend_link_on_send(void *room, const lm_message_t *message, lm_outbox_t *out);
void lm_frontend_link_received(lm_frontend_peers_t *room, lm_frontend_event_t *event);
void lm_frontend_link_over(lm_frontend_peers_t *room, lm_frontend_event_t *event);
/** Opens what is due, ends what is stuck. */
void lm_frontend_link_tick(lm_frontend_peers_t *room);
/** Tells a new raft actor which links are up. */
void lm_frontend_link_tell_all(lm_frontend_peers_t *room);
/** What this node says of itself in a hello to a node of that name. */
lm_peer_link_hello_t lm_frontend_link_self(const lm_frontend_peers_t *room, lm_bytes_t to);
/** Checks the hello of a node; LM_RC_OK, or why it is not to be spoken with. Counts refusals. */
lm_rc_t lm_frontend_link_check(lm_frontend_peers_t *room, const lm_peer_link_hello_t *hello);

/* ---- frontend_incoming.c: the links from the peers ------------------------------------------- */

void lm_frontend_incoming_opened(lm_frontend_peers_t *room, lm_frontend_handle_t *handle);
void lm_frontend_incoming_received(lm_frontend_peers_t *room, lm_frontend_event_t *event);
void lm_frontend_incoming_half_closed(lm_frontend_peers_t *room, lm_frontend_handle_t *handle);
void lm_frontend_incoming_over(lm_frontend_peers_t *room, lm_frontend_handle_t *handle);
/** Ends links that said no hello in time. */
void lm_frontend_incoming_tick(lm_frontend_peers_t *room);
/** The own identity is known now, or another: ends links of other clusters. */
void lm_frontend_incoming_recheck(lm_frontend_peers_t *room);
void lm_frontend_incoming_end_all(lm_frontend_peers_t *room, lm_rc_t why);

/* ---- frontend_region.c: hellos between regions ----------------------------------------------- */

void lm_frontend_region_on_out(void *room, const lm_message_t *message, lm_outbox_t *out);
void lm_frontend_region_answered(lm_frontend_peers_t *room, lm_frontend_event_t *event);
/** A hello came in. */
void lm_frontend_region_called(lm_frontend_peers_t *room, lm_frontend_event_t *event);
void lm_frontend_region_on_answer(void *room, const lm_message_t *message, lm_outbox_t *out);
void lm_frontend_region_failed(lm_frontend_peers_t *room, uint64_t correlation, lm_rc_t why);
void lm_frontend_region_over(lm_frontend_peers_t *room, lm_frontend_handle_t *handle);

/* ---- frontend_watchdog.c --------------------------------------------------------------------- */

/** Calls the own listener when it is time; late_us is how late this tick is. */
void lm_frontend_watchdog_tick(lm_frontend_peers_t *room, uint64_t late_us);
void lm_frontend_watchdog_answered(lm_frontend_peers_t *room, const lm_frontend_event_t *event);

#endif
