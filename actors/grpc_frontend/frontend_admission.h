/* Which calls are refused when a node has more to do than it can, so that the others are answered
 * in time. A pure machine: calls and times in, decisions out.
 *
 * Every tenth of a second it looks at the least time that a call took meanwhile. One slow write
 * makes some calls slow; a queue makes all of them slow. While even the fastest call takes too
 * long, a growing share of new acquires is refused, and when that is not enough, of reads; the
 * share falls again as soon as calls are fast.
 *
 *      even the fastest took > 50 ms, and many are under way:  share += 6% to 19%
 *      the fastest took < 25 ms, or few are under way:         share -= 5%
 *
 * Invariants
 *   FO1  A call that keeps or frees what somebody holds - a renewal, a release, a cancel - is
 *        never refused here: it costs less than its repeats, and whoever holds a lock must be able
 *        to keep it.
 *   FO2  Reads are refused only while every acquire is.
 *   FO3  A slow disk alone refuses nobody: it takes LM_CROWD_MIN calls under way as well.
 *   FO4  Without a queue it takes at most 4 s until nothing is refused any more.
 */
#ifndef LM_FRONTEND_ADMISSION_H
#define LM_FRONTEND_ADMISSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LM_ADMISSION_ALL = 1024 };

typedef enum {
    LM_ADMISSION_VITAL, /* never refused */
    LM_ADMISSION_READ,
    LM_ADMISSION_ACQUIRE,
} lm_frontend_admission_class_t;

/** All zero at the start. */
typedef struct {
    uint64_t window_end_us;
    uint64_t least_us;   /* that a call of this window took */
    uint32_t n_took;     /* calls of this window that were decided */
    uint32_t n_waiting;  /* acquires of this window that may wait in a queue */
    uint64_t delay_us;   /* least_us of the last window; 0: none was decided */
    size_t under_way;    /* calls that are about to be decided */
    uint32_t share;      /* what is refused: 1024 is every acquire, 2048 every read too */
    uint32_t owed[2];    /* refusals that the share owes so far, of reads and acquires */
    uint64_t refused[2]; /* reads and acquires that were refused */
} lm_frontend_admission_t;

/** Looks at the time that has passed. Returns what share of acquires is to be refused now, from 0
 * to LM_ADMISSION_ALL; while it is not 0, call it again at window_end_us at the latest. */
uint32_t lm_frontend_admission_share(lm_frontend_admission_t *admission, uint64_t now_us);
/** The bound for acquires that have been sifted by that share already. */
bool lm_frontend_admission_is_full(lm_frontend_admission_t *admission);
/** Whether a new call is refused, and counts it if so. */
bool lm_frontend_admission_refuses(lm_frontend_admission_t *admission, uint64_t now_us,
                                   lm_frontend_admission_class_t class);
/** A call is on its way to lock. waits: it may have to wait for other clients, so that the time it
 *  takes says nothing. */
void lm_frontend_admission_begins(lm_frontend_admission_t *admission, bool waits);
/** A call that began without waits has ended. decided: lock has answered its first attempt, so that
 *  the time since its arrival counts. */
void lm_frontend_admission_ends(lm_frontend_admission_t *admission, uint64_t now_us,
                                uint64_t arrived_us, bool decided);

#endif
