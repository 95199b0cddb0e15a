/* Truncation on the real disk, and one that fails: nothing may be written behind it. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base_arena.h"
#include "base_log.h"
#include "raft_known.h"
#include "raft_uv_disk.h"

static char path[64];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t came = PTHREAD_COND_INITIALIZER;
static lm_raft_done_t *reports[64];
static size_t n_reports;

static void report(void *arg, lm_raft_done_t *done)
{
    (void)arg;
    pthread_mutex_lock(&mutex);
    reports[n_reports++] = done;
    pthread_cond_signal(&came);
    pthread_mutex_unlock(&mutex);
}

static lm_raft_done_t *next(void)
{
    pthread_mutex_lock(&mutex);
    while (n_reports == 0) pthread_cond_wait(&came, &mutex);
    lm_raft_done_t *done = reports[0];
    n_reports--;
    memmove(reports, reports + 1, n_reports * sizeof *reports);
    pthread_mutex_unlock(&mutex);
    return done;
}

static void expect(lm_raft_done_kind_t kind)
{
    lm_raft_done_t *done = next();
    cr_assert_eq(done->kind, kind, "report %d instead of %d: %s", (int)done->kind, (int)kind,
                 done->fault.words);
    lm_raft_done_destroy(&done);
}

static void setup(void)
{
    lm_log_setup("test", "raft", LM_LOG_ERROR, false);
    strcpy(path, "/tmp/lm_truncation_XXXXXX");
    cr_assert(mkdtemp(path));
}

static void teardown(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", path);
    cr_assert_eq(system(command), 0);
}

TestSuite(raft_truncation, .init = setup, .fini = teardown);

static lm_raft_disk_t *start(bool bootstrap, lm_raft_done_t **loaded)
{
    lm_raft_disk_t *disk = lm_raft_uv_disk_new(report, NULL, NULL);
    lm_raft_identity_t who = known_identity(LM_RAFT_STARTED, 1);
    disk->open(disk, path, "r", "n1");
    expect(LM_RAFT_DONE_OPENED);
    disk->load(disk, &who, bootstrap);
    *loaded = next();
    cr_assert_eq((*loaded)->kind, LM_RAFT_DONE_LOADED, "%s", (*loaded)->fault.words);
    if (bootstrap) {
        disk->save_identity(disk, &who);
        expect(LM_RAFT_DONE_IDENTITY);
    }
    return disk;
}

static uint64_t words[8];

static void append(lm_raft_disk_t *disk, uint64_t number, uint64_t term, uint64_t word)
{
    words[number % 8] = word;
    lm_raft_entry_t entry = {
        .term = term, .type = LM_RAFT_COMMAND, .data = lm_bytes(&words[number % 8], 8)};
    disk->append(disk, number, &entry, 1);
}

static uint64_t word_at(const lm_raft_done_t *loaded, size_t i)
{
    uint64_t word = 0;
    memcpy(&word, loaded->entries[i].data.data, sizeof word);
    return word;
}

Test(raft_truncation, what_comes_behind_it_replaces_what_was_there)
{
    lm_raft_done_t *loaded;
    lm_raft_disk_t *disk = start(true, &loaded);
    lm_raft_done_destroy(&loaded);
    for (uint64_t i = 2; i <= 5; i++) append(disk, i, 1, i);
    disk->set_metadata(disk, 2, 0);
    disk->truncate(disk, 3);
    append(disk, 6, 2, 33);
    disk->set_metadata(disk, 3, 0);
    disk->truncate(disk, 2);
    append(disk, 7, 3, 22);
    append(disk, 8, 3, 44);
    for (int i = 0, metadata = 0, appended = 0; i < 9; i++) {
        lm_raft_done_t *done = next();
        metadata += done->kind == LM_RAFT_DONE_METADATA;
        appended += done->kind == LM_RAFT_DONE_APPENDED;
        cr_assert_neq(done->kind, LM_RAFT_DONE_FAILED, "%s", done->fault.words);
        cr_assert_eq(metadata + appended, i + 1);
        lm_raft_done_destroy(&done);
    }
    lm_raft_uv_disk_destroy(&disk);
    disk = start(false, &loaded);
    cr_assert_eq(loaded->term, 3);
    cr_assert_eq(loaded->n_entries, 3);
    cr_assert_eq(word_at(loaded, 1), 22);
    cr_assert_eq(word_at(loaded, 2), 44);
    lm_raft_done_destroy(&loaded);
    lm_raft_uv_disk_destroy(&disk);
}

/* The shortened segment cannot be made. What would have followed it must not be found behind the
 * whole one after a restart: it would be another entry than the one that the leader has there. */
Test(raft_truncation, one_that_fails_is_the_end_and_leaves_the_log_as_it_was)
{
    char blocked[128];
    lm_raft_done_t *loaded;
    lm_raft_disk_t *disk = start(true, &loaded);
    lm_raft_done_destroy(&loaded);
    for (uint64_t i = 2; i <= 5; i++) append(disk, i, 1, i);
    for (uint64_t i = 2; i <= 5; i++) expect(LM_RAFT_DONE_APPENDED);
    snprintf(blocked, sizeof blocked, "%s/%016d-%016d", path, 2, 2);
    cr_assert_eq(mkdir(blocked, 0700), 0);
    disk->set_metadata(disk, 2, 0);
    expect(LM_RAFT_DONE_METADATA);
    disk->truncate(disk, 3);
    append(disk, 6, 2, 33);
    expect(LM_RAFT_DONE_FAILED);
    lm_raft_uv_disk_destroy(&disk);
    cr_assert_eq(rmdir(blocked), 0);
    char lock[128]; /* which the failed one keeps until its process ends */
    snprintf(lock, sizeof lock, "%s/lock", path);
    cr_assert_eq(unlink(lock), 0);
    disk = start(false, &loaded);
    cr_assert_eq(loaded->n_entries, 5);
    for (uint64_t i = 2; i <= 5; i++) cr_assert_eq(word_at(loaded, i - 1), i);
    lm_raft_done_destroy(&loaded);
    lm_raft_uv_disk_destroy(&disk);
}
