/* Challenges to regions that are to prove a shared key (frontend_keys.h).
 *
 * A challenge is a nonce: 16 bytes drawn anew, and a MAC over them, the step of time and what the
 * other side has said of itself, by a secret of this room. So nothing is kept of one that nobody
 * has answered rightly yet.
 *
 * Invariants
 *   FH1  Callers that have no key use up nothing here, however many challenges they ask for.
 *   FH2  A challenge is good for whoever it was made for, for five to ten seconds, and once: who
 *        has answered it is remembered for as long. If there are too many of them, further ones are
 *        refused, and none is forgotten.
 */
#ifndef LM_FRONTEND_CHALLENGE_H
#define LM_FRONTEND_CHALLENGE_H

#include "frontend_keys.h"

typedef struct lm_frontend_challenges lm_frontend_challenges_t;

/** secret: 32 bytes that nobody else knows. */
lm_frontend_challenges_t *lm_frontend_challenges_new(const uint8_t secret[32]);
void lm_frontend_challenges_destroy(lm_frontend_challenges_t **challenges);

/** Makes the nonce for who has said this of himself. drawn: a nonce of lm_frontend_keys_nonce. */
void lm_frontend_challenges_make(const lm_frontend_challenges_t *challenges, uint64_t now_us,
                                 const lm_frontend_agreed_t *said,
                                 const uint8_t drawn[LM_NONCE_BYTES],
                                 uint8_t nonce[LM_NONCE_BYTES]);
/** Whether it was made here, for who has said this, lately. */
bool lm_frontend_challenges_is_own(const lm_frontend_challenges_t *challenges, uint64_t now_us,
                                   const lm_frontend_agreed_t *said,
                                   const uint8_t nonce[LM_NONCE_BYTES]);
/** It has been answered rightly, and is an own one. False: it was before, or there is no place to
 *  remember it. */
bool lm_frontend_challenges_use(lm_frontend_challenges_t *challenges, uint64_t now_us,
                                const uint8_t nonce[LM_NONCE_BYTES]);

#endif
