/* What the files of the driver share. Nobody else includes this.
 *
 * Threads: completions are handled by the gRPC thread alone. The functions of the table run in the
 * threads of the rooms and start batches right there: gRPC allows that for different calls at once,
 * and a call's own mutex keeps its batches apart. So no queue of wishes and no wake-up is needed,
 * and the write of an answer costs the gRPC thread nothing.
 *
 * Order of mutexes: exchange before driver before nothing. No batch is started under the driver's.
 */
#ifndef LM_FRONTEND_DRIVER_INTERNAL_H
#define LM_FRONTEND_DRIVER_INTERNAL_H

#include <grpc/grpc.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base_voice.h"
#include "frontend_access_file.h"
#include "frontend_driver.h"
#include "frontend_sentry.h"
#include "frontend_tls.h"

typedef struct lm_driver lm_driver_t;

/** What a completion is about. */
typedef struct lm_tag {
    void (*done)(struct lm_tag *tag, bool ok);
    bool first; /* of the peers room: handled before client calls that are ready with it */
} lm_tag_t;

/** The struct that a tag is a member of. */
#define LM_TAG_OWNER(tag, type, member) ((type *)(void *)((char *)(tag)-offsetof(type, member)))

typedef struct lm_channel {
    struct lm_channel *prev, *next;
    grpc_channel *grpc;
    lm_frontend_target_t target;
    unsigned in_flight;
    uint64_t version;     /* of the files of TLS */
    bool untried;         /* nothing has come of it yet: its name may still be looked up */
    uint64_t since_us;    /* made, first found to fail, or last seen connected */
    uint64_t patience_us; /* how long it may stay untried */
} lm_channel_t;

typedef struct lm_written {
    struct lm_written *next;
    grpc_byte_buffer *buffer;
    size_t size;
    uint64_t since_us;
} lm_written_t;

/** One call or stream, in or out. Fields are guarded by lock, but for those that never change. */
typedef struct lm_exchange {
    lm_frontend_handle_t handle; /* first, so that a handle is an exchange */
    lm_driver_t *driver;
    struct lm_exchange *prev, *next; /* in driver->exchanges */
    pthread_mutex_t lock;
    grpc_call *call;
    lm_channel_t *channel; /* outgoing */
    bool refused;          /* answered by the driver itself: no room knows of it */
    bool in_backlog;       /* the room has not looked at it yet */
    uint64_t connection;   /* on which it came in, as the sentry knows it */
    uint32_t weight;       /* bytes of it that count as useful unless it is taken back */

    lm_tag_t start_tag, end_tag, read_tag, write_tag, finish_tag;
    unsigned pending; /* batches in flight besides the one of end_tag */
    bool ended;       /* end_tag has come: gRPC is done with the call */
    bool over;        /* the last event is on its way: gRPC is not touched any more */
    bool told;        /* it is in the room's inlet; guarded by the driver's lock */
    int cancelled;    /* incoming: gRPC wants a place to say so */

    grpc_byte_buffer *incoming;
    bool reading, read_closed;
    size_t unread_bytes;

    bool metadata_sent, writing, write_failed;
    lm_written_t *queue, **queue_end;
    size_t queued_bytes;

    bool finishing, finish_started;
    int finish_status;
    char *finish_text;
    grpc_byte_buffer *finish_message; /* of an outgoing call: the request */
    grpc_slice finish_details;
    uint32_t finish_pushback_ms;

    grpc_metadata_array initial, trailing; /* outgoing */
    grpc_status_code status;
    grpc_slice status_text;
    uint64_t sent_us, ended_us;
    uint64_t arrived_us; /* incoming */
} lm_exchange_t;

typedef struct lm_server {
    lm_driver_t *driver;
    grpc_server *grpc;
    uint16_t port;
    lm_tag_t shut_tag;
    bool shutting;
} lm_server_t;

/** Completions of clients that wait until the peers have been served: a ring. */
typedef struct {
    grpc_event *events;
    size_t first, n, n_max;
} lm_later_t;

/** Of the servers. While they are being opened they belong to the room that opens them; nobody else
 *  may touch them, and a wish to shut them waits for its end. */
typedef enum {
    LM_DRIVER_NEW,
    LM_DRIVER_OPENING,
    LM_DRIVER_OPEN, /* or not bound */
    LM_DRIVER_SHUT  /* or never opened */
} lm_driver_phase_t;

struct lm_driver {
    lm_frontend_driver_t face; /* first */
    lm_voice_t *voice;         /* of the actor */
    lm_frontend_inlet_t clients, peers;
    grpc_completion_queue *queue;
    pthread_t thread;
    lm_later_t later; /* of the gRPC thread alone */
    lm_bytes_t overloaded_details, wrong_port_details;
    lm_frontend_figures_t figures; /* counted by the gRPC thread alone */

    pthread_mutex_t lock; /* guards what follows */
    lm_exchange_t *exchanges;
    lm_channel_t *channels;
    uint64_t patience_us; /* of new channels, as name servers have taught it; 0: nothing yet */
    lm_frontend_listen_t how;
    unsigned rooms_listening; /* bits 1 << participant */
    lm_driver_phase_t phase;
    bool dying;                    /* rooms are gone: events are freed, handles dropped at once */
    lm_server_t servers[LM_PORTS]; /* without a gRPC server: there is no such port */
    unsigned servers_open;         /* those not yet destroyed */
    pthread_cond_t changed;        /* an exchange or a server has gone */

    bool alone;                                  /* in its process */
    _Atomic(lm_frontend_sentry_t *) sentry;      /* NULL: not listening yet */
    _Atomic(lm_frontend_tls_t *) tls;            /* NULL: plaintext, or not listening yet */
    _Atomic(lm_frontend_access_file_t *) access; /* NULL: none, or not listening yet */
    _Atomic uint64_t shut_at_us;                 /* cancel what is left then; 0: not shutting */

    _Atomic uint32_t client_calls, client_backlog;
    _Atomic uint32_t shed_share;
    uint32_t shed_owed; /* of the gRPC thread alone */
    _Atomic uint64_t overloaded, unknown_method, shed;
};

/* ---- frontend_driver.c ----------------------------------------------------------------------- */

/** Puts an event into the inlet of a room; takes the event over. */
void lm_driver_tell(lm_driver_t *driver, lm_participant_t room, lm_frontend_event_t *event);
/** The same event, without a handle, for both rooms. */
void lm_driver_tell_both(lm_driver_t *driver, lm_frontend_event_kind_t kind, const char *text);

/* ---- frontend_exchange.c --------------------------------------------------------------------- */

/** A new exchange on a gRPC call that it takes over, entered in the driver's list. An incoming one
 *  is counted, here and at its end. */
lm_exchange_t *lm_exchange_new(lm_driver_t *driver, const lm_frontend_method_t *method,
                               grpc_call *call, bool incoming);
/** What came with it, to that port, counts as useful until its caller takes it back. */
void lm_exchange_weigh(lm_exchange_t *exchange, uint16_t port, size_t bytes);
/** Starts an incoming one: from now on its end will be told. */
void lm_exchange_accept(lm_exchange_t *exchange);
/** Starts an outgoing unary call. */
void lm_exchange_call(lm_exchange_t *exchange, lm_bytes_t payload, bool connected);
/** Starts an outgoing stream. */
void lm_exchange_open(lm_exchange_t *exchange);
/** Frees an exchange that is over. */
void lm_exchange_free(lm_exchange_t *exchange);

bool lm_exchange_send(lm_frontend_driver_t *, lm_frontend_handle_t *, lm_bytes_t, size_t);
void lm_exchange_consumed(lm_frontend_driver_t *, lm_frontend_handle_t *, size_t);
void lm_exchange_finish(lm_frontend_driver_t *, lm_frontend_handle_t *,
                        const lm_frontend_finish_t *);
void lm_exchange_cancel(lm_frontend_driver_t *, lm_frontend_handle_t *);
bool lm_exchange_stalled(lm_frontend_driver_t *, lm_frontend_handle_t *, uint64_t);
void lm_exchange_vouch(lm_frontend_driver_t *, lm_frontend_handle_t *);
void lm_exchange_address(lm_frontend_driver_t *, lm_frontend_handle_t *, char[LM_ADDRESS_BYTES]);
void lm_exchange_drop(lm_frontend_driver_t *, lm_frontend_handle_t *);

/** Bytes of a buffer as an event; oversized instead of the bytes if there are more than bytes_max.
 */
lm_frontend_event_t *lm_exchange_event_of(lm_frontend_event_kind_t kind, lm_exchange_t *exchange,
                                          grpc_byte_buffer *buffer, size_t bytes_max);

/* ---- frontend_bearer.c ----------------------------------------------------------------------- */

/** The token among the metadata of a call; NULL: none. To be freed. */
lm_frontend_bearer_t *lm_frontend_bearer_of(const grpc_metadata_array *metadata);

/* ---- frontend_server.c ----------------------------------------------------------------------- */

/** Opens all ports and begins to take calls. Returns NULL, or why not (in text). */
const char *lm_server_open_all(lm_driver_t *driver, char *text, size_t size);
/** Takes no more calls; CLOSED follows when the last has ended. */
void lm_server_shut_all(lm_driver_t *driver);
/** Cancels every call of servers that are being shut; does nothing to others. */
void lm_server_cancel_all(lm_driver_t *driver);

/* ---- frontend_channel.c ---------------------------------------------------------------------- */

/** A channel for one more call to target; *connected says whether it is open now. NULL: none of the
 *  pool is open. The exchange gives it back with lm_channel_release. */
lm_channel_t *lm_channel_acquire(lm_driver_t *driver, const lm_frontend_target_t *target,
                                 bool *connected);
void lm_channel_release(lm_driver_t *driver, lm_channel_t *channel);
void lm_channel_destroy_all(lm_driver_t *driver);

#endif
