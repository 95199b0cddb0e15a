/* The sockets of the internal bus; the only file that knows ZeroMQ.
 *
 * Invariants
 *   L1  A send takes the whole message or nothing, and says which; nothing is lost in silence by
 *       the sender's own socket.
 *   L2  No heartbeats: between processes of one machine a death closes the connection at once, and
 *       a peer that only stands still must find its messages when it goes on. Who stands still too
 *       long is the supervisor's business. Within a process nothing tells of a death at all: there
 *       it is told by the thread that ends (act_thread.h).
 *   L3  A link belongs to the thread that made it.
 *   L4  A link in which nothing was found is not asked again before there is a sign of something:
 *       its descriptor, or a call of ours, which may have taken that sign in. Asking costs two
 *       system calls, and most links of a room are idle in most of its turns.
 */
#ifndef LM_ACT_LINK_H
#define LM_ACT_LINK_H

#include <stdbool.h>

#include "base_bytes.h"

/** A socket: bound, with any number of consumers; or connected to one binder. */
typedef struct lm_link lm_link_t;

/** Longest address of a consumer, with its NUL. */
enum { LM_ADDRESS_BYTES = 32 };

/** Sets ZeroMQ up for this process, once; making a link does that too. Any thread. */
void lm_link_prepare_process(void);

/** Binds "ipc://PATH", where a stale socket file is removed and the new one is for this user alone;
 *  or "inproc://NAME", for the threads of this process. NULL with errno if that fails. */
lm_link_t *lm_link_bind(const char *endpoint);

/** Begins to connect to an endpoint, under an address of one's own that is not empty. NULL with
 *  errno if that fails; an endpoint where nobody listens yet is no failure. */
lm_link_t *lm_link_connect(const char *endpoint, const char *address);

/** Closes. What was sent may still leave for as long as linger_ms. */
void lm_link_close(lm_link_t **link, int linger_ms);

typedef enum {
    LM_LINK_SENT,
    LM_LINK_FULL, /* the pipe is full */
    LM_LINK_GONE, /* nobody is connected under that address */
} lm_link_sent_t;

/** Sends one message; address is that of the consumer, NULL on a connected link. */
lm_link_sent_t lm_link_send(lm_link_t *link, const char *address, lm_bytes_t bytes);

/** Takes one message if there is one. Both views are valid until the next call on this link;
 *  address is empty on a connected link. A message of a wrong number of parts has no content.
 *  Once it has said false, what comes is only found after lm_link_wait or lm_link_look_again. */
bool lm_link_receive(lm_link_t *link, lm_bytes_t *address, lm_bytes_t *bytes);

/** Makes the next lm_link_receive look without a sign; NULL is no link. */
void lm_link_look_again(lm_link_t *link);

/** What to wait for: a link, or a descriptor if link is NULL. */
typedef struct {
    lm_link_t *link;
    int fd;
    bool ready; /* set by lm_link_wait */
} lm_wait_t;

/** Most things that can be waited for at once. */
enum { LM_WAIT_MAX = 96 };

/** Waits until something may be there to be read, or the time is over; negative: for ever. */
void lm_link_wait(lm_wait_t *items, size_t n, int timeout_ms);

#endif
