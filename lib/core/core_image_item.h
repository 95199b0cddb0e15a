/* Items of an image's body: what each holds, and its bytes.
 *
 * An item is its kind (one byte), the size of its content (two bytes, little endian) and the
 * content. Numbers are in base 128, least significant digits first, the top bit set on all bytes
 * but the last; hashes are eight bytes, little endian; a text is its size and its bytes.
 *
 * Invariants
 *   JI1 An encoded item has at most LM_IMAGE_ITEM_MAX bytes.
 *   JI2 Decoding reads nothing beyond the content, and refuses content that is left over. It checks
 *       sizes of texts and ranges of enumerations and flags; what numbers mean is the loader's. */
#ifndef LM_CORE_IMAGE_ITEM_H
#define LM_CORE_IMAGE_ITEM_H

#include "core_state.h"

enum { LM_IMAGE_FRAME_BYTES = 3, LM_IMAGE_ITEM_MAX = 4096 };

typedef enum {
    LM_IMAGE_STATE = 1, /* the first item: what belongs to no lock and no request */
    LM_IMAGE_LIVING,    /* a wait or hold with all its ids */
    LM_IMAGE_FINISHED,  /* the next record of the ring */
    LM_IMAGE_END,       /* the last item: how many there are of each */
    LM_IMAGE_SESSION,   /* a session with its finished numbered requests; before what it holds */
} lm_image_kind_t;

typedef struct {
    uint32_t schema;
    uint16_t epoch;
    uint64_t op_seq, hash, evicted;
    lm_pair_t pair;
    lm_settings_t settings;
    uint64_t locks, records, living, owners, sessions; /* about how many will follow: a hint */
} lm_image_state_t;

/** A further id of a wait or hold. */
typedef struct {
    lm_bytes_t request_id;
    uint64_t body_hash;
    bool cancelled;
} lm_image_joined_t;

typedef struct {
    bool same_name; /* the lock of the living record before; name is empty */
    bool holds, cancelled;
    lm_mode_t mode;
    lm_bytes_t name;
    lm_request_key_t key;
    uint64_t body_hash, wait_number, number, basis;
    int64_t token;
    uint32_t ttl_ms, claim;
    uint32_t n_joined;
    lm_image_joined_t joined[LM_JOINED_IDS_MAX];
} lm_image_living_t;

typedef struct {
    lm_record_state_t state;
    lm_end_t end;
    lm_rc_t code;
    bool cancelled, release, any_body, opening;
    lm_request_key_t key;
    uint64_t body_hash, finished;
    int64_t token;
} lm_image_finished_t;

/** A finished numbered request of a session. */
typedef struct {
    lm_record_state_t state;
    lm_end_t end;
    lm_rc_t code;
    bool cancelled, release, any_body;
    uint64_t number, body_hash, finished;
    int64_t token;
} lm_image_numbered_t;

typedef struct {
    uint64_t number, basis, done_below;
    lm_request_key_t key; /* of its OpenSession */
    uint64_t body_hash;
    uint32_t ttl_ms;
    lm_bytes_t secret;
    uint32_t n_finished;
    lm_image_numbered_t finished[LM_SESSION_WINDOW_MAX]; /* ascending numbers */
} lm_image_session_t;

typedef struct {
    uint64_t living, finished; /* finished: of the ring */
    uint64_t sessions;
} lm_image_end_t;

/** Each writes an item, frame included, where LM_IMAGE_ITEM_MAX bytes are free; returns its
 *  size. */
size_t lm_image_put_state(uint8_t *at, const lm_image_state_t *state);
size_t lm_image_put_living(uint8_t *at, const lm_image_living_t *living);
size_t lm_image_put_finished(uint8_t *at, const lm_image_finished_t *finished);
size_t lm_image_put_session(uint8_t *at, const lm_image_session_t *session);
size_t lm_image_put_end(uint8_t *at, const lm_image_end_t *end);

/** Each reads the content of an item; views are into it. False if it is malformed. */
bool lm_image_get_state(lm_bytes_t content, lm_image_state_t *state);
bool lm_image_get_living(lm_bytes_t content, lm_image_living_t *living);
bool lm_image_get_finished(lm_bytes_t content, lm_image_finished_t *finished);
bool lm_image_get_session(lm_bytes_t content, lm_image_session_t *session);
bool lm_image_get_end(lm_bytes_t content, lm_image_end_t *end);

#endif
