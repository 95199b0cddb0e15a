#include "lock_lot.h"

#include <inttypes.h>
#include <string.h>

lm_command_t lot_acquire(rig_t *r, uint64_t i)
{
    return (lm_command_t){
        .kind = LM_COMMAND_ACQUIRE,
        .key = {.owner = lm_arena_print(r->arena, "owner-of-many-locks-%04" PRIu64, i / 500),
                .request_id = lm_arena_print(r->arena, "request-%032" PRIu64, i)},
        .name = lm_arena_print(r->arena, "locks/with/long/names/as/paths/have/%0128" PRIu64, i),
        .mode = LM_MODE_EXCLUSIVE,
        .ttl_ms = 20000 + i,
        .stamp = UINT64_MAX};
}

void lot_fill(rig_t *r, uint64_t from, uint64_t n)
{
    lm_command_t *commands = lm_arena_alloc(r->arena, n * sizeof *commands);
    for (uint64_t i = 0; i < n; i++) commands[i] = lot_acquire(r, from + i);
    for (uint64_t i = 0; i < n; i += 500)
        rig_append(r, r->term, commands + i, n - i < 500 ? n - i : 500);
    bool unverified = r->unverified;
    r->unverified = true;
    rig_deliver(r, SIZE_MAX);
    r->unverified = unverified;
}

void lot_renew(rig_t *r, uint64_t from, uint64_t n)
{
    lm_command_t *commands = lm_arena_alloc(r->arena, n * sizeof *commands);
    for (uint64_t i = 0; i < n; i++) {
        commands[i] = lot_acquire(r, from + i);
        commands[i].kind = LM_COMMAND_RENEW;
        commands[i].hold = from + i + 1;
        commands[i].ttl_ms = 7777;
    }
    rig_append(r, r->term, commands, n);
    rig_deliver(r, SIZE_MAX);
}

rig_t *lot_following(void)
{
    rig_t *r = rig_new(1);
    rig_attach(r, false, 0);
    rig_role(r, LM_API_RAFT_ROLE_FOLLOWER, 1, "n2");
    return r;
}

rig_t *lot_filled(void)
{
    rig_t *r = lot_following();
    lot_fill(r, 0, LOT_LOCKS);
    return r;
}

rig_image_t lot_image_of(rig_t *r)
{
    rig_mark_here(r);
    return rig_snapshot(r);
}

uint64_t lot_hash_of(const rig_t *r) { return lm_table_hash(lm_lock_room_table(r->room)); }

uint64_t lot_holds_of(const rig_t *r) { return lm_table_counts(lm_lock_room_table(r->room)).holds; }

void lot_share_log(rig_t *to, const rig_t *from)
{
    for (uint64_t i = to->n_log + 1; i <= from->n_log; i++) {
        to->log[i] = from->log[i];
        uint8_t *copy = lm_alloc(from->log[i].data.size);
        memcpy(copy, from->log[i].data.data, from->log[i].data.size);
        to->log[i].data.data = copy;
    }
    to->n_log = from->n_log;
}

rig_t *lot_restored(const rig_t *from, const rig_image_t *image, uint32_t counter)
{
    rig_t *r = rig_new(counter);
    lot_share_log(r, from);
    rig_attach_image(r, image, from->n_log);
    rig_load(r, image);
    return r;
}

void lot_advance(rig_t *r, uint64_t ms) { lm_test_advance(r->host, ms * 1000); }
