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
    /* Client calls and streams open at once: waiters of a busy region, and memory. */
    LM_CLIENT_CALLS_MAX = 32768,
    /* Client calls that the room has not looked at yet: some tens of milliseconds of its work. */
    LM_CLIENT_BACKLOG_MAX = 2048,
    /* What may wait to be written to one peer: beyond it raft's own repeats are the better copy. */
    LM_LINK_QUEUE_BYTES_MAX = 8 * 1024 * 1024,
    /* What may wait to be written on a reflection or health stream whose client does not read. */
    LM_CLIENT_QUEUE_BYTES_MAX = 1024 * 1024,
    /* What may wait in a room's inlet from one stream before the driver stops reading it. */
    LM_UNREAD_BYTES_MAX = 8 * 1024 * 1024,
    /* A client request on its way from node to node, as the register allows it on the bus. */
    LM_FORWARD_BYTES_MAX = 131072,
    /* Grants to calls of other nodes that may still be reported as undelivered: what a busy leader
     * gives within some hundreds of milliseconds. */
    LM_GIVEN_MAX = 8192,
    /* Reports of undelivered grants on their way to other nodes. */
    LM_REPORTS_MAX = 1000,
    /* When a client that was refused for load may come again by itself. */
    LM_PUSHBACK_MS = 200,
    /* Field rules of requests; those of names and owners are everybody's (base_limits.h). */
    LM_HOLD_ID_BYTES_MAX = 64,
    LM_PAGE_TOKEN_BYTES_MAX = 1024,
    LM_PAGE_SIZE_MAX = 1000,
    LM_WAIT_MS_MAX = 86400000,
};

#endif
