#include "tls_digest.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>

#include "base_arena.h"
#include "base_check.h"

void lm_tls_digest_of(lm_bytes_t bytes, uint8_t digest[LM_TLS_DIGEST_BYTES])
{
    unsigned size = 0;
    int done = EVP_Digest(bytes.data, bytes.size, digest, &size, EVP_sha256(), NULL);
    LM_CHECK(done == 1 && size == LM_TLS_DIGEST_BYTES, "SHA-256 of %zu bytes", bytes.size);
}

static uint8_t *put_part(uint8_t *at, lm_bytes_t part)
{
    for (int i = 0; i < 4; i++) *at++ = (uint8_t)(part.size >> (8 * i));
    if (part.size) memcpy(at, part.data, part.size);
    return at + part.size;
}

void lm_tls_digest_hmac(lm_bytes_t key, const lm_bytes_t *parts, size_t n_parts,
                        uint8_t digest[LM_TLS_DIGEST_BYTES])
{
    size_t size = 0;
    for (size_t i = 0; i < n_parts; i++) size += 4 + parts[i].size;
    uint8_t *text = lm_alloc(size + 1), *at = text;
    for (size_t i = 0; i < n_parts; i++) at = put_part(at, parts[i]);
    unsigned made = 0;
    HMAC(EVP_sha256(), key.data, (int)key.size, text, size, digest, &made);
    free(text);
    LM_CHECK(made == LM_TLS_DIGEST_BYTES, "HMAC over %zu bytes", size);
}

bool lm_tls_digest_equal(const uint8_t one[LM_TLS_DIGEST_BYTES],
                         const uint8_t other[LM_TLS_DIGEST_BYTES])
{
    return CRYPTO_memcmp(one, other, LM_TLS_DIGEST_BYTES) == 0;
}
