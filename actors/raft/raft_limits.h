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
/* Committed entries that the lock of this node has not taken: at the first a follower asks its
 * leader for a snapshot, at the second a leader refuses proposals. The third is for the whole log
 * in memory, which is more only if it was so on disk at the start: a leader refuses proposals, a
 * follower takes no entries. They go with what is configured as the log behind a snapshot: so many
 * times as much, up to the maximum, but never so little that a moment's delay would count. */
#define LM_RAFT_FETCH_TIMES 3
#define LM_RAFT_FETCH_BYTES_MIN ((size_t)768 * 1024)
#define LM_RAFT_FETCH_BYTES_MAX ((size_t)48 * 1024 * 1024)
#define LM_RAFT_UNDELIVERED_TIMES 4
#define LM_RAFT_UNDELIVERED_BYTES_MIN ((size_t)1024 * 1024)
#define LM_RAFT_UNDELIVERED_BYTES_MAX ((size_t)64 * 1024 * 1024)
#define LM_RAFT_LOG_TIMES 7
#define LM_RAFT_LOG_BYTES_MIN ((size_t)2 * 1024 * 1024)
#define LM_RAFT_LOG_BYTES_MAX ((size_t)112 * 1024 * 1024)

/* One COMMITTED: small enough that the lock's loop never stalls, large enough to replay fast. */
#define LM_RAFT_COMMITTED_BYTES ((size_t)768 * 1024)
#define LM_RAFT_COMMITTED_ENTRIES 1024
/* A follower's lock is given entries at most this often, unless there are so many: its node spends
 * a good part of its time on waking it, and nobody waits for what it does. */
#define LM_RAFT_LINGER_US UINT64_C(10000)
#define LM_RAFT_LINGER_ENTRIES 64
/* COMMITTED messages of one turn. */
#define LM_RAFT_COMMITTED_PER_TURN 8

/* Frames that wait while term or vote is being written. */
#define LM_RAFT_HELD_FRAMES 4096
#define LM_RAFT_HELD_BYTES ((size_t)32 * 1024 * 1024)

/* Entries that are not stored yet: some seconds of a disk that has become slow. What a leader sends
 * beyond is not taken, and it will send it again. */
#define LM_RAFT_UNSTORED_BYTES ((size_t)24 * 1024 * 1024)

/* Reads that wait for their round. */
#define LM_RAFT_READS_MAX 65536

/* ---- snapshots ---- */

/* An encoded configuration: 9 bytes, and for each server its id, its name with NUL, its role. */
#define LM_RAFT_CONFIGURATION_BYTES (9 + LM_RAFT_SERVERS_MAX * (8 + LM_RAFT_NAME_SIZE + 1))
/* Log behind the last snapshot that makes it time for the next, and up to half as much more: some
 * ten seconds of full load, read again in a fraction of a second at a start. At most 32 MiB can be
 * configured: with what may wait for the lock it has to fit into the log in memory. */
#define LM_RAFT_SNAPSHOT_BYTES ((size_t)16 * 1024 * 1024)
/* Entries before a snapshot that stay, so that a follower that was away shortly needs no image...
 */
#define LM_RAFT_TRAILING_ENTRIES 8192
/* ...but no more bytes of them in memory than this, nor than a quarter of the whole log's. */
#define LM_RAFT_TRAILING_BYTES ((size_t)8 * 1024 * 1024)
/* One piece of an image, on the bus, on the wire and on disk. */
#define LM_RAFT_IMAGE_PIECE_BYTES ((size_t)256 * 1024)
/* Pieces asked for ahead. */
#define LM_RAFT_IMAGE_PIECES_AHEAD 4

/* Terms beyond this are garbage: nobody counts that far. */
#define LM_RAFT_TERM_MAX (UINT64_C(1) << 48)
/* Nor does a region hold that many elections while one of its nodes is away: ten in a second make
 * this number in thirteen years. A greater step is the word of a broken node, which must not use up
 * in one message what all terms of all nodes have to come from. */
#define LM_RAFT_TERM_STEP_MAX (UINT64_C(1) << 32)

#endif
