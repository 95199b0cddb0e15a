/* When holds began, without a byte for each of them: a hold is numbered by the operation that
 * granted it, and numbers grow with time. So marks of a number and a time tell it, denser for the
 * young than for the old.
 *
 *   marks:   20 at 0 s   90 at 4 s   95 at 6 s   97 at 6.01 s
 *   hold 93: after 90, up to 95: it began at 6 s
 *
 * Invariants
 *   A1  What is told of a hold is its age, give or take a sixteenth of it or 20 ms, or that it is
 *       not known: it began before the first mark.
 *   A2  So many marks are enough for centuries: where there is no room, those go that are close
 *       to another for their age.
 */
#ifndef LM_LOCK_AGES_H
#define LM_LOCK_AGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LM_LOCK_AGES_MARKS 2048

typedef struct {
    struct {
        uint64_t number, us;
    } marks[LM_LOCK_AGES_MARKS]; /* growing in both; behind the first, numbers up to it are known */
    size_t n;
} lm_lock_ages_t;

/** Forgets everything: nothing is known of numbers up to this one. */
void lm_lock_ages_begin(lm_lock_ages_t *ages, uint64_t number, uint64_t now_us);
/** Numbers up to this one have been given out by now. After lm_lock_ages_begin. */
void lm_lock_ages_mark(lm_lock_ages_t *ages, uint64_t number, uint64_t now_us);
/** Since when there is the hold of that number, in microseconds. False: it is not known. */
bool lm_lock_ages_of(const lm_lock_ages_t *ages, uint64_t number, uint64_t now_us,
                     uint64_t *age_us);

#endif
