/* Proofs by a key that nodes and regions share, where connections are plaintext (peer_key);
 * regions may have another one among themselves (region.peer_key), in an object of its own.
 *
 *   link:     A -- hello, nonce a -->  B         proofs and the key of the session are made from
 *             A <-- hello, nonce b, proof of B   what both hellos say and both nonces
 *             A -- proof of A, frames -->  B
 *   forward:  A -- request, number, seal -->  B  the seal is made with the session's key
 *   region:   A -- hello, nonce a -->  B, A <-- nonce b, proof of B, A -- hello, proof of A -->  B
 *
 * Invariants
 *   FK1  The key is never sent, nor anything that it could be guessed from without trying all keys.
 *   FK2  A proof holds for one exchange alone: nonces are drawn anew by both sides, and names,
 *        cluster ids and the part (calling, called) of whoever proves itself go into it. So it can
 *        neither be replayed nor sent back. What a region is challenged with is in
 *        frontend_challenge.h.
 *   FK3  A number of a session is accepted once. Sessions end with the next but one link.
 *   FK4  The first key of the file proves; all of them are accepted: so that a key can be changed
 *        node by node.
 *
 * Both rooms use it, each from its own thread. */
#ifndef LM_FRONTEND_KEYS_H
#define LM_FRONTEND_KEYS_H

#include "base_arena.h"
#include "tls_digest.h"
#include "tls_key_file.h"

enum {
    LM_NONCE_BYTES = 32,
    /* At the end of a sealed message: tag, size, name of the session, number, seal. */
    LM_SEAL_BYTES = 2 + 16 + 8 + LM_TLS_DIGEST_BYTES,
};

typedef struct lm_frontend_keys lm_frontend_keys_t;

/** seed: 32 bytes that nobody else knows; nonces come from it. */
lm_frontend_keys_t *lm_frontend_keys_new(const uint8_t seed[32]);
void lm_frontend_keys_destroy(lm_frontend_keys_t **keys);

/** Takes copies of the keys, of which there is at least one. Until then nothing is proven. */
void lm_frontend_keys_set(lm_frontend_keys_t *keys, const lm_tls_keys_t *all);

/** Draws a nonce. */
void lm_frontend_keys_nonce(lm_frontend_keys_t *keys, uint8_t nonce[LM_NONCE_BYTES]);

/** What two sides agree on; the same text on both. At most LM_PROOF_PARTS of them. */
enum { LM_PROOF_PARTS = 10 };
typedef struct {
    size_t n;
    lm_bytes_t part[LM_PROOF_PARTS];
} lm_frontend_agreed_t;

typedef enum { LM_PROOF_OF_CALLING, LM_PROOF_OF_CALLED } lm_frontend_part_t;

/** The own proof, with the first key. */
void lm_frontend_keys_prove(lm_frontend_keys_t *keys, lm_frontend_part_t part,
                            const lm_frontend_agreed_t *agreed, uint8_t proof[LM_TLS_DIGEST_BYTES]);
/** Which key the other side's proof was made with, or -1: with none. */
int lm_frontend_keys_check(lm_frontend_keys_t *keys, lm_frontend_part_t part,
                           const lm_frontend_agreed_t *agreed, lm_bytes_t proof);

/** A link to (outgoing) or from that node is proven: forwards that way have a new session. key:
 * that of the calling side, 0 if that is this one. */
void lm_frontend_keys_open(lm_frontend_keys_t *keys, lm_bytes_t node, bool outgoing, size_t key,
                           const lm_frontend_agreed_t *agreed);

/** The message and its seal for that node, in the arena; empty: there is no proven link to it. */
lm_bytes_t lm_frontend_keys_seal(lm_frontend_keys_t *keys, lm_bytes_t node, lm_bytes_t message,
                                 lm_arena_t *arena);
/** Whether a message was sealed by that node, and was not accepted before. */
bool lm_frontend_keys_accept(lm_frontend_keys_t *keys, lm_bytes_t node, lm_bytes_t message);

#endif
