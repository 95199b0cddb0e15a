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
} lm_command_kind_t;

typedef struct {
    lm_command_kind_t kind;
    lm_pair_t pair;
    lm_request_key_t key;   /* of acquire, release, cancel; identity and owner of renew */
    uint64_t body_hash;     /* of acquire, release */
    lm_bytes_t name;        /* of all but takeover and cancel */
    lm_mode_t mode;         /* of acquire */
    uint64_t ttl_ms;        /* of acquire, renew */
    bool wait;              /* of acquire */
    uint64_t stamp;         /* of acquire, release */
    bool seen;              /* of acquire, release */
    uint64_t hold;          /* number of a hold: release, renew, expire, abandon */
    uint64_t claim;         /* release, renew */
    uint64_t basis;         /* expire */
    uint64_t wait_number;   /* leave, wait_timeout */
    lm_settings_t settings; /* takeover */
} lm_command_t;

#endif
