/* A lock actor between a raft and a clients room that tests play by hand.
 *
 * The rig keeps the log that its raft would have: proposals are accepted into it, then committed
 * one by one, when a test says so. Texts are C strings; answers are kept until they are asked for.
 */
#ifndef LOCK_RIG_H
#define LOCK_RIG_H

#include "act_test_host.h"
#include "lock_room.h"
#include "wire_api.h"
#include "wire_bus.h"
#include "wire_peer.h"

enum { RIG_LOG_MAX = 8192, RIG_ANSWERS_MAX = 20000, RIG_PENDING_MAX = 16 };
/* The piece behind one of 256 KiB is due by then. */
enum { RIG_PIECE_MS = 40 };

typedef struct {
    uint64_t term;
    uint32_t type;
    lm_bytes_t data; /* owned */
} rig_entry_t;

/* An image of the lock's state, as raft keeps it. */
typedef struct {
    uint64_t index, term, state_hash;
    uint32_t crc32c;
    uint8_t *data; /* owned */
    size_t size;
    bool whole;
} rig_image_t;

typedef struct {
    lm_lock_room_t *room;
    lm_test_host_t *host;
    lm_arena_t *arena; /* of the test */
    rig_entry_t log[RIG_LOG_MAX];
    uint64_t n_log;     /* last index */
    uint64_t delivered; /* last index given to the room */
    uint64_t term;
    const lm_test_sent_t *pending[RIG_PENDING_MAX]; /* PROPOSEs that raft has not looked at */
    size_t n_pending;
    struct {
        uint64_t correlation;
        const lm_peer_lock_answer_t *answer;
    } answers[RIG_ANSWERS_MAX];
    size_t n_answers;
    const lm_test_sent_t *parts[RIG_PENDING_MAX]; /* SNAPSHOT_PARTs without an answer */
    size_t n_parts;
    rig_image_t taking;                           /* what has come of the image being taken */
    const lm_test_sent_t *reads[RIG_PENDING_MAX]; /* IMAGE_READs without an answer */
    size_t n_reads;
    bool unverified; /* deliveries are not followed by a walk over everything */
} rig_t;

/** A started lock, not attached. counter is that of its generation {1, counter}. */
rig_t *rig_new(uint32_t counter);
/** The same, whose reports show names of locks. */
rig_t *rig_new_named(uint32_t counter);
void rig_destroy(rig_t **rig);
/** A lock that has attached to an empty log and leads in term 1: its Takeover is applied. */
rig_t *rig_leading(void);

/* ---- raft ------------------------------------------------------------------------------------ */

/** Takes the ATTACH and answers it. Returns what it said; stops the test if there is none. */
const lm_bus_attach_t *rig_attach(rig_t *rig, bool reset, uint64_t commit_index);
void rig_role(rig_t *rig, lm_api_raft_role_t role, uint64_t term, const char *leader);
/** Accepts every PROPOSE into the log. Returns how many. */
size_t rig_accept(rig_t *rig);
/** Refuses every PROPOSE. Returns how many. */
size_t rig_refuse(rig_t *rig, lm_rc_t code);
/** Appends an entry of somebody else. */
void rig_append(rig_t *rig, uint64_t term, const lm_command_t *commands, size_t n);
/** The same of any bytes. */
void rig_append_raw(rig_t *rig, uint64_t term, lm_bytes_t data);
/** Delivers the next n entries of the log, one message each. */
void rig_deliver(rig_t *rig, size_t n);
/** Accepts and delivers until nothing more comes. */
void rig_settle(rig_t *rig);
/** Answers every READ_INDEX with the last index of the log; returns how many. */
size_t rig_reads(rig_t *rig);
/** Commands of the oldest PROPOSE that raft has not looked at; n 0 if there is none. */
typedef struct {
    size_t n;
    lm_command_t *items;
    bool takeover;
    lm_pair_t pair; /* that the message itself carries */
} rig_commands_t;
rig_commands_t rig_proposed(rig_t *rig);

/* ---- images ---------------------------------------------------------------------------------- */

/** Places a mark. What came of another image is forgotten. */
void rig_mark(rig_t *rig, uint64_t index, uint64_t term);
/** Places one at the last entry that was delivered. */
void rig_mark_here(rig_t *rig);
/** SNAPSHOT_PARTs that wait for an answer. */
size_t rig_parts(rig_t *rig);
/** Answers the oldest: keeps its bytes if code is OK. False if there is none. */
bool rig_part_done(rig_t *rig, lm_rc_t code);
/** Answers them all until the image is whole; it is the caller's, freed with rig_image_free. */
rig_image_t rig_snapshot(rig_t *rig);
void rig_image_free(rig_image_t *image);
/** The next SNAPSHOT_DROP that the lock has sent; NULL if there is none. */
const lm_bus_snapshot_mark_t *rig_dropped(rig_t *rig);
/** raft gives it up. */
void rig_drop(rig_t *rig, uint64_t index, uint64_t term);
/** Takes the ATTACH, and answers that the lock has to begin with that image. */
const lm_bus_attach_t *rig_attach_image(rig_t *rig, const rig_image_t *image,
                                        uint64_t commit_index);
/** IMAGE_READs that wait for an answer. */
size_t rig_image_reads(rig_t *rig);
/** Answers the one at that place among them, with at most so many bytes, or with a code. */
void rig_image_data(rig_t *rig, const rig_image_t *image, size_t at, size_t bytes_max,
                    lm_rc_t code);
/** Answers them until there are none any more. */
void rig_load(rig_t *rig, const rig_image_t *image);

/* ---- callers --------------------------------------------------------------------------------- */

typedef struct {
    const char *owner, *id, *name, *hold_id, *identity;
    int64_t ttl_ms, wait_ms;
    lm_api_lock_mode_t mode;
    bool stamped, seen, forwarded;
    uint64_t stamp;
    uint64_t remaining_ms;
    /* In a session, of which rig_open has told. */
    const char *session, *secret;
    uint64_t number, done_below, known_version;
    const char *holds_after;
} rig_call_t;

/** Each sends a call and returns its correlation. */
uint64_t rig_acquire(rig_t *rig, rig_call_t call);
uint64_t rig_release(rig_t *rig, rig_call_t call);
uint64_t rig_renew(rig_t *rig, rig_call_t call);
uint64_t rig_cancel(rig_t *rig, rig_call_t call);
uint64_t rig_get(rig_t *rig, rig_call_t call);
uint64_t rig_list(rig_t *rig, const char *prefix, int32_t page_size, lm_bytes_t page_token);
uint64_t rig_keep_alive(rig_t *rig, rig_call_t call);
uint64_t rig_close_session(rig_t *rig, rig_call_t call);
uint64_t rig_get_session(rig_t *rig, const char *session);
uint64_t rig_list_sessions(rig_t *rig, int32_t page_size, lm_bytes_t page_token);
/** Asks for a session of that owner, id and ttl_ms. */
uint64_t rig_open_session(rig_t *rig, rig_call_t call);
/** Opens one, as id "1", and commits it: a call in it. */
rig_call_t rig_open(rig_t *rig, const char *client, int64_t ttl_ms);
void rig_gone(rig_t *rig, uint64_t correlation);
void rig_undelivered(rig_t *rig, uint64_t correlation);

/** The answer to that call; NULL if there is none yet. */
const lm_peer_lock_answer_t *rig_answer(rig_t *rig, uint64_t correlation);
/** The same as a word, or words: "none", "granted", "held", "timed out", "ended RELEASED",
 *  "cancelled", "released", "renewed", "opened", "alive", "not alive", "denied", "closed", "cancel
 * granted", "cancel cancelled", "cancel ended", "forward", "forward leader", with " maybe" behind
 * it, "error NAME". */
const char *rig_said(rig_t *rig, uint64_t correlation);
/** hold_id of a granted call, as a C string. */
const char *rig_hold_id(rig_t *rig, uint64_t correlation);

/** Acquires with that owner, as id "<owner>-1", without waiting, and commits it: the correlation.
 */
uint64_t rig_take(rig_t *rig, const char *owner, const char *name, int64_t ttl_ms);

#define RIG_ACQUIRE(rig, ...) rig_acquire(rig, (rig_call_t){__VA_ARGS__})

#endif
