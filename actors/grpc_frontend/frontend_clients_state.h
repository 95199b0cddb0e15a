/* What the files of the clients room share. */
#ifndef LM_FRONTEND_CLIENTS_STATE_H
#define LM_FRONTEND_CLIENTS_STATE_H

#include <uthash.h>

#include "frontend_access.h"
#include "frontend_admission.h"
#include "frontend_clients.h"
#include "frontend_frame.h"
#include "frontend_limits.h"
#include "frontend_timers.h"
#include "wire_api.h"
#include "wire_bus.h"
#include "wire_peer.h"

typedef struct lm_frontend_call lm_frontend_call_t;

/** A CALL this room has made and whose reply it waits for. */
typedef struct lm_frontend_attempt {
    uint64_t correlation;
    lm_frontend_call_t *call; /* NULL: nobody waits any more, or it is the room's own question */
    UT_hash_handle hh;
} lm_frontend_attempt_t;

/** One attempt between two nodes: the other node, and the number that the edge gave it. */
typedef struct {
    const lm_bus_peer_config_t *peer; /* NULL: there is none */
    uint64_t id;                      /* never the same again from this node; 0: none */
} lm_frontend_hop_t;

/** A call passed on to the node that leads. */
typedef struct lm_frontend_forward {
    struct lm_frontend_forward *prev, *next;
    lm_frontend_handle_t *handle;
    lm_frontend_call_t *call; /* NULL: nobody waits any more */
    lm_frontend_hop_t hop;
    bool acquires; /* its answer may be a grant */
} lm_frontend_forward_t;

/** A grant that the own lock gave to a call of another node. */
typedef struct {
    lm_frontend_hop_t hop;
    uint64_t correlation; /* of the LOCK_CALL */
} lm_frontend_given_t;

typedef struct lm_frontend_stream lm_frontend_stream_t;

/** A call of a client, or of another node for its client, from CALLED to OVER; or one request of a
 *  stream of KeepAlives, from RECEIVED to its answer. */
struct lm_frontend_call {
    lm_frontend_timer_t timer; /* first: the next attempt, or the end */
    lm_frontend_clients_t *room;
    lm_frontend_call_t *prev, *next;
    lm_frontend_handle_t *handle; /* its own, or that of its stream */
    lm_frontend_stream_t *stream; /* NULL: it is a call of its own */
    lm_frontend_call_t *prev_of_stream, *next_of_stream;
    const lm_frontend_method_t *method;
    lm_frontend_event_t *event; /* the request as it came */
    lm_bytes_t identity;        /* of who calls; the call's own copy */
    char request_id[33];        /* made here if the request has none */
    uint64_t begun_us;
    uint64_t give_up_us; /* is answered then at the latest */
    uint64_t backoff_us;
    uint64_t retry_at_us; /* 0: no attempt is planned */
    bool stamped, seen;
    uint64_t stamp;
    bool maybe_applied; /* an attempt ended without saying whether it was applied */
    bool changes;       /* the request is not a mere question */
    bool finished;
    bool weighed;                   /* admission counts it as under way */
    bool decided;                   /* lock has answered the first attempt */
    lm_rc_t last_refusal;           /* why the last attempt came to nothing */
    lm_frontend_attempt_t *attempt; /* at the own lock */
    lm_frontend_forward_t *forward; /* at the leader */
    lm_frontend_forward_t *stale;   /* at a former leader: cancelled, but may still answer */
    uint64_t granted_by;            /* correlation of the own lock's answer that grants; 0: none */
    lm_frontend_hop_t from;         /* who passed it on to this node */
    lm_frontend_hop_t granted_at;   /* who granted it, if that was another node */
    lm_frontend_hop_t in_doubt;     /* a forward that ended without saying whether it granted */
};

/** A stream of health, reflection or KeepAlives. */
struct lm_frontend_stream {
    lm_frontend_stream_t *prev, *next;
    lm_frontend_handle_t *handle;
    bool finished;
    bool watching;
    char service[128];
    int32_t status; /* last one told */
    bool half_closed;
    lm_frontend_call_t *calls; /* requests without an answer */
};

struct lm_frontend_clients {
    lm_frontend_frame_t frame;
    uint64_t seed[2], n_ids;
    int32_t mode;        /* lm_bus_node_mode_mode_t */
    lm_access_t *access; /* NULL: none is configured, or it has not been read */

    bool lock_present;     /* a lock actor has been seen: what is sent may be received */
    uint64_t status_at_us; /* of the last answer; 0: none yet */
    lm_rc_t status_failed; /* of the last question */
    int32_t role;
    char leader[256];
    char cluster_id[64];
    lm_frontend_attempt_t *question; /* the room's own STATUS_QUERY on its way */
    bool serving;                    /* as health has told it */

    lm_frontend_attempt_t *attempts; /* by correlation */
    lm_frontend_call_t *calls;
    lm_frontend_forward_t *on_their_way; /* all forwards, also those that nobody waits for */
    size_t n_calls, n_forwards;
    uint64_t n_hops;            /* numbers given to forwards */
    size_t n_reports;           /* of undelivered grants, on their way */
    lm_frontend_given_t *given; /* LM_GIVEN_MAX slots: a newer grant takes an older's */
    lm_frontend_stream_t *streams;
    lm_frontend_timers_t timers;
    lm_frontend_timer_t ask_timer, report_timer;
    lm_frontend_admission_t admission;
    uint32_t shed_told; /* the share that the driver has */

    uint64_t undecodable, oversized, invalid, unknown_peers, wrong_cluster;
    uint64_t refused[LM_REFUSALS_N];
    uint64_t forwards, forwards_failed, late_grants, undelivered, retries;
    uint64_t reports, reports_unknown;
};

/* ---- frontend_clients.c ---------------------------------------------------------------------- */

/** Sends a CALL to lock and notes it. */
lm_frontend_attempt_t *lm_frontend_clients_ask(lm_frontend_clients_t *room,
                                               lm_message_number_t number, const void *body,
                                               uint64_t deadline_us, lm_frontend_call_t *call);

/* ---- frontend_call.c: calls that lock decides ------------------------------------------------ */

/** A request for lock came in: from a client, or by Forward. Takes over the event. */
void lm_frontend_call_begin(lm_frontend_clients_t *room, lm_frontend_event_t *event);
void lm_frontend_call_on_answer(void *room, const lm_message_t *message, lm_outbox_t *out);
/** An attempt at the own lock will get no answer. */
void lm_frontend_call_failed(lm_frontend_clients_t *room, lm_frontend_attempt_t *attempt,
                             lm_rc_t why);
/** The lock actor has died and its successor is up: what was asked before is about to be asked
 *  again. */
void lm_frontend_call_lock_replaced(lm_frontend_clients_t *room);
/** Its timer has fired. */
void lm_frontend_call_due(lm_frontend_call_t *call);
/** An answer that is for this call; own says that the own lock gave it, as correlation. */
void lm_frontend_call_answer(lm_frontend_call_t *call, const lm_peer_lock_answer_t *answer,
                             uint64_t correlation);
/** Plans another attempt at the own lock, after a while that grows. */
void lm_frontend_call_retry(lm_frontend_call_t *call, lm_rc_t why);
/** The stream is over; frees the call. */
void lm_frontend_call_over(lm_frontend_call_t *call, bool undelivered);
/** The node stops: answers every call that still waits. */
void lm_frontend_call_stop_all(lm_frontend_clients_t *room);
/** True if the answer grants a lock. */
bool lm_frontend_call_grants(const lm_peer_lock_answer_t *answer);
/** The request as LOCK_CALL wants it, decoded into the scratch arena. */
const lm_peer_lock_call_t *lm_frontend_call_request(lm_frontend_call_t *call);
/** Its stream is over: nobody waits for it. Frees the call. */
void lm_frontend_call_leave(lm_frontend_call_t *call);
/** Frees a call without anything else; when the room ends. */
void lm_frontend_call_free(lm_frontend_call_t *call);

/* ---- frontend_forward.c ---------------------------------------------------------------------- */

/** Passes a call on to the node of that name; plans a retry if that cannot be done now. */
void lm_frontend_forward_to(lm_frontend_call_t *call, lm_bytes_t node);
/** The answer of that node, or that there is none. */
void lm_frontend_forward_answered(lm_frontend_clients_t *room, lm_frontend_event_t *event);
/** Nobody waits for its forwards any more. */
void lm_frontend_forward_leave(lm_frontend_call_t *call);
/** Checks who passed a call on to this node. Returns NULL and has finished the call if it is nobody
 *  to listen to; otherwise the request in it, checked, and from is who that was. */
const lm_peer_lock_call_t *lm_frontend_forward_accept(lm_frontend_clients_t *room,
                                                      lm_frontend_event_t *event,
                                                      lm_frontend_hop_t *from);
/** The message as that node has to get it: sealed where nodes share a key, and empty if it cannot
 * be sealed now. */
lm_bytes_t lm_frontend_forward_seal(lm_frontend_clients_t *room, lm_bytes_t node,
                                    lm_bytes_t message);
/** The configured peer that speaks, and LM_RC_OK; NULL, and why it is not listened to. */
const lm_bus_peer_config_t *lm_frontend_forward_sender(lm_frontend_clients_t *room,
                                                       const lm_frontend_event_t *event,
                                                       lm_bytes_t cluster_id, lm_bytes_t from,
                                                       lm_rc_t *why);
/** Somebody else leads now: calls at the former leader are tried anew. */
void lm_frontend_forward_leader_changed(lm_frontend_clients_t *room);

/* ---- frontend_undelivered.c: grants that found nobody ---------------------------------------- */

/** Tells the own lock that its grant found nobody. */
void lm_frontend_undelivered_own(lm_frontend_clients_t *room, uint64_t correlation);
/** Tells the other node, once and without a promise, that the answer to hop found nobody. */
void lm_frontend_undelivered_report(lm_frontend_clients_t *room, lm_frontend_hop_t hop);
/** That has ended, somehow. */
void lm_frontend_undelivered_reported(lm_frontend_clients_t *room, lm_frontend_handle_t *handle);
/** The own lock has granted what hop asked for; may be reported for a while. */
void lm_frontend_undelivered_remember(lm_frontend_clients_t *room, lm_frontend_hop_t hop,
                                      uint64_t correlation);
/** Another node reports. */
void lm_frontend_undelivered_begin(lm_frontend_clients_t *room, const lm_frontend_event_t *event);

/* ---- frontend_status.c ----------------------------------------------------------------------- */

/** GetStatus came in. */
void lm_frontend_status_begin(lm_frontend_clients_t *room, lm_frontend_event_t *event);
void lm_frontend_status_on_answer(void *room, const lm_message_t *message, lm_outbox_t *out);
void lm_frontend_status_failed(lm_frontend_clients_t *room, lm_frontend_attempt_t *attempt,
                               lm_rc_t why);
/** Asks lock how it stands, unless an answer is awaited; plans the next time. */
void lm_frontend_status_ask(lm_frontend_clients_t *room);
/** True if lock and raft are there, as far as this room has heard. */
bool lm_frontend_status_is_whole(const lm_frontend_clients_t *room);

/* ---- frontend_health.c: health and reflection ------------------------------------------------ */

void lm_frontend_health_check(lm_frontend_clients_t *room, lm_frontend_event_t *event);
void lm_frontend_stream_opened(lm_frontend_clients_t *room, lm_frontend_handle_t *handle);
/** Takes over the event. */
void lm_frontend_stream_received(lm_frontend_clients_t *room, lm_frontend_event_t *event);
void lm_frontend_stream_half_closed(lm_frontend_clients_t *room, lm_frontend_handle_t *handle);
void lm_frontend_stream_over(lm_frontend_clients_t *room, lm_frontend_handle_t *handle);
/** The answer to one request of a stream; ends the stream if its client does not read. */
void lm_frontend_stream_answer(lm_frontend_clients_t *room, lm_frontend_stream_t *stream,
                               lm_bytes_t message);
/** Ends a stream with an error, unless it has ended. */
void lm_frontend_stream_fail(lm_frontend_clients_t *room, lm_frontend_stream_t *stream,
                             const lm_frontend_error_t *error);
/** A request of the stream is dealt with: reads on, or ends it if nothing more will come. */
void lm_frontend_stream_dealt(lm_frontend_clients_t *room, lm_frontend_stream_t *stream,
                              size_t size);
/** Tells every watcher what has changed; called whenever that may be. */
void lm_frontend_health_look(lm_frontend_clients_t *room);

#endif
