/* Every file of a real data directory, damaged in every way at every kind of place. What comes of
 * it is what was acknowledged, or a refusal that names the file (exit 79), or a loss that is told
 * (S19). Never: acknowledged entries that are missed in silence, another state, a crash, or no end.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base_arena.h"
#include "raft_scan.h"
#include "raft_segment.h"
#include "raft_stage.h"

#define FILES_MAX 64
#define NAME 80
#define BODY 30000

enum { EXACT = 10, LOST, REFUSED };

typedef struct {
    char name[NAME];
    off_t size, data; /* data: where the last bytes that are not zeros end */
} file_t;

typedef struct {
    stage_t made, stage; /* the whole directory; the copy that is damaged */
    uint64_t last;       /* that was acknowledged */
    uint64_t newest;     /* snapshot */
    file_t files[FILES_MAX];
    int n_files;
    const char *damaged, *other; /* files; the other changed places with it */
    int exact, lost, refused;
} world_t;

static world_t w;

static uint64_t term_of(uint64_t index) { return index == 1 ? 1 : index < 60 ? 2 : 3; }

static void restart(stage_t *stage)
{
    stage_close(stage);
    lm_raft_done_t *done = stage_load(stage);
    stage_expect(done->kind == LM_RAFT_DONE_LOADED, "%s", done->fault.words);
    lm_raft_done_destroy(&done);
}

/* Closed segments 1, 2-30, 31-59, 60-88, open ones from 89 to 132; snapshots at 40 and 80. */
static void story(stage_t *stage, void *arg)
{
    uint32_t trailing = *(uint32_t *)arg;
    stage_form(stage);
    stage->disk->set_metadata(stage->disk, 2, 77);
    stage_append(stage, 2, 29, true);
    restart(stage);
    stage_append(stage, 2, 29, true);
    restart(stage);
    stage_snapshot(stage, 40, 2, BODY, trailing);
    stage->disk->set_metadata(stage->disk, 3, 88);
    stage_append(stage, 3, 29, true);
    stage_snapshot(stage, 80, 3, BODY, trailing);
    for (int i = 0; i < 11; i++) stage_append(stage, 3, 4, true);
    lm_raft_image_t part = stage_image(500, 3, BODY);
    stage->disk->image_begin(stage->disk, 500, 3, part.crc32c, true);
    lm_raft_done_t *done = stage_await(stage, LM_RAFT_DONE_IMAGE_BEGUN);
    lm_raft_done_destroy(&done);
    part.length /= 2;
    stage_write_image(stage, &part, 0);
}

/* ---- files ----------------------------------------------------------------------------------- */

static void path_of(const stage_t *stage, const char *name, char path[512])
{
    snprintf(path, 512, "%s/%s", stage->path, name);
}

/* Copies what is not zeros. Returns where that ends. */
static off_t copy_file(const char *name)
{
    static uint8_t bytes[1 << 16], zeros[1 << 16];
    char from[512], to[512];
    struct stat about;
    off_t end = 0;
    path_of(&w.made, name, from);
    path_of(&w.stage, name, to);
    int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    cr_assert(in >= 0 && out >= 0 && fstat(in, &about) == 0 && ftruncate(out, about.st_size) == 0);
    for (off_t at = 0; (at = lseek(in, at, SEEK_DATA)) >= 0 && at < about.st_size;) {
        ssize_t got = pread(in, bytes, sizeof bytes, at);
        if (got <= 0) break;
        if (memcmp(bytes, zeros, (size_t)got) != 0) {
            cr_assert_eq(pwrite(out, bytes, (size_t)got, at), got);
            end = at + got;
            for (ssize_t i = got; bytes[i - 1] == 0; i--) end--;
        }
        at += got;
    }
    close(in);
    close(out);
    return end;
}

static void copy_all(void)
{
    char file[512];
    DIR *list = opendir(w.stage.path);
    for (struct dirent *entry; (entry = readdir(list));) {
        path_of(&w.stage, entry->d_name, file);
        if (*entry->d_name != '.') unlink(file);
    }
    closedir(list);
    for (int i = 0; i < w.n_files; i++) w.files[i].data = copy_file(w.files[i].name);
}

static void list_files(void)
{
    char path[512];
    struct stat about;
    DIR *list = opendir(w.made.path);
    for (struct dirent *entry; (entry = readdir(list));) {
        if (*entry->d_name == '.') continue;
        file_t *file = &w.files[w.n_files++];
        snprintf(file->name, NAME, "%.79s", entry->d_name);
        path_of(&w.made, file->name, path);
        cr_assert_eq(stat(path, &about), 0);
        file->size = about.st_size;
    }
    closedir(list);
}

static void prepare(uint32_t trailing)
{
    memset(&w, 0, sizeof w);
    stage_make_fast(&w.made);
    stage_make_fast(&w.stage);
    cr_assert_eq(stage_child(story, &w.made, &trailing, 60), 0);
    w.last = 132;
    w.newest = 80;
    list_files();
    copy_all();
}

static void finish(void)
{
    printf("%d exact, %d told as lost, %d refused\n", w.exact, w.lost, w.refused);
    fflush(stdout); /* a warning of Criterion would count as a failure */
    cr_assert_gt(w.exact + w.lost + w.refused, 0);
    stage_remove(&w.made);
    stage_remove(&w.stage);
}

/* ---- what comes of it ------------------------------------------------------------------------ */

/* The file's name; or, for segments, that one is missing or is not the one that was there. */
static bool is_named_as(const char *words, const char *name)
{
    char stem[NAME];
    snprintf(stem, sizeof stem, "%s", name);
    char *meta = strstr(stem, ".meta");
    if (meta) *meta = 0;
    if (strstr(words, stem)) return true;
    /* Of the two files of a snapshot and its image each accuses the other. */
    if (strncmp(stem, "snapshot-", 9) == 0)
        return strstr(words, "image-") || strstr(words, "snapshot-");
    if (strncmp(stem, "image-", 6) == 0) return strstr(words, "snapshot-");
    bool segment = *stem == '0' || strncmp(stem, "open-", 5) == 0;
    return segment && (strstr(words, "a segment") || strstr(words, "before a good one"));
}

static bool is_named(const char *words)
{
    return is_named_as(words, w.damaged) || (w.other && is_named_as(words, w.other));
}

static void check_refusal(const lm_raft_fault_t *fault)
{
    stage_expect(fault->code == LM_EXIT_DAMAGED, "code %d: %s", (int)fault->code, fault->words);
    stage_expect(is_named(fault->words), "%s is not named: %s", w.damaged, fault->words);
}

static int check_loaded(stage_t *stage, const lm_raft_done_t *done)
{
    const lm_raft_image_t *image = &done->image;
    uint64_t last = done->first_index + done->n_entries - 1;
    stage_expect(done->term == 3 && done->voted_for == 88, "term %llu, vote %llu",
                 (unsigned long long)done->term, (unsigned long long)done->voted_for);
    stage_expect(stage_entries_are(done, term_of), "other entries");
    stage_expect(done->first_index <= image->index + 1 && last >= image->index, "a gap");
    if (image->index) {
        lm_raft_image_t expected = stage_image(image->index, term_of(image->index), BODY);
        stage_expect((image->index == 40 || image->index == 80) &&
                         image->crc32c == expected.crc32c && image->term == expected.term,
                     "another snapshot");
        stage_expect(stage_image_is_whole(stage, &expected), "the image cannot be read");
    }
    if (last == w.last && done->lost_index == 0) return EXACT;
    stage_expect(done->lost_index == w.last, "%llu entries, and %llu are told as lost",
                 (unsigned long long)last, (unsigned long long)done->lost_index);
    return LOST;
}

static void load_story(stage_t *stage, void *arg)
{
    (void)arg;
    lm_raft_done_t *done = stage_load(stage);
    int outcome = REFUSED;
    if (done->kind == LM_RAFT_DONE_FAILED)
        check_refusal(&done->fault);
    else
        outcome = check_loaded(stage, done);
    _exit(outcome);
}

/* A refusal is not undone by trying again, nor is a loss. */
static void expect_any(const char *damaged, const char *how, off_t where)
{
    w.damaged = damaged;
    int outcome = stage_child(load_story, &w.stage, NULL, 60);
    cr_assert(outcome >= EXACT && outcome <= REFUSED, "%s %s at %lld: %d", damaged, how,
              (long long)where, outcome);
    int again = outcome;
    if (outcome != EXACT) again = stage_child(load_story, &w.stage, NULL, 60);
    cr_assert_eq(again, outcome, "%s %s at %lld: %d and then %d", damaged, how, (long long)where,
                 outcome, again);
    w.exact += outcome == EXACT;
    w.lost += outcome == LOST;
    w.refused += outcome == REFUSED;
    copy_all();
}

/* ---- damage ---------------------------------------------------------------------------------- */

static void flip(const file_t *file, off_t at)
{
    char path[512];
    uint8_t byte;
    if (at < 0 || at >= file->size) return;
    path_of(&w.stage, file->name, path);
    int fd = open(path, O_RDWR);
    cr_assert(fd >= 0 && pread(fd, &byte, 1, at) == 1);
    byte ^= (uint8_t)(1u << at % 8);
    cr_assert_eq(pwrite(fd, &byte, 1, at), 1);
    close(fd);
    expect_any(file->name, "flipped", at);
}

static void flip_everywhere(const file_t *file)
{
    const off_t end = file->data, places[] = {
                                      0,       7,       8,       12,        17,
                                      24,      40,      70,      500,       4090,
                                      4096,    4200,    end / 3, end / 2,   end - 70,
                                      end - 5, end - 1, end + 1, end + 100, file->size - 1,
                                  };
    off_t before = -1;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        if (places[i] > before) flip(file, places[i]);
        if (places[i] > before) before = places[i];
    }
}

static void shorten(const file_t *file, off_t size)
{
    char path[512];
    if (size < 0 || size >= file->size) return;
    path_of(&w.stage, file->name, path);
    cr_assert_eq(truncate(path, size), 0);
    expect_any(file->name, "shortened", size);
}

static void shorten_everywhere(const file_t *file)
{
    const off_t end = file->data,
                places[] = {0, 1, 7, 8, 20, 300, end / 2, end - 9, end - 1, file->size - 1};
    off_t before = -1;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        if (places[i] > before) shorten(file, places[i]);
        if (places[i] > before) before = places[i];
    }
}

static void lengthen(const file_t *file)
{
    char path[512];
    path_of(&w.stage, file->name, path);
    int fd = open(path, O_WRONLY | O_APPEND);
    cr_assert(fd >= 0 && write(fd, "garbage, and more of it than is good", 36) == 36);
    close(fd);
    expect_any(file->name, "lengthened", file->size);
}

static void take_away(const file_t *file)
{
    char path[512];
    path_of(&w.stage, file->name, path);
    cr_assert_eq(unlink(path), 0);
    expect_any(file->name, "removed", 0);
}

static bool are_of_a_kind(const char *a, const char *b)
{
    size_t size = strcspn(a, "-0123456789");
    bool meta = strstr(a, ".meta") != NULL;
    return strcmp(a, b) < 0 && size == strcspn(b, "-0123456789") && strncmp(a, b, size) == 0 &&
           meta == (strstr(b, ".meta") != NULL) && (*a == '0') == (*b == '0');
}

static void exchange(const file_t *a, const file_t *b)
{
    char one[512], two[512], aside[512];
    path_of(&w.stage, a->name, one);
    path_of(&w.stage, b->name, two);
    path_of(&w.stage, "aside", aside);
    cr_assert(rename(one, aside) == 0 && rename(two, one) == 0 && rename(aside, two) == 0);
    w.other = b->name;
    expect_any(a->name, b->name, 0);
    w.other = NULL;
}

static void damage_all(const char *prefix)
{
    int n = 0;
    for (int i = 0; i < w.n_files; i++) {
        const file_t *file = &w.files[i];
        if (strncmp(file->name, prefix, strlen(prefix)) != 0) continue;
        n++;
        flip_everywhere(file);
        shorten_everywhere(file);
        lengthen(file);
        take_away(file);
        for (int k = 0; k < w.n_files; k++)
            if (are_of_a_kind(file->name, w.files[k].name)) exchange(file, &w.files[k]);
    }
    cr_assert_gt(n, 0, "no file %s*", prefix);
}

/* ---- torn writes ----------------------------------------------------------------------------- */

/* The open segment that was written to, cut behind its entries for speed; sets where the last batch
 * begins. */
static file_t *last_segment(size_t *begin)
{
    file_t *found = NULL;
    char path[512];
    for (int i = 0; i < w.n_files; i++) {
        file_t *file = &w.files[i];
        if (strncmp(file->name, "open-", 5) != 0) continue;
        path_of(&w.stage, file->name, path);
        if (file->data == 0) cr_assert_eq(unlink(path), 0);
        if (file->data > 0) found = file;
    }
    uint8_t *bytes = lm_alloc(1 << 16);
    path_of(&w.stage, found->name, path);
    cr_assert_eq(truncate(path, 1 << 16), 0);
    int fd = open(path, O_RDONLY);
    cr_assert_eq(read(fd, bytes, 1 << 16), 1 << 16);
    close(fd);
    lm_raft_batch_t batch = {.next = LM_RAFT_SEGMENT_HEAD};
    do {
        *begin = batch.next;
        batch = lm_raft_segment_batch(lm_bytes(bytes, 1 << 16), batch.next);
    } while (batch.state == LM_RAFT_BATCH_GOOD && batch.next < (size_t)found->data);
    free(bytes);
    return found;
}

/* The bytes from one on are zeros or garbage: the last write was acknowledged, so each is a loss.
 */
Test(raft_damage, s19_the_last_write_torn_at_every_byte, .timeout = 600)
{
    char path[512];
    size_t begin;
    uint8_t *good = lm_alloc(1 << 16), *torn = lm_alloc(1 << 16);
    lm_raft_identity_t who = stage_identity();
    prepare(1000);
    const file_t *file = last_segment(&begin);
    path_of(&w.stage, file->name, path);
    int fd = open(path, O_RDWR);
    cr_assert_eq(pread(fd, good, 1 << 16, 0), 1 << 16);
    cr_assert_gt((size_t)file->data, begin + 200);
    for (size_t at = begin; at < (size_t)file->data; at++) {
        for (int garbage = 0; garbage < 2; garbage++) {
            lm_raft_fault_t fault = {0};
            lm_raft_scan_t result;
            memcpy(torn, good, 1 << 16);
            memset(torn + at, garbage ? 0xA5 : 0, (size_t)file->data - at);
            cr_assert_eq(pwrite(fd, torn, 1 << 16, 0), 1 << 16);
            bool started = lm_raft_scan(w.stage.path, &who, &result, &fault);
            cr_assert(started, "byte %zu: %s", at, fault.words);
            cr_assert_eq(result.last_index, w.last - 4, "byte %zu", at);
            cr_assert_eq(result.lost_index, w.last, "byte %zu", at);
            w.lost++;
        }
    }
    close(fd);
    free(good);
    free(torn);
    finish();
}

#define DAMAGE(name, prefix, trailing)          \
    Test(raft_damage, name, .timeout = 600)     \
    {                                           \
        prepare(trailing);                      \
        expect_any("nothing", "is damaged", 0); \
        cr_assert_eq(w.exact, 1);               \
        damage_all(prefix);                     \
        finish();                               \
    }

/* The log reaches back to its beginning, or not even to the older snapshot. */
DAMAGE(s19_closed_segments, "0", 1000)
DAMAGE(s19_closed_segments_of_a_short_log, "0", 10)
DAMAGE(s19_open_segments, "open-", 1000)
DAMAGE(s19_snapshots, "snapshot-", 1000)
DAMAGE(s19_snapshots_of_a_short_log, "snapshot-", 10)
DAMAGE(s19_images, "image", 1000)
DAMAGE(s19_images_of_a_short_log, "image", 10)
DAMAGE(s19_term_and_vote, "metadata", 1000)
DAMAGE(s19_the_watermark, "watermark", 1000)
DAMAGE(s19_the_identity, "identity", 1000)
DAMAGE(the_lock, "lock", 1000)
