/* Limits of the raft actor, and why they are what they are. */
#ifndef LM_RAFT_LIMITS_H
#define LM_RAFT_LIMITS_H

#include <stddef.h>
#include <stdint.h>

/* Voters of a region; majorities of more cost more than they give. */
#define LM_RAFT_SERVERS_MAX 15
/* Names of nodes and regions in files and in memory, with NUL. */
#define LM_RAFT_NAME_SIZE 256
/* Cluster and history ids: 32 hexadecimal digits and NUL. */
#define LM_RAFT_ID_SIZE 33

/* One AppendEntries frame carries as many entries as fit, and always at least one. */
#define LM_RAFT_FRAME_BYTES ((size_t)512 * 1024)
/* What one send of the engine may put on the wire to one peer; the rest goes with the next. */
#define LM_RAFT_SEND_BYTES ((size_t)4 * 1024 * 1024)
/* Entries the engine may have under way to one peer without an answer. */
#define LM_RAFT_INFLIGHT_ENTRIES 4096

/* Proposals that are not yet committed: about a second of a slow disk. */
#define LM_RAFT_PROPOSALS_MAX 1024
#define LM_RAFT_PROPOSAL_BYTES ((size_t)16 * 1024 * 1024)
/* Committed entries that the leader's own lock has not taken yet. */
#define LM_RAFT_UNDELIVERED_BYTES ((size_t)64 * 1024 * 1024)

/* One COMMITTED: small enough that the lock's loop never stalls, large enough to replay fast. */
#define LM_RAFT_COMMITTED_BYTES ((size_t)768 * 1024)
#define LM_RAFT_COMMITTED_ENTRIES 1024
/* COMMITTED messages of one turn. */
#define LM_RAFT_COMMITTED_PER_TURN 8

/* Frames that wait while term or vote is being written. */
#define LM_RAFT_HELD_FRAMES 4096
#define LM_RAFT_HELD_BYTES ((size_t)32 * 1024 * 1024)

/* Reads that wait for their round. */
#define LM_RAFT_READS_MAX 65536

/* Terms beyond this are garbage: nobody counts that far. */
#define LM_RAFT_TERM_MAX (UINT64_C(1) << 48)

#endif
