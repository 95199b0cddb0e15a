/* Snapshots in the world: marks at random moments, parts and reads that fail or lie about, logs
 * that are trimmed, images of the other node that are installed. */
#include "crc.h"
#include "lock_world_state.h"

void world_images_free(world_image_t *image)
{
    free(image->data);
    *image = (world_image_t){0};
}

void world_images_forget(node_t *node)
{
    world_images_free(&node->taking);
    node->n_reads = 0;
    while (lm_test_take(node->host, LM_MSG_SNAPSHOT_PART)) {
    }
    while (lm_test_take(node->host, LM_MSG_SNAPSHOT_DROP)) {
    }
    while (lm_test_take(node->host, LM_MSG_IMAGE_READ)) {
    }
}

/* ---- attaching ------------------------------------------------------------------------------- */

bool world_images_attach(world_t *w, int n, uint64_t applied, bool known, lm_bus_image_t *body)
{
    const world_image_t *image = &w->nodes[n].image;
    bool fits = known && applied >= w->nodes[n].trimmed;
    bool whole = !known && w->nodes[n].trimmed == 0 && draw(w, 2);
    if (fits || whole || !image->index) return false;
    *body = (lm_bus_image_t){.index = image->index,
                             .term = image->term,
                             .length = image->size,
                             .crc32c = lm_crc32c(0, lm_bytes(image->data, image->size)),
                             .state_hash = image->hash};
    return true;
}

void world_images_credit(world_t *w, int n)
{
    node_t *node = &w->nodes[n];
    const lm_test_sent_t *sent;
    while ((sent = lm_test_take(node->host, LM_MSG_CREDIT))) {
        node->credit = ((const lm_bus_credit_t *)sent->body)->up_to_index;
        w->figures.restores += node->restoring;
        node->restoring = false;
    }
}

static void send_away(node_t *node)
{
    lm_bus_attach_again_t body = {0};
    node->attached = node->taken = false;
    world_images_free(&node->taking);
    lm_test_deliver(node->host, LM_RAFT, LM_MSG_ATTACH_AGAIN, &body, 0);
}

/* ---- taking ---------------------------------------------------------------------------------- */

static void place_mark(world_t *w, int n)
{
    node_t *node = &w->nodes[n];
    if (!node->attached || node->restoring || !node->delivered) return;
    bool wrong = one_in(w, 10);
    lm_bus_snapshot_mark_t body = {.index = node->delivered + wrong,
                                   .term = w->log[node->delivered].term};
    world_images_forget(node);
    node->taking.index = wrong ? 0 : body.index;
    node->taking.term = body.term;
    node->taking.hash = lm_table_hash(lm_lock_room_table(node->room));
    lm_test_deliver(node->host, LM_RAFT, LM_MSG_SNAPSHOT_TAKE, &body, 0);
}

/* The image is the node's snapshot, and its log begins somewhere behind its beginning. */
static void keep_image(world_t *w, int n, const world_image_t *image)
{
    node_t *node = &w->nodes[n];
    uint64_t trailing = draw(w, 40);
    world_images_free(&node->image);
    node->image = *image;
    node->image.data = lm_alloc(image->size);
    memcpy(node->image.data, image->data, image->size);
    if (image->index > trailing && image->index - trailing > node->trimmed)
        node->trimmed = image->index - trailing;
    if (node->attached && !node->restoring && node->delivered < node->trimmed) send_away(node);
}

static void complete(world_t *w, int n, uint64_t hash)
{
    node_t *node = &w->nodes[n];
    if (hash != node->taking.hash)
        FAILED(w, "the image of %" PRIu64 " has another hash", node->taking.index);
    w->figures.snapshots++;
    world_image_t image = node->taking;
    node->taking = (world_image_t){0};
    keep_image(w, n, &image);
    int other = NODES - 1 - n;
    if (w->nodes[other].image.index < image.index && draw(w, 3) == 0) keep_image(w, other, &image);
    world_images_free(&image);
}

/* Keeps a part; what raft answers. */
static lm_rc_t take_part(world_t *w, node_t *node, const lm_bus_snapshot_part_t *part)
{
    world_image_t *taking = &node->taking;
    if (part->index != taking->index || part->term != taking->term || one_in(w, 100))
        return LM_RC_CANCELLED;
    if (part->offset != taking->size) FAILED(w, "a part is not the next");
    taking->data = lm_realloc(taking->data, taking->size + part->data.size);
    memcpy(taking->data + taking->size, part->data.data, part->data.size);
    taking->size += part->data.size;
    return LM_RC_OK;
}

static void take_parts(world_t *w, int n)
{
    node_t *node = &w->nodes[n];
    const lm_test_sent_t *sent;
    while ((sent = lm_test_take(node->host, LM_MSG_SNAPSHOT_PART))) {
        const lm_bus_snapshot_part_t *part = sent->body;
        lm_bus_snapshot_part_done_t body = {.code = take_part(w, node, part)};
        lm_test_reply(node->host, LM_RAFT, LM_MSG_SNAPSHOT_PART_DONE, sent->correlation, &body);
        if (body.code != LM_RC_OK)
            world_images_free(&node->taking);
        else if (part->last)
            complete(w, n, part->state_hash);
        if (w->faults && draw(w, 3) == 0) return; /* the disk takes its time */
    }
}

static void take_drops(world_t *w, int n)
{
    node_t *node = &w->nodes[n];
    const lm_test_sent_t *sent;
    while ((sent = lm_test_take(node->host, LM_MSG_SNAPSHOT_DROP))) {
        const lm_bus_snapshot_mark_t *mark = sent->body;
        w->figures.drops++;
        if (mark->index == node->taking.index && mark->term == node->taking.term)
            world_images_free(&node->taking);
    }
}

static void drop(node_t *node)
{
    lm_bus_snapshot_mark_t body = {.index = node->taking.index, .term = node->taking.term};
    if (!body.index) return;
    world_images_free(&node->taking);
    lm_test_deliver(node->host, LM_RAFT, LM_MSG_SNAPSHOT_DROP, &body, 0);
}

/* ---- reading --------------------------------------------------------------------------------- */

static void answer_read(world_t *w, node_t *node, const lm_test_sent_t *sent)
{
    const lm_bus_image_read_t *read = sent->body;
    const world_image_t *image = &node->image;
    lm_bus_image_data_t body = {.offset = read->offset};
    if (image->index != read->index || image->term != read->term || one_in(w, 60)) {
        body.code = LM_RC_NOT_FOUND;
    } else {
        size_t size = image->size - read->offset;
        if (size > 1000) size = 1000;
        body.data = lm_bytes(image->data + read->offset, size);
        body.last = read->offset + size == image->size;
    }
    lm_test_reply(node->host, LM_RAFT, LM_MSG_IMAGE_DATA, sent->correlation, &body);
}

static void take_image_reads(world_t *w, int n)
{
    node_t *node = &w->nodes[n];
    const lm_test_sent_t *sent;
    do {
        while (node->n_reads < PENDING_MAX && (sent = lm_test_take(node->host, LM_MSG_IMAGE_READ)))
            node->reads[node->n_reads++] = sent;
        if (!node->n_reads) return;
        size_t at = draw(w, node->n_reads);
        sent = node->reads[at];
        node->reads[at] = node->reads[--node->n_reads];
        answer_read(w, node, sent);
    } while (!w->faults || draw(w, 4));
}

/* ---- steps ----------------------------------------------------------------------------------- */

void world_images_answer(world_t *w, int n)
{
    take_drops(w, n);
    take_parts(w, n);
    if (w->nodes[n].attached) take_image_reads(w, n);
    world_images_credit(w, n);
}

void world_images_step(world_t *w, int n)
{
    node_t *node = &w->nodes[n];
    if (!node->taking.index ? draw(w, 25) == 0 : one_in(w, 100)) place_mark(w, n);
    if (one_in(w, 200)) drop(node);
    if (node->attached && one_in(w, 300)) send_away(node);
    world_images_answer(w, n);
}
