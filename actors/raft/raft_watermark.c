/* A slot: 8 bytes of magic, then in 64 bits each: layout, sequence number, last index, term and
 * sum, base index and sum, lost index, term, vote, number of recent sums; the recent sums as index
 * and sum; in the last 4 of its 512 bytes the checksum of all before them. */
#include "raft_watermark.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base_check.h"
#include "crc.h"
#include "raft_fields.h"

#define LAYOUT 1
#define SLOT_BYTES 512
#define SLOT_DISTANCE 4096
#define RECENT_AT 96

static const char magic[8] = "LMWATERM";

static bool system_fault(lm_raft_folder_t folder, lm_raft_fault_t *fault)
{
    return lm_raft_fault_set(fault, LM_EXIT_SYSTEM, "%s/" LM_RAFT_WATERMARK_FILE ": %s",
                             folder.path, strerror(errno));
}

/* ---- slots ----------------------------------------------------------------------------------- */

static void put_slot(uint8_t bytes[SLOT_BYTES], const lm_raft_mark_t *mark, uint64_t sequence)
{
    const uint64_t values[] = {
        LAYOUT,         sequence,         mark->last_index, mark->last_term,
        mark->last_sum, mark->base.index, mark->base.sum,   mark->lost_index,
        mark->term,     mark->vote,       mark->n_recent,
    };
    memset(bytes, 0, SLOT_BYTES);
    memcpy(bytes, magic, 8);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        lm_raft_fields_put(bytes + 8 + 8 * i, values[i], 8);
    for (uint32_t i = 0; i < mark->n_recent; i++) {
        lm_raft_fields_put(bytes + RECENT_AT + 12 * i, mark->recent[i].index, 8);
        lm_raft_fields_put(bytes + RECENT_AT + 12 * i + 8, mark->recent[i].sum, 4);
    }
    lm_raft_fields_put(bytes + SLOT_BYTES - 4, lm_crc32c(0, lm_bytes(bytes, SLOT_BYTES - 4)), 4);
}

/* Returns the sequence number; 0 if the slot is not good. */
static uint64_t take_slot(const uint8_t bytes[SLOT_BYTES], lm_raft_mark_t *mark)
{
    uint64_t value[11];
    if (memcmp(bytes, magic, 8) != 0 || lm_raft_fields_get(bytes + SLOT_BYTES - 4, 4) !=
                                            lm_crc32c(0, lm_bytes(bytes, SLOT_BYTES - 4)))
        return 0;
    for (size_t i = 0; i < 11; i++) value[i] = lm_raft_fields_get(bytes + 8 + 8 * i, 8);
    if (value[0] != LAYOUT || value[1] == UINT64_MAX || value[10] > LM_RAFT_WATERMARK_RECENT)
        return 0;
    *mark = (lm_raft_mark_t){
        .last_index = value[2],
        .last_term = value[3],
        .last_sum = (uint32_t)value[4],
        .base = {.index = value[5], .sum = (uint32_t)value[6]},
        .lost_index = value[7],
        .term = value[8],
        .vote = value[9],
        .n_recent = (uint32_t)value[10],
    };
    for (uint32_t i = 0; i < mark->n_recent; i++) {
        mark->recent[i].index = lm_raft_fields_get(bytes + RECENT_AT + 12 * i, 8);
        mark->recent[i].sum = (uint32_t)lm_raft_fields_get(bytes + RECENT_AT + 12 * i + 8, 4);
    }
    return value[1];
}

/* ---- the file -------------------------------------------------------------------------------- */

bool lm_raft_watermark_write(lm_raft_watermark_t *w, const lm_raft_mark_t *mark,
                             lm_raft_fault_t *fault)
{
    uint8_t bytes[SLOT_BYTES];
    uint64_t sequence = w->sequence + 1;
    put_slot(bytes, mark, sequence);
    if (pwrite(w->fd, bytes, sizeof bytes, (off_t)(sequence % 2 * SLOT_DISTANCE)) != sizeof bytes)
        return system_fault(w->folder, fault);
    w->sequence = sequence;
    return true;
}

bool lm_raft_watermark_sync(const lm_raft_watermark_t *w, lm_raft_fault_t *fault)
{
    return fdatasync(w->fd) == 0 || system_fault(w->folder, fault);
}

bool lm_raft_watermark_settle(lm_raft_watermark_t *w, const lm_raft_mark_t *mark,
                              lm_raft_fault_t *fault)
{
    return lm_raft_watermark_write(w, mark, fault) && lm_raft_watermark_sync(w, fault) &&
           lm_raft_watermark_write(w, mark, fault) && lm_raft_watermark_sync(w, fault);
}

bool lm_raft_watermark_make(lm_raft_watermark_t *w, lm_raft_folder_t folder,
                            const lm_raft_mark_t *mark, lm_raft_fault_t *fault)
{
    *w = (lm_raft_watermark_t){.folder = folder};
    w->fd = openat(folder.fd, LM_RAFT_WATERMARK_FILE, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (w->fd < 0 || ftruncate(w->fd, 2 * SLOT_DISTANCE) != 0) return system_fault(folder, fault);
    if (!lm_raft_watermark_settle(w, mark, fault)) return false;
    return (fsync(w->fd) == 0 && fsync(folder.fd) == 0) || system_fault(folder, fault);
}

bool lm_raft_watermark_open(lm_raft_watermark_t *w, lm_raft_folder_t folder, lm_raft_mark_t *mark,
                            lm_raft_fault_t *fault)
{
    *w = (lm_raft_watermark_t){.folder = folder};
    w->fd = openat(folder.fd, LM_RAFT_WATERMARK_FILE, O_RDWR | O_CLOEXEC);
    if (w->fd < 0 && errno != ENOENT) return system_fault(folder, fault);
    if (w->fd < 0)
        return lm_raft_fault_set(fault, LM_EXIT_DAMAGED, "%s/" LM_RAFT_WATERMARK_FILE " is missing",
                                 folder.path);
    for (int slot = 0; slot < 2; slot++) {
        uint8_t bytes[SLOT_BYTES];
        lm_raft_mark_t found;
        ssize_t got = pread(w->fd, bytes, sizeof bytes, slot * SLOT_DISTANCE);
        if (got < 0) return system_fault(folder, fault);
        uint64_t sequence = got == sizeof bytes ? take_slot(bytes, &found) : 0;
        if (sequence <= w->sequence || sequence % 2 != (unsigned)slot) continue;
        w->sequence = sequence;
        *mark = found;
    }
    if (w->sequence) return true;
    return lm_raft_fault_set(fault, LM_EXIT_DAMAGED,
                             "%s/" LM_RAFT_WATERMARK_FILE " is damaged: neither slot is good",
                             folder.path);
}

void lm_raft_watermark_close(lm_raft_watermark_t *w)
{
    if (w->fd >= 0) close(w->fd);
    w->fd = -1;
}

/* ---- marks and logs -------------------------------------------------------------------------- */

lm_raft_mark_t lm_raft_watermark_of(const lm_raft_chain_t *chain, uint64_t last,
                                    uint64_t lost_index, const uint64_t *ends, size_t n_ends)
{
    lm_raft_link_t link;
    LM_CHECK(lm_raft_chain_at(chain, last, &link), "no entry %llu", (unsigned long long)last);
    lm_raft_mark_t mark = {
        .last_index = last,
        .last_term = link.term,
        .last_sum = link.sum,
        .base = {.index = chain->base, .sum = chain->at_base.sum},
        .lost_index = lost_index,
    };
    for (size_t i = 0; i < n_ends && mark.n_recent < LM_RAFT_WATERMARK_RECENT; i++)
        if (ends[i] && ends[i] < last && lm_raft_chain_at(chain, ends[i], &link))
            mark.recent[mark.n_recent++] = (lm_raft_sum_t){.index = ends[i], .sum = link.sum};
    return mark;
}

/* Returns false if the chain has another sum there. */
static bool compare_at(const lm_raft_chain_t *chain, uint64_t index, uint32_t sum, uint64_t *best)
{
    lm_raft_link_t link;
    if (!lm_raft_chain_at(chain, index, &link)) return true;
    if (index > *best) *best = index;
    return link.sum == sum;
}

lm_raft_mark_state_t lm_raft_watermark_compare(const lm_raft_mark_t *mark,
                                               const lm_raft_chain_t *chain, bool named)
{
    uint64_t last = lm_raft_chain_last(chain), best = 0;
    if (chain->base == mark->base.index) {
        best = chain->base;
        bool same = compare_at(chain, mark->last_index, mark->last_sum, &best);
        for (uint32_t i = 0; i < mark->n_recent; i++)
            same = compare_at(chain, mark->recent[i].index, mark->recent[i].sum, &best) && same;
        if (!same) return LM_RAFT_MARK_WRONG;
    }
    if (last >= mark->last_index) return LM_RAFT_MARK_GOOD;
    return best == last || named ? LM_RAFT_MARK_LOST : LM_RAFT_MARK_WRONG;
}
