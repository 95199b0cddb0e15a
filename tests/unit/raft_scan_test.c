/* The data directory before and after crashes: what is repaired, what is refused, by name; and the
 * real disk, killed and read again. */
#include "raft_scan.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base_arena.h"
#include "base_log.h"
#include "raft_datadir.h"
#include "raft_known.h"
#include "raft_segment.h"
#include "raft_uv_disk.h"

static char path[64];
static bool in_story; /* in a process that criterion does not know */

static void setup(void)
{
    lm_log_setup("test", "raft", LM_LOG_ERROR, false);
    /* Not on tmpfs if it can be helped: the disk code then takes its other ways. */
    strcpy(path, "/var/tmp/lm_scan_XXXXXX");
    cr_assert(mkdtemp(path));
}

static void teardown(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", path);
    cr_assert_eq(system(command), 0);
}

TestSuite(raft_scan, .init = setup, .fini = teardown, .timeout = 60);

/* ---- a disk, waited for ---------------------------------------------------------------------- */

typedef struct {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    lm_raft_done_t *done[256];
    size_t n, taken;
    lm_raft_disk_t *disk;
} waiter_t;

static void report(void *arg, lm_raft_done_t *done)
{
    waiter_t *w = arg;
    pthread_mutex_lock(&w->mutex);
    w->done[w->n++] = done;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->mutex);
}

static lm_raft_done_t *await(waiter_t *w)
{
    pthread_mutex_lock(&w->mutex);
    while (w->taken == w->n) pthread_cond_wait(&w->cond, &w->mutex);
    lm_raft_done_t *done = w->done[w->taken++];
    pthread_mutex_unlock(&w->mutex);
    return done;
}

static lm_raft_done_t *await_kind(waiter_t *w, lm_raft_done_kind_t kind)
{
    lm_raft_done_t *done = await(w);
    if (done->kind != kind && in_story) {
        fprintf(stderr, "report %d: %s\n", done->kind, done->fault.words);
        _exit(1);
    }
    cr_assert_eq(done->kind, kind, "%s", done->fault.words);
    return done;
}

static void await_and_drop(waiter_t *w, lm_raft_done_kind_t kind)
{
    lm_raft_done_t *done = await_kind(w, kind);
    lm_raft_done_destroy(&done);
}

static void open_disk(waiter_t *w)
{
    *w = (waiter_t){.mutex = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
    w->disk = lm_raft_uv_disk_new(report, w, NULL);
    w->disk->open(w->disk, path, "r", "n1");
}

static void close_disk(waiter_t *w)
{
    lm_raft_uv_disk_destroy(&w->disk);
    for (; w->taken < w->n; w->taken++) lm_raft_done_destroy(&w->done[w->taken]);
}

/* A disk with a log of one entry, the configuration. */
static void form(waiter_t *w)
{
    lm_raft_identity_t who = known_identity(LM_RAFT_STARTED, 2);
    open_disk(w);
    await_and_drop(w, LM_RAFT_DONE_OPENED);
    w->disk->load(w->disk, &who, true);
    lm_raft_done_t *done = await_kind(w, LM_RAFT_DONE_LOADED);
    cr_assert_eq(done->n_entries, 1);
    cr_assert_eq(done->entries[0].type, LM_RAFT_CHANGE);
    cr_assert_eq(done->term, 1);
    lm_raft_done_destroy(&done);
    w->disk->save_identity(w->disk, &who);
    await_and_drop(w, LM_RAFT_DONE_IDENTITY);
}

static void append(waiter_t *w, uint64_t number, uint64_t term, size_t size, uint8_t fill)
{
    uint8_t *bytes = lm_alloc(size);
    memset(bytes, fill, size);
    lm_raft_entry_t entry = {.term = term, .type = LM_RAFT_COMMAND, .data = lm_bytes(bytes, size)};
    w->disk->append(w->disk, number, &entry, 1);
    lm_raft_done_t *done = await_kind(w, LM_RAFT_DONE_APPENDED);
    cr_assert_eq(done->number, number);
    lm_raft_done_destroy(&done);
    free(bytes);
}

static lm_raft_done_t *load_again(waiter_t *w)
{
    lm_raft_identity_t who = known_identity(LM_RAFT_STARTED, 2);
    open_disk(w);
    await_and_drop(w, LM_RAFT_DONE_OPENED);
    w->disk->load(w->disk, &who, false);
    return await_kind(w, LM_RAFT_DONE_LOADED);
}

/* Runs a story in a process of its own that ends as if killed. */
static void in_dying_process(void (*story)(void))
{
    pid_t child = fork();
    if (child == 0) {
        in_story = true;
        story();
        _exit(0);
    }
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the story failed");
}

/* ---- the real disk --------------------------------------------------------------------------- */

static void write_story(void)
{
    waiter_t w;
    form(&w);
    w.disk->set_metadata(w.disk, 3, 88);
    await_and_drop(&w, LM_RAFT_DONE_METADATA);
    for (uint64_t i = 1; i <= 50; i++) append(&w, i, 3, 8 * i, (uint8_t)i);
    append(&w, 51, 3, 2 << 20, 51);
}

Test(raft_scan, what_was_reported_written_is_read_after_a_kill)
{
    waiter_t w;
    in_dying_process(write_story);
    lm_raft_done_t *done = load_again(&w);
    cr_assert_eq(done->term, 3);
    cr_assert_eq(done->voted_for, 88);
    cr_assert_eq(done->n_entries, 52);
    for (size_t i = 1; i <= 50; i++) {
        cr_assert_eq(done->entries[i].term, 3);
        cr_assert_eq(done->entries[i].data.size, 8 * i);
        cr_assert_eq(done->entries[i].data.data[8 * i - 1], (uint8_t)i);
    }
    cr_assert_eq(done->entries[51].data.size, 2 << 20);
    lm_raft_done_destroy(&done);
    append(&w, 1, 3, 16, 1);
    uint64_t counts[LM_HISTOGRAM_BUCKETS], written = 0;
    lm_histogram_read(lm_raft_uv_disk_writes(w.disk), counts);
    for (int i = 0; i < LM_HISTOGRAM_BUCKETS; i++) written += counts[i];
    cr_assert_geq(written, 1);
    close_disk(&w);
    done = load_again(&w);
    cr_assert_eq(done->n_entries, 53);
    lm_raft_done_destroy(&done);
    close_disk(&w);
}

static void truncate_story(void)
{
    waiter_t w;
    form(&w);
    w.disk->set_metadata(w.disk, 2, 0);
    await_and_drop(&w, LM_RAFT_DONE_METADATA);
    /* Several segments of 8 MiB, the truncation reaches over all of them. */
    for (uint64_t i = 1; i <= 40; i++) append(&w, i, 2, 1 << 20, 'a');
    w.disk->set_metadata(w.disk, 3, 0);
    await_and_drop(&w, LM_RAFT_DONE_METADATA);
    w.disk->truncate(w.disk, 5);
    append(&w, 41, 3, 64, 'b');
    append(&w, 42, 3, 64, 'c');
    w.disk->truncate(w.disk, 6);
    append(&w, 43, 3, 72, 'd');
}

Test(raft_scan, a_truncated_log_is_read_as_it_was_left)
{
    waiter_t w;
    in_dying_process(truncate_story);
    lm_raft_done_t *done = load_again(&w);
    cr_assert_eq(done->n_entries, 6);
    cr_assert_eq(done->entries[3].data.data[0], 'a');
    cr_assert_eq(done->entries[4].data.data[0], 'b');
    cr_assert_eq(done->entries[5].data.data[0], 'd');
    cr_assert_eq(done->entries[5].data.size, 72);
    lm_raft_done_destroy(&done);
    close_disk(&w);
}

Test(raft_scan, s17_a_second_disk_on_the_same_data_is_turned_away)
{
    waiter_t w, second;
    form(&w);
    open_disk(&second);
    lm_raft_done_t *done = await_kind(&second, LM_RAFT_DONE_FAILED);
    cr_assert_eq(done->fault.code, LM_EXIT_TRY_LATER);
    lm_raft_done_destroy(&done);
    close_disk(&second);
    close_disk(&w);
}

static void half_bootstrap_story(void)
{
    waiter_t w;
    lm_raft_identity_t who = known_identity(LM_RAFT_STARTED, 2);
    who.stage = LM_RAFT_ACCEPTED;
    open_disk(&w);
    await_and_drop(&w, LM_RAFT_DONE_OPENED);
    w.disk->save_identity(w.disk, &who);
    await_and_drop(&w, LM_RAFT_DONE_IDENTITY);
    w.disk->load(w.disk, &who, true);
    await_and_drop(&w, LM_RAFT_DONE_LOADED);
}

Test(raft_scan, s18_a_start_that_was_not_completed_is_made_anew)
{
    waiter_t w;
    in_dying_process(half_bootstrap_story);
    open_disk(&w);
    lm_raft_done_t *done = await_kind(&w, LM_RAFT_DONE_OPENED);
    cr_assert_eq(done->identity.stage, LM_RAFT_ACCEPTED);
    w.disk->load(w.disk, &done->identity, true);
    lm_raft_done_destroy(&done);
    done = await_kind(&w, LM_RAFT_DONE_LOADED);
    cr_assert_eq(done->n_entries, 1);
    lm_raft_done_destroy(&done);
    close_disk(&w);
}

/* ---- files ----------------------------------------------------------------------------------- */

static void file_path(char *into, size_t size, const char *name)
{
    snprintf(into, size, "%s/%s", path, name);
}

static size_t read_file(const char *name, uint8_t **bytes)
{
    char file[128];
    struct stat about;
    file_path(file, sizeof file, name);
    int fd = open(file, O_RDONLY);
    cr_assert_geq(fd, 0, "%s", name);
    cr_assert_eq(fstat(fd, &about), 0);
    *bytes = lm_alloc((size_t)about.st_size + 1);
    cr_assert_eq(read(fd, *bytes, (size_t)about.st_size), about.st_size);
    close(fd);
    return (size_t)about.st_size;
}

static void write_file(const char *name, const void *bytes, size_t size)
{
    char file[128];
    file_path(file, sizeof file, name);
    int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, bytes, size), (ssize_t)size);
    close(fd);
}

static bool exists(const char *name)
{
    char file[128];
    file_path(file, sizeof file, name);
    return access(file, F_OK) == 0;
}

/* Name of the first file that begins like this. */
static bool find_file(const char *prefix, char *name, size_t size)
{
    DIR *list = opendir(path);
    bool found = false;
    for (struct dirent *entry; !found && (entry = readdir(list));) {
        if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0) continue;
        snprintf(name, size, "%.40s", entry->d_name);
        found = true;
    }
    closedir(list);
    return found;
}

static lm_raft_fault_t scan(void)
{
    lm_raft_fault_t fault = {0};
    lm_raft_scan_t result;
    lm_raft_identity_t who = known_identity(LM_RAFT_STARTED, 2);
    bool good = lm_raft_scan(path, &who, &result, &fault);
    cr_assert_eq(good, fault.code == LM_EXIT_OK, "%s", fault.words);
    return fault;
}

static void expect_damage(const char *words)
{
    lm_raft_fault_t fault = scan();
    cr_assert_eq(fault.code, LM_EXIT_DAMAGED, "%s", fault.words);
    cr_assert(strstr(fault.words, words), "%s", fault.words);
}

static void expect_good(void)
{
    lm_raft_fault_t fault = scan();
    cr_assert_eq(fault.code, LM_EXIT_OK, "%s", fault.words);
}

/* A log of entries 1..5 in open segments; the directory is left as after a kill. */
static void small_story(void)
{
    waiter_t w;
    form(&w);
    w.disk->set_metadata(w.disk, 2, 0);
    await_and_drop(&w, LM_RAFT_DONE_METADATA);
    for (uint64_t i = 1; i <= 4; i++) append(&w, i, 2, 64, (uint8_t)i);
}

static void name_of_written_segment(char *name, size_t size)
{
    for (int i = 1; i < 10; i++) {
        uint8_t *bytes;
        snprintf(name, size, "open-%d", i);
        if (!exists(name)) continue;
        size_t length = read_file(name, &bytes);
        bool written = !lm_raft_segment_is_zero(lm_bytes(bytes, length), 0);
        free(bytes);
        if (written) return;
    }
    cr_assert_fail("no segment was written");
}

Test(raft_scan, segments_are_understood)
{
    char name[64];
    uint8_t *bytes;
    in_dying_process(small_story);
    expect_good();
    name_of_written_segment(name, sizeof name);
    size_t size = read_file(name, &bytes);
    lm_raft_segment_cursor_t cursor = {0};
    lm_raft_segment_entry_t entry;
    for (uint8_t i = 1; i <= 4; i++) {
        cr_assert(lm_raft_segment_next(lm_bytes(bytes, size), &cursor, &entry));
        cr_assert(entry.term == 2 && entry.type == LM_RAFT_COMMAND && entry.data.size == 64);
        cr_assert_eq(entry.data.data[63], i);
    }
    cr_assert_not(lm_raft_segment_next(lm_bytes(bytes, size), &cursor, &entry));
    free(bytes);
}

Test(raft_scan, foreign_files_are_refused_by_name)
{
    in_dying_process(small_story);
    write_file("notes.txt", "hello", 5);
    expect_damage("/notes.txt does not belong here");
}

Test(raft_scan, o10_a_segment_that_ends_inside_a_batch_is_refused)
{
    char name[64], file[128];
    in_dying_process(small_story);
    name_of_written_segment(name, sizeof name);
    file_path(file, sizeof file, name);
    cr_assert_eq(truncate(file, 8 + 96 + 40), 0);
    expect_damage("ends inside the batch that begins at byte 104");
}

Test(raft_scan, o9_a_bad_batch_before_a_good_one_is_refused_at_the_end_it_is_not)
{
    char name[64];
    uint8_t *bytes;
    in_dying_process(small_story);
    name_of_written_segment(name, sizeof name);
    size_t size = read_file(name, &bytes);
    bytes[8 + 96 + 60] ^= 1;
    write_file(name, bytes, size);
    expect_damage("has a damaged batch at byte 104 before a good one at byte 200");
    bytes[8 + 96 + 60] ^= 1;
    bytes[8 + 3 * 96 + 60] ^= 1;
    write_file(name, bytes, size);
    expect_good();
    free(bytes);
}

Test(raft_scan, o11_term_and_vote_that_contradict_themselves_are_refused)
{
    uint8_t *one, *two;
    in_dying_process(small_story);
    size_t size = read_file("metadata1", &one);
    cr_assert_eq(size, 32);
    cr_assert_eq(read_file("metadata2", &two), 32);
    two[0] ^= 1;
    write_file("metadata2", two, 32);
    expect_damage("metadata2 is damaged");
    two[0] ^= 1;
    two[8] ^= 4;
    write_file("metadata2", two, 32);
    expect_damage("contradict each other");
    two[8] ^= 4;
    two[24] = 5;
    write_file("metadata2", two, 32);
    expect_damage("a vote for a server that does not exist");
    two[24] = 77;
    write_file("metadata2", two, 32);
    expect_damage("a vote for 77, but watermark knows term 2 and 0");
    two[24] = 0;
    write_file("metadata2", two, 32);
    expect_good();
    two[23] = 0x80;
    write_file("metadata2", two, 32);
    expect_damage("metadata2 is damaged");
    free(one);
    free(two);
}

static void remove_file(const char *name)
{
    char file[128];
    file_path(file, sizeof file, name);
    cr_assert_eq(unlink(file), 0, "%s", name);
}

Test(raft_scan, a_log_without_an_identity_and_an_identity_without_a_log_are_refused)
{
    char name[64];
    lm_raft_fault_t fault = {0};
    lm_raft_scan_t result;
    lm_raft_identity_t nobody = {0};
    in_dying_process(small_story);
    cr_assert_not(lm_raft_scan(path, &nobody, &result, &fault));
    cr_assert(strstr(fault.words, "identity is missing"), "%s", fault.words);
    while (find_file("open-", name, sizeof name)) remove_file(name);
    while (find_file("000", name, sizeof name)) remove_file(name);
    expect_damage("the log is missing");
}

/* ---- truncations that were not completed (O7) ------------------------------------------------ */

static void close_segments(void)
{
    waiter_t w;
    in_dying_process(small_story);
    lm_raft_done_t *done = load_again(&w);
    lm_raft_done_destroy(&done);
    close_disk(&w);
    cr_assert(exists("0000000000000002-0000000000000005"));
}

static void copy_file(const char *from, const char *to, size_t size)
{
    uint8_t *bytes;
    size_t whole = read_file(from, &bytes);
    write_file(to, bytes, size ? size : whole);
    free(bytes);
}

Test(raft_scan, o7_of_two_segments_with_one_beginning_the_shorter_goes)
{
    waiter_t w;
    close_segments();
    copy_file("0000000000000002-0000000000000005", "0000000000000002-0000000000000003", 8 + 2 * 96);
    expect_good();
    cr_assert_not(exists("0000000000000002-0000000000000003"));
    cr_assert(exists("0000000000000002-0000000000000005"));
    lm_raft_done_t *done = load_again(&w);
    cr_assert_eq(done->n_entries, 5);
    lm_raft_done_destroy(&done);
    close_disk(&w);
}

Test(raft_scan, o7_two_segments_that_differ_are_refused)
{
    uint8_t *bytes;
    close_segments();
    read_file("0000000000000002-0000000000000005", &bytes);
    write_file("0000000000000002-0000000000000003", bytes, 8 + 96);
    free(bytes);
    expect_damage("begin at the same entry and differ");
}

Test(raft_scan, a_gap_is_repaired_only_where_a_truncation_was_noted)
{
    char marker[64];
    close_segments();
    copy_file("0000000000000002-0000000000000005", "0000000000000002-0000000000000003", 8 + 2 * 96);
    copy_file("0000000000000002-0000000000000005", "0000000000000006-0000000000000009", 0);
    remove_file("0000000000000002-0000000000000005");
    expect_damage("a segment is missing");
    snprintf(marker, sizeof marker, "%s7", LM_RAFT_TRUNCATION_PREFIX);
    write_file(marker, "", 0);
    expect_damage("a segment is missing");
    remove_file(marker);
    snprintf(marker, sizeof marker, "%s4", LM_RAFT_TRUNCATION_PREFIX);
    write_file(marker, "", 0);
    expect_good();
    cr_assert_not(exists("0000000000000006-0000000000000009"));
    cr_assert_not(exists(marker));
    waiter_t w;
    lm_raft_done_t *done = load_again(&w);
    cr_assert_eq(done->n_entries, 3);
    lm_raft_done_destroy(&done);
    close_disk(&w);
}

/* What the library reports when it reads: named, and the end. */
Test(raft_scan, a_damaged_closed_segment_is_named)
{
    uint8_t *bytes;
    waiter_t w;
    close_segments();
    size_t size = read_file("0000000000000002-0000000000000005", &bytes);
    bytes[size - 5] ^= 1;
    write_file("0000000000000002-0000000000000005", bytes, size);
    free(bytes);
    open_disk(&w);
    lm_raft_done_t *done = await_kind(&w, LM_RAFT_DONE_FAILED);
    cr_assert_eq(done->fault.code, LM_EXIT_DAMAGED);
    cr_assert(strstr(done->fault.words, "0000000000000002-0000000000000005"), "%s",
              done->fault.words);
    lm_raft_done_destroy(&done);
    close_disk(&w);
}
