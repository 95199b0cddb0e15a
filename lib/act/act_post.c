#include "act_post.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "act_limits.h"
#include "base_check.h"
#include "base_log.h"

/* How long a full pipe is left alone: too short to be felt, too long to cost anything. */
enum { RETRY_US = 2000 };

void lm_post_address(char address[LM_ADDRESS_BYTES], lm_participant_t participant, uint32_t counter)
{
    snprintf(address, LM_ADDRESS_BYTES, "%s.%u", lm_participant_name(participant), counter);
}

static lm_link_sent_t send_frames(lm_post_t *post, lm_participant_t to)
{
    char address[LM_ADDRESS_BYTES];
    lm_bytes_t bytes = lm_frames_bytes(&post->frames);
    if (post->links[to]) return lm_link_send(post->links[to], NULL, bytes);
    if (!post->own) return LM_LINK_GONE;
    lm_post_address(address, to, post->d->out.peers[to].generation.counter);
    return lm_link_send(post->own, address, bytes);
}

bool lm_post_connect(lm_post_t *post, lm_participant_t peer, const char *endpoint)
{
    char address[LM_ADDRESS_BYTES];
    const lm_outbox_t *out = &post->d->out;
    lm_link_close(&post->links[peer], 0);
    lm_post_address(address, out->self, out->generation.counter);
    post->links[peer] = lm_link_connect(endpoint, address);
    if (!post->links[peer]) return false;
    lm_frames_begin(&post->frames, out->self, out->generation);
    lm_link_sent_t sent = send_frames(post, peer);
    /* Within a process a binder that has closed meanwhile leaves no pipe at all. */
    LM_CHECK(sent == LM_LINK_SENT || strncmp(endpoint, "inproc://", 9) == 0,
             "a new pipe to %s is full", lm_participant_name(peer));
    return true;
}

/* ---- messages that cannot be sent now -------------------------------------------------------- */

static void drop_kept(lm_post_t *post, lm_participant_t to, lm_kept_t *kept)
{
    DL_DELETE(post->kept[to], kept);
    post->kept_bytes[to] -= kept->wish.body.size;
    free((void *)(uintptr_t)kept->wish.body.data);
    free(kept);
}

static void keep(lm_post_t *post, const lm_wish_t *wish)
{
    lm_kept_t *kept = lm_alloc(sizeof *kept);
    uint8_t *body = lm_alloc(wish->body.size);
    if (wish->body.size) memcpy(body, wish->body.data, wish->body.size);
    kept->wish = *wish;
    kept->wish.body.data = body;
    DL_APPEND(post->kept[wish->to], kept);
    post->kept_bytes[wish->to] += wish->body.size;
    post->d->out.peers[wish->to].full = true;
    lm_count(&post->d->counters, LM_COUNT_KEPT);
    if (post->kept_bytes[wish->to] <= LM_KEEP_BYTES_MAX) return;
    char words[160];
    snprintf(words, sizeof words, "%zu bytes wait for %s, which does not read them",
             post->kept_bytes[wish->to], lm_participant_name(wish->to));
    lm_outbox_exit(&post->d->out, LM_EXIT_TRY_LATER, words);
}

static void fail_call(lm_post_t *post, const lm_wish_t *wish, lm_rc_t why)
{
    lm_call_t *call = lm_calls_find(&post->d->calls, wish->correlation);
    if (call) lm_calls_fail(&post->d->calls, call, why);
}

static void meet_full_pipe(lm_post_t *post, const lm_wish_t *wish)
{
    switch (wish->row->when_full) {
    case LM_FULL_REFUSE:
        lm_count(&post->d->counters, LM_COUNT_OVERLOADED);
        fail_call(post, wish, LM_RC_OVERLOADED);
        break;
    case LM_FULL_MERGE: lm_count(&post->d->counters, LM_COUNT_MERGED); break;
    case LM_FULL_KEEP:
    case LM_FULL_STOP: keep(post, wish); break;
    }
}

static bool is_unaddressed(const lm_wish_t *wish) { return wish->to_generation.boot_id == 0; }

/** Nobody is there to send it to: never was, or is no more. */
static void meet_nobody(lm_post_t *post, const lm_wish_t *wish)
{
    lm_counters_t *counters = &post->d->counters;
    if (wish->row->kind == LM_CALL) {
        if (!wish->row->repeated) fail_call(post, wish, LM_RC_NOT_READY);
    } else if (wish->row->when_full == LM_FULL_MERGE) {
        lm_count(counters, LM_COUNT_MERGED);
    } else if (wish->row->kind == LM_REPLY) {
        lm_count(counters, LM_COUNT_REPLY_TO_NOBODY);
    } else if (is_unaddressed(wish)) {
        keep(post, wish);
    } else {
        lm_count(counters, LM_COUNT_STALE);
    }
}

/** True if the generation it was meant for has been replaced. Calls then have been put out anew. */
static bool is_void(const lm_post_t *post, const lm_wish_t *wish)
{
    lm_generation_t now = post->d->out.peers[wish->to].generation;
    return !is_unaddressed(wish) && lm_generation_compare(wish->to_generation, now) != 0;
}

static void count_void(lm_post_t *post, const lm_wish_t *wish)
{
    bool reply = wish->row->kind == LM_REPLY;
    if (wish->row->kind != LM_CALL)
        lm_count(&post->d->counters, reply ? LM_COUNT_REPLY_TO_NOBODY : LM_COUNT_STALE);
}

/* ---- bundles --------------------------------------------------------------------------------- */

static void begin_bundle(lm_post_t *post)
{
    lm_frames_begin(&post->frames, post->d->out.self, post->d->out.generation);
}

/** Packs a message; what is the thing to be remembered for it. False: the bundle is full. */
static bool pack(lm_post_t *post, const lm_wish_t *wish, void *what)
{
    lm_dispatch_t *d = post->d;
    lm_generation_t to = d->out.peers[wish->to].generation;
    lm_bytes_t envelope = lm_outbox_envelope(&d->out, wish, to, d->arena);
    size_t n = post->frames.n;
    if (!lm_frames_add(&post->frames, envelope, wish->body)) {
        LM_CHECK(n > 0, "%s of %zu bytes fits no bundle", wish->row->name, wish->body.size);
        return false;
    }
    if (n == post->packed_room) {
        post->packed_room = n ? 2 * n : 64;
        post->packed = lm_realloc(post->packed, post->packed_room * sizeof(void *));
    }
    post->packed[n] = what;
    return true;
}

/** Sends the bundle and says how that went; the caller looks after what was packed. */
static lm_link_sent_t send_bundle(lm_post_t *post, lm_participant_t to)
{
    if (post->frames.n == 0) return LM_LINK_SENT;
    lm_link_sent_t sent = send_frames(post, to);
    if (sent == LM_LINK_SENT)
        post->d->counters.rows[LM_COUNT_SENT].value += post->frames.n;
    else if (sent == LM_LINK_GONE)
        post->d->out.peers[to].there = false;
    return sent;
}

static void send_wishes(lm_post_t *post, lm_participant_t to)
{
    lm_link_sent_t sent = send_bundle(post, to);
    for (size_t i = 0; i < post->frames.n && sent != LM_LINK_SENT; i++) {
        if (sent == LM_LINK_FULL)
            meet_full_pipe(post, post->packed[i]);
        else
            meet_nobody(post, post->packed[i]);
    }
    begin_bundle(post);
}

static void flush_wishes(lm_post_t *post, lm_participant_t to)
{
    lm_outbox_t *out = &post->d->out;
    lm_wish_t *wish;
    begin_bundle(post);
    while ((wish = lm_outbox_take(out, to))) {
        if (is_void(post, wish)) {
            count_void(post, wish);
            continue;
        }
        bool packed = out->peers[to].there && !post->kept[to] && pack(post, wish, wish);
        if (packed) continue;
        send_wishes(post, to);
        if (!out->peers[to].there)
            meet_nobody(post, wish);
        else if (post->kept[to])
            meet_full_pipe(post, wish);
        else
            LM_CHECK(pack(post, wish, wish), "an empty bundle is full");
    }
    send_wishes(post, to);
}

/* ---- what waits ------------------------------------------------------------------------------ */

/** Sends one bundle of what waits. Returns true if there may be more to send. */
static bool retry_bundle(lm_post_t *post, lm_participant_t to)
{
    lm_kept_t *kept, *next;
    begin_bundle(post);
    DL_FOREACH_SAFE(post->kept[to], kept, next)
    {
        if (is_void(post, &kept->wish)) {
            count_void(post, &kept->wish);
            drop_kept(post, to, kept);
        } else if (!pack(post, &kept->wish, kept)) {
            break;
        }
    }
    if (post->frames.n == 0) return false;
    lm_link_sent_t sent = send_bundle(post, to);
    if (sent == LM_LINK_FULL) return false;
    for (size_t i = 0; i < post->frames.n; i++) {
        kept = post->packed[i];
        if (sent == LM_LINK_GONE) count_void(post, &kept->wish);
        drop_kept(post, to, kept);
    }
    return post->kept[to] != NULL;
}

void lm_post_flush(lm_post_t *post)
{
    for (int p = LM_SUPERVISOR; p < LM_PARTICIPANTS; p++) {
        lm_participant_t to = (lm_participant_t)p;
        const lm_peer_t *peer = &post->d->out.peers[p];
        while (post->kept[p] && peer->there && retry_bundle(post, to)) continue;
        if (peer->first) flush_wishes(post, to);
    }
}

void lm_post_room_again(lm_post_t *post)
{
    for (int p = LM_SUPERVISOR; p < LM_PARTICIPANTS; p++)
        if (post->d->out.peers[p].full && !post->kept[p])
            lm_dispatch_room_again(post->d, (lm_participant_t)p);
}

bool lm_post_waits(const lm_post_t *post)
{
    for (int p = LM_SUPERVISOR; p < LM_PARTICIPANTS; p++)
        if (post->kept[p] && post->d->out.peers[p].there) return true;
    return false;
}

uint64_t lm_post_next_us(const lm_post_t *post, uint64_t now_us)
{
    for (int p = LM_SUPERVISOR; p < LM_PARTICIPANTS; p++)
        if (post->d->out.peers[p].full && !post->kept[p]) return 0;
    return lm_post_waits(post) ? now_us + RETRY_US : UINT64_MAX;
}

void lm_post_destroy(lm_post_t *post, int linger_ms)
{
    for (int p = 0; p < LM_PARTICIPANTS; p++) {
        while (post->kept[p]) drop_kept(post, (lm_participant_t)p, post->kept[p]);
        lm_link_close(&post->links[p], linger_ms);
    }
    lm_link_close(&post->own, linger_ms);
    lm_frames_destroy(&post->frames);
    free(post->packed);
    post->packed = NULL;
}
