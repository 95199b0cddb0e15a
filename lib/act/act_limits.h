/* Limits of the internal bus, each with its reason. Limits of one message stand in
 * proto/bus_messages.def. */
#ifndef LM_ACT_LIMITS_H
#define LM_ACT_LIMITS_H

#include <stddef.h>

/** Messages in one ZeroMQ message: more in one turn are sent as several. Bounds what a receiver
 *  handles before it looks at its other connections again. */
#define LM_BUNDLE_MESSAGES_MAX 4096
/** Bytes of one ZeroMQ message: twice the largest body of the register, so that one always fits. */
#define LM_BUNDLE_BYTES_MAX ((size_t)8 * 1024 * 1024)
/** Bytes of one envelope: all its fields at their largest need about 110. */
#define LM_ENVELOPE_BYTES_MAX ((size_t)256)
/** ZeroMQ messages that wait in one pipe, on each side: seconds of a busy room's turns. */
#define LM_PIPE_BUNDLES_MAX 1000
/** Bytes that one turn reads before it handles timers and sends answers: milliseconds of work. */
#define LM_TURN_BYTES_MAX ((size_t)16 * 1024 * 1024)
/** ZeroMQ messages that one turn reads from one connection, so that no other starves. */
#define LM_TURN_BUNDLES_MAX 64
/** ZeroMQ messages that are read from all connections after a late tick: all pipes, twice over. */
#define LM_LATE_BUNDLES_MAX 32000
/** Bytes kept for one peer that does not read. Who lets that much pile up is beyond help, and the
 *  sender ends rather than take the node's memory. */
#define LM_KEEP_BYTES_MAX ((size_t)64 * 1024 * 1024)
/** Bytes kept in a room to send its unanswered calls again; a further call is refused. */
#define LM_CALL_BYTES_MAX ((size_t)256 * 1024 * 1024)
/** File descriptors that one room watches besides its sockets: a supervisor's five children, its
 *  signals and its control socket, with room to spare. */
#define LM_WATCHED_MAX 64

#endif
