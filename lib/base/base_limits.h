/* Limits on everything that somebody else can make grow, and why they are what they are. */
#ifndef LM_BASE_LIMITS_H
#define LM_BASE_LIMITS_H

#include <stddef.h>
#include <stdint.h>

/* ---- texts of requests, in bytes ------------------------------------------------------------- */

/* Lock names: long enough for a path of several uuids. */
#define LM_NAME_BYTES_MAX 512
/* Owners: a host name, a process and a thread. */
#define LM_OWNER_BYTES_MAX 256
/* Request ids: a uuid with a prefix. */
#define LM_REQUEST_ID_BYTES_MAX 128
/* Authenticated identities: the subject of a certificate. */
#define LM_IDENTITY_BYTES_MAX 256

/* ---- leases, in milliseconds ----------------------------------------------------------------- */

/* Longest lease that the log may carry; configuration allows less. One day fits 32 bits. */
#define LM_TTL_MS_MAX UINT64_C(86400000)
/* Shortest lease of a session: below it keep-alives would be the load. */
#define LM_SESSION_TTL_MS_MIN 1000

/* ---- replicated settings: what is in force before the first Takeover, and what one may bring - */

/* A queue that long means minutes of waiting; every waiter costs memory on every replica. */
#define LM_WAITERS_PER_LOCK_DEFAULT 10000
#define LM_WAITERS_PER_LOCK_MAX 1000000
/* Some 200 bytes each, and 60 more on the leader. */
#define LM_LOCKS_DEFAULT 1000000
#define LM_LOCKS_MAX 100000000
/* Holds and waits of one owner. */
#define LM_HOLDS_PER_OWNER_DEFAULT 10000
#define LM_HOLDS_PER_OWNER_MAX 1000000
/* Finished requests that are remembered; at 10,000 a second half a minute. */
#define LM_RECORD_RING_DEFAULT 262144
#define LM_RECORD_RING_MAX 16777216
/* Sessions of a region, some 250 bytes each; 100,000 with a TTL of 30 s are 10,000 keep-alives a
 * second. */
#define LM_SESSIONS_DEFAULT 100000
#define LM_SESSIONS_MAX 10000000
/* Request numbers of a session that it is not done with; an item of an image has them all. */
#define LM_SESSION_WINDOW_DEFAULT 16
#define LM_SESSION_WINDOW_MAX 64
/* Level of semantics that this build applies. */
#define LM_SEMANTICS_LEVEL 1

/* ---- log entries ----------------------------------------------------------------------------- */

/* Commands in one entry: a turn of the leader takes at most that many. */
#define LM_BATCH_COMMANDS_MAX 4096
/* Bytes of one entry with its frame; a PROPOSE of it fits its limit on the bus. */
#define LM_BATCH_BYTES_MAX ((size_t)1024 * 1024)
/* Bytes that a command adds to an entry beyond its texts, at most; it covers the frame too. */
#define LM_COMMAND_BYTES_EXTRA 200U

/* ---- sessions -------------------------------------------------------------------------------- */

/* Secret of a session: 128 bits, so that nobody finds one by trying. */
#define LM_SESSION_SECRET_BYTES 16U

#endif
