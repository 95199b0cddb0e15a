/* The real disk, killed at any moment of appending, truncating, taking and installing snapshots,
 * and read again: what was acknowledged is there, as it was, and no loss is told where there is
 * none. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "raft_datadir.h"
#include "raft_stage.h"

#define ENTRIES_MAX 100000

/* Shared with the child: what it was told is durable. */
typedef struct {
    uint64_t floor; /* entries up to here stay */
    uint64_t snapshot;
    uint64_t committed; /* a snapshot of it was wanted: nothing up to it is replaced any more */
    _Atomic bool ready;
    uint64_t rounds[4]; /* appends, truncations, snapshots, installations that were completed */
    uint32_t terms[ENTRIES_MAX];
} notes_t;

static notes_t *notes;
static uint64_t term, chance_state;

static uint64_t chance(uint64_t bound)
{
    uint64_t z = chance_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (z ^ z >> 31) % bound;
}

/* ---- what was found -------------------------------------------------------------------------- */

static void check(stage_t *stage, const lm_raft_done_t *done)
{
    uint8_t bytes[256];
    const lm_raft_image_t *image = &done->image;
    stage_expect(done->kind == LM_RAFT_DONE_LOADED, "%s", done->fault.words);
    stage_expect(done->lost_index == 0, "a loss of %llu", (unsigned long long)done->lost_index);
    stage_expect(stage->last >= notes->floor, "the log ends at %llu, not %llu",
                 (unsigned long long)stage->last, (unsigned long long)notes->floor);
    stage_expect(image->index >= notes->snapshot, "the snapshot is that of %llu",
                 (unsigned long long)image->index);
    for (size_t i = 0; i < done->n_entries; i++) {
        uint64_t index = done->first_index + i;
        const lm_raft_entry_t *entry = &done->entries[i];
        stage_expect(
            index == 1 || lm_bytes_equal(entry->data, stage_entry(index, entry->term, bytes)),
            "another entry at %llu", (unsigned long long)index);
        if (index > notes->floor) notes->terms[index] = (uint32_t)entry->term;
        stage_expect(notes->terms[index] == entry->term, "another term at %llu",
                     (unsigned long long)index);
    }
    notes->snapshot = image->index;
    if (image->index > stage->last) stage->last = image->index;
    notes->floor = stage->last;
}

/* ---- what is done ---------------------------------------------------------------------------- */

static void append(stage_t *stage)
{
    uint64_t n = 1 + chance(30);
    for (uint64_t i = 1; i <= n; i++) notes->terms[stage->last + i] = (uint32_t)term;
    stage_append(stage, term, n, true);
    notes->floor = stage->last;
    notes->rounds[0]++;
}

static void next_term(stage_t *stage)
{
    stage->disk->set_metadata(stage->disk, ++term, 0);
    lm_raft_done_t *done = stage_await(stage, LM_RAFT_DONE_METADATA);
    lm_raft_done_destroy(&done);
}

static void truncate_log(stage_t *stage)
{
    uint64_t from = notes->committed + 1 > 2 ? notes->committed + 1 : 2;
    if (stage->last < from) return;
    uint64_t index = from + chance(stage->last - from + 1);
    next_term(stage);
    notes->floor = index - 1;
    stage_truncate(stage, index);
    append(stage);
    notes->rounds[1]++;
}

static void snapshot(stage_t *stage)
{
    if (stage->last <= notes->snapshot) return;
    uint64_t index = notes->snapshot + 1 + chance(stage->last - notes->snapshot);
    if (index > notes->committed) notes->committed = index;
    stage_snapshot(stage, index, notes->terms[index], (size_t)chance(900000),
                   1 + (uint32_t)chance(100));
    notes->snapshot = index;
    notes->rounds[2]++;
}

/* Over a longer log, or over a shorter one. */
static void install(stage_t *stage)
{
    if (stage->last + 40 <= notes->committed) return; /* one such has just failed */
    uint64_t index = notes->committed + 1 + chance(stage->last + 40 - notes->committed);
    next_term(stage);
    notes->committed = index;
    if (index < notes->floor) notes->floor = index;
    notes->terms[index] = (uint32_t)term;
    if (index == notes->floor) notes->floor--; /* it is another entry from now on */
    stage_snapshot(stage, index, term, (size_t)chance(900000), 0);
    notes->floor = notes->snapshot = index;
    notes->rounds[3]++;
}

static void story(stage_t *stage, void *arg)
{
    static void (*const acts[])(stage_t *) = {append,       append,   append,
                                              truncate_log, snapshot, install};
    bool once = *(bool *)arg;
    lm_raft_done_t *done = stage_load(stage);
    check(stage, done);
    term = done->term;
    atomic_store(&notes->ready, true);
    lm_raft_done_destroy(&done);
    while (!once && stage->last < ENTRIES_MAX - 200) acts[chance(6)](stage);
}

static void form(stage_t *stage, void *arg)
{
    (void)arg;
    stage_form(stage);
    notes->terms[1] = 1;
    notes->floor = 1;
}

TestSuite(raft_kill, .timeout = 600);

static void kill_and_look(stage_t *stage, int rounds, unsigned us_max)
{
    bool once = true, endless = false;
    notes = mmap(NULL, sizeof *notes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(notes, MAP_FAILED);
    cr_assert_eq(stage_child(form, stage, NULL, 60), 0);
    for (int round = 0; round < rounds; round++) {
        chance_state = (uint64_t)round * 7919;
        atomic_store(&notes->ready, false);
        /* One in ten dies while it reads what the one before has left. */
        const _Atomic bool *ready = round % 10 == 9 ? NULL : &notes->ready;
        cr_assert(stage_kill(story, stage, &endless, ready, (unsigned)chance(us_max)), "round %d",
                  round);
        cr_assert_eq(stage_child(story, stage, &once, 60), 0, "round %d", round);
    }
    printf("%d appends, %d truncations, %d snapshots, %d installations\n", (int)notes->rounds[0],
           (int)notes->rounds[1], (int)notes->rounds[2], (int)notes->rounds[3]);
    fflush(stdout); /* a warning of Criterion would count as a failure */
    stage_remove(stage);
}

/* ---- killed between the two files of a snapshot ---------------------------------------------- */

/* Two installations, one after the other: between them the log is empty. */
static void install_twice(stage_t *stage, void *arg)
{
    (void)arg;
    stage_form(stage);
    term = 1;
    next_term(stage);
    stage_snapshot(stage, 100, 2, 5000, 0);
    stage_snapshot(stage, 150, 2, 5000, 0);
}

/* Takes a half of that snapshot away. With the note it is as if it had not been written yet. */
static void halve(const stage_t *stage, bool data, bool note)
{
    char path[512];
    DIR *list = opendir(stage->path);
    for (struct dirent *entry; (entry = readdir(list));) {
        if (strncmp(entry->d_name, "snapshot-2-150-", 15) != 0 ||
            !strstr(entry->d_name, ".meta") != data)
            continue;
        snprintf(path, sizeof path, "%s/%s", stage->path, entry->d_name);
        cr_assert_eq(unlink(path), 0);
    }
    closedir(list);
    if (!note) return;
    snprintf(path, sizeof path, "%s/" LM_RAFT_INSTALLATION_PREFIX "2-150", stage->path);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    cr_assert_geq(fd, 0);
    close(fd);
}

enum { LOADED = 10, REFUSED };

static void load_half(stage_t *stage, void *arg)
{
    (void)arg;
    lm_raft_done_t *done = stage_load(stage);
    if (done->kind == LM_RAFT_DONE_FAILED) {
        stage_expect(strstr(done->fault.words, "is missing, but there is snapshot-2-150-"), "%s",
                     done->fault.words);
        _exit(REFUSED);
    }
    stage_expect(done->image.index == 100 && done->n_entries == 0, "the snapshot is that of %d",
                 (int)done->image.index);
    /* The watermark is that of behind the installation: no crash in its middle leaves it so. */
    stage_expect(done->lost_index == 150, "the loss of 150 is told as one of %d",
                 (int)done->lost_index);
    _exit(LOADED);
}

static int outcome_of_half(bool data, bool note)
{
    stage_t stage;
    stage_make_fast(&stage);
    cr_assert_eq(stage_child(install_twice, &stage, NULL, 60), 0);
    halve(&stage, data, note);
    int outcome = stage_child(load_half, &stage, NULL, 60);
    cr_assert_eq(stage_child(load_half, &stage, NULL, 60), outcome, "another one the second time");
    stage_remove(&stage);
    return outcome;
}

Test(raft_kill, s16_half_a_snapshot_that_was_being_installed_is_left_out)
{
    cr_assert_eq(outcome_of_half(true, true), LOADED);
    cr_assert_eq(outcome_of_half(false, true), LOADED);
}

Test(raft_kill, s19_half_a_snapshot_that_nobody_was_installing_is_refused)
{
    cr_assert_eq(outcome_of_half(true, false), REFUSED);
    cr_assert_eq(outcome_of_half(false, false), REFUSED);
}

/* ---- killed at any moment -------------------------------------------------------------------- */

Test(raft_kill, s16_s19_nothing_acknowledged_is_missed)
{
    stage_t stage;
    stage_make(&stage);
    kill_and_look(&stage, 40, 300000);
}

Test(raft_kill, s16_s19_nothing_acknowledged_is_missed_when_much_happens)
{
    stage_t stage;
    stage_make_fast(&stage);
    kill_and_look(&stage, 120, 60000);
    cr_assert(notes->rounds[0] && notes->rounds[1] && notes->rounds[2] && notes->rounds[3]);
}
