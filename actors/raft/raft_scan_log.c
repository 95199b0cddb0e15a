/* The files of the log, in the order in which the engine's disk code would read them: those whose
 * names tell their entries, then the open ones, which tell nothing but their order. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base_log.h"
#include "raft_scan_state.h"
#include "raft_segment.h"

typedef unsigned long long ull_t;

static void open_name(uint64_t counter, char name[LM_RAFT_SCAN_NAME])
{
    snprintf(name, LM_RAFT_SCAN_NAME, "open-%llu", (ull_t)counter);
}

static bool remove_closed(lm_raft_scan_state_t *s, size_t at, const char *why)
{
    if (!lm_raft_scan_remove(s, s->closed[at].name, why)) return false;
    memmove(&s->closed[at], &s->closed[at + 1], (s->n_closed - at - 1) * sizeof *s->closed);
    s->n_closed--;
    return lm_raft_scan_sync(s);
}

static bool remove_all_closed(lm_raft_scan_state_t *s, const char *why)
{
    while (s->n_closed)
        if (!remove_closed(s, s->n_closed - 1, why)) return false;
    return true;
}

/* Sets *unused if no open segment has been written to. */
static bool are_open_unused(lm_raft_scan_state_t *s, bool *unused)
{
    *unused = true;
    for (size_t i = 0; *unused && i < s->open.n; i++) {
        char name[LM_RAFT_SCAN_NAME];
        uint8_t *bytes;
        size_t size;
        open_name(s->open.at[i], name);
        bool good = lm_raft_scan_read(s, name, &bytes, &size);
        *unused = good && lm_raft_segment_is_zero(lm_bytes(bytes, size), 0);
        free(bytes);
        if (!good) return false;
    }
    return true;
}

/* ---- what was not completed ------------------------------------------------------------------ */

static bool drop_note(lm_raft_scan_state_t *s, const char *name)
{
    if (unlinkat(s->folder.fd, name, 0) != 0) return lm_raft_scan_unreadable(s, name);
    return lm_raft_scan_sync(s);
}

/* Once the snapshot is there, nothing of the log before it may stay. */
static bool repair_installation(lm_raft_scan_state_t *s)
{
    const lm_raft_image_t *image = &s->result->image;
    for (size_t i = 0; i < s->installations.n; i++) {
        const lm_raft_place_t *note = &s->installations.at[i];
        char name[LM_RAFT_SCAN_NAME];
        bool unused;
        if (note->term == image->term && note->index == image->index) {
            if (!are_open_unused(s, &unused)) return false;
            if (!unused)
                return lm_raft_scan_damaged(
                    s, LM_RAFT_INSTALLATION_PREFIX "%llu-%llu is there, and more was written",
                    (ull_t)note->term, (ull_t)note->index);
            if (!remove_all_closed(s, "an installation that was not completed")) return false;
        }
        snprintf(name, sizeof name, LM_RAFT_INSTALLATION_PREFIX "%llu-%llu", (ull_t)note->term,
                 (ull_t)note->index);
        if (!drop_note(s, name)) return false;
    }
    return true;
}

/* True if the entries of the shorter file are the first ones of the longer. */
static bool begins_like(lm_bytes_t longer, lm_bytes_t shorter, uint64_t count)
{
    lm_raft_segment_cursor_t a = {0}, b = {0};
    lm_raft_segment_entry_t x, y;
    for (uint64_t i = 0; i < count; i++) {
        if (!lm_raft_segment_next(longer, &a, &x) || !lm_raft_segment_next(shorter, &b, &y))
            return false;
        if (x.term != y.term || x.type != y.type || !lm_bytes_equal(x.data, y.data)) return false;
    }
    return true;
}

static bool are_alike(lm_raft_scan_state_t *s, const lm_raft_closed_t *shorter,
                      const lm_raft_closed_t *longer, bool *alike)
{
    uint8_t *a = NULL, *b = NULL;
    size_t a_size, b_size;
    bool good = lm_raft_scan_read(s, shorter->name, &a, &a_size) &&
                lm_raft_scan_read(s, longer->name, &b, &b_size);
    if (good)
        *alike = begins_like(lm_bytes(b, b_size), lm_bytes(a, a_size),
                             shorter->end - shorter->first + 1);
    free(a);
    free(b);
    return good;
}

/* A truncation makes the shortened segment durable before it removes the whole one. A crash between
 * leaves both; the whole one is the truth as long as nothing was written behind the shortened. */
static bool repair_twins(lm_raft_scan_state_t *s)
{
    for (size_t i = 0; i + 1 < s->n_closed;) {
        const lm_raft_closed_t *a = &s->closed[i], *b = &s->closed[i + 1];
        bool alike, unused;
        if (a->first != b->first) {
            i++;
            continue;
        }
        if (!are_alike(s, a, b, &alike) || !are_open_unused(s, &unused)) return false;
        if (!alike)
            return lm_raft_scan_damaged(s, "%s and %s begin at the same entry and differ", a->name,
                                        b->name);
        if (!unused)
            return lm_raft_scan_damaged(
                s, "%s and %s begin at the same entry, and more was written", a->name, b->name);
        if (!remove_closed(s, i, "a truncation that was not completed")) return false;
    }
    return true;
}

/* A truncation over several segments removes them from the front: a crash between leaves the later
 * ones behind a gap. The note says that they were to go. */
static bool repair_gap(lm_raft_scan_state_t *s, size_t from, uint64_t expected)
{
    bool unused, noted = false;
    char before[LM_RAFT_SCAN_NAME] = "the beginning of the log";
    if (from > 0)
        snprintf(before, sizeof before, "%s", s->closed[from - 1].name);
    else if (expected > 1)
        snprintf(before, sizeof before, "snapshot-%llu-%llu-*", (ull_t)s->result->image.term,
                 (ull_t)expected - 1);
    for (size_t i = 0; i < s->truncations.n; i++) noted |= s->truncations.at[i] == expected;
    if (!are_open_unused(s, &unused)) return false;
    if (!noted || s->closed[from].first < expected || !unused)
        return lm_raft_scan_damaged(s, "%s does not follow %s: a segment is missing",
                                    s->closed[from].name, before);
    while (s->n_closed > from)
        if (!remove_closed(s, s->n_closed - 1, "a truncation that was not completed")) return false;
    return true;
}

static bool repair_gaps(lm_raft_scan_state_t *s)
{
    /* The log begins at its beginning, or anywhere before the end of the snapshot. */
    uint64_t expected = s->result->image.index + 1;
    for (size_t i = 0; i < s->n_closed; i++) {
        uint64_t first = s->closed[i].first;
        bool follows = i == 0 ? first <= expected : first == expected;
        if (!follows && !repair_gap(s, i, expected)) return false;
        if (i < s->n_closed) expected = s->closed[i].end + 1;
    }
    return true;
}

bool lm_raft_scan_repair_log(lm_raft_scan_state_t *s)
{
    if (!repair_installation(s) || !repair_twins(s) || !repair_gaps(s)) return false;
    for (size_t i = 0; i < s->truncations.n; i++) {
        char name[LM_RAFT_SCAN_NAME];
        snprintf(name, sizeof name, LM_RAFT_TRUNCATION_PREFIX "%llu", (ull_t)s->truncations.at[i]);
        if (!drop_note(s, name)) return false;
    }
    return true;
}

/* ---- reading it through ---------------------------------------------------------------------- */

typedef struct {
    lm_raft_scan_state_t *s;
    lm_raft_chain_t chain;
    uint64_t next; /* index of the next entry */
    uint64_t term; /* of the one before */
    bool any_open;
} walk_t;

static bool take_entry(walk_t *w, const lm_raft_segment_entry_t *entry, const char *name)
{
    const lm_raft_image_t *image = &w->s->result->image;
    uint64_t index = w->next++;
    if (entry->term < w->term)
        return lm_raft_scan_damaged(
            w->s, "%s, or a segment before it, is damaged: terms go back at entry %llu", name,
            (ull_t)index);
    if (index == image->index && entry->term != image->term)
        return lm_raft_scan_damaged(
            w->s, "%s and snapshot-%llu-%llu-* contradict each other at entry %llu", name,
            (ull_t)image->term, (ull_t)image->index, (ull_t)index);
    w->term = entry->term;
    if (index > w->chain.base)
        lm_raft_chain_add(&w->chain, entry->term, entry->type, entry->data);
    else if (index == w->chain.base)
        w->chain.at_base.term = entry->term;
    return true;
}

/* Takes the good batches. Returns the place of the first that is not. */
static bool take_batches(walk_t *w, const char *name, lm_bytes_t file, lm_raft_batch_t *end)
{
    lm_raft_segment_cursor_t cursor = {0};
    lm_raft_segment_entry_t entry;
    while (lm_raft_segment_next(file, &cursor, &entry))
        if (!take_entry(w, &entry, name)) return false;
    *end = lm_raft_segment_batch(file, cursor.batch.next);
    return true;
}

static bool walk_closed(walk_t *w, const lm_raft_closed_t *closed)
{
    uint8_t *bytes;
    size_t size;
    lm_raft_batch_t end;
    if (!lm_raft_scan_read(w->s, closed->name, &bytes, &size)) return false;
    lm_bytes_t file = lm_bytes(bytes, size);
    bool good = lm_raft_segment_has_format(file) ||
                lm_raft_scan_damaged(w->s, "%s is not a segment", closed->name);
    good = good && take_batches(w, closed->name, file, &end);
    if (good && end.offset != size)
        good = lm_raft_scan_damaged(w->s, "%s is damaged at byte %zu", closed->name, end.offset);
    if (good && w->next != closed->end + 1)
        good = lm_raft_scan_damaged(w->s, "%s is damaged: it has entries up to %llu", closed->name,
                                    (ull_t)w->next - 1);
    free(bytes);
    return good;
}

static bool check_end_of_open(walk_t *w, const char *name, lm_bytes_t file,
                              const lm_raft_batch_t *end)
{
    if (end->state == LM_RAFT_BATCH_END) return true;
    if (end->state == LM_RAFT_BATCH_CUT)
        return lm_raft_scan_damaged(w->s, "%s ends inside the batch that begins at byte %zu", name,
                                    end->offset);
    size_t good = lm_raft_segment_good_after(file, end->offset);
    if (good)
        return lm_raft_scan_damaged(w->s,
                                    "%s has a damaged batch at byte %zu before a good one at byte "
                                    "%zu",
                                    name, end->offset, good);
    lm_warn("%s/%s: the write at byte %zu was never completed and is left out", w->s->folder.path,
            name, end->offset);
    return true;
}

static bool walk_open(walk_t *w, uint64_t counter)
{
    char name[LM_RAFT_SCAN_NAME];
    uint8_t *bytes;
    size_t size;
    lm_raft_batch_t end;
    uint64_t before = w->next;
    open_name(counter, name);
    if (!lm_raft_scan_read(w->s, name, &bytes, &size)) return false;
    lm_bytes_t file = lm_bytes(bytes, size);
    bool good = true;
    if (size > 0 && !lm_raft_segment_is_zero(file, 0)) {
        good = lm_raft_segment_has_format(file) ||
               lm_raft_scan_damaged(w->s, "%s is not a segment", name);
        good = good && take_batches(w, name, file, &end) && check_end_of_open(w, name, file, &end);
    } else if (size > 0 && size < LM_RAFT_SEGMENT_HEAD) {
        good = lm_raft_scan_damaged(w->s, "%s is too short for a segment", name);
    }
    if (w->next > before) w->any_open = true;
    free(bytes);
    return good;
}

static bool walk_all(walk_t *w)
{
    for (size_t i = 0; i < w->s->n_closed; i++)
        if (!walk_closed(w, &w->s->closed[i])) return false;
    for (size_t i = 0; i < w->s->open.n; i++)
        if (!walk_open(w, w->s->open.at[i])) return false;
    return true;
}

/* ---- the log, the snapshot and the watermark ------------------------------------------------- */

/* A log that ends before the snapshot is of no use; what is lost behind it the watermark tells. */
static bool give_up_log(walk_t *w)
{
    const lm_raft_image_t *image = &w->s->result->image;
    if (w->any_open)
        return lm_raft_scan_damaged(w->s,
                                    "open-%llu ends the log at entry %llu, before the snapshot at "
                                    "%llu: a segment is missing",
                                    (ull_t)w->s->open.at[w->s->open.n - 1], (ull_t)w->next - 1,
                                    (ull_t)image->index);
    if (!remove_all_closed(w->s, "the log ends before the snapshot")) return false;
    w->next = w->s->result->first_index = image->index + 1;
    w->term = image->term;
    lm_raft_chain_reset(&w->chain, image->index, image->term, 0);
    return true;
}

static bool compare(walk_t *w)
{
    lm_raft_scan_t *result = w->s->result;
    const lm_raft_mark_t *mark = &result->mark;
    uint64_t last = w->next - 1;
    /* The log ends before the base: nothing of it can be compared. */
    if (lm_raft_chain_last(&w->chain) != last) lm_raft_chain_reset(&w->chain, last, w->term, 0);
    lm_raft_mark_state_t state = lm_raft_watermark_compare(mark, &w->chain, !w->any_open);
    if (state == LM_RAFT_MARK_WRONG)
        return lm_raft_scan_damaged(
            w->s,
            LM_RAFT_WATERMARK_FILE
            " tells of another log, up to entry %llu: a segment (*-* or open-*) is missing, or is "
            "not the one that was there; the log that is there ends at entry %llu",
            (ull_t)mark->last_index, (ull_t)last);
    result->lost_index = mark->lost_index;
    if (state == LM_RAFT_MARK_LOST && mark->last_index > result->lost_index)
        result->lost_index = mark->last_index;
    result->last_index = last;
    lm_raft_link_t link;
    lm_raft_chain_at(&w->chain, last, &link);
    result->last_sum = link.sum;
    result->has_log = last > 0;
    return true;
}

/* What the watermark says of term and vote is written before the engine's files are: it may be
 * ahead by one write, never behind. */
static bool compare_votes(lm_raft_scan_state_t *s)
{
    const lm_raft_scan_t *result = s->result;
    const lm_raft_mark_t *mark = &result->mark;
    if (mark->term > result->term ||
        (mark->term == result->term && (result->voted_for == 0 || result->voted_for == mark->vote)))
        return true;
    return lm_raft_scan_damaged(s,
                                "metadata1 or metadata2 is damaged: term %llu with a vote for "
                                "%llu, but " LM_RAFT_WATERMARK_FILE " knows term %llu and %llu",
                                (ull_t)result->term, (ull_t)result->voted_for, (ull_t)mark->term,
                                (ull_t)mark->vote);
}

bool lm_raft_scan_log(lm_raft_scan_state_t *s)
{
    lm_raft_scan_t *result = s->result;
    const lm_raft_image_t *image = &result->image;
    lm_raft_watermark_t watermark = {.fd = -1};
    walk_t w = {.s = s};
    if (s->n_closed == 0 && s->snapshots.n == 0 && image->index == 0)
        return lm_raft_scan_damaged(
            s, "the log is missing, but " LM_RAFT_IDENTITY_FILE " says that this node has it");
    bool good = lm_raft_watermark_open(&watermark, s->folder, &result->mark, s->fault);
    lm_raft_watermark_close(&watermark);
    if (!good) return false;
    result->first_index = w.next = s->n_closed ? s->closed[0].first : image->index + 1;
    if (result->first_index == image->index + 1) w.term = image->term;
    uint64_t base = result->first_index - 1;
    if (result->mark.base.index > base) base = result->mark.base.index;
    lm_raft_chain_reset(&w.chain, base, w.term,
                        base == result->mark.base.index ? result->mark.base.sum : 0);
    good = walk_all(&w);
    if (good && w.next <= image->index) good = give_up_log(&w);
    good = good && compare(&w) && compare_votes(s);
    lm_raft_chain_free(&w.chain);
    return good;
}
