#include "frontend_keys.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
    NODES_MAX = 16,
    SESSION_NAME_BYTES = 16,
    /* Forwards overtake each other by as many as are under way at once, at most. */
    WINDOW = 65536,
    SEAL_TAG = 0x7a, /* field 15, length-delimited */
};

/* One direction between two nodes, as long as a link is its last but one. */
typedef struct {
    uint8_t name[SESSION_NAME_BYTES];
    uint8_t key[LM_TLS_DIGEST_BYTES];
    uint64_t number;            /* the last one sent, or the highest accepted */
    uint64_t seen[WINDOW / 64]; /* accepted: a ring of bits by number */
} session_t;

typedef struct {
    char name[64];
    session_t *out, *in[2]; /* in: the newest first */
} node_t;

struct lm_frontend_keys {
    pthread_mutex_t lock;
    lm_tls_keys_t keys;
    uint8_t seed[32];
    uint64_t n_drawn;
    node_t nodes[NODES_MAX];
    size_t n_nodes;
};

lm_frontend_keys_t *lm_frontend_keys_new(const uint8_t seed[32])
{
    lm_frontend_keys_t *keys = lm_alloc(sizeof *keys);
    pthread_mutex_init(&keys->lock, NULL);
    memcpy(keys->seed, seed, sizeof keys->seed);
    return keys;
}

static void free_session(session_t **session)
{
    if (*session) explicit_bzero(*session, sizeof **session);
    free(*session);
    *session = NULL;
}

void lm_frontend_keys_destroy(lm_frontend_keys_t **self)
{
    lm_frontend_keys_t *keys = *self;
    if (!keys) return;
    for (size_t i = 0; i < keys->n_nodes; i++) {
        free_session(&keys->nodes[i].out);
        free_session(&keys->nodes[i].in[0]);
        free_session(&keys->nodes[i].in[1]);
    }
    pthread_mutex_destroy(&keys->lock);
    explicit_bzero(keys, sizeof *keys);
    free(keys);
    *self = NULL;
}

void lm_frontend_keys_set(lm_frontend_keys_t *keys, const lm_tls_keys_t *all)
{
    pthread_mutex_lock(&keys->lock);
    keys->keys = *all;
    pthread_mutex_unlock(&keys->lock);
}

void lm_frontend_keys_nonce(lm_frontend_keys_t *keys, uint8_t nonce[LM_NONCE_BYTES])
{
    pthread_mutex_lock(&keys->lock);
    uint64_t number = ++keys->n_drawn;
    lm_bytes_t part = lm_bytes(&number, sizeof number);
    lm_tls_digest_hmac(lm_bytes(keys->seed, sizeof keys->seed), &part, 1, nonce);
    pthread_mutex_unlock(&keys->lock);
}

/* ---- proofs ---------------------------------------------------------------------------------- */

static void make(lm_bytes_t key, const char *purpose, const lm_frontend_agreed_t *agreed,
                 uint8_t digest[LM_TLS_DIGEST_BYTES])
{
    lm_bytes_t parts[LM_PROOF_PARTS + 1] = {lm_bytes_of(purpose)};
    memcpy(parts + 1, agreed->part, agreed->n * sizeof *parts);
    lm_tls_digest_hmac(key, parts, agreed->n + 1, digest);
}

static const char *purpose_of(lm_frontend_part_t part)
{
    return part == LM_PROOF_OF_CALLING ? "lockmgr 1 calling" : "lockmgr 1 called";
}

void lm_frontend_keys_prove(lm_frontend_keys_t *keys, lm_frontend_part_t part,
                            const lm_frontend_agreed_t *agreed, uint8_t proof[LM_TLS_DIGEST_BYTES])
{
    pthread_mutex_lock(&keys->lock);
    make(lm_tls_keys_get(&keys->keys, 0), purpose_of(part), agreed, proof);
    pthread_mutex_unlock(&keys->lock);
}

int lm_frontend_keys_check(lm_frontend_keys_t *keys, lm_frontend_part_t part,
                           const lm_frontend_agreed_t *agreed, lm_bytes_t proof)
{
    int found = -1;
    if (proof.size != LM_TLS_DIGEST_BYTES) return found;
    pthread_mutex_lock(&keys->lock);
    for (size_t i = 0; i < keys->keys.n; i++) {
        uint8_t wanted[LM_TLS_DIGEST_BYTES];
        make(lm_tls_keys_get(&keys->keys, i), purpose_of(part), agreed, wanted);
        if (lm_tls_digest_equal(wanted, proof.data)) found = (int)i;
    }
    pthread_mutex_unlock(&keys->lock);
    return found;
}

/* ---- sessions of forwards -------------------------------------------------------------------- */

/* With the lock held. NULL: there are more nodes than a region has. */
static node_t *node_of(lm_frontend_keys_t *keys, lm_bytes_t name, bool add)
{
    for (size_t i = 0; i < keys->n_nodes; i++)
        if (lm_bytes_equal(lm_bytes_of(keys->nodes[i].name), name)) return &keys->nodes[i];
    if (!add || keys->n_nodes == NODES_MAX || name.size >= sizeof keys->nodes[0].name) return NULL;
    node_t *node = &keys->nodes[keys->n_nodes++];
    memcpy(node->name, name.data, name.size);
    return node;
}

void lm_frontend_keys_open(lm_frontend_keys_t *keys, lm_bytes_t name, bool outgoing, size_t key,
                           const lm_frontend_agreed_t *agreed)
{
    uint8_t digest[LM_TLS_DIGEST_BYTES];
    session_t *session = lm_alloc(sizeof *session);
    pthread_mutex_lock(&keys->lock);
    node_t *node = node_of(keys, name, true);
    lm_bytes_t secret = lm_tls_keys_get(&keys->keys, key);
    make(secret, "lockmgr 1 session", agreed, session->key);
    make(secret, "lockmgr 1 name", agreed, digest);
    memcpy(session->name, digest, sizeof session->name);
    if (node && outgoing) {
        free_session(&node->out);
        node->out = session;
    } else if (node) {
        free_session(&node->in[1]);
        node->in[1] = node->in[0];
        node->in[0] = session;
    }
    pthread_mutex_unlock(&keys->lock);
    if (!node) free_session(&session);
}

static void put_number(uint8_t bytes[8], uint64_t number)
{
    for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)(number >> (8 * i));
}

static uint64_t get_number(const uint8_t bytes[8])
{
    uint64_t number = 0;
    for (int i = 7; i >= 0; i--) number = number << 8 | bytes[i];
    return number;
}

static void make_seal(const session_t *session, lm_bytes_t message, const uint8_t number[8],
                      uint8_t seal[LM_TLS_DIGEST_BYTES])
{
    lm_bytes_t parts[] = {lm_bytes(number, 8), message};
    lm_tls_digest_hmac(lm_bytes(session->key, sizeof session->key), parts, 2, seal);
}

lm_bytes_t lm_frontend_keys_seal(lm_frontend_keys_t *keys, lm_bytes_t name, lm_bytes_t message,
                                 lm_arena_t *arena)
{
    uint8_t *sealed = NULL;
    pthread_mutex_lock(&keys->lock);
    node_t *node = node_of(keys, name, false);
    if (node && node->out) {
        sealed = lm_arena_alloc(arena, message.size + LM_SEAL_BYTES);
        if (message.size) memcpy(sealed, message.data, message.size);
        uint8_t *at = sealed + message.size;
        *at++ = SEAL_TAG;
        *at++ = LM_SEAL_BYTES - 2;
        memcpy(at, node->out->name, SESSION_NAME_BYTES);
        at += SESSION_NAME_BYTES;
        put_number(at, ++node->out->number);
        make_seal(node->out, message, at, at + 8);
    }
    pthread_mutex_unlock(&keys->lock);
    return sealed ? lm_bytes(sealed, message.size + LM_SEAL_BYTES) : lm_bytes(NULL, 0);
}

static bool is_marked(const session_t *session, uint64_t number)
{
    return session->seen[number % WINDOW / 64] >> (number % 64) & 1U;
}

static void mark(session_t *session, uint64_t number, bool seen)
{
    uint64_t bit = UINT64_C(1) << (number % 64), *word = &session->seen[number % WINDOW / 64];
    *word = seen ? *word | bit : *word & ~bit;
}

/* Only after its seal has been found good: a forged number moves nothing. */
static bool accept_number(session_t *session, uint64_t number)
{
    if (number == 0 || number + WINDOW <= session->number) return false;
    if (number <= session->number && is_marked(session, number)) return false;
    if (number > session->number) {
        uint64_t from =
            number - session->number < WINDOW ? session->number + 1 : number - WINDOW + 1;
        for (uint64_t i = from; i < number; i++) mark(session, i, false);
        session->number = number;
    }
    mark(session, number, true);
    return true;
}

static session_t *session_of(node_t *node, const uint8_t name[SESSION_NAME_BYTES])
{
    for (int i = 0; node && i < 2; i++)
        if (node->in[i] && memcmp(node->in[i]->name, name, SESSION_NAME_BYTES) == 0)
            return node->in[i];
    return NULL;
}

bool lm_frontend_keys_accept(lm_frontend_keys_t *keys, lm_bytes_t name, lm_bytes_t message)
{
    if (message.size < LM_SEAL_BYTES) return false;
    const uint8_t *at = message.data + message.size - LM_SEAL_BYTES;
    if (at[0] != SEAL_TAG || at[1] != LM_SEAL_BYTES - 2) return false;
    const uint8_t *number = at + 2 + SESSION_NAME_BYTES;
    bool good = false;
    pthread_mutex_lock(&keys->lock);
    session_t *session = session_of(node_of(keys, name, false), at + 2);
    if (session) {
        uint8_t wanted[LM_TLS_DIGEST_BYTES];
        make_seal(session, lm_bytes(message.data, message.size - LM_SEAL_BYTES), number, wanted);
        good =
            lm_tls_digest_equal(wanted, number + 8) && accept_number(session, get_number(number));
    }
    pthread_mutex_unlock(&keys->lock);
    return good;
}
