/* The file of the keys that the nodes of a region, and regions, share in plaintext: one a line.
 *
 * Invariants
 *   TK1  Nobody but the owner and the group of the file can read it.
 *   TK2  Keys are wiped from memory when they are given back.
 */
#ifndef LM_TLS_KEY_FILE_H
#define LM_TLS_KEY_FILE_H

#include "base_bytes.h"

enum {
    LM_TLS_KEYS_MAX = 4, /* the one in use, and those that come or go */
    LM_TLS_KEY_BYTES_MIN = 32,
    LM_TLS_KEY_BYTES_MAX = 256,
};

typedef struct {
    size_t n;
    struct {
        size_t size;
        uint8_t bytes[LM_TLS_KEY_BYTES_MAX];
    } key[LM_TLS_KEYS_MAX];
} lm_tls_keys_t;

/** Reads them. False: why[120] says what is wrong with the file, beginning with a verb; keys is
 * then empty. */
bool lm_tls_key_file_read(const char *path, lm_tls_keys_t *keys, char why[120]);
void lm_tls_keys_clear(lm_tls_keys_t *keys);
lm_bytes_t lm_tls_keys_get(const lm_tls_keys_t *keys, size_t i);

#endif
