/* Which connections do harm and have to go. A pure machine: what is seen of connections, and times
 * in, verdicts out. Who looks at sockets, and ends them, is frontend_sentry.h.
 *
 * gRPC bounds little of what connections cost: headers without an end take memory without an end,
 * streams that are opened and reset take the processor, and a listener that runs out of descriptors
 * once accepts nobody ever again. So what a connection has sent and what of that led to something
 * are compared: calls and messages that reached a room, unless the caller took them back. Of the
 * rest it may send so many bytes a second, and so many at once. When the process has more memory
 * than its calls explain, the connection goes that has wasted most lately.
 *
 *      rest     looks once a second, while nothing odd goes on
 *      lively   ten looks a second: somebody is new, sends without use, or the processor is busy
 *      attack   fifty looks a second, until 10 s after the last connection that was ended for waste
 *
 * Looks at many connections are rarer. When few descriptors are left it wants to be asked more
 * often, by how long a burst of connections would need for them.
 *
 * Invariants
 *   FG1  What ends with an answer is never held against a connection, whatever the answer.
 *   FG2  When connections are too many, of all or of one address, those that have not made a call
 *        go first, then those that are no node's, and the newest before the others.
 *   FG3  A connection of this process to itself never goes for being one too many.
 *   FG4  Who has been told to go is not judged, nor counted, for a second.
 *   FG5  Connections of nodes have no age, nor have those of this process to itself; and none is
 *        ended for its age while a call on it may wait for a lock.
 */
#ifndef LM_FRONTEND_GUARD_H
#define LM_FRONTEND_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct lm_frontend_guard lm_frontend_guard_t;

typedef enum {
    LM_GUARD_WASTEFUL, /* for what it sent */
    LM_GUARD_CROWDED,  /* descriptors became few */
    LM_GUARD_ADDRESS,  /* its address has too many */
    LM_GUARD_AGED,     /* it is old, and was told so long ago */
    LM_GUARD_REASONS
} lm_guard_reason_t;

#define LM_GUARD_BYTES_UNKNOWN UINT64_MAX

/** A connection that somebody has to one of the ports. */
typedef struct {
    uint64_t key;    /* of its address and port and of the port it came to, not 0 */
    uint64_t host;   /* of its address alone */
    uint64_t bytes;  /* that gRPC has read of it so far, or LM_GUARD_BYTES_UNKNOWN */
    uint64_t socket; /* the kernel's number for it, of which there is never another; 0: unknown */
    int fd;
    bool own;  /* this process is at its other end too */
    bool ages; /* it came on a port where clients' connections have an age */
} lm_guard_seen_t;

typedef struct {
    size_t descriptors;     /* in use, of this process */
    size_t descriptors_max; /* 0: not known */
    uint64_t used_bytes;    /* of memory, by this process; 0: not known */
    bool alone;             /* no other actor's memory is among them */
    uint64_t cpu_us;        /* that this process has used since its start */
    uint32_t calls;         /* that are open: they explain memory */
} lm_guard_facts_t;

/** This connection has to go. */
typedef struct {
    uint64_t key, socket;
    int fd; /* as seen last; by now it may be somebody else's */
    lm_guard_reason_t reason;
} lm_guard_verdict_t;

/** Counters since the start, and a gauge. */
typedef struct {
    uint64_t ended[LM_GUARD_REASONS]; /* verdicts */
    uint64_t open;                    /* connections of others, as seen last */
} lm_guard_figures_t;

typedef struct {
    uint32_t per_address_max; /* so many connections one address may have; 0: as many as it likes */
    uint32_t calls_max;       /* who has more calls open on one connection floods; 0: nobody does */
    uint64_t
        age_us; /* gRPC tells a connection of that age to go, a tenth sooner or later; 0: none */
    uint64_t grace_us; /* so long it stays after that at least, if it has calls; a tenth of the age
                          longer at most, not all at once */
} lm_guard_rules_t;

/** Times are of CLOCK_MONOTONIC, in microseconds, here and below. The rules are copied. */
lm_frontend_guard_t *lm_frontend_guard_new(uint64_t now_us, const lm_guard_rules_t *rules);
void lm_frontend_guard_destroy(lm_frontend_guard_t **guard);

/** So many bytes that came on that connection have led to something; below 0: they have not, after
 *  all. */
void lm_frontend_guard_credit(lm_frontend_guard_t *guard, uint64_t key, int64_t bytes);
/** A node or a region that has proven to be one speaks on that connection: large messages are to be
 *  expected, and it goes last where there are too many. */
void lm_frontend_guard_vouch(lm_frontend_guard_t *guard, uint64_t key);
/** So many calls more, or fewer, of that connection are open. wait: each may wait in a queue, where
 *  it would lose its place. */
void lm_frontend_guard_count(lm_frontend_guard_t *guard, uint64_t key, int more, bool wait);
/** The processor is busy: worth a look at once, or a tenth of a second after the last one. */
void lm_frontend_guard_stir(lm_frontend_guard_t *guard, uint64_t now_us);
/** Whether it is time to look. */
bool lm_frontend_guard_is_due(lm_frontend_guard_t *guard, uint64_t now_us,
                              const lm_guard_facts_t *facts);
/** Takes what was seen, all connections there are. Returns how many have to go, and which in
 *  *verdicts: the guard's own, valid until the next look. */
size_t lm_frontend_guard_look(lm_frontend_guard_t *guard, uint64_t now_us,
                              const lm_guard_facts_t *facts, const lm_guard_seen_t *seen, size_t n,
                              const lm_guard_verdict_t **verdicts);
/** When to ask again whether a look is due, if nothing stirs it before. */
uint64_t lm_frontend_guard_next_us(const lm_frontend_guard_t *guard, uint64_t now_us,
                                   const lm_guard_facts_t *facts);
/** Whether a flood goes on, or has gone on until lately. */
bool lm_frontend_guard_is_attacked(const lm_frontend_guard_t *guard, uint64_t now_us);
/** How many were told to go for that reason and are not in the log yet; 0 while the last line about
 *  them is younger than a second. It takes them as said. */
uint64_t lm_frontend_guard_unsaid(lm_frontend_guard_t *guard, uint64_t now_us,
                                  lm_guard_reason_t reason);
lm_guard_figures_t lm_frontend_guard_figures(const lm_frontend_guard_t *guard);

/** Whether a process that used so much of its processor in that time has something to look at. */
bool lm_frontend_guard_is_busy(uint64_t cpu_us, uint64_t passed_us);

#endif
