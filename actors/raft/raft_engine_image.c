/* What the engine hears of snapshots: at its start, when one has been taken, when one takes the
 * place of the log.
 *
 *   one is taken       image complete on disk -> the engine and the log here forget their beginning
 *   one is installed   engine and log here forget everything -> image_finish -> commit index and
 *                      configuration are those of the snapshot
 *
 * Between the two steps of an installation nothing is applied and nothing new is taken; the disk
 * still has the old log, which is what a crash goes back to. */
#include <stdlib.h>

#include "base_check.h"
#include "raft_accept.h"
#include "raft_engine_parts.h"

typedef unsigned long long ull_t;

/* Its configuration goes over to the engine with the metadata. */
static struct raft_snapshot_metadata metadata_of(const lm_raft_image_t *image)
{
    struct raft_snapshot_metadata metadata = {
        .index = image->index,
        .term = image->term,
        .configuration_index = image->configuration_index,
    };
    struct raft_buffer bytes = {.base = (void *)(uintptr_t)image->configuration,
                                .len = image->configuration_size};
    int rv = raft_configuration_decode(&bytes, &metadata.configuration);
    LM_CHECK(rv == 0, "the configuration of snapshot %llu: %s", (ull_t)image->index,
             raft_strerror(rv));
    return metadata;
}

/* ---- starting -------------------------------------------------------------------------------- */

/* What entries before a snapshot may take of memory: far less than the whole log may, for nothing
 * makes room for new entries if they fill it. */
static uint64_t trailing_bytes_max(const lm_raft_engine_t *e)
{
    uint64_t share = e->options.log_bytes_max / 4;
    return share < LM_RAFT_TRAILING_BYTES ? share : LM_RAFT_TRAILING_BYTES;
}

/* How many of the loaded entries are not worth their memory. */
static size_t superfluous(const lm_raft_engine_t *e, const lm_raft_done_t *loaded)
{
    uint64_t index = loaded->image.index, bytes = 0;
    size_t before = index < loaded->first_index ? 0 : (size_t)(index - loaded->first_index + 1);
    size_t kept = 0;
    LM_CHECK(before <= loaded->n_entries, "%zu loaded entries end before snapshot %llu",
             loaded->n_entries, (ull_t)index);
    while (kept < before && kept < e->options.trailing_entries) {
        bytes += loaded->entries[before - kept - 1].data.size + sizeof(lm_raft_record_t);
        if (bytes > trailing_bytes_max(e) && kept > 0) break;
        kept++;
    }
    return before - kept;
}

struct raft_entry *lm_raft_engine_load(lm_raft_engine_t *e, const lm_raft_done_t *loaded,
                                       struct raft_event *event,
                                       struct raft_snapshot_metadata *metadata)
{
    const lm_raft_image_t *image = &loaded->image;
    size_t skip = superfluous(e, loaded), n = loaded->n_entries - skip;
    uint64_t first = loaded->first_index + skip, term_before = 0;
    struct raft_entry *entries = lm_alloc((n + 1) * sizeof *entries);
    LM_CHECK(first >= 1 && first <= image->index + 1, "a log from %llu on behind snapshot %llu",
             (ull_t)first, (ull_t)image->index);
    if (skip > 0)
        term_before = loaded->entries[skip - 1].term;
    else if (first == image->index + 1)
        term_before = image->term;
    lm_raft_log_begin(e->log, first - 1, term_before);
    for (size_t i = 0; i < n; i++) {
        const lm_raft_entry_t *entry = &loaded->entries[skip + i];
        lm_raft_log_append(e->log, entry->term, entry->type, entry->data, entry->buffer);
        entries[i] = (struct raft_entry){
            .term = entry->term,
            .type = (enum raft_entry_type)entry->type,
            .buf = {.base = (void *)(uintptr_t)entry->data.data, .len = entry->data.size},
        };
    }
    event->start.start_index = first;
    event->start.entries = entries;
    event->start.n_entries = (unsigned)n;
    if (image->index == 0) return entries;
    e->image = *image;
    e->applied = image->index;
    *metadata = metadata_of(image);
    event->start.metadata = metadata;
    return entries;
}

/* ---- one of this node's own log -------------------------------------------------------------- */

bool lm_raft_engine_mark(const lm_raft_engine_t *e, uint64_t index, lm_raft_image_t *image)
{
    struct raft_buffer bytes;
    uint64_t term = lm_raft_log_term(e->log, index);
    if (e->holding || e->installing || term == 0 || index > e->commit ||
        index > e->raft.last_stored || index <= e->image.index ||
        e->raft.configuration_committed_index > index)
        return false;
    *image = (lm_raft_image_t){.index = index, .term = term};
    image->configuration_index = e->raft.configuration_committed_index;
    int rv = raft_configuration_encode(&e->raft.configuration_committed, &bytes);
    LM_CHECK(rv == 0 && bytes.len <= sizeof image->configuration, "a configuration of %zu bytes",
             rv == 0 ? bytes.len : 0);
    memcpy(image->configuration, bytes.base, bytes.len);
    image->configuration_size = (uint32_t)bytes.len;
    raft_free(bytes.base);
    return true;
}

uint32_t lm_raft_engine_trailing(const lm_raft_engine_t *e, uint64_t index)
{
    uint64_t first = lm_raft_log_first_index(e->log), kept = 1;
    while (kept < e->options.trailing_entries && index - kept >= first &&
           lm_raft_log_bytes(e->log, index - kept, index) + kept * sizeof(lm_raft_record_t) <=
               trailing_bytes_max(e))
        kept++;
    return (uint32_t)kept;
}

bool lm_raft_engine_reaches(const lm_raft_engine_t *e, uint64_t index, uint64_t term)
{
    return index <= e->commit || lm_raft_log_term(e->log, index) == term;
}

void lm_raft_engine_handle_snapshot(lm_raft_engine_t *e, const lm_raft_image_t *image,
                                    uint64_t trailing, uint64_t now_us)
{
    struct raft_event event = {.type = RAFT_SNAPSHOT};
    LM_CHECK(image->index > e->image.index && image->index <= e->commit &&
                 image->index <= e->raft.last_stored,
             "snapshot %llu after %llu, commit index %llu, stored %llu", (ull_t)image->index,
             (ull_t)e->image.index, (ull_t)e->commit, (ull_t)e->raft.last_stored);
    LM_CHECK(lm_raft_log_term(e->log, image->index) == image->term && trailing > 0,
             "snapshot of term %llu, but entry %llu is of another", (ull_t)image->term,
             (ull_t)image->index);
    e->image = *image;
    event.snapshot.metadata = metadata_of(image);
    event.snapshot.trailing = (unsigned)trailing;
    /* The engine keeps everything if it has not more than that. */
    if (image->index > trailing && image->index - trailing >= lm_raft_log_first_index(e->log))
        lm_raft_log_trim(e->log, image->index - trailing);
    int rv = lm_raft_engine_step(e, &event, now_us);
    if (rv != 0) lm_raft_engine_set_fault(e, "a snapshot", rv);
}

static void put_image(lm_raft_engine_t *e, lm_raft_event_kind_t kind, const lm_raft_image_t *image,
                      uint64_t number, uint64_t now_us)
{
    lm_raft_event_t *event = lm_alloc(sizeof *event);
    event->kind = kind;
    event->number = number;
    if (image) {
        event->image = lm_alloc(sizeof *image);
        *event->image = *image;
    }
    lm_raft_engine_put(e, event);
    lm_raft_engine_drive(e, now_us);
}

void lm_raft_engine_snapshot(lm_raft_engine_t *e, const lm_raft_image_t *image, uint32_t trailing,
                             uint64_t now_us)
{
    put_image(e, LM_RAFT_EVENT_SNAPSHOT, image, trailing, now_us);
}

/* ---- one in the place of the log ------------------------------------------------------------- */

const char *lm_raft_engine_objection(const lm_raft_engine_t *e, const lm_raft_image_t *image)
{
    struct raft_snapshot_metadata metadata = metadata_of(image);
    struct raft_message message = {
        .type = RAFT_INSTALL_SNAPSHOT,
        .install_snapshot = {.term = raft_current_term(&e->raft),
                             .last_index = metadata.index,
                             .last_term = metadata.term,
                             .conf = metadata.configuration},
    };
    const char *wrong = lm_raft_accept(&e->raft, e->log, e->commit, &message);
    raft_configuration_close(&metadata.configuration);
    return wrong;
}

/* The leader is told of it as if it had just sent it, whoever did: what a snapshot contains is
 * committed, so every later leader has it too. */
bool lm_raft_engine_install(lm_raft_engine_t *e, const lm_raft_image_t *image, uint64_t now_us)
{
    raft_id leader;
    const char *address;
    raft_leader(&e->raft, &leader, &address);
    if (e->holding || !e->started || e->installing || e->first ||
        raft_state(&e->raft) != RAFT_FOLLOWER || leader == 0 || !address)
        return false;
    LM_CHECK(image->index > e->commit && image->index > e->image.index &&
                 !lm_raft_engine_reaches(e, image->index, image->term),
             "snapshot %llu^%llu is here already", (ull_t)image->index, (ull_t)image->term);
    struct raft_snapshot_metadata metadata = metadata_of(image);
    struct raft_message message = {
        .type = RAFT_INSTALL_SNAPSHOT,
        .server_id = leader,
        .server_address = address,
        .install_snapshot = {.term = raft_current_term(&e->raft),
                             .last_index = image->index,
                             .last_term = image->term,
                             .conf = metadata.configuration,
                             .conf_index = image->configuration_index},
    };
    struct raft_event event = {.type = RAFT_RECEIVE};
    event.receive.message = &message;
    e->install = *image;
    int rv = lm_raft_engine_step(e, &event, now_us);
    if (rv != 0) lm_raft_engine_set_fault(e, "an installation", rv);
    LM_CHECK(rv != 0 || e->installing, "snapshot %llu was not taken", (ull_t)image->index);
    return rv == 0;
}

void lm_raft_engine_drop_log(lm_raft_engine_t *e, struct raft_update *update)
{
    struct raft_snapshot_metadata *metadata = &update->snapshot.metadata;
    LM_CHECK(
        !e->installing && metadata->index == e->install.index && metadata->term == e->install.term,
        "snapshot %llu^%llu is to be installed, which nobody has", (ull_t)metadata->index,
        (ull_t)metadata->term);
    raft_configuration_close(&metadata->configuration);
    lm_raft_log_begin(e->log, metadata->index, metadata->term);
    e->installing = true;
}

void lm_raft_engine_handle_installed(lm_raft_engine_t *e, uint64_t now_us)
{
    struct raft_event event = {.type = RAFT_PERSISTED_SNAPSHOT};
    LM_CHECK(e->installing && raft_state(&e->raft) == RAFT_FOLLOWER,
             "a snapshot is installed that nobody asked for");
    event.persisted_snapshot.metadata = metadata_of(&e->install);
    event.persisted_snapshot.last = true;
    e->installing = false;
    e->image = e->install;
    e->applied = e->image.index;
    int rv = lm_raft_engine_step(e, &event, now_us);
    if (rv != 0) lm_raft_engine_set_fault(e, "an installed snapshot", rv);
}

void lm_raft_engine_installed(lm_raft_engine_t *e, uint64_t now_us)
{
    put_image(e, LM_RAFT_EVENT_INSTALLED, NULL, 0, now_us);
}

bool lm_raft_engine_is_installing(const lm_raft_engine_t *e) { return e->installing; }
const lm_raft_image_t *lm_raft_engine_image(const lm_raft_engine_t *e) { return &e->image; }
