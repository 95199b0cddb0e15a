/* The watermark of the real disk: raised in the page cache before each report of an append, and
 * pushed to the disk from the pool at most ten times a second; lowered, and anything about votes,
 * at once and durably. */
#include "base_check.h"
#include "base_log.h"
#include "raft_uv_state.h"

#define SYNC_US UINT64_C(100000)

static lm_raft_mark_t mark_at(const lm_raft_uv_t *d, uint64_t last)
{
    const lm_raft_uv_mark_t *m = &d->mark;
    lm_raft_mark_t mark = lm_raft_watermark_of(&m->chain, last, m->lost_index, m->ends,
                                               sizeof m->ends / sizeof *m->ends);
    mark.term = m->term;
    mark.vote = m->vote;
    return mark;
}

/* ---- being pushed to the disk ---------------------------------------------------------------- */

static void sync_soon(lm_raft_uv_t *d);

static void work_sync(lm_raft_uv_work_t *work)
{
    lm_raft_uv_mark_t *m = &work->disk->mark;
    lm_raft_watermark_sync(&m->file, &m->fault);
}

static void on_synced(lm_raft_uv_work_t *work)
{
    lm_raft_uv_t *d = work->disk;
    d->mark.is_syncing = false;
    d->mark.synced_us = lm_raft_uv_disk_now();
    if (d->failed || d->closing) return;
    if (d->mark.fault.code)
        lm_raft_uv_disk_fail(d, &d->mark.fault);
    else if (d->mark.is_dirty)
        sync_soon(d);
}

static void start_sync(lm_raft_uv_t *d)
{
    d->mark.is_dirty = false;
    d->mark.is_syncing = true;
    lm_raft_uv_disk_work(d, &d->mark.work, work_sync, on_synced);
}

static void on_timer(uv_timer_t *timer)
{
    lm_raft_uv_t *d = timer->data;
    if (!d->failed && !d->closing && d->mark.is_dirty && !d->mark.is_syncing) start_sync(d);
}

static void sync_soon(lm_raft_uv_t *d)
{
    lm_raft_uv_mark_t *m = &d->mark;
    m->is_dirty = true;
    if (m->is_syncing || uv_is_active((uv_handle_t *)&m->timer)) return;
    uint64_t since = lm_raft_uv_disk_now() - m->synced_us;
    if (since >= SYNC_US)
        start_sync(d);
    else
        uv_timer_start(&m->timer, on_timer, (SYNC_US - since) / 1000 + 1, 0);
}

static bool write_soon(lm_raft_uv_t *d, lm_raft_fault_t *fault)
{
    lm_raft_mark_t mark = mark_at(d, d->mark.written);
    if (!lm_raft_watermark_write(&d->mark.file, &mark, fault)) return false;
    sync_soon(d);
    return true;
}

static bool settle(lm_raft_uv_t *d, uint64_t last, lm_raft_fault_t *fault)
{
    lm_raft_mark_t mark = mark_at(d, last);
    return lm_raft_watermark_settle(&d->mark.file, &mark, fault);
}

/* ---- what happens to the log ----------------------------------------------------------------- */

void lm_raft_uv_mark_add(lm_raft_uv_t *d, const struct raft_entry *entries, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        lm_raft_chain_add(&d->mark.chain, entries[i].term, entries[i].type,
                          lm_bytes(entries[i].buf.base, entries[i].buf.len));
}

bool lm_raft_uv_mark_raise(lm_raft_uv_t *d, uint64_t last, lm_raft_fault_t *fault)
{
    lm_raft_uv_mark_t *m = &d->mark;
    memmove(m->ends + 1, m->ends, sizeof m->ends - sizeof *m->ends);
    m->ends[0] = m->written = last;
    return write_soon(d, fault);
}

bool lm_raft_uv_mark_cut(lm_raft_uv_t *d, uint64_t index, lm_raft_fault_t *fault)
{
    lm_raft_uv_mark_t *m = &d->mark;
    lm_raft_chain_cut(&m->chain, index);
    if (m->written < index) return true;
    m->written = index - 1;
    return settle(d, m->written, fault);
}

bool lm_raft_uv_mark_trim(lm_raft_uv_t *d, uint64_t index, lm_raft_fault_t *fault)
{
    lm_raft_chain_trim(&d->mark.chain, index);
    return write_soon(d, fault);
}

bool lm_raft_uv_mark_lower(lm_raft_uv_t *d, uint64_t index, lm_raft_fault_t *fault)
{
    return index >= d->mark.written || settle(d, index, fault);
}

bool lm_raft_uv_mark_install(lm_raft_uv_t *d, uint64_t index, uint64_t term, lm_raft_fault_t *fault)
{
    lm_raft_uv_mark_t *m = &d->mark;
    lm_raft_chain_reset(&m->chain, index, term, 0);
    memset(m->ends, 0, sizeof m->ends);
    m->written = index;
    return settle(d, index, fault);
}

bool lm_raft_uv_mark_vote(lm_raft_uv_t *d, uint64_t term, uint64_t vote, lm_raft_fault_t *fault)
{
    lm_raft_uv_mark_t *m = &d->mark;
    m->term = term;
    m->vote = vote;
    lm_raft_mark_t mark = mark_at(d, m->written);
    return lm_raft_watermark_write(&m->file, &mark, fault) &&
           lm_raft_watermark_sync(&m->file, fault);
}

bool lm_raft_uv_mark_forget(lm_raft_uv_t *d, lm_raft_uv_command_t *command)
{
    lm_raft_fault_t fault = {0};
    (void)command;
    d->mark.lost_index = 0;
    if (!write_soon(d, &fault)) lm_raft_uv_disk_fail(d, &fault);
    return true;
}

/* ---- life ------------------------------------------------------------------------------------ */

void lm_raft_uv_mark_init(lm_raft_uv_t *d)
{
    d->mark.file.fd = -1;
    uv_timer_init(&d->loop, &d->mark.timer);
    d->mark.timer.data = d;
}

void lm_raft_uv_mark_close(lm_raft_uv_t *d)
{
    lm_raft_watermark_close(&d->mark.file);
    lm_raft_chain_free(&d->mark.chain);
}

/* The chain of what was loaded, from the mark's base on if that is in it. */
static void take_chain(lm_raft_uv_t *d, const lm_raft_done_t *loaded, const lm_raft_mark_t *mark)
{
    lm_raft_chain_t *chain = &d->mark.chain;
    uint64_t first = loaded->first_index, last = first + loaded->n_entries - 1, base = first - 1;
    bool inside = mark->base.index >= base && mark->base.index <= last;
    if (inside) base = mark->base.index;
    uint64_t term = base == loaded->image.index ? loaded->image.term : 0;
    if (base >= first) term = loaded->entries[base - first].term;
    lm_raft_chain_reset(chain, base, term, inside ? mark->base.sum : 0);
    for (uint64_t index = base + 1; index <= last; index++) {
        const lm_raft_entry_t *entry = &loaded->entries[index - first];
        lm_raft_chain_add(chain, entry->term, entry->type, entry->data);
    }
}

/* What the library has read must be what was scanned, or it read other files than we think. */
static bool is_as_scanned(const lm_raft_uv_t *d, lm_raft_fault_t *fault)
{
    lm_raft_link_t link;
    uint64_t last = lm_raft_chain_last(&d->mark.chain);
    lm_raft_chain_at(&d->mark.chain, last, &link);
    if (last == d->scan.last_index && link.sum == d->scan.last_sum) return true;
    return lm_raft_fault_set(fault, LM_EXIT_DAMAGED,
                             "%s: the log ends at entry %llu, but at %llu when it was scanned",
                             lm_raft_datadir_path(d->dir), (unsigned long long)last,
                             (unsigned long long)d->scan.last_index);
}

bool lm_raft_uv_mark_start(lm_raft_uv_t *d, const lm_raft_done_t *loaded, bool make,
                           lm_raft_fault_t *fault)
{
    lm_raft_uv_mark_t *m = &d->mark;
    lm_raft_folder_t folder = lm_raft_datadir_folder(d->dir);
    lm_raft_mark_t mark = d->scan.mark;
    take_chain(d, loaded, &mark);
    m->written = lm_raft_chain_last(&m->chain);
    m->lost_index = d->scan.lost_index;
    m->term = loaded->term;
    m->vote = loaded->voted_for;
    if (make) {
        mark = mark_at(d, m->written);
        return lm_raft_watermark_make(&m->file, folder, &mark, fault);
    }
    return is_as_scanned(d, fault) && lm_raft_watermark_open(&m->file, folder, &mark, fault) &&
           settle(d, m->written, fault);
}
