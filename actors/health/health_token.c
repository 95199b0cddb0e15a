#include "health_token.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base_arena.h"
#include "base_log.h"
#include "tls_digest.h"
#include "tls_key_file.h"
#include "tls_text_file.h"

enum { LOOK_EVERY_US = 1000000, WHY_BYTES = 120 };

struct health_token {
    char path[256];
    uint64_t look_at_us;
    lm_tls_text_stamp_t stamp; /* of what was tried last */
    char why[WHY_BYTES];       /* the fault that was told last */
    size_t n;
    uint8_t digests[LM_TLS_KEYS_MAX][LM_TLS_DIGEST_BYTES];
};

static bool read_file(health_token_t *token, char why[WHY_BYTES])
{
    lm_tls_keys_t keys;
    token->stamp = lm_tls_text_file_stamp(token->path);
    bool good = lm_tls_key_file_read(token->path, &keys, why);
    if (good) token->n = keys.n;
    for (size_t i = 0; good && i < keys.n; i++)
        lm_tls_digest_of(lm_tls_keys_get(&keys, i), token->digests[i]);
    lm_tls_keys_clear(&keys);
    return good;
}

health_token_t *health_token_new(const char *path, char why[120])
{
    health_token_t *token = lm_alloc(sizeof *token);
    snprintf(token->path, sizeof token->path, "%s", path);
    if (!read_file(token, why)) health_token_destroy(&token);
    return token;
}

void health_token_destroy(health_token_t **token)
{
    free(*token);
    *token = NULL;
}

void health_token_look(health_token_t *token, uint64_t now_us)
{
    if (now_us < token->look_at_us) return;
    token->look_at_us = now_us + LOOK_EVERY_US;
    lm_tls_text_stamp_t stamp = lm_tls_text_file_stamp(token->path);
    if (lm_tls_text_stamp_equal(&stamp, &token->stamp)) return;
    char why[WHY_BYTES];
    if (read_file(token, why)) {
        token->why[0] = 0;
        lm_info("the tokens of the actuator are read again");
    } else if (strcmp(why, token->why) != 0) {
        memcpy(token->why, why, sizeof why);
        lm_warn("the changed file actuator.token is not used: %s %s", token->path, why);
    }
}

bool health_token_admits(const health_token_t *token, const char *authorization)
{
    static const char scheme[] = "bearer ";
    size_t size = sizeof scheme - 1;
    if (!authorization || strncasecmp(authorization, scheme, size) != 0) return false;
    const char *shown = authorization + size;
    while (*shown == ' ') shown++;
    uint8_t digest[LM_TLS_DIGEST_BYTES];
    bool found = false;
    lm_tls_digest_of(lm_bytes(shown, strlen(shown)), digest);
    for (size_t i = 0; i < token->n; i++)
        found = lm_tls_digest_equal(digest, token->digests[i]) || found;
    return found;
}
