/* Images as the stand-in for a lock actor writes and reads them: its history as bytes. */
#include <stdlib.h>
#include <string.h>

#include "base_check.h"
#include "crc.h"
#include "raft_cluster_state.h"

void lm_cluster_image_end(image_t *image)
{
    free(image->bytes);
    *image = (image_t){0};
}

/* What a lock knows after its first entries: the hash of each of them, and padding. */
static uint8_t *image_of(lm_cluster_t *c, uint64_t index, size_t *size)
{
    *size = (index + 1) * 8 + c->options.image_padding;
    uint8_t *bytes = lm_alloc(*size);
    memcpy(bytes, &index, 8);
    for (uint64_t i = 0; i < index; i++) memcpy(bytes + 8 + 8 * i, &c->history[i].hash, 8);
    for (size_t i = (index + 1) * 8; i < *size; i++) bytes[i] = (uint8_t)(i * 7 + index);
    return bytes;
}

static uint64_t hash_of(lm_cluster_t *c, uint64_t index)
{
    uint64_t hash = LM_HASH_START;
    for (uint64_t i = 0; i < index; i++)
        hash = lm_bytes_hash(lm_bytes(&c->history[i].hash, 8), hash);
    return hash;
}

static void lock_give_up(lm_cluster_t *c, uint32_t n)
{
    lock_t *lock = &c->nodes[n].lock;
    lm_bus_snapshot_mark_t body = {.index = lock->taken.index, .term = lock->taken.term};
    lm_cluster_image_end(&lock->taken);
    lm_test_deliver(c->nodes[n].host, LM_LOCK, LM_MSG_SNAPSHOT_DROP, &body, 0);
}

static void on_take(lm_cluster_t *c, uint32_t n, const lm_bus_snapshot_mark_t *body)
{
    lock_t *lock = &c->nodes[n].lock;
    if (!lock->attached) return;
    LM_CHECK(body->index == lock->applied && body->term == lock->applied_term,
             "seed %llu: a mark at %llu^%llu comes to a lock at %llu^%llu", (ull_t)c->options.seed,
             (ull_t)body->index, (ull_t)body->term, (ull_t)lock->applied,
             (ull_t)lock->applied_term);
    lm_cluster_image_end(&lock->taken);
    lock->taken = (image_t){.on = true, .index = body->index, .term = body->term};
    lock->taken.bytes = image_of(c, body->index, &lock->taken.size);
}

static void lock_write(lm_cluster_t *c, uint32_t n)
{
    lock_t *lock = &c->nodes[n].lock;
    image_t *image = &lock->taken;
    while (image->on && image->unanswered < 4 && image->at < image->size && !lock->silent &&
           !lock->stopped) {
        if (lm_cluster_chance(c, 100) < c->options.lock_drops_percent) {
            lock_give_up(c, n);
            return;
        }
        size_t left = image->size - image->at, piece = 1 + lm_cluster_chance(c, 262144);
        if (piece > left) piece = left;
        lm_bus_snapshot_part_t body = {.index = image->index,
                                       .term = image->term,
                                       .offset = image->at,
                                       .data = lm_bytes(image->bytes + image->at, piece),
                                       .last = piece == left,
                                       .state_hash = piece == left ? lock->hash : 0};
        image->at += piece;
        image->unanswered++;
        lm_test_deliver(c->nodes[n].host, LM_LOCK, LM_MSG_SNAPSHOT_PART, &body, 0);
    }
}

static void on_part_done(lm_cluster_t *c, uint32_t n, const lm_bus_snapshot_part_done_t *body)
{
    image_t *image = &c->nodes[n].lock.taken;
    if (!image->on) return;
    if (body->code != LM_RC_OK) {
        lm_cluster_image_end(image);
    } else if (--image->unanswered == 0 && image->at == image->size) {
        c->images++;
        lm_cluster_image_end(image);
    }
}

static void lock_read_image(lm_cluster_t *c, uint32_t n)
{
    lock_t *lock = &c->nodes[n].lock;
    image_t *image = &lock->loaded;
    while (image->on && image->unanswered < 4 && image->asked < image->size && !lock->silent) {
        lm_bus_image_read_t body = {
            .index = image->index, .term = image->term, .offset = image->asked};
        image->asked += 262144;
        image->unanswered++;
        uint64_t call = lm_test_deliver(c->nodes[n].host, LM_LOCK, LM_MSG_IMAGE_READ, &body, 0);
        if (!image->first_call) image->first_call = call;
    }
}

static void lock_restored(lm_cluster_t *c, uint32_t n)
{
    lock_t *lock = &c->nodes[n].lock;
    image_t *image = &lock->loaded;
    size_t size;
    uint8_t *right = image_of(c, image->index, &size);
    LM_CHECK(image->index <= c->n_history && size == image->size &&
                 memcmp(right, image->bytes, size) == 0 &&
                 lm_crc32c(0, lm_bytes(image->bytes, size)) == image->crc32c,
             "seed %llu: node %u is given another image than that of %llu", (ull_t)c->options.seed,
             n, (ull_t)image->index);
    free(right);
    lock->applied = image->index;
    lock->applied_term = image->term;
    lock->hash = hash_of(c, image->index);
    LM_CHECK(image->term == c->history[image->index - 1].term, "an image of another term");
    c->restores++;
    lm_cluster_image_end(image);
    lm_cluster_tell(c, n);
}

static void on_image_data(lm_cluster_t *c, uint32_t n, const lm_test_sent_t *sent)
{
    const lm_bus_image_data_t *body = sent->body;
    lock_t *lock = &c->nodes[n].lock;
    image_t *image = &lock->loaded;
    if (!image->on || !image->first_call || sent->correlation < image->first_call) return;
    image->unanswered--;
    if (body->code != LM_RC_OK) {
        lm_cluster_attach(c, n);
        return;
    }
    LM_CHECK(body->offset == image->at && body->data.size <= image->size - image->at,
             "a piece of an image at %llu instead of %zu", (ull_t)body->offset, image->at);
    memcpy(image->bytes + image->at, body->data.data, body->data.size);
    image->at += body->data.size;
    LM_CHECK(body->last == (image->at == image->size), "the end of an image is not where it is");
    if (body->last) lock_restored(c, n);
}

void lm_cluster_image_begin(lm_cluster_t *c, lock_t *lock, const lm_bus_image_t *image)
{
    if (lock->applied && (!image || image->index <= lock->applied)) c->resets++;
    lock->applied = lock->applied_term = 0;
    lock->hash = LM_HASH_START;
    if (!image) return;
    lock->loaded = (image_t){.on = true,
                             .index = image->index,
                             .term = image->term,
                             .bytes = lm_alloc(image->length),
                             .size = image->length,
                             .crc32c = image->crc32c};
}

void lm_cluster_image_work(lm_cluster_t *c, uint32_t n)
{
    lock_write(c, n);
    lock_read_image(c, n);
}

void lm_cluster_image_hear(lm_cluster_t *c, uint32_t n, const lm_test_sent_t *sent)
{
    if (sent->number == LM_MSG_SNAPSHOT_TAKE) on_take(c, n, sent->body);
    if (sent->number == LM_MSG_SNAPSHOT_PART_DONE) on_part_done(c, n, sent->body);
    if (sent->number == LM_MSG_SNAPSHOT_DROP) lm_cluster_image_end(&c->nodes[n].lock.taken);
    if (sent->number == LM_MSG_IMAGE_DATA) on_image_data(c, n, sent);
}
