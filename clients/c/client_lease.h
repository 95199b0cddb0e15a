/* The lease of a session as its client sees it: when to send the next keep-alive, and whether what
 * the session holds may still be used. No clock, no chance, no I/O: all are arguments.
 *
 *             2/3 of ttl              deadline, or told
 *     safe ---------------> jeopardy -----------------> lost (final)
 *       ^ \___________________/ |            ^
 *       |    acknowledged       |            |  told, from either
 *       +-----------------------+------------+
 *
 * Times are microseconds of a clock that counts on while the machine sleeps (CLOCK_BOOTTIME).
 *
 * Invariants
 *   L1  A lease counts from the sending of the keep-alive that was acknowledged, never from its
 *       answer (S6): the client may stop early, never late.
 *   L2  Lost is final: nothing that arrives later takes it back.
 *   L3  One keep-alive is under way at a time, and the pauses between those that fail grow.
 *   L4  An acknowledgement that is older than one seen before changes nothing.
 *   L5  The keep-alive behind an acknowledgement is due at a multiple of 25 ms of that clock, like
 *       those of other sessions, so that they can share a write.
 */
#ifndef LM_CLIENT_LEASE_H
#define LM_CLIENT_LEASE_H

#include <stdbool.h>
#include <stdint.h>

typedef enum { LM_LEASE_SAFE, LM_LEASE_JEOPARDY, LM_LEASE_LOST } lm_lease_state_t;

/** Read by its functions only. */
typedef struct {
    uint64_t ttl_us;
    uint64_t safe_until_us; /* two thirds of the length */
    uint64_t end_us;        /* the deadline */
    uint64_t next_us;       /* when the next keep-alive is due */
    uint64_t pause_us;      /* after the last failure; 0: none since the last acknowledgement */
    bool under_way;
    bool lost;
    char cause[320];
} lm_lease_t;

/** The lease that an answer gives which was sent at sent_us. ttl_ms > 0. */
void lm_lease_begin(lm_lease_t *lease, uint64_t sent_us, int64_t ttl_ms, int64_t remaining_ms);

/** How it stands at that moment. */
lm_lease_state_t lm_lease_state(lm_lease_t *lease, uint64_t now_us);

/** When something happens next without anybody's doing: a keep-alive is due or the state changes;
 *  UINT64_MAX: nothing will. */
uint64_t lm_lease_wake_us(const lm_lease_t *lease, uint64_t now_us);

/** True if a keep-alive shall be sent now; it counts as under way then. timeout_ms gets how long to
 *  wait for its answer before another node is asked. */
bool lm_lease_send(lm_lease_t *lease, uint64_t now_us, uint64_t *timeout_ms);

/** Its answer: the session lives. sent_us is when the answered attempt was sent. */
void lm_lease_kept(lm_lease_t *lease, uint64_t now_us, uint64_t sent_us, int64_t ttl_ms,
                   int64_t remaining_ms);
/** It had no answer, or one that says nothing about the session. chance: any number, to spread the
 *  repeats of many clients. */
void lm_lease_failed(lm_lease_t *lease, uint64_t now_us, uint32_t chance);
/** The session has ended, whoever says it; the first cause stays. */
void lm_lease_lose(lm_lease_t *lease, const char *cause);

#endif
