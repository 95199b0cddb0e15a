/* Images on the real disk: taken while entries are appended, installed over a log, resumed,
 * refused, read by others while they are replaced. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base_arena.h"
#include "raft_image_file.h"
#include "raft_stage.h"

static stage_t s;

static void setup(void) { stage_make(&s); }
static void teardown(void) { stage_remove(&s); }

TestSuite(raft_image, .init = setup, .fini = teardown, .timeout = 100);

static uint64_t term_two(uint64_t index) { return index == 1 ? 1 : 2; }

static int count_files(const char *prefix)
{
    int n = 0;
    DIR *list = opendir(s.path);
    for (struct dirent *entry; (entry = readdir(list));)
        n += strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
    closedir(list);
    return n;
}

static void form_with(uint64_t term, size_t n)
{
    stage_form(&s);
    s.disk->set_metadata(s.disk, term, 0);
    stage_expect_kind(&s, LM_RAFT_DONE_METADATA);
    stage_append(&s, term, n, true);
}

static lm_raft_done_t *load(void)
{
    lm_raft_done_t *done = stage_load(&s);
    cr_assert_eq(done->kind, LM_RAFT_DONE_LOADED, "%s", done->fault.words);
    cr_assert_eq(done->lost_index, 0);
    return done;
}

Test(raft_image, one_is_taken_and_found_again)
{
    form_with(2, 100);
    stage_snapshot(&s, 60, 2, 700001, 10);
    stage_append(&s, 2, 20, true);
    lm_raft_image_t image = stage_image(60, 2, 700001);
    cr_assert(stage_image_is_whole(&s, &image));
    stage_close(&s);
    lm_raft_done_t *done = load();
    cr_assert_eq(done->image.index, 60);
    cr_assert_eq(done->image.term, 2);
    cr_assert_eq(done->image.length, 700001);
    cr_assert_eq(done->image.crc32c, image.crc32c);
    cr_assert_eq(done->image.state_hash, image.state_hash);
    cr_assert_eq(done->image.configuration_index, 1);
    cr_assert_eq(done->image.configuration_size, image.configuration_size);
    cr_assert_eq(memcmp(done->image.configuration, image.configuration, image.configuration_size),
                 0);
    cr_assert_leq(done->first_index, 61);
    cr_assert_eq(done->first_index + done->n_entries, 122);
    cr_assert(stage_entries_are(done, term_two));
    lm_raft_done_destroy(&done);
    cr_assert(stage_image_is_whole(&s, &image));
    stage_close(&s);
}

Test(raft_image, an_empty_body_is_one_too)
{
    form_with(2, 5);
    stage_snapshot(&s, 6, 2, 0, 3);
    stage_close(&s);
    lm_raft_done_t *done = load();
    cr_assert_eq(done->image.index, 6);
    lm_raft_done_destroy(&done);
    lm_raft_image_t image = stage_image(6, 2, 0);
    cr_assert(stage_image_is_whole(&s, &image));
    stage_close(&s);
}

Test(raft_image, disk_use_stays_bounded)
{
    form_with(2, 10);
    for (int i = 0; i < 8; i++) {
        stage_append(&s, 2, 3000, true);
        stage_snapshot(&s, s.last - 5, 2, 300000, 50);
        cr_assert_leq(count_files("image-"), 2);
        cr_assert_leq(count_files("image.part-"), 0);
        cr_assert_leq(count_files("snapshot-"), 4);
        cr_assert_leq(count_files("0"), 3, "%d segments", count_files("0"));
    }
    stage_close(&s);
    lm_raft_done_t *done = load();
    cr_assert_gt(done->first_index, 20000);
    cr_assert(stage_entries_are(done, term_two));
    lm_raft_done_destroy(&done);
    stage_close(&s);
}

Test(raft_image, entries_are_appended_while_one_is_taken)
{
    form_with(2, 100);
    lm_raft_image_t image = stage_image(90, 2, 5 << 20);
    s.disk->image_begin(s.disk, 90, 2, 0, false);
    stage_expect_kind(&s, LM_RAFT_DONE_IMAGE_BEGUN);
    for (uint64_t offset = 0; offset < image.length; offset += 1 << 18) {
        uint8_t *bytes = lm_alloc(1 << 18);
        stage_body(90, offset, bytes, 1 << 18);
        s.disk->image_write(s.disk, offset, lm_bytes(bytes, 1 << 18));
        stage_append(&s, 2, 3, false);
        free(bytes);
    }
    s.disk->image_finish(s.disk, &image, 20);
    for (int i = 0; i < 200; i++) stage_append(&s, 2, 2, false);
    int appended = 0, finished = 0;
    while (appended < 220 || !finished) {
        lm_raft_done_t *done = stage_take(&s);
        cr_assert_neq(done->kind, LM_RAFT_DONE_FAILED, "%s", done->fault.words);
        appended += done->kind == LM_RAFT_DONE_APPENDED;
        finished += done->kind == LM_RAFT_DONE_IMAGE_FINISHED;
        lm_raft_done_destroy(&done);
    }
    uint64_t last = s.last;
    stage_close(&s);
    lm_raft_done_t *done = load();
    cr_assert_eq(done->first_index + done->n_entries - 1, last);
    cr_assert(stage_entries_are(done, term_two));
    cr_assert_eq(done->image.index, 90);
    lm_raft_done_destroy(&done);
    stage_close(&s);
}

static uint64_t term_after_truncation(uint64_t index)
{
    return index == 1 ? 1 : index < 80 ? 2 : 3;
}

Test(raft_image, a_truncation_and_a_snapshot_take_turns)
{
    form_with(2, 100);
    for (uint64_t round = 0; round < 5; round++) {
        lm_raft_image_t image = stage_image(50 + round, 2, 400000);
        s.disk->image_begin(s.disk, image.index, 2, 0, false);
        lm_raft_done_t *done = stage_await(&s, LM_RAFT_DONE_IMAGE_BEGUN);
        lm_raft_done_destroy(&done);
        stage_write_image(&s, &image, 0);
        s.disk->image_finish(s.disk, &image, 1000);
        if (round == 0) s.disk->set_metadata(s.disk, 3, 0);
        stage_truncate(&s, 80);
        stage_append(&s, 3, 30, false);
        stage_truncate(&s, 90);
        stage_append(&s, 3, 40, false);
        done = stage_await(&s, LM_RAFT_DONE_IMAGE_FINISHED);
        lm_raft_done_destroy(&done);
    }
    stage_append(&s, 3, 1, true);
    uint64_t last = s.last;
    stage_close(&s);
    lm_raft_done_t *done = load();
    cr_assert_eq(done->image.index, 54);
    cr_assert_eq(done->first_index + done->n_entries - 1, last);
    cr_assert(stage_entries_are(done, term_after_truncation));
    lm_raft_done_destroy(&done);
    stage_close(&s);
}

static uint64_t term_three(uint64_t index)
{
    (void)index;
    return 3;
}

/* The log here is longer than the snapshot, and another one. */
Test(raft_image, an_installation_takes_the_place_of_the_log)
{
    form_with(2, 300);
    s.disk->set_metadata(s.disk, 3, 0);
    stage_expect_kind(&s, LM_RAFT_DONE_METADATA);
    stage_snapshot(&s, 200, 3, 1 << 20, 0);
    stage_append(&s, 3, 10, true);
    stage_close(&s);
    lm_raft_done_t *done = load();
    cr_assert_eq(done->image.index, 200);
    cr_assert_eq(done->first_index, 201);
    cr_assert_eq(done->n_entries, 10);
    cr_assert(stage_entries_are(done, term_three));
    lm_raft_done_destroy(&done);
    /* And one that is far ahead; entries are queued behind it at once. */
    lm_raft_image_t image = stage_image(5000, 3, 100000);
    s.disk->image_begin(s.disk, 5000, 3, image.crc32c, true);
    stage_expect_kind(&s, LM_RAFT_DONE_IMAGE_BEGUN);
    stage_write_image(&s, &image, 0);
    s.disk->image_finish(s.disk, &image, 0);
    s.last = 5000;
    stage_append(&s, 3, 5, false);
    stage_expect_kind(&s, LM_RAFT_DONE_IMAGE_FINISHED);
    stage_expect_kind(&s, LM_RAFT_DONE_APPENDED);
    cr_assert_eq(count_files("installing-"), 0);
    stage_close(&s);
    done = load();
    cr_assert_eq(done->image.index, 5000);
    cr_assert_eq(done->first_index, 5001);
    cr_assert_eq(done->n_entries, 5);
    cr_assert(stage_entries_are(done, term_three));
    lm_raft_done_destroy(&done);
    stage_close(&s);
}

/* Without an entry behind it nothing but the snapshot tells where the log ends. */
Test(raft_image, an_installation_may_be_all_there_is)
{
    form_with(2, 30);
    stage_snapshot(&s, 1000, 2, 1000, 0);
    stage_close(&s);
    for (int i = 0; i < 2; i++) {
        lm_raft_done_t *done = load();
        cr_assert_eq(done->first_index, 1001);
        cr_assert_eq(done->n_entries, 0);
        cr_assert_eq(done->image.index, 1000);
        lm_raft_done_destroy(&done);
        stage_close(&s);
    }
    lm_raft_done_t *done = load();
    lm_raft_done_destroy(&done);
    stage_append(&s, 2, 3, true);
    stage_snapshot(&s, 1003, 2, 1000, 10);
    stage_close(&s);
    done = load();
    cr_assert_eq(done->first_index, 1001);
    cr_assert_eq(done->n_entries, 3);
    cr_assert_eq(done->image.index, 1003);
    lm_raft_done_destroy(&done);
    stage_close(&s);
}

Test(raft_image, k5_a_body_that_is_not_the_one_stated_never_becomes_a_snapshot)
{
    form_with(2, 50);
    lm_raft_image_t image = stage_image(40, 2, 500000);
    for (int wrong = 0; wrong < 3; wrong++) {
        lm_raft_image_t stated = image;
        if (wrong == 0) stated.crc32c ^= 1;
        if (wrong == 1) stated.length++;
        if (wrong == 2) stated.configuration_size = 0;
        s.disk->image_begin(s.disk, 40, 2, 0, false);
        stage_expect_kind(&s, LM_RAFT_DONE_IMAGE_BEGUN);
        stage_write_image(&s, &image, 0);
        s.disk->image_finish(s.disk, &stated, 100);
        stage_expect_kind(&s, LM_RAFT_DONE_IMAGE_BAD);
        cr_assert_eq(count_files("image"), 0);
        cr_assert_eq(count_files("snapshot-"), 0);
    }
    s.disk->image_finish(s.disk, &image, 100);
    stage_expect_kind(&s, LM_RAFT_DONE_IMAGE_BAD);
    stage_append(&s, 2, 5, true);
    stage_close(&s);
    lm_raft_done_t *done = load();
    cr_assert_eq(done->image.index, 0);
    cr_assert_eq(done->n_entries, 56);
    lm_raft_done_destroy(&done);
    stage_close(&s);
}

static uint64_t begin(const lm_raft_image_t *image, bool resume)
{
    s.disk->image_begin(s.disk, image->index, image->term, image->crc32c, resume);
    lm_raft_done_t *done = stage_await(&s, LM_RAFT_DONE_IMAGE_BEGUN);
    uint64_t there = done->number;
    lm_raft_done_destroy(&done);
    return there;
}

Test(raft_image, one_is_resumed_also_after_a_restart)
{
    form_with(2, 20);
    lm_raft_image_t image = stage_image(900, 2, 3 << 20), part = image;
    cr_assert_eq(begin(&image, true), 0);
    part.length = 1 << 20;
    stage_write_image(&s, &part, 0);
    s.disk->image_drop(s.disk, true);
    cr_assert_eq(begin(&image, true), 1 << 20);
    part.length = 2 << 20;
    stage_write_image(&s, &part, 1 << 20);
    stage_close(&s);
    lm_raft_done_t *done = load();
    cr_assert_eq(done->n_entries, 21);
    lm_raft_done_destroy(&done);
    cr_assert_eq(begin(&image, true), 2 << 20);
    stage_write_image(&s, &image, 2 << 20);
    s.disk->image_finish(s.disk, &image, 0);
    stage_expect_kind(&s, LM_RAFT_DONE_IMAGE_FINISHED);
    cr_assert(stage_image_is_whole(&s, &image));
    stage_close(&s);
    done = load();
    cr_assert_eq(done->image.index, 900);
    lm_raft_done_destroy(&done);
    stage_close(&s);
}

Test(raft_image, a_part_of_another_image_is_not_resumed)
{
    form_with(2, 20);
    lm_raft_image_t image = stage_image(900, 2, 1 << 20), other = image;
    begin(&image, true);
    stage_write_image(&s, &image, 0);
    other.crc32c ^= 5; /* another node's image of the same entry */
    cr_assert_eq(begin(&other, true), 0);
    cr_assert_eq(begin(&image, true), 0);
    stage_write_image(&s, &image, 0);
    cr_assert_eq(begin(&image, false), 0);
    stage_write_image(&s, &image, 0);
    other = stage_image(901, 2, 1 << 20);
    cr_assert_eq(begin(&other, true), 0);
    cr_assert_eq(count_files("image.part-"), 1);
    s.disk->image_drop(s.disk, false);
    stage_append(&s, 2, 1, true);
    stage_close(&s);
    cr_assert_eq(count_files("image"), 0);
}

/* A follower reads the oldest while two newer ones are made. */
Test(raft_image, one_stays_readable_for_those_who_read_it)
{
    form_with(2, 100);
    stage_snapshot(&s, 10, 2, 1 << 20, 50);
    lm_raft_image_t first = stage_image(10, 2, 1 << 20), second = stage_image(20, 2, 1 << 20);
    s.disk->image_read(s.disk, 1, 10, 2, 0, 1000);
    stage_expect_kind(&s, LM_RAFT_DONE_IMAGE_DATA);
    stage_snapshot(&s, 20, 2, 1 << 20, 50);
    stage_snapshot(&s, 30, 2, 1 << 20, 50);
    cr_assert_eq(count_files("image-2-10"), 0);
    cr_assert(stage_image_is_whole(&s, &first));
    cr_assert(stage_image_is_whole(&s, &second));
    stage_snapshot(&s, 40, 2, 1 << 20, 50);
    stage_snapshot(&s, 50, 2, 1 << 20, 50);
    lm_raft_image_t third = stage_image(30, 2, 1 << 20);
    cr_assert_not(stage_image_is_whole(&s, &third), "it was not being read");
    /* Several at a time, and one that never was; answers may overtake each other. */
    for (uint64_t i = 0; i < 40; i++)
        s.disk->image_read(s.disk, i, i % 5 == 4 ? 77 : 40 + 10 * (i % 2), 2, 1000 * i, 5000);
    for (int i = 0; i < 40; i++) {
        uint8_t bytes[5000];
        lm_raft_done_t *done = stage_await(&s, LM_RAFT_DONE_IMAGE_DATA);
        cr_assert_eq(done->offset, done->number * 1000);
        cr_assert_eq(done->data == NULL, done->number % 5 == 4);
        if (done->data) {
            stage_body(40 + 10 * (done->number % 2), done->offset, bytes, sizeof bytes);
            cr_assert_eq(done->data_size, sizeof bytes);
            cr_assert_eq(memcmp(bytes, done->data, sizeof bytes), 0);
        }
        lm_raft_done_destroy(&done);
    }
    stage_close(&s);
}

/* The library would write it later, and say nothing. */
Test(raft_image, a_snapshot_that_cannot_be_written_is_the_end)
{
    form_with(2, 50);
    lm_raft_image_t image = stage_image(40, 2, 1000);
    begin(&image, false);
    stage_write_image(&s, &image, 0);
    s.disk->image_finish(s.disk, &image, 10);
    /* Where the directory has been replaced nothing can be made in it. */
    char aside[80];
    snprintf(aside, sizeof aside, "%s.aside", s.path);
    cr_assert_eq(rename(s.path, aside), 0);
    lm_raft_done_t *done = stage_take(&s);
    if (done->kind == LM_RAFT_DONE_IMAGE_FINISHED) {
        /* It was quicker; the next one is not. */
        lm_raft_done_destroy(&done);
        image = stage_image(45, 2, 1000);
        begin(&image, false);
        stage_write_image(&s, &image, 0);
        s.disk->image_finish(s.disk, &image, 10);
        done = stage_take(&s);
    }
    cr_assert_eq(done->kind, LM_RAFT_DONE_FAILED);
    cr_assert_eq(done->fault.code, LM_EXIT_SYSTEM);
    lm_raft_done_destroy(&done);
    cr_assert_eq(rename(aside, s.path), 0);
    stage_close(&s);
}
