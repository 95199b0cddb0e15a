/* What the frontend's rooms and its gRPC driver say to each other.
 *
 * The driver owns everything of gRPC: one completion queue, one thread, the servers, the channels.
 * It speaks to a room by events in the room's inlet; a room speaks to it by the functions of a
 * table, so that a test can put something else in the driver's place.
 *
 * Invariants
 *   FD1  A call or stream is a handle. The driver makes it for an incoming one (CALLED, OPENED),
 *        a room for an outgoing one (call, open). For each handle there is exactly one last
 *        event: OVER for an incoming one, ANSWERED for an outgoing one. After it the room drops
 *        the handle; until then it stays valid, whatever happened to its connection.
 *   FD2  Messages of one handle arrive in the order in which they were sent, in both directions.
 *   FD3  Events are freed by the room that gets them (lm_frontend_event_free).
 *   FD4  All functions of the table may be called from the thread of any room; none blocks.
 */
#ifndef LM_FRONTEND_DRIVER_H
#define LM_FRONTEND_DRIVER_H

#include "act_room.h"
#include "core_access.h"
#include "frontend_figures.h"
#include "frontend_methods.h"

/** Who the caller is, as its certificate says and an authority of tls has signed. */
typedef struct {
    bool is_client; /* by one that does not sign nodes and regions: it speaks for none. Found out
                       for methods between nodes only */
    lm_bytes_t identity; /* the first DNS name, else the first URI, else the common name; or none */
    size_t n_names;      /* all DNS names */
    lm_bytes_t names[];
} lm_frontend_party_t;

/** A token that came along with a call. Of the token itself nothing is kept. */
typedef struct {
    bool readable; /* false: what came is no bearer token, or there are several */
    uint8_t digest[LM_ACCESS_DIGEST_BYTES];
} lm_frontend_bearer_t;

typedef struct {
    const lm_frontend_method_t *method;
    bool incoming;
    const lm_frontend_party_t *party;   /* of an incoming one; NULL: it has shown no certificate */
    const lm_frontend_bearer_t *bearer; /* of an incoming one; NULL: no token came along */
    void *owner;                        /* the room's own; the driver never looks at it */
} lm_frontend_handle_t;

typedef enum {
    LM_FRONTEND_LISTENING,   /* all servers accept connections */
    LM_FRONTEND_NOT_BOUND,   /* a port could not be had; text says which */
    LM_FRONTEND_ACCESS,      /* who may do what: payload is the text of the file, clients room only;
                                once before LISTENING, and whenever the file has changed */
    LM_FRONTEND_PEER_KEYS,   /* payload: lm_tls_keys_t, to be wiped; peers room only, once, before
                                LISTENING */
    LM_FRONTEND_REGION_KEYS, /* the same of region.peer_key, after those */
    LM_FRONTEND_CALLED,      /* a unary call came in: payload, deadline_us, oversized */
    LM_FRONTEND_OPENED,      /* a stream came in */
    LM_FRONTEND_RECEIVED,    /* a message on a stream: payload */
    LM_FRONTEND_HALF_CLOSED, /* the other side will send no more on this incoming stream */
    LM_FRONTEND_OVER,        /* incoming, last: undelivered */
    LM_FRONTEND_ANSWERED,    /* outgoing, last: status, text, payload, round_trip_us */
    LM_FRONTEND_CLOSED,      /* the servers are shut and no call is left */
    LM_FRONTEND_OTHER_ENDED, /* the process' other room has ended with the exit class status */
} lm_frontend_event_kind_t;

typedef struct {
    lm_frontend_event_kind_t kind;
    lm_frontend_handle_t *handle; /* NULL where the event is about no call */
    uint64_t arrived_us;          /* CALLED: when the driver took it, CLOCK_MONOTONIC */
    uint64_t deadline_us;         /* CALLED: the caller's, CLOCK_MONOTONIC; 0: none */
    uint64_t round_trip_us;       /* ANSWERED: from sending on an open connection to the answer */
    int status;                   /* ANSWERED: gRPC status */
    bool undelivered;             /* OVER: the call ended before its finish, which certainly has
                                     not arrived; otherwise it may have */
    bool sifted;    /* CALLED: the driver has refused its share of such calls (shed) */
    bool oversized; /* CALLED, RECEIVED: was too large and is not here */
    bool missing;   /* CALLED: the caller sent no message at all */
    char text[120]; /* ANSWERED: what the other side says; NOT_BOUND: why */
    size_t size;
    uint8_t payload[];
} lm_frontend_event_t;

/** An event with room for size bytes, all zero. */
lm_frontend_event_t *lm_frontend_event_new(lm_frontend_event_kind_t kind,
                                           lm_frontend_handle_t *handle, size_t size);
void lm_frontend_event_free(lm_frontend_event_t *event);
lm_bytes_t lm_frontend_event_payload(const lm_frontend_event_t *event);

/** How the servers listen; the same from both rooms. */
typedef struct {
    char address[64]; /* 0.0.0.0, ::, 127.0.0.1, ... */
    uint32_t grpc_port, region_port;
    uint32_t raft_port;   /* of the region's nodes alone; 0: they share the gRPC port */
    uint32_t streams_max; /* concurrent streams per connection */
    uint32_t request_bytes_max;
    uint32_t connections_per_address_max; /* 0: no limit */
    uint32_t connection_age_ms;           /* on the gRPC port, but for nodes; 0: never */
    uint32_t connection_grace_ms;         /* that its calls have at least after that */
    uint32_t keepalive_time_ms, keepalive_timeout_ms;
    uint32_t keepalive_min_interval_ms;            /* of pings of clients */
    bool reflection;                               /* is there */
    char tls_ca[256], tls_cert[256], tls_key[256]; /* paths; all empty: plaintext */
    char tls_peer_ca[256];  /* path of who signs nodes and regions; empty: tls_ca */
    bool clients_certified; /* a client without a certificate is not let in */
    char access[256];       /* path of the tokens and grants; empty: none */
    char peer_key[256];     /* path of the keys that nodes share; empty: none */
    char region_key[256];   /* path of the keys that regions share; empty: peer_key */
} lm_frontend_listen_t;

typedef enum {
    LM_CHANNEL_FORWARD, /* one of a pool of open connections; none open: the call is refused */
    LM_CHANNEL_REGION,  /* one that is kept open from call to call */
    LM_CHANNEL_FRESH,   /* made for this call alone */
    LM_CHANNEL_OWN,     /* the same, to the own listener, which is given all the time of the call */
} lm_frontend_channel_kind_t;

typedef struct {
    lm_frontend_channel_kind_t kind;
    char host[256];
    uint32_t port;
    char name[64]; /* which the certificate of the other side must bear, if there is TLS */
} lm_frontend_target_t;

/** How a call ends. */
typedef struct {
    int status;           /* gRPC status */
    const char *text;     /* for people; may be NULL */
    lm_bytes_t message;   /* the answer of a unary call that is OK */
    lm_bytes_t details;   /* serialized google.rpc.Status; empty: none */
    uint32_t pushback_ms; /* when to come again, for clients that repeat by themselves; 0: unsaid */
} lm_frontend_finish_t;

/** Counters of what the driver refuses by itself, and what else only it knows. */
typedef struct {
    uint64_t overloaded;           /* client calls beyond the bound */
    uint64_t shed;                 /* acquires, as shed has it */
    uint64_t unknown_method;       /* calls of methods that do not exist on that port */
    uint64_t wasteful;             /* connections ended for what they sent */
    uint64_t crowded;              /* connections ended because descriptors became few */
    uint64_t beyond_address;       /* connections ended because their address had too many */
    uint64_t aged;                 /* connections ended because their calls outlived their age */
    uint64_t connections;          /* those that are open, no counter */
    uint64_t handshakes;           /* of TLS that failed, on either side */
    int64_t certificate_expires_s; /* seconds since 1970; 0: there is no certificate */
} lm_frontend_refused_t;

enum { LM_ADDRESS_BYTES = 72 };

typedef struct lm_frontend_driver lm_frontend_driver_t;

typedef struct {
    /** Each room calls it once; when both have, the servers open. Answer: LISTENING or NOT_BOUND to
     *  both rooms, or none if the other room has shut the driver by then. */
    void (*listen)(lm_frontend_driver_t *driver, lm_participant_t room,
                   const lm_frontend_listen_t *how);
    /** Queues a message on a stream. Returns false, and queues nothing, if queue_bytes_max would be
     *  exceeded or the stream is over or finishing. */
    bool (*send)(lm_frontend_driver_t *driver, lm_frontend_handle_t *handle, lm_bytes_t message,
                 size_t queue_bytes_max);
    /** A received message of that many bytes has been dealt with; the driver reads on. */
    void (*consumed)(lm_frontend_driver_t *driver, lm_frontend_handle_t *handle, size_t size);
    /** Ends an incoming call or stream, after what was queued on it; a failure, while something is
     *  still queued, by a reset of the stream. Once; OVER follows. */
    void (*finish)(lm_frontend_driver_t *driver, lm_frontend_handle_t *handle,
                   const lm_frontend_finish_t *how);
    /** Starts an outgoing unary call. Returns NULL if nothing was sent and nothing will be: no
     *  connection is open (kind FORWARD). */
    lm_frontend_handle_t *(*call)(lm_frontend_driver_t *driver, const lm_frontend_target_t *target,
                                  lm_frontend_method_id_t method, lm_bytes_t payload,
                                  uint64_t deadline_us, void *owner);
    /** Opens an outgoing stream on a connection of its own. */
    lm_frontend_handle_t *(*open)(lm_frontend_driver_t *driver, const lm_frontend_target_t *target,
                                  lm_frontend_method_id_t method, void *owner);
    /** Ends an outgoing call or stream from this side; ANSWERED follows. May be repeated. */
    void (*cancel)(lm_frontend_driver_t *driver, lm_frontend_handle_t *handle);
    /** True if a message has been waiting to be written since before since_us. */
    bool (*stalled)(lm_frontend_driver_t *driver, lm_frontend_handle_t *handle, uint64_t since_us);
    /** Gives a handle back after its last event. */
    void (*drop)(lm_frontend_driver_t *driver, lm_frontend_handle_t *handle);
    /** From now on that share of the calls whose methods say sheds, in 1/1024, is refused as
     *  OVERLOADED without a room hearing of it: a refusal must cost little where there is too much
     *  to do. */
    void (*shed)(lm_frontend_driver_t *driver, uint32_t share);
    /** Stops accepting; open calls may end until grace_us from now and are cancelled then. CLOSED
     *  follows to both rooms. May be repeated. */
    void (*shut)(lm_frontend_driver_t *driver, uint64_t grace_us);
    lm_frontend_refused_t (*refused)(lm_frontend_driver_t *driver);
    /** Of everything that came in, refused or not; valid as long as the driver. */
    const lm_frontend_figures_t *(*figures)(lm_frontend_driver_t *driver);
    /** Where an incoming call comes from, as gRPC writes it; "" if that is not known any more. */
    void (*address)(lm_frontend_driver_t *driver, lm_frontend_handle_t *handle,
                    char address[LM_ADDRESS_BYTES]);
    /** Who makes that incoming call has proven to be a node or a region: its connection may send
     *  what these send. */
    void (*vouch)(lm_frontend_driver_t *driver, lm_frontend_handle_t *handle);
} lm_frontend_driver_ops_t;

struct lm_frontend_driver {
    const lm_frontend_driver_ops_t *ops;
};

/** Where the driver puts a room's events: lm_inlet_put in production. */
typedef struct {
    void (*put)(void *inlet, void *event);
    void *inlet;
} lm_frontend_inlet_t;

/** Starts the gRPC thread. gRPC must be set up (frontend_actor.h). alone: no other actor lives in
 *  this process, so that its memory is the frontend's. */
lm_frontend_driver_t *lm_frontend_driver_new(lm_frontend_inlet_t clients, lm_frontend_inlet_t peers,
                                             bool alone);
/** Ends every call, closes everything and joins the thread. Handles that rooms still have become
 *  invalid, so both rooms must have ended. */
void lm_frontend_driver_destroy(lm_frontend_driver_t **driver);

#endif
