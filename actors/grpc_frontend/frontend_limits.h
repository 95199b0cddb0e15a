/* Limits of the frontend, in one place, with their reasons. */
#ifndef LM_FRONTEND_LIMITS_H
#define LM_FRONTEND_LIMITS_H

#include "base_limits.h"

enum {
    /* A frame between raft actors; with its name and number it still fits PEER_RECEIVE. */
    LM_FRAME_BYTES_MAX = 4 * 1024 * 1024 - 1024,
    /* What gRPC lets in: a frame and its wrapping. Client requests have a limit of their own. */
    LM_MESSAGE_BYTES_MAX = 4 * 1024 * 1024 + 64 * 1024,
    /* Memory gRPC may use for buffers before it slows its connections down. */
    LM_GRPC_BYTES_MAX = 512 * 1024 * 1024,
    /* Headers of one call. */
    LM_METADATA_BYTES_MAX = 16 * 1024,
    LM_READ_BYTES_MAX = 64 * 1024,
    /* Client calls and streams open at once: waiters of a busy region, and memory. */
    LM_CLIENT_CALLS_MAX = 32768,
    /* Calls of a method that gRPC hands over at once: what waits for that inside of gRPC takes ten
     * kilobytes each, and nobody knows whose it is. */
    LM_ASKERS = 32,
    /* Client calls that the room has not looked at yet: some tens of milliseconds of its work. */
    LM_CLIENT_BACKLOG_MAX = 2048,
    /* The same for renewals, releases and cancels, and for what other nodes pass on: when acquires
     * have taken all places, who holds a lock can still keep it or give it back. */
    LM_VITAL_CALLS_MAX = LM_CLIENT_CALLS_MAX + 16384,
    LM_VITAL_BACKLOG_MAX = 16384,
    /* Below so many calls on their way to lock there is no crowd, however long they take: a slow
     * disk takes that many at once. */
    LM_CROWD_MIN = 512,
    /* Calls on their way to lock, which says nothing at all, before acquires are refused. */
    LM_UNDER_WAY_MAX = 8192,
    /* What may wait to be written to one peer: beyond it raft's own repeats are the better copy. */
    LM_LINK_QUEUE_BYTES_MAX = 8 * 1024 * 1024,
    /* What may wait to be written on a reflection or health stream whose client does not read. */
    LM_CLIENT_QUEUE_BYTES_MAX = 1024 * 1024,
    /* What may wait in a room's inlet from one stream before the driver stops reading it. */
    LM_UNREAD_BYTES_MAX = 8 * 1024 * 1024,
    /* The same for a client's stream. As each message weighs 256 bytes more than it has, at most
     * 256 requests of a stream are unanswered before it is not read on. */
    LM_CLIENT_UNREAD_BYTES_MAX = 64 * 1024,
    /* A client request on its way from node to node, as the register allows it on the bus. */
    LM_FORWARD_BYTES_MAX = 131072,
    /* Grants to calls of other nodes that may still be reported as undelivered: what a busy leader
     * gives within some hundreds of milliseconds. */
    LM_GIVEN_MAX = 8192,
    /* Challenges that regions have answered by the key and that are still good: of 64 regions each
     * of five nodes answers one a second, for ten seconds. */
    LM_CHALLENGES_USED_MAX = 4096,
    /* Reports of undelivered grants on their way to other nodes. */
    LM_REPORTS_MAX = 1000,
    /* Bytes that a connection may send a second without any use, and how many at once: what remains
     * of a flood is some thousand frames a second. Of a node the largest message may be on its way
     * several times. An address that goes on has less. */
    LM_WASTE_BYTES_PER_SECOND = 256 * 1024,
    LM_WASTE_BYTES = 1024 * 1024,
    LM_WASTE_NODE_BYTES = 4 * LM_MESSAGE_BYTES_MAX,
    LM_WASTE_AGAIN_BYTES = 64 * 1024,
    /* So many times the streams that a connection may have are a flood. One that keeps to the limit
     * has some more for a moment, as long as the ends of calls wait to be looked at. */
    LM_STREAMS_SLACK = 16,
    /* Memory of the process without a call, queues to nodes included, and of each open call: beyond
     * that it is somebody's flood. Who then goes has sent more than this without use, a kilobyte a
     * second forgiven: a thousand empty streams. */
    LM_MEMORY_BYTES = 128 * 1024 * 1024,
    LM_MEMORY_BYTES_PER_CALL = 16 * 1024,
    LM_GREED_BYTES_PER_SECOND = 1024,
    LM_GREED_BYTES = 16 * 1024,
    /* What a call takes on the wire besides its metadata and its message, and a message of a
     * stream. */
    LM_CALL_BYTES_EXTRA = 512,
    LM_STREAM_MESSAGE_BYTES_EXTRA = 64,
    /* Descriptors that no connection gets: for files, own connections, and what comes in between
     * two looks. At most an eighth of all. */
    LM_DESCRIPTORS_SPARE = 4096,
    /* When a client that was refused for load may come again by itself. */
    LM_PUSHBACK_MS = 200,
    /* Field rules of requests; those of names and owners are everybody's (base_limits.h). */
    LM_HOLD_ID_BYTES_MAX = 64,
    LM_SESSION_ID_DIGITS = 16,
    LM_SESSION_SECRET_DIGITS = 32,
    LM_PAGE_TOKEN_BYTES_MAX = 1024,
    LM_PAGE_SIZE_MAX = 1000,
    LM_WAIT_MS_MAX = 86400000,
};

#endif
