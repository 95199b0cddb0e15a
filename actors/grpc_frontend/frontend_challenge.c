#include "frontend_challenge.h"

#include <stdlib.h>
#include <string.h>

#include "frontend_limits.h"

enum {
    STEP_US = 5000000, /* both calls of a greeting and their ways take less */
    DRAWN_BYTES = 16,
    MAC_BYTES = LM_NONCE_BYTES - DRAWN_BYTES,
};

typedef struct {
    uint64_t until_step; /* forgotten from then on; 0: free */
    uint8_t nonce[LM_NONCE_BYTES];
} used_t;

struct lm_frontend_challenges {
    uint8_t secret[32];
    used_t used[LM_CHALLENGES_USED_MAX];
};

lm_frontend_challenges_t *lm_frontend_challenges_new(const uint8_t secret[32])
{
    lm_frontend_challenges_t *challenges = lm_alloc(sizeof *challenges);
    memcpy(challenges->secret, secret, sizeof challenges->secret);
    return challenges;
}

void lm_frontend_challenges_destroy(lm_frontend_challenges_t **self)
{
    if (*self) explicit_bzero(*self, sizeof **self);
    free(*self);
    *self = NULL;
}

/* From 1, so that the one before is a number, too. */
static uint64_t step_of(uint64_t now_us) { return now_us / STEP_US + 1; }

static void make(const lm_frontend_challenges_t *challenges, uint64_t step,
                 const lm_frontend_agreed_t *said, const uint8_t drawn[DRAWN_BYTES],
                 uint8_t nonce[LM_NONCE_BYTES])
{
    uint8_t digest[LM_TLS_DIGEST_BYTES];
    lm_bytes_t parts[LM_PROOF_PARTS + 2] = {lm_bytes(&step, sizeof step),
                                            lm_bytes(drawn, DRAWN_BYTES)};
    memcpy(parts + 2, said->part, said->n * sizeof *parts);
    lm_tls_digest_hmac(lm_bytes(challenges->secret, sizeof challenges->secret), parts, said->n + 2,
                       digest);
    memmove(nonce, drawn, DRAWN_BYTES);
    memcpy(nonce + DRAWN_BYTES, digest, MAC_BYTES);
}

void lm_frontend_challenges_make(const lm_frontend_challenges_t *challenges, uint64_t now_us,
                                 const lm_frontend_agreed_t *said,
                                 const uint8_t drawn[LM_NONCE_BYTES],
                                 uint8_t nonce[LM_NONCE_BYTES])
{
    make(challenges, step_of(now_us), said, drawn, nonce);
}

bool lm_frontend_challenges_is_own(const lm_frontend_challenges_t *challenges, uint64_t now_us,
                                   const lm_frontend_agreed_t *said,
                                   const uint8_t nonce[LM_NONCE_BYTES])
{
    bool own = false;
    for (uint64_t ago = 0; ago < 2; ago++) {
        uint8_t wanted[LM_NONCE_BYTES];
        make(challenges, step_of(now_us) - ago, said, nonce, wanted);
        own = lm_tls_digest_equal(wanted, nonce) || own;
    }
    return own;
}

bool lm_frontend_challenges_use(lm_frontend_challenges_t *challenges, uint64_t now_us,
                                const uint8_t nonce[LM_NONCE_BYTES])
{
    used_t *place = NULL;
    uint64_t step = step_of(now_us);
    for (size_t i = 0; i < LM_CHALLENGES_USED_MAX; i++) {
        used_t *used = &challenges->used[i];
        if (used->until_step <= step)
            place = used;
        else if (memcmp(used->nonce, nonce, LM_NONCE_BYTES) == 0)
            return false;
    }
    if (!place) return false;
    place->until_step = step + 2;
    memcpy(place->nonce, nonce, LM_NONCE_BYTES);
    return true;
}
