/* Commands of the lock state machine, as the log holds them (proto/lockmgr/log/v1/log.proto
 * explains each field). Plain values; views belong to whoever decoded them. */
#ifndef LM_CORE_COMMAND_H
#define LM_CORE_COMMAND_H

#include "base_bytes.h"

/** One leadership of one start of a lock actor. */
typedef struct {
    uint64_t term;
    uint64_t boot_id;
    uint32_t counter;
} lm_pair_t;

/** <0, 0, >0: by term, then boot_id, then counter. */
int lm_pair_compare(lm_pair_t a, lm_pair_t b);

typedef enum { LM_MODE_NONE = 0, LM_MODE_EXCLUSIVE = 1, LM_MODE_SHARED = 2 } lm_mode_t;

/** Identifies a request for repeats (S12). */
typedef struct {
    lm_bytes_t identity;
    lm_bytes_t owner;
    lm_bytes_t request_id;
} lm_request_key_t;

/** Replicated settings: what apply decides by (S4). */
typedef struct {
    uint32_t semantics;
    uint32_t waiters_per_lock_max;
    uint32_t locks_max;
    uint32_t holds_per_owner_max;
    uint32_t record_ring_size;
    uint32_t sessions_max;
    uint32_t session_window;
} lm_settings_t;

/** What is in force until a Takeover brings settings of its own; base_limits.h has the numbers. */
lm_settings_t lm_settings_default(void);

typedef enum {
    LM_COMMAND_TAKEOVER = 2, /* the numbers of log.proto's oneof */
    LM_COMMAND_ACQUIRE = 3,
    LM_COMMAND_RELEASE = 4,
    LM_COMMAND_RENEW = 5,
    LM_COMMAND_EXPIRE = 6,
    LM_COMMAND_LEAVE = 7,
    LM_COMMAND_ABANDON = 8,
    LM_COMMAND_WAIT_TIMEOUT = 9,
    LM_COMMAND_CANCEL = 10,
    LM_COMMAND_OPEN_SESSION = 11,
    LM_COMMAND_KEEP_ALIVE = 12,
    LM_COMMAND_CLOSE_SESSION = 13,
    LM_COMMAND_EXPIRE_SESSION = 14,
} lm_command_kind_t;

typedef struct {
    lm_command_kind_t kind;
    lm_pair_t pair;
    lm_request_key_t key;   /* of acquire, release, cancel, open_session; identity and owner of
                               renew; identity of keep_alive and close_session */
    uint64_t body_hash;     /* of acquire, release, open_session */
    lm_bytes_t name;        /* of all but takeover, cancel and those about a session */
    lm_mode_t mode;         /* of acquire */
    uint64_t ttl_ms;        /* of acquire outside of a session, renew, open_session */
    bool wait;              /* of acquire */
    uint64_t stamp;         /* of acquire, release, open_session */
    bool seen;              /* of acquire, release, open_session */
    uint64_t hold;          /* number of a hold: release, renew, expire, abandon */
    uint64_t claim;         /* release, renew */
    uint64_t basis;         /* expire, expire_session */
    uint64_t wait_number;   /* leave, wait_timeout */
    lm_settings_t settings; /* takeover */

    /* Of acquire, release and cancel in a session, which then have no owner of their own
     * (session 0: outside of one); of keep_alive, close_session, expire_session. */
    uint64_t session;
    lm_bytes_t secret;       /* of those but expire_session, and of open_session: the drawn one */
    uint64_t request_number; /* acquire, release, cancel: instead of a request id; 0: none */
    uint64_t done_below;     /* with session: smaller numbers never come again (S12b) */
} lm_command_t;

/* ---- names of sessions and of numbered requests ---------------------------------------------- */

/* Where a key has a text, a session or a request number is a NUL and 8 bytes, most significant
 * first. Texts of clients have no NUL, so nobody can call himself a session. */
#define LM_NUMBER_TEXT_BYTES 9U

/** The text of that number, in text. */
lm_bytes_t lm_number_text(uint64_t number, uint8_t text[LM_NUMBER_TEXT_BYTES]);
/** The number whose text it is; 0 if it is none. */
uint64_t lm_number_of_text(lm_bytes_t text);

/** The key by which the table knows a request in a session: the command's, with the session as its
 *  owner and, if it has a number, that as its id. texts holds both. The key itself for a command
 *  outside of a session. */
typedef struct {
    uint8_t owner[LM_NUMBER_TEXT_BYTES], id[LM_NUMBER_TEXT_BYTES];
} lm_key_texts_t;
lm_request_key_t lm_command_key(const lm_command_t *command, lm_key_texts_t *texts);

#endif
