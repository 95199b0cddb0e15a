#include "raft_fake_disk.h"

#include <raft.h>
#include <stdlib.h>
#include <string.h>

#include "base_arena.h"
#include "base_check.h"
#include "crc.h"

typedef struct {
    uint64_t term;
    uint32_t type;
    lm_bytes_t data; /* own */
} stored_t;

typedef enum {
    OPEN,
    SAVE,
    LOAD,
    METADATA,
    TRUNCATE,
    APPEND,
    FORGET_LOSS,
    IMAGE_BEGIN,
    IMAGE_WRITE,
    IMAGE_FINISH,
    IMAGE_DROP,
    IMAGE_READ
} kind_t;

typedef struct command {
    struct command *next;
    kind_t kind;
    uint64_t due_us, number, term, vote;
    bool bootstrap;
    lm_raft_identity_t identity;
    stored_t *entries;
    size_t n;
    bool keep; /* IMAGE_BEGIN: resume */
    bool good; /* IMAGE_FINISH: the body was the one stated */
    uint64_t index, offset;
    size_t bytes_max;
    lm_raft_image_t image;
    uint8_t *data;
    size_t size;
} command_t;

typedef struct {
    command_t *first, **last;
    uint64_t last_due_us;
} queue_t;

typedef struct {
    lm_raft_image_t image;
    uint8_t *body;
} kept_t;

struct lm_fake_disk {
    lm_raft_disk_t raft;
    uint64_t now_us, delay_us, *chance;
    bool broken, failed;
    queue_t log, images; /* commands of the two are carried out independently */
    /* durable */
    lm_raft_identity_t identity;
    uint64_t term, vote;
    uint64_t before; /* index before the first entry */
    stored_t *entries;
    size_t n;
    uint64_t watermark, lost_index;
    kept_t kept[2]; /* the newest first */
    struct {
        uint64_t index, term;
        uint32_t crc32c; /* that the whole is to have; 0: nobody knows, it is never resumed */
        uint8_t *body;
        size_t size;
    } part;
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

/* Removes entries up to index from the beginning. */
static void trim(lm_fake_disk_t *d, uint64_t index)
{
    size_t n = index <= d->before ? 0 : index - d->before;
    if (n > d->n) n = d->n;
    for (size_t i = 0; i < n; i++) free((void *)(uintptr_t)d->entries[i].data.data);
    memmove(d->entries, d->entries + n, (d->n - n) * sizeof *d->entries);
    d->n -= n;
    d->before += n;
}

static uint64_t last_index(const lm_fake_disk_t *d) { return d->before + d->n; }

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
    d->before = 0;
    d->watermark = 1;
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
    if (last_index(d) > d->watermark) d->watermark = last_index(d);
}

/* Never below what is known to be lost. */
static void lower(lm_fake_disk_t *d, uint64_t index)
{
    if (d->lost_index == 0 && index < d->watermark) d->watermark = index;
}

/* What a start finds of entries beside a snapshot: those that do not follow from it are the rest of
 * a log that an installation was about to replace. */
static void reconcile(lm_fake_disk_t *d)
{
    const lm_raft_image_t *image = &d->kept[0].image;
    if (image->index == 0) return;
    bool reaches = last_index(d) >= image->index && d->before <= image->index;
    bool follows = reaches && (d->before == image->index ||
                               d->entries[image->index - d->before - 1].term == image->term);
    if (follows) return;
    cut(d, 0);
    d->before = image->index;
}

static void load(lm_fake_disk_t *d, command_t *command)
{
    if (command->bootstrap) write_first(d, &command->identity);
    reconcile(d);
    if (d->lost_index == 0 && d->watermark > last_index(d)) d->lost_index = d->watermark;
}

/* ---- images ---------------------------------------------------------------------------------- */

static void drop_part(lm_fake_disk_t *d)
{
    free(d->part.body);
    memset(&d->part, 0, sizeof d->part);
}

static void begin_image(lm_fake_disk_t *d, command_t *command)
{
    bool same = d->part.index == command->index && d->part.term == command->term &&
                d->part.crc32c == command->image.crc32c;
    if (!same || !command->keep || command->image.crc32c == 0) drop_part(d);
    d->part.index = command->index;
    d->part.term = command->term;
    d->part.crc32c = command->image.crc32c;
    command->number = d->part.size;
    command->image.crc32c = lm_crc32c(0, lm_bytes(d->part.body, d->part.size));
}

static void write_image(lm_fake_disk_t *d, const command_t *command, size_t size)
{
    LM_CHECK(d->part.index && command->offset == d->part.size, "written at %llu of %zu",
             (unsigned long long)command->offset, d->part.size);
    d->part.body = lm_realloc(d->part.body, d->part.size + size + 1);
    memcpy(d->part.body + d->part.size, command->data, size);
    d->part.size += size;
}

static void keep_image(lm_fake_disk_t *d, command_t *command)
{
    const lm_raft_image_t *image = &command->image;
    LM_CHECK(d->part.index == image->index && d->part.term == image->term, "another image");
    LM_CHECK(image->index > d->kept[0].image.index, "an image that is not newer");
    free(d->kept[1].body);
    d->kept[1] = d->kept[0];
    d->kept[0] = (kept_t){.image = *image, .body = d->part.body};
    memset(&d->part, 0, sizeof d->part);
}

static bool is_as_stated(const lm_fake_disk_t *d, const lm_raft_image_t *image)
{
    return image->length > 0 && d->part.size == image->length &&
           lm_crc32c(0, lm_bytes(d->part.body, d->part.size)) == image->crc32c;
}

static void finish_image(lm_fake_disk_t *d, command_t *command, unsigned step)
{
    uint64_t index = command->image.index, trailing = command->number;
    if (step == 0) {
        command->good = is_as_stated(d, &command->image);
        if (!command->good) drop_part(d);
        if (command->good && trailing == 0) lower(d, index);
    } else if (step == 1 && command->good) {
        keep_image(d, command);
    } else if (step == 2 && command->good && trailing == 0) {
        cut(d, 0);
        d->before = index;
        if (index > d->watermark) d->watermark = index;
    } else if (step == 2 && command->good && index > trailing) {
        LM_CHECK(last_index(d) >= index, "an image of entries that are not stored");
        trim(d, index - trailing);
    }
}

/* ---- carrying out ---------------------------------------------------------------------------- */

/* Between two steps of a command the process may die. */
static unsigned steps_of(const command_t *command)
{
    return command->kind == TRUNCATE ? 2 : command->kind == IMAGE_FINISH ? 3 : 1;
}

static void write_metadata(lm_fake_disk_t *d, const command_t *command)
{
    LM_CHECK(command->term >= d->term, "term goes back");
    LM_CHECK(command->term > d->term || d->vote == 0 || d->vote == command->vote,
             "second vote in a term");
    d->term = command->term;
    d->vote = command->vote;
}

static void apply_step(lm_fake_disk_t *d, command_t *command, unsigned step)
{
    switch (command->kind) {
    case OPEN: break;
    case SAVE: d->identity = command->identity; break;
    case LOAD: load(d, command); break;
    case METADATA: write_metadata(d, command); break;
    case TRUNCATE:
        if (step == 0)
            lower(d, command->number - 1);
        else
            cut(d, command->number - 1 - d->before);
        break;
    case APPEND: apply_some(d, command, command->n); break;
    case FORGET_LOSS: d->lost_index = 0; break;
    case IMAGE_BEGIN: begin_image(d, command); break;
    case IMAGE_WRITE: write_image(d, command, command->size); break;
    case IMAGE_FINISH: finish_image(d, command, step); break;
    case IMAGE_DROP:
        if (!command->keep) drop_part(d);
        break;
    case IMAGE_READ: break;
    }
}

static void apply(lm_fake_disk_t *d, command_t *command)
{
    for (unsigned i = 0; i < steps_of(command); i++) apply_step(d, command, i);
}

/* ---- reports --------------------------------------------------------------------------------- */

static void fill_loaded(const lm_fake_disk_t *d, lm_raft_done_t *done)
{
    done->term = d->term;
    done->voted_for = d->vote;
    done->image = d->kept[0].image;
    done->first_index = d->before + 1;
    done->lost_index = d->lost_index;
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

static void fill_data(const lm_fake_disk_t *d, const command_t *command, lm_raft_done_t *done)
{
    done->offset = command->offset;
    for (int i = 0; i < 2; i++) {
        const kept_t *kept = &d->kept[i];
        if (kept->image.index != command->index || kept->image.term != command->term ||
            command->index == 0 || command->offset >= kept->image.length)
            continue;
        size_t left = kept->image.length - command->offset;
        done->data_size = left < command->bytes_max ? left : command->bytes_max;
        done->data = lm_alloc(done->data_size);
        memcpy(done->data, kept->body + command->offset, done->data_size);
        done->last = done->data_size == left;
        return;
    }
}

static lm_raft_done_t *report_of(const lm_fake_disk_t *d, const command_t *command)
{
    static const lm_raft_done_kind_t kinds[] = {
        [OPEN] = LM_RAFT_DONE_OPENED,
        [SAVE] = LM_RAFT_DONE_IDENTITY,
        [LOAD] = LM_RAFT_DONE_LOADED,
        [METADATA] = LM_RAFT_DONE_METADATA,
        [APPEND] = LM_RAFT_DONE_APPENDED,
        [IMAGE_BEGIN] = LM_RAFT_DONE_IMAGE_BEGUN,
        [IMAGE_WRITE] = LM_RAFT_DONE_IMAGE_WRITTEN,
        [IMAGE_FINISH] = LM_RAFT_DONE_IMAGE_FINISHED,
        [IMAGE_READ] = LM_RAFT_DONE_IMAGE_DATA,
    };
    if (command->kind == TRUNCATE || command->kind == FORGET_LOSS || command->kind == IMAGE_DROP)
        return NULL;
    lm_raft_done_t *done = lm_alloc(sizeof *done);
    done->kind = kinds[command->kind];
    done->number = command->number;
    done->image = command->image;
    if (command->kind == OPEN) done->identity = d->identity;
    if (command->kind == LOAD) fill_loaded(d, done);
    if (command->kind == IMAGE_WRITE) done->number = command->offset + command->size;
    if (command->kind == IMAGE_FINISH && !command->good) done->kind = LM_RAFT_DONE_IMAGE_BAD;
    if (command->kind == IMAGE_READ) fill_data(d, command, done);
    return done;
}

static void command_free(command_t *command)
{
    for (size_t i = 0; i < command->n; i++) free((void *)(uintptr_t)command->entries[i].data.data);
    free(command->entries);
    free(command->data);
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

static command_t *pop(queue_t *queue)
{
    command_t *command = queue->first;
    queue->first = command->next;
    if (!queue->first) queue->last = &queue->first;
    return command;
}

/* The queue whose next command is due first; NULL if none is. */
static queue_t *next_due(lm_fake_disk_t *d, uint64_t now_us)
{
    uint64_t log = d->log.first ? d->log.first->due_us : UINT64_MAX;
    uint64_t images = d->images.first ? d->images.first->due_us : UINT64_MAX;
    queue_t *queue = images < log ? &d->images : &d->log;
    return (images < log ? images : log) <= now_us ? queue : NULL;
}

lm_raft_done_t *lm_fake_disk_take(lm_fake_disk_t *d, uint64_t now_us)
{
    queue_t *queue;
    while (!d->failed && (queue = next_due(d, now_us))) {
        if (d->broken) return fail(d);
        command_t *command = pop(queue);
        apply(d, command);
        lm_raft_done_t *done = report_of(d, command);
        command_free(command);
        if (done) return done;
    }
    return NULL;
}

/* ---- dying ----------------------------------------------------------------------------------- */

/* A write that was cut off in the middle. */
static void apply_part(lm_fake_disk_t *d, command_t *command)
{
    unsigned steps = (unsigned)lm_fake_chance(d->chance, steps_of(command));
    for (unsigned i = 0; i < steps; i++) apply_step(d, command, i);
    if (command->kind == APPEND) {
        apply_some(d, command, lm_fake_chance(d->chance, command->n + 1));
    } else if (command->kind == METADATA && command->term > d->term) {
        d->term = command->term;
        d->vote = 0;
    } else if (command->kind == IMAGE_WRITE) {
        write_image(d, command, lm_fake_chance(d->chance, command->size + 1));
    }
}

static void crash_queue(lm_fake_disk_t *d, queue_t *queue)
{
    bool whole = !d->failed && d->chance;
    while (queue->first) {
        command_t *command = pop(queue);
        if (whole && lm_fake_chance(d->chance, 2) == 0) {
            apply(d, command);
        } else if (whole) {
            if (lm_fake_chance(d->chance, 2) == 0) apply_part(d, command);
            whole = false;
        }
        command_free(command);
    }
    queue->last_due_us = 0;
}

void lm_fake_disk_crash(lm_fake_disk_t *d)
{
    crash_queue(d, &d->log);
    crash_queue(d, &d->images);
    if (d->part.crc32c == 0) drop_part(d);
    d->failed = d->broken = false;
}

bool lm_fake_disk_crash_after(lm_fake_disk_t *d, unsigned steps)
{
    queue_t *queues[] = {&d->log, &d->images};
    for (int q = 0; q < 2; q++) {
        while (queues[q]->first && steps > 0) {
            command_t *command = pop(queues[q]);
            unsigned n = steps_of(command) < steps ? steps_of(command) : steps;
            for (unsigned i = 0; i < n; i++) apply_step(d, command, i);
            steps -= n;
            command_free(command);
        }
    }
    uint64_t *chance = d->chance;
    d->chance = NULL;
    lm_fake_disk_crash(d);
    d->chance = chance;
    return steps == 0;
}

/* ---- commands -------------------------------------------------------------------------------- */

static command_t *put(lm_raft_disk_t *disk, kind_t kind)
{
    lm_fake_disk_t *d = (lm_fake_disk_t *)disk;
    queue_t *queue = kind >= IMAGE_BEGIN ? &d->images : &d->log;
    command_t *command = lm_alloc(sizeof *command);
    command->kind = kind;
    command->due_us = d->now_us + (d->chance ? lm_fake_chance(d->chance, d->delay_us + 1) : 0);
    if (command->due_us < queue->last_due_us) command->due_us = queue->last_due_us;
    queue->last_due_us = command->due_us;
    *queue->last = command;
    queue->last = &command->next;
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

static void disk_forget_loss(lm_raft_disk_t *disk) { put(disk, FORGET_LOSS); }

static void disk_image_begin(lm_raft_disk_t *disk, uint64_t index, uint64_t term, uint32_t crc32c,
                             bool resume)
{
    command_t *command = put(disk, IMAGE_BEGIN);
    command->index = index;
    command->term = term;
    command->image.crc32c = crc32c;
    command->keep = resume;
}

static void disk_image_write(lm_raft_disk_t *disk, uint64_t offset, lm_bytes_t data)
{
    command_t *command = put(disk, IMAGE_WRITE);
    command->offset = offset;
    command->data = lm_alloc(data.size + 1);
    memcpy(command->data, data.data, data.size);
    command->size = data.size;
}

static void disk_image_finish(lm_raft_disk_t *disk, const lm_raft_image_t *image, uint32_t trailing)
{
    command_t *command = put(disk, IMAGE_FINISH);
    command->image = *image;
    command->number = trailing;
    if (trailing > 0) return;
    /* An installation comes behind what was given before it, and before what is given after. */
    lm_fake_disk_t *d = (lm_fake_disk_t *)disk;
    if (command->due_us < d->log.last_due_us) command->due_us = d->log.last_due_us;
    d->images.last_due_us = d->log.last_due_us = command->due_us;
}

static void disk_image_drop(lm_raft_disk_t *disk, bool keep) { put(disk, IMAGE_DROP)->keep = keep; }

static void disk_image_read(lm_raft_disk_t *disk, uint64_t number, uint64_t index, uint64_t term,
                            uint64_t offset, size_t bytes_max)
{
    command_t *command = put(disk, IMAGE_READ);
    command->number = number;
    command->index = index;
    command->term = term;
    command->offset = offset;
    command->bytes_max = bytes_max;
}

/* ---- life ------------------------------------------------------------------------------------ */

lm_fake_disk_t *lm_fake_disk_new(void)
{
    lm_fake_disk_t *d = lm_alloc(sizeof *d);
    d->raft = (lm_raft_disk_t){
        .open = disk_open,
        .save_identity = disk_save,
        .load = disk_load,
        .set_metadata = disk_metadata,
        .truncate = disk_truncate,
        .append = disk_append,
        .forget_loss = disk_forget_loss,
        .image_begin = disk_image_begin,
        .image_write = disk_image_write,
        .image_finish = disk_image_finish,
        .image_drop = disk_image_drop,
        .image_read = disk_image_read,
    };
    d->log.last = &d->log.first;
    d->images.last = &d->images.first;
    return d;
}

void lm_fake_disk_destroy(lm_fake_disk_t **disk)
{
    lm_fake_disk_t *d = *disk;
    d->chance = NULL;
    lm_fake_disk_crash(d);
    lm_fake_disk_wipe(d);
    free(d->entries);
    free(d);
    *disk = NULL;
}

void lm_fake_disk_wipe(lm_fake_disk_t *d)
{
    d->identity = (lm_raft_identity_t){0};
    d->term = d->vote = d->before = d->watermark = d->lost_index = 0;
    cut(d, 0);
    drop_part(d);
    for (int i = 0; i < 2; i++) {
        free(d->kept[i].body);
        d->kept[i] = (kept_t){0};
    }
}

void lm_fake_disk_lose(lm_fake_disk_t *d, uint64_t n)
{
    LM_CHECK(n < d->n, "%llu entries are to be lost of %zu", (unsigned long long)n, d->n);
    cut(d, d->n - n);
}

bool lm_fake_disk_has_loss(const lm_fake_disk_t *d)
{
    return d->lost_index > 0 || d->watermark > last_index(d);
}

void lm_fake_disk_damage_image(lm_fake_disk_t *d)
{
    LM_CHECK(d->kept[0].body, "there is no image");
    d->kept[0].body[0] ^= 1;
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
uint64_t lm_fake_disk_last_index(const lm_fake_disk_t *d) { return last_index(d); }
uint64_t lm_fake_disk_watermark(const lm_fake_disk_t *d) { return d->watermark; }
const lm_raft_image_t *lm_fake_disk_image(const lm_fake_disk_t *d) { return &d->kept[0].image; }
uint64_t lm_fake_disk_part(const lm_fake_disk_t *d) { return d->part.size; }
uint64_t lm_fake_disk_term(const lm_fake_disk_t *d) { return d->term; }

uint64_t lm_fake_disk_next_us(const lm_fake_disk_t *d)
{
    uint64_t log = d->log.first ? d->log.first->due_us : UINT64_MAX;
    uint64_t images = d->images.first ? d->images.first->due_us : UINT64_MAX;
    if (d->failed) return UINT64_MAX;
    return images < log ? images : log;
}

bool lm_fake_disk_has(const lm_fake_disk_t *d, uint64_t index, uint64_t term)
{
    if (index <= d->before || index <= d->kept[0].image.index) return true;
    return index <= last_index(d) && d->entries[index - d->before - 1].term == term;
}
