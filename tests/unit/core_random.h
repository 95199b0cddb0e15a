/* Random commands that make sense often enough, for property tests of the table and of its wire
 * form.
 *
 * The same seed gives the same commands as long as the table they are made for is in the same
 * state: numbers of holds and waits are looked up in it, and spoiled now and then. */
#ifndef LM_TESTS_CORE_RANDOM_H
#define LM_TESTS_CORE_RANDOM_H

#include "core_table.h"

typedef struct {
    uint64_t state;                   /* of the generator; any value */
    uint32_t names, owners, requests; /* how many different ones */
    uint32_t ring_max;                /* a Takeover draws its ring size below this */
    uint64_t term;                    /* of the last Takeover made */
    char texts[4][32];                /* of the last command */
    uint8_t secret[16];
} lm_core_random_t;

/** Reasonable sizes: few names and owners, so that they meet. */
lm_core_random_t lm_core_random_new(uint64_t seed);
uint64_t lm_core_random_next(lm_core_random_t *random);
uint32_t lm_core_random_below(lm_core_random_t *random, uint32_t bound);
/** A command; its texts live in random until the next one is made. */
lm_command_t lm_core_random_command(lm_core_random_t *random, const lm_table_t *table);

#endif
