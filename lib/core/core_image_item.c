#include "core_image_item.h"

#include "base_check.h"
#include "base_limits.h"

/* Flags of a living record. */
enum { SAME_NAME = 1, HOLDS = 2, SHARED = 4, CANCELLED = 8, LIVING_FLAGS = 15 };
/* Flags of a finished record; CANCELLED is the same, a joined id has that alone. */
enum { RETIRED = 1, RELEASE = 2, ANY_BODY = 4, NUMBERED_FLAGS = 15, OPENING = 16 };
enum { FINISHED_FLAGS = NUMBERED_FLAGS | OPENING };

/* A session's texts and a full window fit an item. */
_Static_assert(LM_IDENTITY_BYTES_MAX + LM_OWNER_BYTES_MAX + LM_REQUEST_ID_BYTES_MAX + 100 +
                       LM_SESSION_WINDOW_MAX * 45 <=
                   LM_IMAGE_ITEM_MAX,
               "a session is larger than an item");

/* ---- writing --------------------------------------------------------------------------------- */

typedef struct {
    uint8_t *start, *at;
} writer_t;

static writer_t begin(uint8_t *at, lm_image_kind_t kind)
{
    *at = (uint8_t)kind;
    return (writer_t){.start = at, .at = at + LM_IMAGE_FRAME_BYTES};
}

static size_t end(writer_t *w)
{
    size_t size = (size_t)(w->at - w->start), content = size - LM_IMAGE_FRAME_BYTES;
    LM_CHECK(size <= LM_IMAGE_ITEM_MAX, "item of %zu bytes", size);
    w->start[1] = (uint8_t)content;
    w->start[2] = (uint8_t)(content >> 8);
    return size;
}

static void put_byte(writer_t *w, uint32_t byte) { *w->at++ = (uint8_t)byte; }

static void put_number(writer_t *w, uint64_t number)
{
    for (; number >= 0x80; number >>= 7) *w->at++ = (uint8_t)(number | 0x80);
    *w->at++ = (uint8_t)number;
}

static void put_hash(writer_t *w, uint64_t hash)
{
    for (int i = 0; i < 8; i++) *w->at++ = (uint8_t)(hash >> 8 * i);
}

static void put_text(writer_t *w, lm_bytes_t text)
{
    put_number(w, text.size);
    if (text.size) memcpy(w->at, text.data, text.size);
    w->at += text.size;
}

static void put_key(writer_t *w, const lm_request_key_t *key)
{
    put_text(w, key->identity);
    put_text(w, key->owner);
    put_text(w, key->request_id);
}

size_t lm_image_put_state(uint8_t *at, const lm_image_state_t *state)
{
    writer_t w = begin(at, LM_IMAGE_STATE);
    put_number(&w, state->schema);
    put_number(&w, state->epoch);
    put_number(&w, state->op_seq);
    put_hash(&w, state->hash);
    put_number(&w, state->evicted);
    put_number(&w, state->pair.term);
    put_hash(&w, state->pair.boot_id);
    put_number(&w, state->pair.counter);
    put_number(&w, state->settings.semantics);
    put_number(&w, state->settings.waiters_per_lock_max);
    put_number(&w, state->settings.locks_max);
    put_number(&w, state->settings.holds_per_owner_max);
    put_number(&w, state->settings.record_ring_size);
    put_number(&w, state->settings.sessions_max);
    put_number(&w, state->settings.session_window);
    put_number(&w, state->locks);
    put_number(&w, state->records);
    put_number(&w, state->living);
    put_number(&w, state->owners);
    put_number(&w, state->sessions);
    return end(&w);
}

size_t lm_image_put_living(uint8_t *at, const lm_image_living_t *living)
{
    writer_t w = begin(at, LM_IMAGE_LIVING);
    put_byte(&w, (living->same_name ? SAME_NAME : 0U) | (living->holds ? HOLDS : 0U) |
                     (living->mode == LM_MODE_SHARED ? SHARED : 0U) |
                     (living->cancelled ? CANCELLED : 0U));
    if (!living->same_name) put_text(&w, living->name);
    put_key(&w, &living->key);
    put_hash(&w, living->body_hash);
    put_number(&w, living->wait_number);
    put_number(&w, living->ttl_ms);
    if (living->holds) {
        put_number(&w, living->number - living->wait_number);
        put_number(&w, living->basis - living->number);
        put_number(&w, (uint64_t)living->token);
        put_number(&w, living->claim);
    }
    put_byte(&w, living->n_joined);
    for (uint32_t i = 0; i < living->n_joined; i++) {
        put_byte(&w, living->joined[i].cancelled ? CANCELLED : 0U);
        put_text(&w, living->joined[i].request_id);
        put_hash(&w, living->joined[i].body_hash);
    }
    return end(&w);
}

size_t lm_image_put_finished(uint8_t *at, const lm_image_finished_t *finished)
{
    writer_t w = begin(at, LM_IMAGE_FINISHED);
    put_byte(&w, (finished->state == LM_RECORD_RETIRED ? RETIRED : 0U) |
                     (finished->release ? RELEASE : 0U) | (finished->any_body ? ANY_BODY : 0U) |
                     (finished->opening ? OPENING : 0U) | (finished->cancelled ? CANCELLED : 0U));
    put_byte(&w, finished->end);
    put_number(&w, finished->code);
    put_key(&w, &finished->key);
    put_hash(&w, finished->body_hash);
    put_number(&w, finished->finished);
    put_number(&w, (uint64_t)finished->token);
    return end(&w);
}

static void put_numbered(writer_t *w, const lm_image_numbered_t *one)
{
    put_byte(w, (one->state == LM_RECORD_RETIRED ? RETIRED : 0U) | (one->release ? RELEASE : 0U) |
                    (one->any_body ? ANY_BODY : 0U) | (one->cancelled ? CANCELLED : 0U));
    put_byte(w, one->end);
    put_number(w, one->code);
    put_number(w, one->number);
    put_hash(w, one->body_hash);
    put_number(w, one->finished);
    put_number(w, (uint64_t)one->token);
}

size_t lm_image_put_session(uint8_t *at, const lm_image_session_t *session)
{
    writer_t w = begin(at, LM_IMAGE_SESSION);
    put_number(&w, session->number);
    put_number(&w, session->basis - session->number);
    put_number(&w, session->done_below);
    put_key(&w, &session->key);
    put_hash(&w, session->body_hash);
    put_number(&w, session->ttl_ms);
    memcpy(w.at, session->secret.data, LM_SESSION_SECRET_BYTES);
    w.at += LM_SESSION_SECRET_BYTES;
    put_byte(&w, session->n_finished);
    for (uint32_t i = 0; i < session->n_finished; i++) put_numbered(&w, &session->finished[i]);
    return end(&w);
}

size_t lm_image_put_end(uint8_t *at, const lm_image_end_t *counts)
{
    writer_t w = begin(at, LM_IMAGE_END);
    put_number(&w, counts->living);
    put_number(&w, counts->finished);
    put_number(&w, counts->sessions);
    return end(&w);
}

/* ---- reading --------------------------------------------------------------------------------- */

typedef struct {
    const uint8_t *at, *end;
    bool bad;
} reader_t;

static reader_t reader(lm_bytes_t content)
{
    return (reader_t){.at = content.data, .end = content.data + content.size};
}

/** True if all was well and nothing is left. */
static bool is_done(const reader_t *r) { return !r->bad && r->at == r->end; }

static uint8_t get_byte(reader_t *r, uint8_t max)
{
    if (r->at == r->end || *r->at > max) r->bad = true;
    return r->bad ? 0 : *r->at++;
}

static uint64_t get_number(reader_t *r, uint64_t max)
{
    uint64_t number = 0;
    for (int shift = 0; shift < 64 && r->at < r->end; shift += 7) {
        uint8_t byte = *r->at++;
        if (shift == 63 && byte > 1) break; /* the 64th bit is the last */
        number |= (uint64_t)(byte & 0x7f) << shift;
        if (byte & 0x80) continue;
        if (number > max) break;
        return number;
    }
    r->bad = true;
    return 0;
}

static uint64_t get_hash(reader_t *r)
{
    uint64_t hash = 0;
    if (r->end - r->at < 8) r->bad = true;
    for (int i = 0; i < 8 && !r->bad; i++) hash |= (uint64_t)*r->at++ << 8 * i;
    return hash;
}

static lm_bytes_t get_bytes(reader_t *r, size_t size)
{
    if (r->bad || (size_t)(r->end - r->at) < size) {
        r->bad = true;
        return lm_bytes(NULL, 0);
    }
    lm_bytes_t bytes = lm_bytes(r->at, size);
    r->at += size;
    return bytes;
}

static lm_bytes_t get_text(reader_t *r, size_t min, size_t max)
{
    size_t size = get_number(r, max);
    if (size < min) r->bad = true;
    lm_bytes_t text = get_bytes(r, size);
    size = text.size;
    if (!lm_bytes_are_utf8(text) || (size && memchr(text.data, 0, size))) r->bad = true;
    return text;
}

/** A text of a client, or the text of a number. */
static lm_bytes_t get_name(reader_t *r, size_t max)
{
    reader_t before = *r;
    lm_bytes_t bytes = get_bytes(r, get_number(r, max));
    if (lm_number_of_text(bytes)) return bytes;
    *r = before;
    return get_text(r, 1, max);
}

static lm_bytes_t get_request_id(reader_t *r, lm_bytes_t owner)
{
    lm_bytes_t id = get_name(r, LM_REQUEST_ID_BYTES_MAX);
    /* Only a session has numbered requests. */
    if (lm_number_of_text(id) && !lm_number_of_text(owner)) r->bad = true;
    return id;
}

static lm_request_key_t get_key(reader_t *r)
{
    lm_request_key_t key = {.identity = get_text(r, 0, LM_IDENTITY_BYTES_MAX)};
    key.owner = get_name(r, LM_OWNER_BYTES_MAX);
    key.request_id = get_request_id(r, key.owner);
    return key;
}

bool lm_image_get_state(lm_bytes_t content, lm_image_state_t *state)
{
    reader_t r = reader(content);
    state->schema = (uint32_t)get_number(&r, UINT32_MAX);
    state->epoch = (uint16_t)get_number(&r, INT16_MAX);
    state->op_seq = get_number(&r, LM_OP_SEQ_MAX);
    state->hash = get_hash(&r);
    state->evicted = get_number(&r, state->op_seq);
    state->pair.term = get_number(&r, UINT64_MAX);
    state->pair.boot_id = get_hash(&r);
    state->pair.counter = (uint32_t)get_number(&r, UINT32_MAX);
    state->settings.semantics = (uint32_t)get_number(&r, UINT32_MAX);
    state->settings.waiters_per_lock_max = (uint32_t)get_number(&r, LM_WAITERS_PER_LOCK_MAX);
    state->settings.locks_max = (uint32_t)get_number(&r, LM_LOCKS_MAX);
    state->settings.holds_per_owner_max = (uint32_t)get_number(&r, LM_HOLDS_PER_OWNER_MAX);
    state->settings.record_ring_size = (uint32_t)get_number(&r, LM_RECORD_RING_MAX);
    state->settings.sessions_max = (uint32_t)get_number(&r, LM_SESSIONS_MAX);
    state->settings.session_window = (uint32_t)get_number(&r, LM_SESSION_WINDOW_MAX);
    state->locks = get_number(&r, UINT64_MAX);
    state->records = get_number(&r, UINT64_MAX);
    state->living = get_number(&r, UINT64_MAX);
    state->owners = get_number(&r, UINT64_MAX);
    state->sessions = get_number(&r, UINT64_MAX);
    return is_done(&r);
}

static void get_hold(reader_t *r, lm_image_living_t *living)
{
    living->number = living->wait_number + get_number(r, LM_OP_SEQ_MAX);
    living->basis = living->number + get_number(r, LM_OP_SEQ_MAX);
    living->token = (int64_t)get_number(r, INT64_MAX);
    living->claim = (uint32_t)get_number(r, UINT32_MAX);
}

bool lm_image_get_living(lm_bytes_t content, lm_image_living_t *living)
{
    reader_t r = reader(content);
    uint8_t flags = get_byte(&r, LIVING_FLAGS);
    *living = (lm_image_living_t){.same_name = flags & SAME_NAME,
                                  .holds = flags & HOLDS,
                                  .mode = flags & SHARED ? LM_MODE_SHARED : LM_MODE_EXCLUSIVE,
                                  .cancelled = flags & CANCELLED};
    if (!living->same_name) living->name = get_text(&r, 1, LM_NAME_BYTES_MAX);
    living->key = get_key(&r);
    living->body_hash = get_hash(&r);
    living->wait_number = living->number = get_number(&r, LM_OP_SEQ_MAX);
    living->ttl_ms = (uint32_t)get_number(&r, UINT32_MAX);
    if (living->holds) get_hold(&r, living);
    living->n_joined = get_byte(&r, LM_JOINED_IDS_MAX);
    for (uint32_t i = 0; i < living->n_joined; i++) {
        uint8_t joined = get_byte(&r, CANCELLED);
        if (joined != 0 && joined != CANCELLED) r.bad = true;
        living->joined[i].cancelled = joined == CANCELLED;
        living->joined[i].request_id = get_request_id(&r, living->key.owner);
        living->joined[i].body_hash = get_hash(&r);
    }
    return is_done(&r);
}

bool lm_image_get_finished(lm_bytes_t content, lm_image_finished_t *finished)
{
    reader_t r = reader(content);
    uint8_t flags = get_byte(&r, FINISHED_FLAGS);
    *finished =
        (lm_image_finished_t){.state = flags & RETIRED ? LM_RECORD_RETIRED : LM_RECORD_ENDED,
                              .release = flags & RELEASE,
                              .any_body = flags & ANY_BODY,
                              .opening = flags & OPENING,
                              .cancelled = flags & CANCELLED};
    if (finished->release + finished->any_body + finished->opening > 1) r.bad = true;
    finished->end = (lm_end_t)get_byte(&r, LM_END_SESSION_CLOSED);
    if (finished->end == LM_END_NONE) r.bad = true;
    finished->code = (lm_rc_t)get_number(&r, LM_RC_LAST);
    finished->key = get_key(&r);
    if (finished->opening && lm_number_of_text(finished->key.owner)) r.bad = true;
    finished->body_hash = get_hash(&r);
    finished->finished = get_number(&r, LM_OP_SEQ_MAX);
    finished->token = (int64_t)get_number(&r, INT64_MAX);
    return is_done(&r);
}

static void get_numbered(reader_t *r, lm_image_numbered_t *one)
{
    uint8_t flags = get_byte(r, NUMBERED_FLAGS);
    *one = (lm_image_numbered_t){.state = flags & RETIRED ? LM_RECORD_RETIRED : LM_RECORD_ENDED,
                                 .release = flags & RELEASE,
                                 .any_body = flags & ANY_BODY,
                                 .cancelled = flags & CANCELLED};
    if (one->release && one->any_body) r->bad = true;
    one->end = (lm_end_t)get_byte(r, LM_END_SESSION_CLOSED);
    if (one->end == LM_END_NONE) r->bad = true;
    one->code = (lm_rc_t)get_number(r, LM_RC_LAST);
    one->number = get_number(r, UINT64_MAX);
    one->body_hash = get_hash(r);
    one->finished = get_number(r, LM_OP_SEQ_MAX);
    one->token = (int64_t)get_number(r, INT64_MAX);
}

bool lm_image_get_session(lm_bytes_t content, lm_image_session_t *session)
{
    reader_t r = reader(content);
    session->number = get_number(&r, LM_OP_SEQ_MAX);
    session->basis = session->number + get_number(&r, LM_OP_SEQ_MAX);
    session->done_below = get_number(&r, UINT64_MAX);
    session->key = get_key(&r);
    if (lm_number_of_text(session->key.owner)) r.bad = true;
    session->body_hash = get_hash(&r);
    session->ttl_ms = (uint32_t)get_number(&r, UINT32_MAX);
    session->secret = get_bytes(&r, LM_SESSION_SECRET_BYTES);
    session->n_finished = get_byte(&r, LM_SESSION_WINDOW_MAX);
    for (uint32_t i = 0; i < session->n_finished; i++) get_numbered(&r, &session->finished[i]);
    return is_done(&r);
}

bool lm_image_get_end(lm_bytes_t content, lm_image_end_t *counts)
{
    reader_t r = reader(content);
    counts->living = get_number(&r, UINT64_MAX);
    counts->finished = get_number(&r, UINT64_MAX);
    counts->sessions = get_number(&r, UINT64_MAX);
    return is_done(&r);
}
