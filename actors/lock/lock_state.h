/* What the files of the lock actor share: its state, and what they do for each other.
 *
 *   call      one LOCK_CALL without an answer
 *   party     an owner and a lock name, while anybody asks for that pair here: all ids of one wait
 *             belong to one party, and so do all listeners of it (S10)
 *   lease     the leader's clock of one hold, and who has been told of it
 *   session   the leader's clock of one session: its holds have leases that only the session ends
 *   proposal  a command on its way into the log
 *   batch     the proposals of one entry
 *   snapshot  an image of the state that raft wants to keep; restoring is loading one of raft's
 *
 * Invariants
 *   K1  Leases, sessions, parties, proposals and batches exist only while this lock leads; all of
 *       them go when it ceases to, and every call then gets FORWARD.
 *   K2  A call of an Acquire belongs to its party from its handling to its end; the other kinds
 *       belong to none.
 *   K3  parks of a party = its Leave, Abandon and WaitTimeout commands in the
 *       queue or on their way (S10c). While it is not 0, new calls of the party wait, and no
 *       further such command is made.
 *   K4  While serving, every hold of the table has exactly one lease, or the walk after the
 *       Takeover has not come to it yet.
 *   K5  Nothing is proposed or answered from the table before the own Takeover has been applied,
 *       or after one of somebody else (S8, S10b).
 *   K6  While serving, every session of the table has exactly one clock, or is not older than
 *       arming_session, where the walk after the Takeover has not come to yet.
 */
#ifndef LM_LOCK_STATE_H
#define LM_LOCK_STATE_H

#include <sys/queue.h>

#include "base_histogram.h"
#include "base_limits.h"
#include "core_image.h"
#include "lock_ages.h"
#include "lock_limits.h"
#include "lock_map.h"
#include "lock_room.h"
#include "lock_timer.h"
#include "wire_api.h"
#include "wire_bus.h"
#include "wire_peer.h"

typedef struct lm_lock_call lm_lock_call_t;
typedef struct lm_lock_party lm_lock_party_t;
typedef struct lm_lock_lease lm_lock_lease_t;
typedef struct lm_lock_session lm_lock_session_t;
typedef struct lm_lock_told lm_lock_told_t;
typedef struct lm_lock_proposal lm_lock_proposal_t;

TAILQ_HEAD(lm_lock_calls, lm_lock_call);
TAILQ_HEAD(lm_lock_proposals, lm_lock_proposal);
TAILQ_HEAD(lm_lock_tolds, lm_lock_told);
TAILQ_HEAD(lm_lock_parties, lm_lock_party);

typedef enum {
    LM_STAGE_EARLY,     /* this node does not know yet where it stands (lock_calls.c) */
    LM_STAGE_PARKED,    /* an end of its wait or hold is on its way (S10c) */
    LM_STAGE_READING,   /* waits for a round of ReadIndex */
    LM_STAGE_LISTENING, /* an Acquire: waits for what apply says of its id or its wait */
    LM_STAGE_PROPOSED,  /* any other change: waits for its own command */
} lm_lock_stage_t;

struct lm_lock_call {
    lm_lock_link_t link; /* calls by correlation */
    lm_lock_timer_t timer;
    TAILQ_ENTRY(lm_lock_call) in_all;
    TAILQ_ENTRY(lm_lock_call) in_party;
    TAILQ_ENTRY(lm_lock_call) in_stage; /* EARLY and READING */
    struct lm_lock_calls *stage_list;   /* the list in_stage is in; NULL: none */
    lm_caller_t from;
    lm_peer_lock_call_request_case_t kind;
    lm_lock_stage_t stage;
    lm_lock_party_t *party;       /* of an Acquire that has been handled */
    lm_lock_proposal_t *proposal; /* in stage PROPOSED */
    lm_request_key_t key;         /* as the table knows it; views here and below are of text */
    lm_bytes_t name;              /* or prefix of a List */
    lm_bytes_t page_token;
    lm_mode_t mode;
    bool wait;
    uint32_t page_size;
    uint64_t ttl_ms; /* clamped; 0 in a Renew that keeps the length */
    uint64_t hold, claim;
    uint64_t body_hash;
    uint64_t session; /* in which it is made, or which it is about; 0: none */
    uint64_t request_number, done_below, known_version, holds_after;
    uint8_t secret[LM_SESSION_SECRET_BYTES];
    lm_key_texts_t key_texts; /* until the call has its own text */
    bool stamped, seen;       /* S12a */
    uint64_t stamp;
    bool maybe_applied; /* something was proposed for it and may be applied */
    bool read;          /* a round of ReadIndex has confirmed what it reads */
    bool due;           /* an Acquire whose wait time is over */
    uint64_t arrived_us;
    bool pending; /* listens, and an Acquire of its request id is on its way */
    uint64_t wait_until_us;
    uint64_t answer_by_us;
    uint8_t text[];
};

struct lm_lock_party {
    lm_lock_link_t link; /* parties by name, identity, owner */
    TAILQ_ENTRY(lm_lock_party) in_all;
    lm_lock_timer_t retry;
    lm_bytes_t name, identity, owner;
    struct lm_lock_calls calls;
    struct lm_lock_proposals acquires; /* its Acquires in the queue or on their way */
    uint32_t parks;
    bool attached; /* a call has been here since the Takeover (S11) */
    uint8_t text[];
};

struct lm_lock_lease {
    lm_lock_link_t link; /* leases by hold: its hash is the hold's number */
    uint64_t ends_us;
    lm_lock_spot_t spot;    /* in the clock of the leases */
    uint32_t renewals : 20; /* Renews on their way (S9): at most all commands there may be */
    uint32_t n_told : 4;    /* answers that told somebody of it and are remembered */
    uint32_t mine : 1;      /* its grant was applied here, after the own Takeover (S10a) */
    uint32_t known : 1;     /* its owner has renewed it, or was told longer ago than is
                               remembered, or more often */
    uint32_t expiring : 1;  /* an Expire is on its way */
};

struct lm_lock_session {
    lm_lock_link_t link; /* sessions by number: its hash */
    uint64_t ends_us;
    lm_lock_spot_t spot; /* in the clock of the sessions */
    uint32_t keeps : 31; /* KeepAlives on their way (S9) */
    uint32_t expiring : 1;
};

/* An answer of the last seconds that told somebody of a hold, which may have ended since. */
struct lm_lock_told {
    lm_lock_link_t link; /* by correlation: its hash */
    TAILQ_ENTRY(lm_lock_told) in_order;
    uint64_t hold;
    lm_generation_t generation;
    uint64_t told_us;
};

/* A walk over all locks by name, some of them in each turn (lock_walk.c). */
typedef struct {
    bool on, begun;
    size_t name_size;
    uint8_t name[LM_NAME_BYTES_MAX]; /* of the last one */
} lm_lock_walk_t;

typedef void lm_lock_visit_t(lm_lock_room_t *room, const lm_entry_t *lock);

struct lm_lock_proposal {
    TAILQ_ENTRY(lm_lock_proposal) in_list;
    TAILQ_ENTRY(lm_lock_proposal) in_party;
    lm_command_t command;   /* its views point into text */
    lm_request_key_t key;   /* of the command, as the table knows it */
    lm_key_texts_t texts;   /* of key, in a session */
    lm_lock_call_t *call;   /* of changes: who waits; NULL: has left */
    lm_lock_party_t *party; /* of acquire, leave, abandon, wait_timeout */
    size_t bytes;           /* at most, in an entry */
    bool holds_lease;       /* counts in the lease's renewals, or the session's keeps */
    bool prompt;            /* does not linger for others of its kind */
    uint8_t text[];
};

typedef struct {
    uint64_t correlation; /* of its PROPOSE while that has no answer */
    uint64_t index, term; /* 0 until raft has said */
    uint8_t *entry;       /* owned */
    size_t entry_size;
    size_t n_prompt; /* of the proposals when it was sent */
    struct lm_lock_proposals proposals;
} lm_lock_batch_t;

typedef struct {
    uint64_t correlation; /* of its READ_INDEX; 0 once answered */
    uint64_t index;
    struct lm_lock_calls calls;
} lm_lock_round_t;

/* The image that is being taken (lock_snapshot.c). */
typedef struct {
    lm_bus_snapshot_mark_t mark;                /* index 0: none is */
    uint64_t hash;                              /* of the state at the mark */
    uint64_t offset;                            /* bytes of the body that were sent */
    bool all;                                   /* the last piece was sent */
    uint64_t parts[LM_LOCK_SNAPSHOT_PARTS_MAX]; /* unanswered, oldest first */
    size_t n_parts;
    uint64_t began_us;
    uint64_t written;   /* records, when the last piece was made */
    uint64_t next_us;   /* when the next piece is due */
    uint64_t log_bytes; /* applied behind the mark */
} lm_lock_snapshot_t;

/* A piece of the image that is being loaded: asked for, or here and waiting for those before. */
typedef struct {
    uint64_t correlation; /* 0: it is here */
    uint64_t offset;
    uint8_t *data; /* owned; NULL: not here */
    size_t size;
} lm_lock_piece_t;

/* The image that is being loaded (lock_restore.c). */
typedef struct {
    lm_image_loader_t *loader; /* NULL: none is */
    uint64_t index, term, length, state_hash;
    uint32_t crc32c, stated_crc32c;                  /* of the body so far, and of all of it */
    uint64_t asked, loaded;                          /* bytes of the body */
    uint64_t piece_bytes;                            /* what raft gives at once */
    lm_lock_piece_t pieces[LM_LOCK_IMAGE_READS_MAX]; /* in the order of the body */
    size_t n_pieces;
    uint64_t began_us;
} lm_lock_restore_t;

/* The locks that have waiters (lock_queues.c). */
typedef struct {
    lm_lock_map_t names;
    lm_lock_heap_t by_waiters; /* the most first */
    lm_lock_heap_t by_age;     /* by the number of the first waiter: the oldest first */
} lm_lock_queues_t;

typedef struct {
    uint64_t acquires[3][8]; /* by mode and by AcquireResult; [0] of a mode: errors */
    uint64_t expirations, abandoned, left, timed_out, releases, renewals;
    uint64_t proposals_refused, proposals_applied, takeovers, undelivered, stale_holds;
    uint64_t sessions_opened, sessions_closed, sessions_expired, keep_alives;
    lm_histogram_t holds; /* how long those were held that ended, as far as that is known */
    lm_histogram_t waits; /* from the arrival of an Acquire to the answer that grants it */
    uint64_t snapshots_taken, snapshots_dropped, snapshot_bytes, restores, restored_bytes;
} lm_lock_figures_t;

struct lm_lock_room {
    lm_generation_t generation;
    lm_lock_draw_t draw;
    void *draw_arg;

    /* the turn */
    lm_outbox_t *out; /* NULL: the room is about to go */
    uint64_t now_us;
    lm_arena_t *scratch; /* emptied at the end of each turn */

    /* what START said */
    bool started;
    lm_arena_t *texts;
    const lm_bus_node_config_t *config;
    bool draining;
    bool unreadable; /* a committed entry or an image was: this is the last turn */

    /* what raft said */
    lm_generation_t raft;
    uint64_t attach_call; /* correlation of an unanswered ATTACH; 0: none */
    bool attached;
    bool ready;   /* has been as far as this node's raft was when it attached (S21) */
    bool current; /* has been as far as a led group; sticky until a reset (S12a) */
    uint64_t attach_commit;
    uint64_t commit_index;
    uint32_t role;
    uint64_t term;
    lm_arena_t *role_texts; /* holds role_event */
    const lm_bus_raft_role_event_t *role_event;
    lm_arena_t *cluster_texts;
    lm_bytes_t cluster_id, history_id;
    uint64_t credit;
    bool state_changed; /* LOCK_STATE is to be sent */

    /* the state machine */
    lm_table_t *table;
    uint64_t applied_index, applied_term;
    lm_lock_snapshot_t snapshot;
    size_t piece_bytes_max; /* of an image that is being taken */
    size_t crowd_min;       /* commands under way that are a crowd */
    lm_lock_restore_t restore;
    lm_lock_queues_t queues;
    lm_lock_walk_t counting; /* finds the queues of a table that was loaded */
    lm_lock_visit_t *count;

    /* leading */
    bool taking; /* a Takeover is on its way */
    bool serving;
    lm_pair_t pair;
    uint64_t grace_until_us; /* 0: over */
    struct lm_lock_proposals queue;
    size_t n_queue;
    size_t n_prompt;          /* of the queue: those that do not linger */
    size_t crowd;             /* prompt commands under way when entries were sent lately */
    uint64_t gather_until_us; /* when a queue goes that waits for the crowd; 0: it does not */
    uint64_t linger_until_us; /* when a queue of nothing but KeepAlives goes; 0: at once */
    lm_lock_batch_t *flight[LM_LOCK_IN_FLIGHT_MAX]; /* in the order of the log */
    size_t n_flight;
    lm_lock_map_t parties;
    struct lm_lock_parties all_parties;
    lm_lock_map_t leases;
    lm_lock_pool_t lease_pool;
    lm_lock_heap_t lease_clock;
    lm_lock_map_t sessions;
    lm_lock_pool_t session_pool;
    lm_lock_heap_t session_clock;
    uint64_t arming_session; /* the oldest that has no clock yet; 0: all have theirs */
    lm_lock_map_t tolds;
    lm_lock_pool_t told_pool;
    struct lm_lock_tolds all_tolds; /* in the order of their telling */
    lm_lock_walk_t arming;          /* gives the holds of the Takeover their leases */
    lm_lock_walk_t sweep;           /* after the time of grace; begins when the arming is over */
    bool had_waiters;               /* at the Takeover */

    /* calls */
    lm_lock_map_t calls;
    struct lm_lock_calls all; /* in the order of their coming */
    struct lm_lock_calls early;
    struct lm_lock_calls reads; /* those of no round yet */
    lm_lock_round_t *rounds[LM_LOCK_READ_ROUNDS_MAX];
    size_t n_rounds;

    lm_lock_timers_t timers;
    lm_lock_timer_t tick, retry_attach, retry_takeover, retry_read, grace, forget_told;

    /* what others said */
    lm_arena_t *region_texts;
    const lm_bus_region_table_t *regions;

    lm_lock_figures_t figures;
    lm_lock_ages_t ages; /* of holds; since it is current */
};

/* ---- lock_calls.c: the life of a call -------------------------------------------------------- */

void lm_lock_calls_on_lock_call(void *room, const lm_message_t *message, lm_outbox_t *out);
void lm_lock_calls_on_listener_gone(void *room, const lm_message_t *message, lm_outbox_t *out);
/** Decides anew about a call: sends it back if this lock does not serve, or gives it to its kind.
 */
void lm_lock_calls_handle(lm_lock_room_t *room, lm_lock_call_t *call);
/** Takes up the calls that came early. */
void lm_lock_calls_take_early(lm_lock_room_t *room);
/** Sends the waiting ones to the leader, if this node knows it from outside of the region. */
void lm_lock_calls_pass_early(lm_lock_room_t *room);
/** Puts a call into a list for its stage, out of the one it was in; NULL: into none. */
void lm_lock_calls_enlist(lm_lock_call_t *call, lm_lock_stage_t stage, struct lm_lock_calls *list);
/** The command that a call asks for; its views are the call's. */
lm_command_t lm_lock_calls_command(const lm_lock_call_t *call, lm_command_kind_t kind);
/** Ends a call without an answer and frees it. What its party does now is up to the caller. */
void lm_lock_calls_free(lm_lock_room_t *room, lm_lock_call_t *call);
/** Sends every call back, except early ones: this lock does not lead any more. */
void lm_lock_calls_forward_all(lm_lock_room_t *room);
/** Ends the calls of starts of the clients room before this one. */
void lm_lock_calls_drop_older(lm_lock_room_t *room, lm_generation_t generation);

/* ---- lock_answer.c: answers to calls; each of these ends and frees the call ------------------ */

void lm_lock_answer_error(lm_lock_room_t *room, lm_lock_call_t *call, lm_rc_t code,
                          const char *field, const char *text);
/** To a caller who has gone: it only ends the call. */
void lm_lock_answer_left(lm_lock_room_t *room, lm_lock_call_t *call);
void lm_lock_answer_forward(lm_lock_room_t *room, lm_lock_call_t *call);
/** GRANTED to an Acquire: record holds. Notes that somebody was told. op_seq is that of the change
 *  that grants, or 0: nothing was changed, the present one. */
void lm_lock_answer_granted(lm_lock_room_t *room, lm_lock_call_t *call, const lm_record_t *record,
                            uint64_t op_seq);
/** What a finished record says to an Acquire. */
void lm_lock_answer_finished(lm_lock_room_t *room, lm_lock_call_t *call, const lm_record_t *record,
                             uint64_t op_seq);
/** HELD, TIMED_OUT, CANCELLED to an Acquire. */
void lm_lock_answer_not_granted(lm_lock_room_t *room, lm_lock_call_t *call,
                                lm_api_acquire_result_t result, uint64_t op_seq);
void lm_lock_answer_released(lm_lock_room_t *room, lm_lock_call_t *call, int64_t token,
                             uint64_t op_seq);
void lm_lock_answer_renewed(lm_lock_room_t *room, lm_lock_call_t *call, const lm_record_t *record,
                            uint64_t op_seq);
void lm_lock_answer_cancel(lm_lock_room_t *room, lm_lock_call_t *call, const lm_record_t *record,
                           uint64_t op_seq);
void lm_lock_answer_get(lm_lock_room_t *room, lm_lock_call_t *call);
void lm_lock_answer_list(lm_lock_room_t *room, lm_lock_call_t *call);
/** A mode in the words of the API. */
lm_api_lock_mode_t lm_lock_answer_mode(lm_mode_t mode);
/** A result, whose header the caller has made. */
void lm_lock_answer_result(lm_lock_room_t *room, lm_lock_call_t *call,
                           const lm_peer_lock_answer_t *answer);
/** Where and when an answer is made; in the scratch arena. */
lm_api_response_header_t *lm_lock_answer_header(lm_lock_room_t *room, uint64_t op_seq);

/* ---- lock_acquire.c -------------------------------------------------------------------------- */

/** Takes an Acquire to its party, decides about it, and settles the party. */
void lm_lock_acquire_handle(lm_lock_room_t *room, lm_lock_call_t *call);
/** Only decides: parks it, reads, listens, proposes, or answers. */
void lm_lock_acquire_decide(lm_lock_room_t *room, lm_lock_call_t *call);
/** Answer of apply to an Acquire of ours. */
void lm_lock_acquire_applied(lm_lock_room_t *room, lm_lock_proposal_t *proposal,
                             const lm_effect_t *effect);
/** A waiter was granted, or a wait ended; while serving. */
void lm_lock_acquire_granted(lm_lock_room_t *room, const lm_effect_t *effect);
void lm_lock_acquire_wait_ended(lm_lock_room_t *room, const lm_effect_t *effect);
/** An Acquire of ours is certainly not applied. */
void lm_lock_acquire_refused(lm_lock_room_t *room, lm_lock_proposal_t *proposal, lm_rc_t code);

/* ---- lock_change.c: calls that are one command each ------------------------------------------ */

void lm_lock_change_handle(lm_lock_room_t *room, lm_lock_call_t *call);
void lm_lock_change_applied(lm_lock_room_t *room, lm_lock_proposal_t *proposal,
                            const lm_effect_t *effect);
void lm_lock_change_refused(lm_lock_room_t *room, lm_lock_proposal_t *proposal, lm_rc_t code);
/** An error of that code to a call. */
void lm_lock_change_answer_code(lm_lock_room_t *room, lm_lock_call_t *call, lm_rc_t code);
/** The same for an effect REFUSED; names the limit that it is about, if there is one. */
void lm_lock_change_answer_refused(lm_lock_room_t *room, lm_lock_call_t *call,
                                   const lm_effect_t *effect);
/** True if an end of that hold, or of its wait, is on its way: nobody is told of it (S10c). */
bool lm_lock_change_is_ending(lm_lock_room_t *room, const lm_record_t *record);

/* ---- lock_party.c: parking, and what follows when nobody listens ----------------------------- */

/** The party of that owner and lock, made if there is none. */
lm_lock_party_t *lm_lock_party_get(lm_lock_room_t *room, lm_bytes_t name, lm_bytes_t identity,
                                   lm_bytes_t owner);
lm_lock_party_t *lm_lock_party_find(lm_lock_room_t *room, lm_bytes_t name, lm_bytes_t identity,
                                    lm_bytes_t owner);
void lm_lock_party_add(lm_lock_party_t *party, lm_lock_call_t *call);
/** Says of all calls of that request whether it may be applied: also parked copies may be sent away
 *  before it is decided (S23). */
void lm_lock_party_set_maybe(lm_lock_party_t *party, lm_bytes_t request_id, bool maybe);
/** True if an Acquire of that request id is in the queue or on its way. */
lm_lock_proposal_t *lm_lock_party_acquire_of(lm_lock_party_t *party, lm_bytes_t request_id);
/** Does what is due: ends a wait or a hold that nobody listens for, or a wait whose time is over;
 *  frees the party if it is not needed any more, so that the caller must not use it again. */
void lm_lock_party_settle(lm_lock_room_t *room, lm_lock_party_t *party);
/** A Leave, Abandon or WaitTimeout has been applied, or refused by raft: then the party comes to it
 *  again after a while. Takes up parked calls and settles. */
void lm_lock_party_unpark(lm_lock_room_t *room, lm_lock_party_t *party, bool refused);
/** Settles every party. */
void lm_lock_party_settle_all(lm_lock_room_t *room);
/** Settles the waits and holds of a lock; after the time of grace (S11). */
void lm_lock_party_sweep(lm_lock_room_t *room, const lm_entry_t *lock);
void lm_lock_party_forget_all(lm_lock_room_t *room);

/* ---- lock_lease.c ---------------------------------------------------------------------------- */

/** Starts the clock of a hold, now, at its full length; makes the lease if there is none. */
lm_lock_lease_t *lm_lock_lease_start(lm_lock_room_t *room, const lm_record_t *record, bool mine);
/** NULL if there is none. */
lm_lock_lease_t *lm_lock_lease_find(const lm_lock_room_t *room, uint64_t hold);
/** The lease of a hold of the table; never NULL. */
lm_lock_lease_t *lm_lock_lease_of(lm_lock_room_t *room, const lm_record_t *record);
/** Gives the holds of a lock the leases that they do not have yet. */
void lm_lock_lease_arm(lm_lock_room_t *room, const lm_entry_t *lock);
/** Lets the leases end whose time has come, some of them. */
void lm_lock_lease_run(lm_lock_room_t *room);
void lm_lock_lease_end(lm_lock_room_t *room, uint64_t hold);
/** What is left of a hold's lease, or of its session's, in milliseconds, rounded down, never
 *  negative. */
int64_t lm_lock_lease_remaining_ms(lm_lock_room_t *room, const lm_record_t *record);
/** Its length, or that of its session. */
int64_t lm_lock_lease_ttl_ms(const lm_lock_room_t *room, const lm_record_t *record);
/** True if the hold may be abandoned as soon as nobody listens (S10a). */
bool lm_lock_lease_is_unheard(const lm_lock_lease_t *lease);
/** A Renew is on its way: if it is the owner's, the lease does not end meanwhile (S9). */
void lm_lock_lease_renewal_begins(lm_lock_room_t *room, lm_lock_proposal_t *proposal);
/** It has been applied or refused. */
void lm_lock_lease_renewal_done(lm_lock_room_t *room, lm_lock_proposal_t *proposal);
void lm_lock_lease_expire_done(lm_lock_room_t *room, uint64_t hold);
void lm_lock_lease_forget_all(lm_lock_room_t *room);

/* ---- lock_session.c: the clocks of sessions -------------------------------------------------- */

/** Starts the clock of a session, now, at its full length; makes it if there is none. */
void lm_lock_session_start(lm_lock_room_t *room, uint64_t number);
/** What is left of the lease of a session of the table, in milliseconds, rounded down. */
int64_t lm_lock_session_remaining_ms(lm_lock_room_t *room, uint64_t number);
/** Gives all sessions of the table their clocks, at once or in the turns that follow. */
void lm_lock_session_arm(lm_lock_room_t *room);
/** Goes on with that, and wakes the room if there is more; at the end of a turn. */
void lm_lock_session_step(lm_lock_room_t *room);
/** A command is about to be applied that may end a session. */
void lm_lock_session_before(lm_lock_room_t *room, const lm_command_t *command);
/** Lets the sessions end whose time has come, some of them. */
void lm_lock_session_run(lm_lock_room_t *room);
void lm_lock_session_ended(lm_lock_room_t *room, uint64_t number);
/** A KeepAlive is on its way: if it is the session's own, that does not end meanwhile (S9). */
void lm_lock_session_keep_begins(lm_lock_room_t *room, lm_lock_proposal_t *proposal);
/** It has been applied or refused. */
void lm_lock_session_keep_done(lm_lock_room_t *room, lm_lock_proposal_t *proposal);
void lm_lock_session_expire_done(lm_lock_room_t *room, uint64_t number);
/** Whether a KeepAlive of it may wait for others: it has a clock, and enough time left (P4). */
bool lm_lock_session_may_linger(const lm_lock_room_t *room, uint64_t number);
/** True if it has its clock, or gets it in a later turn. */
bool lm_lock_session_has_clock(const lm_lock_room_t *room, uint64_t number);
void lm_lock_session_forget_all(lm_lock_room_t *room);

/* ---- lock_session_call.c: OpenSession, KeepAlive, CloseSession, GetSession, ListSessions ------
 */

/** What the call still lacks for its command: the secret of an OpenSession. */
void lm_lock_session_call_prepare(lm_lock_room_t *room, lm_lock_call_t *call);
/** Apply has answered a command about a session; its call may have left. */
void lm_lock_session_call_applied(lm_lock_room_t *room, lm_lock_proposal_t *proposal,
                                  const lm_effect_t *effect);
/** What S7 forbids: a KeepAlive is answered from the table. False if this is none, or there is no
 *  such session. */
bool lm_lock_session_call_keep_locally(lm_lock_room_t *room, lm_lock_call_t *call);
/** Answers a call, whose wait has ended with its session. */
void lm_lock_session_call_ended(lm_lock_room_t *room, lm_lock_call_t *call, lm_end_t end);
void lm_lock_session_call_get(lm_lock_room_t *room, lm_lock_call_t *call);
void lm_lock_session_call_list(lm_lock_room_t *room, lm_lock_call_t *call);

/* ---- lock_told.c ----------------------------------------------------------------------------- */

/** Somebody is told of the hold by the answer to that call. */
void lm_lock_told_add(lm_lock_room_t *room, lm_lock_lease_t *lease, const lm_caller_t *to);
void lm_lock_told_on_undelivered(void *room, const lm_message_t *message, lm_outbox_t *out);
void lm_lock_told_forget_all(lm_lock_room_t *room);

/* ---- lock_walk.c ----------------------------------------------------------------------------- */

/** Arms the holds of the table from the next turn's end on. */
void lm_lock_walk_arm(lm_lock_room_t *room);
/** Settles waits and holds that nobody has asked for, when all are armed. */
void lm_lock_walk_sweep(lm_lock_room_t *room);
/** Goes on for a while, and wakes the room if there is more; at the end of a turn. */
void lm_lock_walk_step(lm_lock_room_t *room);
/** Ends both walks. */
void lm_lock_walk_end(lm_lock_room_t *room);
/** True if the walk has not come to that lock yet. */
bool lm_lock_walk_is_before(const lm_lock_walk_t *walk, const lm_entry_t *lock);

/** Visits all locks in the turns that follow, this node leading or not; one such walk at a time. */
void lm_lock_walk_visit(lm_lock_room_t *room, lm_lock_visit_t *visit);

/* ---- lock_queues.c: which locks are waited for ----------------------------------------------- */

/** Somebody has joined or left the queue of the lock of that name, if it has one. */
void lm_lock_queues_look(lm_lock_room_t *room, lm_bytes_t name);
/** Another table is in the place of the old one: finds its queues, in the turns that follow. */
void lm_lock_queues_count(lm_lock_room_t *room);
/** The table is about to go. */
void lm_lock_queues_forget(lm_lock_room_t *room);
/** What STATUS_REPORT says of them, in the scratch arena; NULL while they are being counted. */
lm_bus_lock_queues_t *lm_lock_queues_report(const lm_lock_room_t *room);
/** Stops the actor if Q1 does not hold; slow, for tests. */
void lm_lock_queues_verify(const lm_lock_room_t *room);

/* ---- lock_propose.c -------------------------------------------------------------------------- */

/** Puts a command under the present pair into the queue; everything it views is copied. */
lm_lock_proposal_t *lm_lock_propose_add(lm_lock_room_t *room, const lm_command_t *command,
                                        lm_lock_party_t *party, lm_lock_call_t *call);
/** True if the queue takes no further Acquires. */
bool lm_lock_propose_is_full(const lm_lock_room_t *room);
/** Sends the Takeover of room->pair. */
void lm_lock_propose_takeover(lm_lock_room_t *room);
/** Sends what waits, as far as entries may be on their way; at the end of a turn. Nothing but
 *  KeepAlives waits for more of them first (P4). */
void lm_lock_propose_flush(lm_lock_room_t *room);
void lm_lock_propose_on_proposed(void *room, const lm_message_t *message, lm_outbox_t *out);
/** A PROPOSE failed. True if the correlation was one. */
bool lm_lock_propose_call_failed(lm_lock_room_t *room, uint64_t correlation, lm_rc_t why);
/** The batch that this committed entry is, taken out of the flight; NULL if it is of somebody else.
 */
lm_lock_batch_t *lm_lock_propose_match(lm_lock_room_t *room, const lm_bus_committed_entry_t *entry);
/** Takes the oldest proposal out of a batch; it is the caller's. NULL if there is none left. */
lm_lock_proposal_t *lm_lock_propose_take(lm_lock_batch_t *batch);
/** Frees a proposal that was taken out of its list. */
void lm_lock_propose_free(lm_lock_proposal_t *proposal);
/** Frees a batch whose proposals have all been taken. */
void lm_lock_propose_done(lm_lock_batch_t *batch);
void lm_lock_propose_forget_all(lm_lock_room_t *room);

/* ---- lock_read.c ----------------------------------------------------------------------------- */

void lm_lock_read_add(lm_lock_room_t *room, lm_lock_call_t *call);
/** Asks for a round for the reads that have none; at the end of a turn. */
void lm_lock_read_flush(lm_lock_room_t *room);
void lm_lock_read_on_done(void *room, const lm_message_t *message, lm_outbox_t *out);
bool lm_lock_read_call_failed(lm_lock_room_t *room, uint64_t correlation);
/** Entries have been applied: answers the reads that waited for them. */
void lm_lock_read_applied(lm_lock_room_t *room);
void lm_lock_read_forget_all(lm_lock_room_t *room);

/* ---- lock_lead.c ----------------------------------------------------------------------------- */

void lm_lock_lead_on_role(void *room, const lm_message_t *message, lm_outbox_t *out);
/** Begins or ends leading, after anything that decides about it has changed. */
void lm_lock_lead_check(lm_lock_room_t *room);
/** A Takeover that counts has been applied. */
void lm_lock_lead_taken_over(lm_lock_room_t *room, lm_pair_t pair);
/** The own Takeover was refused by raft: it is tried again. */
void lm_lock_lead_takeover_failed(lm_lock_room_t *room);
/** The own Takeover was applied and is void. */
void lm_lock_lead_takeover_void(lm_lock_room_t *room);
/** Ends leading: nothing of it remains, every call is sent back. */
void lm_lock_lead_end(lm_lock_room_t *room);
/** Name of the node to which calls are to go; empty if there is none to name. */
lm_bytes_t lm_lock_lead_name(const lm_lock_room_t *room);
/** This node has no data of the region: raft has no log, and may know the region from outside. */
bool lm_lock_lead_is_outside(const lm_lock_room_t *room);

/* ---- lock_deliver.c -------------------------------------------------------------------------- */

void lm_lock_deliver_attach(lm_lock_room_t *room);
/** The same after a short while. */
void lm_lock_deliver_attach_later(lm_lock_room_t *room);
void lm_lock_deliver_on_again(void *room, const lm_message_t *message, lm_outbox_t *out);
/** The table is what raft will deliver to: gives credit, and leads if this node does. */
void lm_lock_deliver_begin(lm_lock_room_t *room);
void lm_lock_deliver_on_attached(void *room, const lm_message_t *message, lm_outbox_t *out);
void lm_lock_deliver_on_committed(void *room, const lm_message_t *message, lm_outbox_t *out);
bool lm_lock_deliver_call_failed(lm_lock_room_t *room, uint64_t correlation);
/** raft has been replaced, or is away. */
void lm_lock_deliver_detach(lm_lock_room_t *room);
/** Ends the node, as what is durable here cannot be read; words say what. No turn follows. */
void lm_lock_deliver_end(lm_lock_room_t *room, const char *words);
/** Sends CREDIT if half of it is used, or if always is true. */
void lm_lock_deliver_credit(lm_lock_room_t *room, bool always);
void lm_lock_deliver_state(lm_lock_room_t *room);
/** Notes the identity of the group; a new one is told to the gateway. */
void lm_lock_deliver_cluster(lm_lock_room_t *room, lm_bytes_t cluster_id, lm_bytes_t history_id);
/** Tells the gateway the identity of the group, if it is known. */
void lm_lock_deliver_tell_cluster(lm_lock_room_t *room);
/** Looks whether this node now knows where it stands, and takes up early calls. */
void lm_lock_deliver_look(lm_lock_room_t *room);

/* ---- lock_snapshot.c: taking an image for raft ----------------------------------------------- */

void lm_lock_snapshot_on_take(void *room, const lm_message_t *message, lm_outbox_t *out);
void lm_lock_snapshot_on_part_done(void *room, const lm_message_t *message, lm_outbox_t *out);
void lm_lock_snapshot_on_drop(void *room, const lm_message_t *message, lm_outbox_t *out);
/** A SNAPSHOT_PART failed. True if the correlation was one. */
bool lm_lock_snapshot_call_failed(lm_lock_room_t *room, uint64_t correlation, lm_rc_t why);
/** Sends the next piece, if there is one and raft has taken those before; at the end of a turn. */
void lm_lock_snapshot_step(lm_lock_room_t *room);
/** Notes that an entry of so many bytes has been applied. */
void lm_lock_snapshot_applied(lm_lock_room_t *room, size_t bytes);
/** The raft that wanted it is not there any more, or has forgotten it: nothing of it remains. */
void lm_lock_snapshot_end(lm_lock_room_t *room);

/* ---- lock_restore.c: loading an image of raft's ---------------------------------------------- */

/** Begins to load that image; the table is empty. Goes on with lm_lock_deliver_begin. */
void lm_lock_restore_begin(lm_lock_room_t *room, const lm_bus_image_t *image);
bool lm_lock_restore_is_on(const lm_lock_room_t *room);
void lm_lock_restore_on_data(void *room, const lm_message_t *message, lm_outbox_t *out);
/** An IMAGE_READ failed. True if the correlation was one. */
bool lm_lock_restore_call_failed(lm_lock_room_t *room, uint64_t correlation, lm_rc_t why);
/** Gives it up, if one is being loaded; the table stays empty. */
void lm_lock_restore_end(lm_lock_room_t *room);

/* ---- lock_status.c --------------------------------------------------------------------------- */

void lm_lock_status_on_query(void *room, const lm_message_t *message, lm_outbox_t *out);
void lm_lock_status_on_regions(void *room, const lm_message_t *message, lm_outbox_t *out);
void lm_lock_status_report(lm_lock_room_t *room);

/** A copy of a message in the arena, which is emptied first. */
const void *lm_lock_room_keep(lm_lock_room_t *room, const lm_wire_type_t *type, const void *body,
                              lm_arena_t *arena);

/** Handlers begin with this: the turn's outbox and time. */
static inline lm_lock_room_t *lm_lock_room_enter(void *room, const lm_message_t *message,
                                                 lm_outbox_t *out)
{
    lm_lock_room_t *self = room;
    self->out = out;
    self->now_us = message->now_us;
    return self;
}

#endif
