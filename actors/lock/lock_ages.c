#include "lock_ages.h"

/* Numbers that are given out closer together share a mark. */
#define APART_US 10000
/* Marks are close together if the time between them is so small a part of their age. */
#define CLOSE 64

void lm_lock_ages_begin(lm_lock_ages_t *ages, uint64_t number, uint64_t now_us)
{
    ages->n = 1;
    ages->marks[0].number = number;
    ages->marks[0].us = now_us;
}

/* Marks that are close together for their age become one, with the later number and the earlier
 * time. What is left of a hundred years is three quarters of the room. */
static void thin(lm_lock_ages_t *ages, uint64_t now_us)
{
    size_t kept = 1;
    for (size_t i = 2; i < ages->n; i++) {
        uint64_t gap_us = ages->marks[i].us - ages->marks[kept].us;
        if (gap_us < (now_us - ages->marks[i].us) / CLOSE)
            ages->marks[kept].number = ages->marks[i].number;
        else
            ages->marks[++kept] = ages->marks[i];
    }
    ages->n = kept + 1;
}

void lm_lock_ages_mark(lm_lock_ages_t *ages, uint64_t number, uint64_t now_us)
{
    size_t last = ages->n - 1;
    if (number <= ages->marks[last].number) return;
    if (last > 0 && now_us < ages->marks[last].us + APART_US) {
        ages->marks[last].number = number;
        return;
    }
    if (ages->n == LM_LOCK_AGES_MARKS) thin(ages, now_us);
    if (ages->n == LM_LOCK_AGES_MARKS) { /* a clock that has lost its mind */
        lm_lock_ages_begin(ages, number, now_us);
        return;
    }
    ages->marks[ages->n].number = number;
    ages->marks[ages->n++].us = now_us;
}

/* The first mark whose number is not below; n if there is none. */
static size_t find(const lm_lock_ages_t *ages, uint64_t number)
{
    size_t low = 0, high = ages->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ages->marks[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool lm_lock_ages_of(const lm_lock_ages_t *ages, uint64_t number, uint64_t now_us, uint64_t *age_us)
{
    size_t at = find(ages, number);
    if (at == 0) return false;
    uint64_t since_us = at < ages->n ? ages->marks[at].us : now_us;
    *age_us = now_us > since_us ? now_us - since_us : 0;
    return true;
}
