/* The C client of lockmgr: calls with failover, safe repeats, holds that keep themselves.
 *
 * A client may be used by several threads at once. Requests and responses are the structs of
 * wire_api.h (made from proto/lockmgr/v1); docs/API.md says what they mean.
 *
 * Invariants
 *   K1  A call is repeated only if that is safe: reads, renewals, and calls with a request id or
 *       number. An Acquire, Release or OpenSession without one is given an id before its first
 *       attempt.
 *   K2  The deadline of a hold counts from the moment its granting or renewing attempt was sent, on
 *       CLOCK_BOOTTIME, never from the moment the answer came: it may be early, never late.
 *   K3  "Certainly not applied" is reported only for answers of lockmgr itself that say so and only
 *       if no other attempt of the same call has an unknown outcome.
 *   K4  What a node has answered with a refusal is repeated at most for a tenth of the calls, and
 *       once a second besides, never at once: an outage is not made worse by its own repeats.
 */
#ifndef LM_CLIENT_H
#define LM_CLIENT_H

#include "wire_api.h"

typedef struct lm_client lm_client_t;

/** The calls there are. */
typedef enum {
    LM_CLIENT_ACQUIRE,
    LM_CLIENT_RELEASE,
    LM_CLIENT_RENEW,
    LM_CLIENT_CANCEL,
    LM_CLIENT_GET,
    LM_CLIENT_LIST,
    LM_CLIENT_STATUS,
    LM_CLIENT_OPEN_SESSION,
    LM_CLIENT_KEEP_ALIVE,
    LM_CLIENT_CLOSE_SESSION,
    LM_CLIENT_GET_SESSION,
    LM_CLIENT_LIST_SESSIONS,
} lm_client_method_t;

/** How a call ended. */
typedef struct {
    int grpc_status;    /* 0: the response is there */
    lm_rc_t code;       /* lockmgr's own reason if it came along; else INTERNAL */
    bool own;           /* the answer came from lockmgr, not from gRPC or a proxy on the way */
    bool not_applied;   /* the caller may be sure that nothing was changed (K3) */
    char text[256];     /* for people; empty on success */
    char endpoint[160]; /* who answered last */
    uint64_t sent_us;   /* CLOCK_BOOTTIME when the answered attempt was sent */
    unsigned attempts;
} lm_client_result_t;

/** How a client proves itself and whom it trusts: paths of files, PEM but for the token; NULL or
 *  empty: none. A token is sent over TLS only. The files are looked at once a second while calls
 *  are made: renewed ones are used for new connections when all of them fit together again. */
typedef struct {
    const char *ca;   /* authorities that sign nodes; without it connections are not encrypted */
    const char *cert; /* own certificate, with key; or neither */
    const char *key;
    const char
        *server_name;       /* which the nodes' certificates must bear; none: the endpoint's host */
    const char *token_file; /* a bearer token, on the only line */
    const char *token;      /* the token itself; token_file is then not looked at */
} lm_client_tls_t;

/** For programs that tell of every failure themselves: what gRPC would write to stderr is dropped,
 *  in the whole process, unless the variable GRPC_VERBOSITY is set. Before the first client. */
void lm_client_silence(void);
/** As lm_client_open, with TLS. tls may be NULL. Returns NULL also if a file cannot be read or the
 *  options contradict each other. problem, if not NULL, gets why, for people. */
lm_client_t *lm_client_open_tls(const char *endpoints, const lm_client_tls_t *tls,
                                char problem[256]);
/** Opens a client for a comma-separated list of endpoints: "host:port", "dns:///name:port". No
 *  connection is made yet. The first attempt to make one is given up after 0.1 s, later ones
 *  after up to 0.5 s, with TLS all after 2 s: what is further away, there and back, is not reached.
 *  Returns NULL if the list is empty or too long (32). */
lm_client_t *lm_client_open(const char *endpoints);
/** All calls must have returned. */
void lm_client_close(lm_client_t **client);

/** Makes a call and waits for its end.
 *
 *  request      struct of the method's request type
 *  timeout_ms   for the whole call, attempts and all; at least 1
 *  arena        the response is decoded into it
 *  response     set to the struct of the method's response type on success
 */
lm_client_result_t lm_client_call(lm_client_t *client, lm_client_method_t method,
                                  const void *request, uint64_t timeout_ms, lm_arena_t *arena,
                                  const void **response);

/** The same without repeats and against the n-th endpoint only, to ask one node about itself. */
lm_client_result_t lm_client_ask(lm_client_t *client, size_t endpoint, lm_client_method_t method,
                                 const void *request, uint64_t timeout_ms, lm_arena_t *arena,
                                 const void **response);
size_t lm_client_endpoints(const lm_client_t *client);
const char *lm_client_endpoint(const lm_client_t *client, size_t n);

/** Type of a method's response, for printing it. */
const lm_wire_type_t *lm_client_response_type(lm_client_method_t method);

/** Until when a hold may be used, on CLOCK_BOOTTIME in microseconds (K2): sent_us +
 *  lease_remaining_ms less 1 percent and 50 ms; never before sent_us. */
uint64_t lm_client_deadline_us(uint64_t sent_us, int64_t lease_remaining_ms);
uint64_t lm_client_clock_us(void);

/** A random id of 32 hex digits and a NUL, for owners and requests. */
void lm_client_make_id(char id[33]);

/* ---- holds that keep themselves -----------------------------------------------------------------
 * A keeper renews one hold in a thread of its own at a third of its length, trying again until the
 * deadline, and tells when the hold is lost. */
typedef struct lm_keeper lm_keeper_t;

/** Begins to keep a granted hold; what it needs is copied. result is that of the granting call. A
 *  hold whose time is almost over, because it was waited for that long, is renewed here, which may
 *  take as long as its lease.
 *  lost_fd: an eventfd of the caller that becomes readable when the hold is lost; -1 for none. */
lm_keeper_t *lm_keeper_start(lm_client_t *client, const char *name, const char *owner,
                             const lm_api_acquire_response_t *grant,
                             const lm_client_result_t *result, int lost_fd);
/** Whether the hold may be used at this moment. False is final. */
bool lm_keeper_holds(const lm_keeper_t *keeper);
/** Why the hold was lost, for people; empty while it is not. Valid until the keeper is stopped. */
const char *lm_keeper_cause(const lm_keeper_t *keeper);
/** Stops keeping; releases the hold if release is true and it is not lost. Returns whether the hold
 *  was held, by its deadline, until now. */
bool lm_keeper_stop(lm_keeper_t **keeper, bool release);

#endif
