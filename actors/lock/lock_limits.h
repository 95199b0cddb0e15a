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
/* KeepAlives that wait for others of their kind go when there are so many: of the price of an entry
 * each then pays little, and more would hardly lower it. */
#define LM_LOCK_LINGER_COMMANDS_MAX 64
/* So many commands under way at once are a crowd, which is worth waiting for. */
#define LM_LOCK_CROWD_MIN 8
/* Calls that are open at once, of all kinds; beyond it every new call is refused. */
#define LM_LOCK_CALLS_MAX 131072
/* Rounds of ReadIndex on their way at once; reads of later turns wait for the next one. */
#define LM_LOCK_READ_ROUNDS_MAX 4
/* How far raft may deliver ahead of what is applied, in entries. After a late tick all of it is
 * applied in one turn, and full entries have a hundred commands: more of them take longer than a
 * ping may stay unanswered on a machine that is short of processors. */
#define LM_LOCK_CREDIT_ENTRIES 1024
/* Who lacks more entries than this is not ready. */
#define LM_LOCK_NEAR_ENTRIES 8192
/* Answers remembered for each hold, and of all, in case one of them is reported as undelivered: the
 * grants of some seconds, in 10 MiB. Those before count as delivered. */
#define LM_LOCK_ANSWERS_PER_HOLD_MAX 8
#define LM_LOCK_ANSWERS_MAX ((size_t)131072)
/* How many of them are forgotten in one wake-up. */
#define LM_LOCK_ANSWERS_PER_WAKE_MAX 4096
/* Locks that a walk over all of them looks at in one turn: some milliseconds. */
#define LM_LOCK_WALK_LOCKS_PER_TURN 4096
/* Leases that fire in one wake-up, so that a mass expiry does not keep the loop from its pings. */
#define LM_LOCK_TIMERS_PER_WAKE_MAX 2048
/* Holders in an answer that says HELD; holders and waiters in one that shows a lock. */
#define LM_LOCK_HELD_HOLDERS_MAX 16
#define LM_LOCK_SHOWN_MAX 1000
/* Holds that a KeepAlive lists: with the longest names and ids they stay below the 4 MiB of an
 * answer. */
#define LM_LOCK_SESSION_HOLDS_MAX 4096
/* Holds and waits that a page of sessions counts before it ends: some milliseconds. */
#define LM_LOCK_PAGE_HOLDS_MAX ((size_t)16384)
#define LM_LOCK_PAGE_DEFAULT 100

/* ---- snapshots ------------------------------------------------------------------------------- */

/* A piece of an image is made in a turn, between calls: a millisecond or two. With the one item by
 * which it may be longer it stays within 256 KiB, which is what raft reads back at once. */
#define LM_LOCK_SNAPSHOT_PIECE_BYTES ((size_t)252 * 1024)
/* Pieces that raft has not written yet: the disk is never idle, and raft holds a MiB of them. */
#define LM_LOCK_SNAPSHOT_PARTS_MAX 4
/* What commands were about to change is written ahead and waits in memory. A node may grow by
 * 128 MiB under load; where an image falls behind by half of that the disk is the problem. */
#define LM_LOCK_SNAPSHOT_AHEAD_BYTES ((size_t)64 * 1024 * 1024)
/* An image takes about this long, so that what it costs - the disk above all - is spread and calls
 * do not wait for it; a small one goes at the least rate, in bytes per second. */
#define LM_LOCK_SNAPSHOT_US UINT64_C(8000000)
#define LM_LOCK_SNAPSHOT_RATE_MIN (UINT64_C(8) * 1024 * 1024)
/* Time that was missed, because this process or the disk stood still, is not made up beyond this.
 */
#define LM_LOCK_SNAPSHOT_DEBT_US UINT64_C(20000)
/* But it is complete when half the log that makes it time for the next has followed its mark,
 * however fast that comes, and it goes on at once while that much is written ahead: what waits in
 * memory stays bounded. */
#define LM_LOCK_SNAPSHOT_LOG_SHARE 2
/* Where the configuration does not say how much log makes it time: raft's preset. */
#define LM_LOCK_SNAPSHOT_LOG_BYTES (UINT64_C(16) * 1024 * 1024)
#define LM_LOCK_SNAPSHOT_HASTE_BYTES ((size_t)4 * 1024 * 1024)
/* What one read of an image brings, and how many are on their way while one is loaded. */
#define LM_LOCK_IMAGE_PIECE_BYTES ((size_t)256 * 1024)
#define LM_LOCK_IMAGE_READS_MAX 4

/* ---- times in microseconds ------------------------------------------------------------------- */

/* Waiters that were there at a Takeover have this long to be listened to again. */
#define LM_LOCK_GRACE_US UINT64_C(3000000)
/* Before a command that raft refused is proposed again. */
#define LM_LOCK_RETRY_US UINT64_C(100000)
/* So long KeepAlives that are alone in the queue wait for more of them: an entry for many costs
 * what one for one does, and a client that sends one every few seconds does not notice. One
 * whose session has less than a second left goes at once. */
#define LM_LOCK_LINGER_US UINT64_C(25000)
#define LM_LOCK_LINGER_LEFT_US UINT64_C(1000000)
/* So long an entry waits for the crowd: about what it takes to commit one. Measured with 16, 64 and
 * 256 clients 2 ms gave half as much again with the first two; 4 ms gave no more. */
#define LM_LOCK_GATHER_US UINT64_C(2000)
/* Before a refused Takeover or a failed ATTACH is tried again. */
#define LM_LOCK_RETRY_TAKEOVER_US UINT64_C(50000)
#define LM_LOCK_RETRY_ATTACH_US UINT64_C(200000)
/* Before reads whose round raft refused are asked for again. */
#define LM_LOCK_RETRY_READ_US UINT64_C(10000)
/* A wait without a limit of its own ends this long before its call has to be answered: the entry
 * that ends it has to be committed first. */
#define LM_LOCK_WAIT_MARGIN_US UINT64_C(50000)
/* A report that an answer found nobody comes within this time of it, or it changes nothing: the
 * hold then lives as long as its lease. Two hops take milliseconds; this spans a pause of a
 * frontend. */
#define LM_LOCK_TOLD_US UINT64_C(10000000)
/* A call is answered this long before its deadline, if nothing better has come. */
#define LM_LOCK_ANSWER_MARGIN_US UINT64_C(5000)
/* A call without a deadline. */
#define LM_LOCK_CALL_US UINT64_C(5000000)
/* A proposal always ends with an answer or with a restart of raft, which may sit in blocking I/O.
 */
#define LM_LOCK_PROPOSE_US UINT64_C(600000000)
#define LM_LOCK_READ_INDEX_US UINT64_C(5000000)
/* A piece is answered when it is written, the last one when the whole image is synced; 30 seconds
 * in blocking I/O are raft's good right. */
#define LM_LOCK_SNAPSHOT_PART_US UINT64_C(120000000)
#define LM_LOCK_IMAGE_READ_US UINT64_C(60000000)
/* Locks in each list of queues that is reported. */
#define LM_LOCK_QUEUES_TOLD_MAX 10
/* Reports to raft and to health. */
#define LM_LOCK_TICK_US UINT64_C(500000)

#endif
