/* S19: what this node has acknowledged is never missed in silence. The watermark's slots, its
 * comparison with a log, and the real disk that loses a part of its log. */
#include "raft_watermark.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base_arena.h"
#include "raft_stage.h"

static stage_t s;

static void setup(void) { stage_make(&s); }
static void teardown(void) { stage_remove(&s); }

TestSuite(raft_watermark, .init = setup, .fini = teardown, .timeout = 100);

/* ---- slots ----------------------------------------------------------------------------------- */

static lm_raft_folder_t folder(void)
{
    return (lm_raft_folder_t){.path = s.path, .fd = open(s.path, O_RDONLY | O_DIRECTORY)};
}

static lm_raft_mark_t mark(uint64_t last)
{
    return (lm_raft_mark_t){.last_index = last,
                            .last_term = 3,
                            .last_sum = (uint32_t)last * 77,
                            .base = {.index = 1, .sum = 5},
                            .lost_index = 9,
                            .term = 4,
                            .vote = 77,
                            .n_recent = 2,
                            .recent = {{last - 1, 11}, {last - 2, 12}}};
}

static void flip(const char *name, off_t at, int bit)
{
    char file[160];
    uint8_t byte;
    snprintf(file, sizeof file, "%s/%s", s.path, name);
    int fd = open(file, O_RDWR);
    cr_assert_geq(fd, 0, "%s", name);
    cr_assert_eq(pread(fd, &byte, 1, at), 1);
    byte ^= (uint8_t)(1 << bit);
    cr_assert_eq(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

Test(raft_watermark, s19_one_bad_slot_leaves_the_other_two_are_named)
{
    lm_raft_fault_t fault = {0};
    lm_raft_watermark_t w;
    lm_raft_folder_t here = folder();
    lm_raft_mark_t first = mark(20), second = mark(21), found;
    cr_assert(lm_raft_watermark_make(&w, here, &first, &fault));
    cr_assert(lm_raft_watermark_write(&w, &second, &fault));
    off_t newer = (off_t)(w.sequence % 2) * 4096, older = 4096 - newer;
    lm_raft_watermark_close(&w);
    cr_assert(lm_raft_watermark_open(&w, here, &found, &fault));
    cr_assert_eq(memcmp(&found, &second, sizeof found), 0);
    lm_raft_watermark_close(&w);
    for (off_t at = 0; at < 512; at++) {
        flip("watermark", newer + at, (int)(at % 8));
        cr_assert(lm_raft_watermark_open(&w, here, &found, &fault));
        cr_assert_eq(memcmp(&found, &first, sizeof found), 0, "byte %d", (int)at);
        lm_raft_watermark_close(&w);
        flip("watermark", older + 100, 3);
        cr_assert_not(lm_raft_watermark_open(&w, here, &found, &fault));
        cr_assert_eq(fault.code, LM_EXIT_DAMAGED);
        cr_assert(strstr(fault.words, "/watermark is damaged"));
        lm_raft_watermark_close(&w);
        flip("watermark", older + 100, 3);
        flip("watermark", newer + at, (int)(at % 8));
    }
    close(here.fd);
}

/* ---- a mark and a log ------------------------------------------------------------------------ */

static void fill(lm_raft_chain_t *chain, uint64_t from, uint64_t to, uint64_t step)
{
    uint8_t bytes[256];
    for (uint64_t i = from; i <= to; i++)
        lm_raft_chain_add(chain, 2, 1, stage_entry(i < to ? i : i + step, 2, bytes));
}

Test(raft_watermark, s19_a_log_is_compared_with_what_it_was)
{
    lm_raft_chain_t chain = {0}, other = {0};
    uint64_t ends[3] = {100, 95, 80};
    fill(&chain, 1, 120, 0);
    lm_raft_mark_t m = lm_raft_watermark_of(&chain, 100, 0, ends, 3);
    cr_assert_eq(m.n_recent, 2);
    cr_assert_eq(lm_raft_watermark_compare(&m, &chain, false), LM_RAFT_MARK_GOOD);
    lm_raft_chain_cut(&chain, 101);
    cr_assert_eq(lm_raft_watermark_compare(&m, &chain, false), LM_RAFT_MARK_GOOD);
    lm_raft_chain_cut(&chain, 100);
    cr_assert_eq(lm_raft_watermark_compare(&m, &chain, true), LM_RAFT_MARK_LOST);
    cr_assert_eq(lm_raft_watermark_compare(&m, &chain, false), LM_RAFT_MARK_WRONG);
    lm_raft_chain_cut(&chain, 96); /* where a write ended */
    cr_assert_eq(lm_raft_watermark_compare(&m, &chain, false), LM_RAFT_MARK_LOST);
    /* As long, but entry 50 is another one; and entry 50 is missing. */
    lm_raft_chain_cut(&chain, 50);
    fill(&chain, 50, 50, 1);
    fill(&chain, 51, 110, 0);
    cr_assert_eq(lm_raft_watermark_compare(&m, &chain, true), LM_RAFT_MARK_WRONG);
    fill(&other, 1, 49, 0);
    fill(&other, 51, 110, 0);
    cr_assert_eq(lm_raft_watermark_compare(&m, &other, true), LM_RAFT_MARK_WRONG);
    lm_raft_chain_free(&chain);
    lm_raft_chain_free(&other);
}

Test(raft_watermark, a_chain_is_the_same_from_any_base)
{
    lm_raft_chain_t chain = {0};
    lm_raft_link_t before, after;
    fill(&chain, 1, 3000, 0);
    cr_assert(lm_raft_chain_at(&chain, 2999, &before));
    lm_raft_chain_trim(&chain, 1000);
    lm_raft_chain_trim(&chain, 500);
    cr_assert(lm_raft_chain_at(&chain, 2999, &after));
    cr_assert_eq(before.sum, after.sum);
    cr_assert_not(lm_raft_chain_at(&chain, 999, &after));
    cr_assert(lm_raft_chain_at(&chain, 1000, &after));
    lm_raft_chain_cut(&chain, 1501);
    fill(&chain, 1501, 3000, 0);
    cr_assert(lm_raft_chain_at(&chain, 2999, &after));
    cr_assert_eq(before.sum, after.sum);
    lm_raft_chain_trim(&chain, 3000);
    cr_assert_eq(lm_raft_chain_last(&chain), 3000);
    lm_raft_chain_free(&chain);
}

/* ---- the real disk --------------------------------------------------------------------------- */

static uint64_t term_two(uint64_t index) { return index == 1 ? 1 : 2; }

static void form_with(size_t n)
{
    stage_form(&s);
    s.disk->set_metadata(s.disk, 2, 0);
    stage_expect_kind(&s, LM_RAFT_DONE_METADATA);
    stage_append(&s, 2, n, true);
}

static lm_raft_done_t *load(uint64_t last, uint64_t lost)
{
    lm_raft_done_t *done = stage_load(&s);
    cr_assert_eq(done->kind, LM_RAFT_DONE_LOADED, "%s", done->fault.words);
    cr_assert_eq(s.last, last, "%llu", (unsigned long long)s.last);
    cr_assert_eq(done->lost_index, lost);
    cr_assert(stage_entries_are(done, term_two));
    return done;
}

static void load_and_forget(uint64_t last, uint64_t lost)
{
    lm_raft_done_t *done = load(last, lost);
    lm_raft_done_destroy(&done);
}

/* The file of the segment that ends with that entry. */
static void find_segment(uint64_t end, char name[64])
{
    char ending[32];
    DIR *list = opendir(s.path);
    snprintf(ending, sizeof ending, "-%016llu", (unsigned long long)end);
    *name = 0;
    for (struct dirent *entry; (entry = readdir(list));)
        if (*entry->d_name == '0' && strstr(entry->d_name, ending))
            snprintf(name, 64, "%.50s", entry->d_name);
    closedir(list);
    cr_assert(*name, "no segment ends with %s", ending);
}

static void remove_segment(uint64_t end)
{
    char name[64], file[160];
    find_segment(end, name);
    snprintf(file, sizeof file, "%s/%s", s.path, name);
    cr_assert_eq(unlink(file), 0);
}

Test(raft_watermark, s19_a_lost_end_is_told_until_it_is_forgotten)
{
    form_with(50);
    stage_close(&s);
    load_and_forget(51, 0);
    stage_append(&s, 2, 20, true);
    stage_close(&s);
    remove_segment(71);
    load_and_forget(51, 71);
    stage_close(&s);
    load_and_forget(51, 71);
    /* Appending, and truncating, do not make it forget. */
    stage_append(&s, 2, 5, true);
    stage_truncate(&s, 54);
    stage_append(&s, 2, 1, true);
    stage_close(&s);
    load_and_forget(54, 71);
    stage_append(&s, 2, 30, true);
    stage_close(&s);
    load_and_forget(84, 71);
    s.disk->forget_loss(s.disk);
    stage_append(&s, 2, 1, true);
    stage_close(&s);
    load_and_forget(85, 0);
    stage_close(&s);
}

Test(raft_watermark, s19_an_installation_keeps_what_was_lost)
{
    form_with(50);
    stage_close(&s);
    load_and_forget(51, 0);
    stage_append(&s, 2, 20, true);
    stage_close(&s);
    remove_segment(71);
    load_and_forget(51, 71);
    stage_snapshot(&s, 60, 2, 1000, 0);
    stage_close(&s);
    load_and_forget(60, 71);
    stage_append(&s, 2, 20, true);
    s.disk->forget_loss(s.disk);
    stage_close(&s);
    load_and_forget(80, 0);
    stage_close(&s);
}

/* Two segments of equally many entries change places: each is good in itself. */
Test(raft_watermark, s19_exchanged_segments_are_found)
{
    char a[64], b[64], one[160], two[160], aside[160];
    form_with(29);
    stage_close(&s);
    load_and_forget(30, 0);
    stage_append(&s, 2, 29, true);
    stage_close(&s);
    load_and_forget(59, 0);
    stage_append(&s, 2, 29, true);
    stage_close(&s);
    find_segment(59, a);
    find_segment(88, b);
    snprintf(one, sizeof one, "%s/%s", s.path, a);
    snprintf(two, sizeof two, "%s/%s", s.path, b);
    snprintf(aside, sizeof aside, "%s/aside", s.path);
    cr_assert(rename(one, aside) == 0 && rename(two, one) == 0 && rename(aside, two) == 0);
    lm_raft_done_t *done = stage_load(&s);
    cr_assert_eq(done->kind, LM_RAFT_DONE_FAILED);
    cr_assert_eq(done->fault.code, LM_EXIT_DAMAGED);
    cr_assert(strstr(done->fault.words, "watermark tells of another log"), "%s", done->fault.words);
    lm_raft_done_destroy(&done);
    stage_close(&s);
}

/* The truncation is in the log of somebody who then dies; nothing was lost. */
static void truncation_story(stage_t *stage, void *arg)
{
    (void)arg;
    stage_form(stage);
    stage->disk->set_metadata(stage->disk, 2, 0);
    stage_expect_kind(stage, LM_RAFT_DONE_METADATA);
    stage_append(stage, 2, 99, true);
    stage_truncate(stage, 91);
    stage_append(stage, 2, 1, true);
}

Test(raft_watermark, s19_a_truncation_is_no_loss)
{
    cr_assert_eq(stage_child(truncation_story, &s, NULL, 20), 0);
    load_and_forget(91, 0);
    stage_close(&s);
}

/* Four entries are written together, the last write is garbled. */
static void batches_story(stage_t *stage, void *arg)
{
    (void)arg;
    stage_form(stage);
    stage->disk->set_metadata(stage->disk, 2, 0);
    stage_expect_kind(stage, LM_RAFT_DONE_METADATA);
    for (int i = 0; i < 10; i++) stage_append(stage, 2, 4, true);
}

Test(raft_watermark, s19_a_garbled_end_of_an_open_segment_is_a_loss)
{
    uint8_t bytes[256];
    cr_assert_eq(stage_child(batches_story, &s, NULL, 20), 0);
    /* The last entry's bytes are in the one open segment that was written to. */
    lm_bytes_t entry = stage_entry(41, 2, bytes);
    for (int i = 1; i <= 3; i++) {
        char name[32], file[160];
        snprintf(name, sizeof name, "open-%d", i);
        snprintf(file, sizeof file, "%s/%s", s.path, name);
        int fd = open(file, O_RDONLY);
        uint8_t *all = lm_alloc(1 << 16);
        ssize_t size = fd < 0 ? 0 : read(fd, all, 1 << 16);
        for (ssize_t at = 0; at + (ssize_t)entry.size <= size; at += 8)
            if (memcmp(all + at, entry.data, entry.size) == 0) flip(name, at + 8, 2);
        if (fd >= 0) close(fd);
        free(all);
    }
    load_and_forget(37, 41);
    stage_close(&s);
}

Test(raft_watermark, s19_a_log_without_a_watermark_is_refused)
{
    char file[160];
    form_with(5);
    stage_close(&s);
    snprintf(file, sizeof file, "%s/watermark", s.path);
    cr_assert_eq(unlink(file), 0);
    lm_raft_done_t *done = stage_load(&s);
    cr_assert_eq(done->kind, LM_RAFT_DONE_FAILED);
    cr_assert_eq(done->fault.code, LM_EXIT_DAMAGED);
    cr_assert(strstr(done->fault.words, "/watermark is missing"), "%s", done->fault.words);
    lm_raft_done_destroy(&done);
    stage_close(&s);
}

/* A vote is in the watermark before it is in the engine's file; the other way round it is damage.
 */
Test(raft_watermark, term_and_vote_are_kept_twice)
{
    form_with(3);
    s.disk->set_metadata(s.disk, 3, 88);
    stage_expect_kind(&s, LM_RAFT_DONE_METADATA);
    stage_close(&s);
    flip("metadata2", 16, 0); /* term 3 becomes 2: what the crash before its write would leave */
    lm_raft_done_t *done = stage_load(&s);
    if (done->kind == LM_RAFT_DONE_LOADED) {
        cr_assert_eq(done->term, 3);
        cr_assert_eq(done->voted_for, 88);
    } else {
        cr_assert(strstr(done->fault.words, "metadata2"), "%s", done->fault.words);
    }
    lm_raft_done_destroy(&done);
    stage_close(&s);
}
