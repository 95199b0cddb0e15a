/* Limits and times of the lock actor, with their reasons. */
#ifndef LM_LOCK_LIMITS_H
#define LM_LOCK_LIMITS_H

/* One entry of a turn: a MiB still replicates within a heartbeat on a slow network. */
#define LM_LOCK_BATCH_COMMANDS_MAX 1024
#define LM_LOCK_BATCH_BYTES_MAX ((size_t)1024 * 1024)
/* Entries on their way at once: enough to hide one round trip behind the next. */
#define LM_LOCK_IN_FLIGHT_MAX 8
/* Commands that wait for a place in an entry; beyond it new acquires are refused. */
#define LM_LOCK_QUEUE_MAX 16384
/* The same for releases, renewals and cancels: they make room, so they go on for longer. Their
 * callers may have left, so the bound on calls does not bound them. */
#define LM_LOCK_CHANGES_MAX ((size_t)4 * LM_LOCK_QUEUE_MAX)
/* Calls that are open at once, of all kinds; beyond it every new call is refused. */
#define LM_LOCK_CALLS_MAX 131072
/* Rounds of ReadIndex on their way at once; reads of later turns wait for the next one. */
#define LM_LOCK_READ_ROUNDS_MAX 4
/* How far raft may deliver ahead of what is applied, in entries. */
#define LM_LOCK_CREDIT_ENTRIES 8192
/* Answers remembered for each hold, in case one of them is reported as undelivered. */
#define LM_LOCK_ANSWERS_PER_HOLD_MAX 8
/* Leases that fire in one wake-up, so that a mass expiry does not keep the loop from its pings. */
#define LM_LOCK_TIMERS_PER_WAKE_MAX 2048
/* Holders in an answer that says HELD; holders and waiters in one that shows a lock. */
#define LM_LOCK_HELD_HOLDERS_MAX 16
#define LM_LOCK_SHOWN_MAX 1000
#define LM_LOCK_PAGE_DEFAULT 100

/* ---- times in microseconds ------------------------------------------------------------------- */

/* Waiters that were there at a Takeover have this long to be listened to again. */
#define LM_LOCK_GRACE_US UINT64_C(3000000)
/* Before a command that raft refused is proposed again. */
#define LM_LOCK_RETRY_US UINT64_C(100000)
/* Before a refused Takeover or a failed ATTACH is tried again. */
#define LM_LOCK_RETRY_TAKEOVER_US UINT64_C(50000)
#define LM_LOCK_RETRY_ATTACH_US UINT64_C(200000)
/* Before reads whose round raft refused are asked for again. */
#define LM_LOCK_RETRY_READ_US UINT64_C(10000)
/* A wait without a limit of its own ends this long before its call has to be answered: the entry
 * that ends it has to be committed first. */
#define LM_LOCK_WAIT_MARGIN_US UINT64_C(50000)
/* A call is answered this long before its deadline, if nothing better has come. */
#define LM_LOCK_ANSWER_MARGIN_US UINT64_C(5000)
/* A call without a deadline. */
#define LM_LOCK_CALL_US UINT64_C(5000000)
/* A proposal always ends with an answer or with a restart of raft, which may sit in blocking I/O.
 */
#define LM_LOCK_PROPOSE_US UINT64_C(600000000)
#define LM_LOCK_READ_INDEX_US UINT64_C(5000000)
/* Reports to raft and to health. */
#define LM_LOCK_TICK_US UINT64_C(500000)

#endif
