/* SHA-256 and HMAC-SHA256. */
#ifndef LM_TLS_DIGEST_H
#define LM_TLS_DIGEST_H

#include "base_bytes.h"

enum { LM_TLS_DIGEST_BYTES = 32 };

void lm_tls_digest_of(lm_bytes_t bytes, uint8_t digest[LM_TLS_DIGEST_BYTES]);

/** HMAC-SHA256 over the parts; the size of each goes in before it, so that no two lists of parts
 * are the same text. */
void lm_tls_digest_hmac(lm_bytes_t key, const lm_bytes_t *parts, size_t n_parts,
                        uint8_t digest[LM_TLS_DIGEST_BYTES]);

/** Compares in a time that does not depend on where they differ. */
bool lm_tls_digest_equal(const uint8_t one[LM_TLS_DIGEST_BYTES],
                         const uint8_t other[LM_TLS_DIGEST_BYTES]);

#endif
