#include "raft_fake_disk.h"

#include <raft.h>
#include <stdlib.h>

#include "base_arena.h"
#include "base_check.h"

typedef struct {
    uint64_t term;
    uint32_t type;
    lm_bytes_t data; /* own */
} stored_t;

typedef enum { OPEN, SAVE, LOAD, METADATA, TRUNCATE, APPEND } kind_t;

typedef struct command {
    struct command *next;
    kind_t kind;
    uint64_t due_us, number, term, vote;
    bool bootstrap;
    lm_raft_identity_t identity;
    stored_t *entries;
    size_t n;
} command_t;

struct lm_fake_disk {
    lm_raft_disk_t raft;
    uint64_t now_us, last_due_us, delay_us, *chance;
    bool broken, failed;
    command_t *first, **last;
    /* durable */
    lm_raft_identity_t identity;
    uint64_t term, vote;
    stored_t *entries;
    size_t n;
};

uint64_t lm_fake_chance(uint64_t *state, uint64_t bound)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    z ^= z >> 31;
    return bound ? z % bound : z;
}

/* ---- what is durable ------------------------------------------------------------------------- */

static stored_t stored(uint64_t term, uint32_t type, lm_bytes_t data)
{
    uint8_t *copy = lm_alloc(data.size);
    memcpy(copy, data.data, data.size);
    return (stored_t){.term = term, .type = type, .data = lm_bytes(copy, data.size)};
}

static void cut(lm_fake_disk_t *d, size_t n)
{
    while (d->n > n) free((void *)(uintptr_t)d->entries[--d->n].data.data);
}

static void add(lm_fake_disk_t *d, stored_t entry)
{
    d->entries = lm_realloc(d->entries, (d->n + 1) * sizeof *d->entries);
    d->entries[d->n++] = entry;
}

static void write_first(lm_fake_disk_t *d, const lm_raft_identity_t *identity)
{
    struct raft_configuration configuration;
    struct raft_buffer bytes;
    raft_configuration_init(&configuration);
    for (uint32_t i = 0; i < identity->n_servers; i++)
        raft_configuration_add(&configuration, identity->servers[i].id, identity->servers[i].name,
                               RAFT_VOTER);
    raft_configuration_encode(&configuration, &bytes);
    raft_configuration_close(&configuration);
    cut(d, 0);
    d->term = 1;
    d->vote = 0;
    add(d, stored(1, LM_RAFT_CHANGE, lm_bytes(bytes.base, bytes.len)));
    raft_free(bytes.base);
}

static void apply_some(lm_fake_disk_t *d, command_t *command, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        add(d, command->entries[i]);
        command->entries[i].data = lm_bytes(NULL, 0);
    }
}

static void apply(lm_fake_disk_t *d, command_t *command)
{
    switch (command->kind) {
    case OPEN: break;
    case SAVE: d->identity = command->identity; break;
    case LOAD:
        if (command->bootstrap) write_first(d, &command->identity);
        break;
    case METADATA:
        LM_CHECK(command->term >= d->term, "term goes back");
        LM_CHECK(command->term > d->term || d->vote == 0 || d->vote == command->vote,
                 "second vote in a term");
        d->term = command->term;
        d->vote = command->vote;
        break;
    case TRUNCATE: cut(d, command->number - 1); break;
    case APPEND: apply_some(d, command, command->n); break;
    }
}

/* ---- reports --------------------------------------------------------------------------------- */

static void fill_loaded(const lm_fake_disk_t *d, lm_raft_done_t *done)
{
    done->term = d->term;
    done->voted_for = d->vote;
    done->entries = lm_alloc((d->n + 1) * sizeof *done->entries);
    done->n_entries = d->n;
    for (size_t i = 0; i < d->n; i++) {
        lm_bytes_t data = d->entries[i].data;
        uint8_t *copy = lm_alloc(data.size);
        memcpy(copy, data.data, data.size);
        done->entries[i] = (lm_raft_entry_t){.term = d->entries[i].term,
                                             .type = d->entries[i].type,
                                             .data = lm_bytes(copy, data.size),
                                             .buffer = lm_raft_buffer_adopt(copy, free)};
    }
}

static lm_raft_done_t *report_of(const lm_fake_disk_t *d, const command_t *command)
{
    static const lm_raft_done_kind_t kinds[] = {
        [OPEN] = LM_RAFT_DONE_OPENED,       [SAVE] = LM_RAFT_DONE_IDENTITY,
        [LOAD] = LM_RAFT_DONE_LOADED,       [METADATA] = LM_RAFT_DONE_METADATA,
        [TRUNCATE] = LM_RAFT_DONE_APPENDED, [APPEND] = LM_RAFT_DONE_APPENDED,
    };
    lm_raft_done_t *done = lm_alloc(sizeof *done);
    done->kind = kinds[command->kind];
    done->number = command->number;
    if (command->kind == OPEN) done->identity = d->identity;
    if (command->kind == LOAD) fill_loaded(d, done);
    return done;
}

static void command_free(command_t *command)
{
    for (size_t i = 0; i < command->n; i++) free((void *)(uintptr_t)command->entries[i].data.data);
    free(command->entries);
    free(command);
}

static lm_raft_done_t *fail(lm_fake_disk_t *d)
{
    d->broken = false;
    d->failed = true;
    lm_raft_done_t *done = lm_alloc(sizeof *done);
    done->kind = LM_RAFT_DONE_FAILED;
    lm_raft_fault_set(&done->fault, LM_EXIT_SYSTEM, "the fake disk is broken");
    return done;
}

lm_raft_done_t *lm_fake_disk_take(lm_fake_disk_t *d, uint64_t now_us)
{
    while (d->first && d->first->due_us <= now_us && !d->failed) {
        if (d->broken) return fail(d);
        command_t *command = d->first;
        d->first = command->next;
        if (!d->first) d->last = &d->first;
        apply(d, command);
        lm_raft_done_t *done = command->kind == TRUNCATE ? NULL : report_of(d, command);
        command_free(command);
        if (done) return done;
    }
    return NULL;
}

/* A write that was cut off in the middle. */
static void apply_part(lm_fake_disk_t *d, command_t *command)
{
    if (command->kind == APPEND) {
        apply_some(d, command, lm_fake_chance(d->chance, command->n + 1));
    } else if (command->kind == METADATA && command->term > d->term) {
        d->term = command->term;
        d->vote = 0;
    }
}

void lm_fake_disk_crash(lm_fake_disk_t *d)
{
    bool whole = !d->failed && d->chance;
    while (d->first) {
        command_t *command = d->first;
        d->first = command->next;
        if (whole && lm_fake_chance(d->chance, 2) == 0) {
            apply(d, command);
        } else if (whole) {
            if (lm_fake_chance(d->chance, 2) == 0) apply_part(d, command);
            whole = false;
        }
        command_free(command);
    }
    d->last = &d->first;
    d->failed = d->broken = false;
}

/* ---- commands -------------------------------------------------------------------------------- */

static command_t *put(lm_raft_disk_t *disk, kind_t kind)
{
    lm_fake_disk_t *d = (lm_fake_disk_t *)disk;
    command_t *command = lm_alloc(sizeof *command);
    command->kind = kind;
    command->due_us = d->now_us + (d->chance ? lm_fake_chance(d->chance, d->delay_us + 1) : 0);
    if (command->due_us < d->last_due_us) command->due_us = d->last_due_us;
    d->last_due_us = command->due_us;
    *d->last = command;
    d->last = &command->next;
    return command;
}

static void disk_open(lm_raft_disk_t *disk, const char *path, const char *region, const char *node)
{
    (void)path, (void)region, (void)node;
    put(disk, OPEN);
}

static void disk_save(lm_raft_disk_t *disk, const lm_raft_identity_t *identity)
{
    put(disk, SAVE)->identity = *identity;
}

static void disk_load(lm_raft_disk_t *disk, const lm_raft_identity_t *identity, bool bootstrap)
{
    command_t *command = put(disk, LOAD);
    command->identity = *identity;
    command->bootstrap = bootstrap;
}

static void disk_metadata(lm_raft_disk_t *disk, uint64_t term, uint64_t vote)
{
    command_t *command = put(disk, METADATA);
    command->term = term;
    command->vote = vote;
}

static void disk_truncate(lm_raft_disk_t *disk, uint64_t index)
{
    put(disk, TRUNCATE)->number = index;
}

static void disk_append(lm_raft_disk_t *disk, uint64_t number, const lm_raft_entry_t *entries,
                        size_t n)
{
    command_t *command = put(disk, APPEND);
    command->number = number;
    command->n = n;
    command->entries = lm_alloc(n * sizeof *command->entries);
    for (size_t i = 0; i < n; i++)
        command->entries[i] = stored(entries[i].term, entries[i].type, entries[i].data);
}

/* ---- life ------------------------------------------------------------------------------------ */

lm_fake_disk_t *lm_fake_disk_new(void)
{
    lm_fake_disk_t *d = lm_alloc(sizeof *d);
    d->raft = (lm_raft_disk_t){disk_open,     disk_save,     disk_load,
                               disk_metadata, disk_truncate, disk_append};
    d->last = &d->first;
    return d;
}

void lm_fake_disk_destroy(lm_fake_disk_t **disk)
{
    lm_fake_disk_t *d = *disk;
    d->chance = NULL;
    lm_fake_disk_crash(d);
    cut(d, 0);
    free(d->entries);
    free(d);
    *disk = NULL;
}

void lm_fake_disk_wipe(lm_fake_disk_t *d)
{
    d->identity = (lm_raft_identity_t){0};
    d->term = d->vote = 0;
    cut(d, 0);
}

lm_raft_disk_t *lm_fake_disk_raft(lm_fake_disk_t *d) { return &d->raft; }

void lm_fake_disk_delay(lm_fake_disk_t *d, uint64_t us_max, uint64_t *chance)
{
    d->delay_us = us_max;
    d->chance = chance;
}

void lm_fake_disk_time(lm_fake_disk_t *d, uint64_t now_us) { d->now_us = now_us; }
void lm_fake_disk_break(lm_fake_disk_t *d) { d->broken = true; }
const lm_raft_identity_t *lm_fake_disk_identity(const lm_fake_disk_t *d) { return &d->identity; }
uint64_t lm_fake_disk_entries(const lm_fake_disk_t *d) { return d->n; }
uint64_t lm_fake_disk_term(const lm_fake_disk_t *d) { return d->term; }
