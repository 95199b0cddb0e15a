/* The replicated state machine of a region: all locks, requests and tokens.
 *
 * Deterministic: the same commands give the same state, the same hash and the same effects on every
 * replica, however they are packed into log entries. It reads nothing but the command and itself.
 *
 * Invariants
 *   T1  op_seq grows by 1 with every command applied and by 1 more with every further grant that a
 *       command makes; a hold is numbered by the op_seq of its grant, a wait by the op_seq of the
 *       command that began it (S1).
 *   T2  A fencing token is epoch * 2^48 + op_seq of the grant that minted it (S3, S5).
 *   T3  Expire, Leave, Abandon and WaitTimeout under another pair than the last applied Takeover's
 *       change nothing but op_seq and the hash (S8); so does a Takeover that is not greater.
 *   T4  A request has at most one record; waits and living holds are never evicted; a finished
 *       record enters the ring at the op_seq of its end (S12a).
 *   T5  One owner has at most one wait or hold on a lock. A second Acquire of that owner with
 *       another request id is decided here: it gets the hold back with the next claim, its TTL
 *       untouched, or joins the wait (S11b). The new id then is one more name of that wait or hold
 *       and shares its fate, whatever befalls it: a repeat of any of its ids finds the same wait,
 *       the same hold with its present claim, the same end; Leave and Abandon make all of them
 *       unknown; a Cancel of any of them ends the wait for all of them. Only the mark that a
 *       Cancel puts on a hold belongs to the one id. At most LM_JOINED_IDS_MAX ids join; then the
 *       oldest of them is retired.
 *   T6  Final answers are recorded, so that a repeat gets the same one: granted, HELD, timed out,
 *       released, STALE_HOLD (of a Release), MODE_MISMATCH. Refusals that leave the request free
 *       to be tried again are not: QUOTA_EXCEEDED, REQUEST_REUSED, OUTCOME_UNKNOWN, and any of a
 *       Renew.
 *   T7  Commands applied before the first Takeover are decided by the built-in settings (S4).
 *   T8  A session is numbered by the op_seq of the command that opened it. It is the owner of all
 *       requests in it, whose keys have its number (lm_command_key); no other owner can have that
 *       name. A command in a session counts only with the session's identity and secret, and while
 *       it lives (S12c). A session's holds have no lease of their own: Expire of one is void, Renew
 *       of one is refused, and the session's end is theirs. When it ends, all that is known of the
 *       requests in it is forgotten: every further copy is refused.
 *   T9  A numbered request (S12b) is executed at most once, whatever is evicted: the session
 *       remembers it, finished or not, until its done_below has passed the number; then the number
 *       is refused for ever. Stamp and seen do not count for it. At most session_window numbers
 *       are remembered; a further one is refused.
 */
#ifndef LM_CORE_TABLE_H
#define LM_CORE_TABLE_H

#include "base_arena.h"
#include "base_result.h"
#include "core_command.h"
#include "core_lock.h"

/** Number of bits of op_seq in a token. */
#define LM_OP_SEQ_BITS 48
#define LM_OP_SEQ_MAX ((UINT64_C(1) << LM_OP_SEQ_BITS) - 1)
/** Further request ids that one wait or hold goes by (T5). */
#define LM_JOINED_IDS_MAX 8

/** Token of a grant. epoch 0..32767, op_seq 1..2^48-1; stops the actor outside of that. */
int64_t lm_fence_token(uint16_t epoch, uint64_t op_seq);

/** States of a request's record. A request without a record is unknown. */
typedef enum {
    LM_RECORD_WAITING = 1,
    LM_RECORD_HOLDING,
    LM_RECORD_ENDED,   /* finished: result and cause say how */
    LM_RECORD_RETIRED, /* taken back by Cancel: will never be executed */
    LM_RECORD_OPEN,    /* an OpenSession whose session lives; its number is wait_number */
} lm_record_state_t;

typedef enum {
    LM_END_NONE,
    LM_END_RELEASED,       /* a hold was given back; also the result of a Release request */
    LM_END_EXPIRED,        /* its lease ran out, or that of its session */
    LM_END_ABANDONED,      /* nobody received the grant */
    LM_END_TIMED_OUT,      /* a wait's time was over */
    LM_END_HELD,           /* an Acquire that did not want to wait */
    LM_END_CANCELLED,      /* taken back */
    LM_END_REFUSED,        /* a Release of a stale hold, or a mode mismatch: code says which */
    LM_END_SESSION_CLOSED, /* with its session */
} lm_end_t;

typedef struct lm_entry lm_entry_t; /* a lock: see the accessors */

/** A request as the state machine remembers it: while it waits or holds, and afterwards in the
 *  ring. Everything is read-only for callers; it lives until the next lm_table_apply, and so does
 *  what its accessors return. A finished record is cut off behind seat.token: nothing from there on
 *  exists. */
typedef struct lm_record {
    lm_ref_t internal_key_next;
    uint32_t internal_key_hash;
    lm_record_state_t state : 4;
    lm_end_t end : 4; /* of a finished one */
    lm_rc_t code : 8; /* with LM_END_REFUSED; of an OpenSession whose session has ended */
    uint32_t internal_id_size : 8;
    bool cancelled : 1; /* a Cancel met the hold: any end leaves it retired (S10d) */
    bool internal_release : 1, internal_any_body : 1, internal_joined : 1, internal_has_joined : 1;
    bool internal_opening : 1; /* of an OpenSession */
    lm_ref_t internal_owner;
    uint64_t internal_body_hash;
    union {
        uint64_t wait_number; /* while waiting or holding: op_seq of the command that began it; of
                                 an OpenSession the session's number, while that lives */
        uint64_t internal_finished; /* of a finished one: op_seq of its end */
        lm_ref_t internal_origin;   /* of one that joined */
    };
    lm_seat_t seat; /* number: of the hold, or of the wait */
    /* ---- only while waiting or holding ---- */
    lm_ref_t internal_lock, internal_number_next;
    uint64_t basis : 48;         /* of a hold: op_seq of its grant or last renewal (S2) */
    uint64_t internal_image : 8; /* number of the last image that it need not be written to */
    uint32_t ttl_ms;             /* 0 in a session */
    uint32_t claim;              /* of a hold: how often it was handed back to its owner (S11b) */
    uint8_t internal_text[];
} lm_record_t;

/** Identity, owner and request id of a record; of several ids of one wait or hold, the first. */
lm_request_key_t lm_record_key(const lm_record_t *record);
/** Number of the session whose request it is; 0 if it is none's. */
uint64_t lm_record_session(const lm_record_t *record);

typedef struct lm_table lm_table_t;

/** An empty table. epoch is the restore epoch of the region's history (0 for a new region). */
lm_table_t *lm_table_new(uint16_t epoch);
void lm_table_destroy(lm_table_t **table);

/** What applying one command did: exactly one answer to the command itself, first, and then one
 *  effect for each consequence, in order. Views and records in it are valid until the next
 *  lm_table_apply.
 *
 *  acquire       ACQUIRED | QUEUED | FINISHED | REFUSED; then REATTACHED
 *  release       FINISHED (record is the Release's own: ended RELEASED, or REFUSED with code)
 *                | REFUSED; then HOLD_ENDED, GRANTED...
 *  renew         RENEWED | REFUSED
 *  cancel        CANCELLED; then WAIT_ENDED, GRANTED...
 *  takeover      TAKEN_OVER | VOID
 *  open_session  SESSION_OPENED | FINISHED (with SESSION_ENDED, or taken back) | REFUSED
 *  keep_alive    SESSION_KEPT | REFUSED
 *  close_session    DONE | REFUSED; then as expire_session
 *  expire_session   DONE | VOID; then SESSION_ENDED, WAIT_ENDED..., HOLD_ENDED..., GRANTED...
 *  expire, abandon        DONE | VOID; then HOLD_ENDED, GRANTED...
 *  leave, wait_timeout    DONE | VOID; then WAIT_ENDED, GRANTED... */
typedef enum {
    /* answers to the command itself */
    LM_EFFECT_ACQUIRED,   /* record holds: granted by this command, or was holding already */
    LM_EFFECT_QUEUED,     /* record waits: since this command, or already */
    LM_EFFECT_FINISHED,   /* record is ended or retired: now, or the request was repeated late */
    LM_EFFECT_RENEWED,    /* record holds; basis is new */
    LM_EFFECT_REFUSED,    /* code says why; there is no record; nothing changed */
    LM_EFFECT_CANCELLED,  /* Cancel: see record's state: retired or ended or holding */
    LM_EFFECT_TAKEN_OVER, /* a Takeover that counts */
    LM_EFFECT_SESSION_OPENED, /* session lives: opened by this command, or by an earlier copy */
    LM_EFFECT_SESSION_KEPT,   /* session has a new basis */
    LM_EFFECT_VOID,           /* a command under another pair, or whose object has moved on */
    LM_EFFECT_DONE, /* Expire, Leave, Abandon, WaitTimeout, CloseSession, ExpireSession that
                       counted */
    /* consequences */
    LM_EFFECT_GRANTED,    /* record has left the queue and holds now */
    LM_EFFECT_HOLD_ENDED, /* record held until now; end says why; its number is hold */
    LM_EFFECT_WAIT_ENDED, /* record waited until now and was not granted; its number is wait_number;
                             end is TIMED_OUT, CANCELLED, or ABANDONED for a Leave */
    LM_EFFECT_REATTACHED, /* record's claim has grown: a second Acquire of its owner */
    LM_EFFECT_SESSION_ENDED, /* session lived until now; end says why; what it had ends next */
} lm_effect_kind_t;

/** Which limit does not let a command in. */
typedef enum {
    LM_LIMIT_NONE,
    /* members of lm_settings_t */
    LM_LIMIT_LOCKS,
    LM_LIMIT_HOLDS,
    LM_LIMIT_WAITERS,
    LM_LIMIT_SESSIONS,
    LM_LIMIT_CLAIMS, /* a hold has been handed back 2^32 - 1 times */
} lm_limit_t;

typedef struct {
    lm_effect_kind_t kind;
    lm_rc_t code;     /* REFUSED; FINISHED when the record has one; otherwise OK */
    lm_limit_t limit; /* REFUSED with QUOTA_EXCEEDED; otherwise NONE. For people: not in the hash */
    lm_end_t end;     /* FINISHED, CANCELLED (not of a hold), HOLD_ENDED, WAIT_ENDED */
    uint64_t op_seq;  /* of the command, or of the grant */
    /* ACQUIRED, GRANTED, RENEWED, HOLD_ENDED, REATTACHED, CANCELLED of a hold, FINISHED of a
     * Release that has just ended one; otherwise 0. */
    uint64_t hold;
    uint64_t wait_number; /* QUEUED, WAIT_ENDED, GRANTED; otherwise 0 */
    uint64_t session;     /* of SESSION_..., and of DONE about one; otherwise 0 */
    /* NULL where the request left no record (Leave and Abandon make it unknown, so does the end of
     * its session, and any end of a numbered request that its session was done with: then key
     * tells whose it was), and with REFUSED, VOID, DONE, TAKEN_OVER, SESSION_KEPT and
     * SESSION_ENDED. */
    const lm_record_t *record;
    /* Of an answer: the command's (empty for those without); otherwise of the record. */
    lm_request_key_t key;
    /* Of the lock, empty if there is none. Where nobody holds or waits any more, and in refusals,
     * it may be the command's own view, as key is. */
    lm_bytes_t name;
} lm_effect_t;

typedef struct {
    size_t n;
    const lm_effect_t *items;
} lm_effects_t;

/** Applies one command. Total for every command that the decoder of wire_command.h lets through:
 *  whatever its numbers are, and whatever exists or not. Stops the actor at what the decoder
 *  refuses: unknown kinds and modes, texts beyond the limits of base_limits.h.
 *
 *  Refusals of an Acquire or Release that are decided here: REQUEST_REUSED (same key, other body),
 *  OUTCOME_UNKNOWN (S12a: seen, or its record may have been evicted), QUOTA_EXCEEDED; and, as
 *  FINISHED with a record, MODE_MISMATCH and STALE_HOLD. A Renew of a hold that is not this one:
 *  REFUSED with STALE_HOLD.
 *
 *  Refusals in a session: SESSION_ENDED, SESSION_DENIED, REQUEST_TOO_OLD, WINDOW_FULL;
 *  REQUEST_REUSED of a Cancel whose id opened a session. */
lm_effects_t lm_table_apply(lm_table_t *table, const lm_command_t *command);

/* ---- reading, for the leader and for tests --------------------------------------------------- */

/** Number of commands applied and of further tokens minted (S1). */
uint64_t lm_table_op_seq(const lm_table_t *table);
/** Rolling hash over every command and its effects; equal on all replicas at the same op_seq. */
uint64_t lm_table_hash(const lm_table_t *table);
/** Pair of the last Takeover applied, and the settings that came with it. */
lm_pair_t lm_table_pair(const lm_table_t *table);
const lm_settings_t *lm_table_settings(const lm_table_t *table);

/** Record of a request; NULL if it is unknown. For an id that joined a wait or hold of its owner
 *  (T5) it is the record of that wait or hold. */
const lm_record_t *lm_table_find(const lm_table_t *table, const lm_request_key_t *key);
/** The same for a repeat of an Acquire, Release or OpenSession (kind) with that body:
 *  LM_RC_REQUEST_REUSED, and *record NULL, if the key was used for another request (S12); otherwise
 *  LM_RC_OK. This is how apply itself decides, after lm_session_admits. */
lm_rc_t lm_table_lookup(const lm_table_t *table, lm_command_kind_t kind,
                        const lm_request_key_t *key, uint64_t body_hash,
                        const lm_record_t **record);
/** True if a finished record of that request is present: what a copy's `seen` says (S12a). */
bool lm_table_seen(const lm_table_t *table, const lm_request_key_t *key);
/** Lock of that name; NULL if nobody holds it or waits for it. */
const lm_entry_t *lm_table_lock(const lm_table_t *table, lm_bytes_t name);
lm_bytes_t lm_entry_name(const lm_entry_t *lock);
const lm_lock_value_t *lm_entry_value(const lm_entry_t *lock);
/** First holder, first waiter; NULL if there is none. lm_seat_next goes on. */
const lm_seat_t *lm_entry_holders(const lm_entry_t *lock);
const lm_seat_t *lm_entry_waiters(const lm_entry_t *lock);
/** Record behind a seat of a lock's value. */
const lm_record_t *lm_record_of(const lm_seat_t *seat);
/** Lock of a record that waits or holds. */
const lm_entry_t *lm_record_lock(const lm_record_t *record);
/** Token of a hold, also after its end, and of the Release that ended it; otherwise 0. */
int64_t lm_record_token(const lm_record_t *record);
/** Hold or wait of that owner on that lock; NULL if it has none. */
const lm_record_t *lm_table_of_owner(const lm_table_t *table, lm_bytes_t name, lm_bytes_t identity,
                                     lm_bytes_t owner);
/** Hold or wait by its number; NULL if it has ended. A wait that was granted has ended as a
 *  wait. */
const lm_record_t *lm_table_hold(const lm_table_t *table, uint64_t hold);
const lm_record_t *lm_table_wait(const lm_table_t *table, uint64_t wait_number);

/** Calls each for every hold and every wait, in order of their creation; each must not apply. */
void lm_table_each(const lm_table_t *table, void (*each)(void *arg, const lm_record_t *record),
                   void *arg);
/** The first lock by name that is >= from (or > from if after is true) and begins with prefix; NULL
 *  if there is none. Walking a prefix this way costs O(log n) a step. */
const lm_entry_t *lm_table_seek(const lm_table_t *table, lm_bytes_t prefix, lm_bytes_t from,
                                bool after);

/* ---- sessions -------------------------------------------------------------------------------- */

typedef struct lm_session lm_session_t;

typedef struct {
    uint64_t number;
    lm_request_key_t key; /* of its OpenSession: identity, name of the client, request id */
    lm_bytes_t secret;
    uint32_t ttl_ms;
    uint32_t n_living;   /* waits and holds */
    uint32_t n_open;     /* request numbers from done_below on that are remembered */
    uint64_t basis;      /* op_seq of its opening or of the last KeepAlive (S2) */
    uint64_t done_below; /* smaller request numbers are refused (S12b) */
} lm_session_info_t;
lm_session_info_t lm_session_info(const lm_session_t *session);

/** The session of that number; NULL if it has ended or never was. */
const lm_session_t *lm_table_session(const lm_table_t *table, uint64_t number);
/** The oldest session, and the one that was opened next; NULL if there is none. */
const lm_session_t *lm_table_sessions(const lm_table_t *table);
const lm_session_t *lm_session_newer(const lm_session_t *session);
/** Whether that caller may use that session (S12c): SESSION_ENDED, SESSION_DENIED or OK, then with
 *  *session, which may be NULL. How long it takes tells nothing about the secret. */
lm_rc_t lm_table_enter(const lm_table_t *table, uint64_t number, lm_bytes_t identity,
                       lm_bytes_t secret, const lm_session_t **session);
/** Whether a request of that number is to be looked at (S12b): REQUEST_TOO_OLD; WINDOW_FULL if it
 *  is a new one and there is no room for it; otherwise OK, always for number 0. */
lm_rc_t lm_session_admits(const lm_table_t *table, const lm_session_t *session, uint64_t number);
/** Calls each for every wait and hold of a session, in order of their creation; each must not
 *  apply. */
void lm_session_each(const lm_session_t *session,
                     void (*each)(void *arg, const lm_record_t *record), void *arg);

typedef struct {
    uint64_t locks, holds, waiters;
    uint64_t records; /* of all states; ids that joined have one each */
    uint64_t sessions;
} lm_table_counts_t;
lm_table_counts_t lm_table_counts(const lm_table_t *table);

/** Stops the actor if any invariant of the table does not hold; slow, for tests. */
void lm_table_verify(const lm_table_t *table);

#endif
