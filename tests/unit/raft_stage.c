#include "raft_stage.h"

#include <criterion/criterion.h>
#include <raft.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base_arena.h"
#include "base_log.h"
#include "crc.h"
#include "raft_known.h"

static bool in_child;

bool stage_in_child(void) { return in_child; }

void stage_fail(const char *format, ...)
{
    char words[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(words, sizeof words, format, arguments);
    va_end(arguments);
    if (!in_child) cr_assert_fail("%s", words);
    fprintf(stderr, "child: %s\n", words);
    _exit(1);
}

void stage_make(stage_t *stage)
{
    lm_log_setup("test", "raft", LM_LOG_ERROR, false);
    memset(stage, 0, sizeof *stage);
    strcpy(stage->path, "/var/tmp/lm_stage_XXXXXX");
    stage_expect(mkdtemp(stage->path), "no directory");
}

void stage_make_fast(stage_t *stage)
{
    stage_make(stage);
    if (access("/dev/shm", W_OK) != 0) return;
    stage_expect(rmdir(stage->path) == 0, "%s stays", stage->path);
    strcpy(stage->path, "/dev/shm/lm_stage_XXXXXX");
    stage_expect(mkdtemp(stage->path), "no directory");
}

void stage_remove(stage_t *stage)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", stage->path);
    stage_expect(system(command) == 0, "%s", command);
}

/* ---- reports --------------------------------------------------------------------------------- */

static void report(void *arg, lm_raft_done_t *done)
{
    stage_t *stage = arg;
    pthread_mutex_lock(&stage->mutex);
    stage_expect(stage->n_reports < STAGE_REPORTS_MAX, "too many reports");
    stage->reports[stage->n_reports++] = done;
    pthread_cond_signal(&stage->came);
    pthread_mutex_unlock(&stage->mutex);
}

lm_raft_done_t *stage_take(stage_t *stage)
{
    pthread_mutex_lock(&stage->mutex);
    while (stage->n_taken == stage->n_reports) pthread_cond_wait(&stage->came, &stage->mutex);
    lm_raft_done_t *done = stage->reports[stage->n_taken++];
    pthread_mutex_unlock(&stage->mutex);
    return done;
}

lm_raft_done_t *stage_await(stage_t *stage, lm_raft_done_kind_t kind)
{
    for (;;) {
        lm_raft_done_t *done = stage_take(stage);
        if (done->kind == kind) return done;
        if (done->kind == LM_RAFT_DONE_FAILED)
            stage_fail("waiting for %d: %s", (int)kind, done->fault.words);
        lm_raft_done_destroy(&done);
    }
}

void stage_expect_kind(stage_t *stage, lm_raft_done_kind_t kind)
{
    lm_raft_done_t *done = stage_take(stage);
    stage_expect(done->kind == kind, "report %d instead of %d: %s", (int)done->kind, (int)kind,
                 done->fault.words);
    lm_raft_done_destroy(&done);
}

/* ---- life ------------------------------------------------------------------------------------ */

lm_raft_identity_t stage_identity(void) { return known_identity(LM_RAFT_STARTED, 2); }

void stage_open(stage_t *stage)
{
    pthread_mutex_init(&stage->mutex, NULL);
    pthread_cond_init(&stage->came, NULL);
    stage->reports = lm_alloc(STAGE_REPORTS_MAX * sizeof *stage->reports);
    stage->n_reports = stage->n_taken = 0;
    stage->disk = lm_raft_uv_disk_new(report, stage, NULL);
    stage->disk->open(stage->disk, stage->path, "r", "n1");
}

void stage_form(stage_t *stage)
{
    lm_raft_identity_t who = stage_identity();
    stage_open(stage);
    stage_expect_kind(stage, LM_RAFT_DONE_OPENED);
    stage->disk->load(stage->disk, &who, true);
    stage_expect_kind(stage, LM_RAFT_DONE_LOADED);
    stage->disk->save_identity(stage->disk, &who);
    stage_expect_kind(stage, LM_RAFT_DONE_IDENTITY);
    stage->last = 1;
}

lm_raft_done_t *stage_load(stage_t *stage)
{
    lm_raft_identity_t who = stage_identity();
    stage_open(stage);
    lm_raft_done_t *done = stage_take(stage);
    if (done->kind != LM_RAFT_DONE_OPENED) return done;
    lm_raft_done_destroy(&done);
    stage->disk->load(stage->disk, &who, false);
    done = stage_take(stage);
    stage->last = done->first_index + done->n_entries - 1;
    return done;
}

void stage_close(stage_t *stage)
{
    lm_raft_uv_disk_destroy(&stage->disk);
    for (; stage->n_taken < stage->n_reports; stage->n_taken++)
        lm_raft_done_destroy(&stage->reports[stage->n_taken]);
    free(stage->reports);
    while (stage->n_memory) free(stage->memory[--stage->n_memory]);
    free(stage->memory);
    stage->memory = NULL;
}

/* ---- entries --------------------------------------------------------------------------------- */

lm_bytes_t stage_entry(uint64_t index, uint64_t term, uint8_t bytes[256])
{
    size_t size = 8 * (1 + index % 29);
    for (size_t i = 0; i < size; i += 8) memcpy(bytes + i, &index, 8);
    memcpy(bytes, &term, 4);
    return lm_bytes(bytes, size);
}

void stage_append(stage_t *stage, uint64_t term, size_t n, bool wait)
{
    uint8_t(*bytes)[256] = lm_alloc(n * 256);
    stage->memory = lm_realloc(stage->memory, (stage->n_memory + 1) * sizeof *stage->memory);
    stage->memory[stage->n_memory++] = bytes;
    lm_raft_entry_t *entries = lm_alloc(n * sizeof *entries);
    for (size_t i = 0; i < n; i++)
        entries[i] = (lm_raft_entry_t){.term = term,
                                       .type = LM_RAFT_COMMAND,
                                       .data = stage_entry(stage->last + 1 + i, term, bytes[i])};
    stage->last += n;
    stage->disk->append(stage->disk, stage->last, entries, n);
    free(entries);
    if (!wait) return;
    for (uint64_t number = 0; number != stage->last;) {
        lm_raft_done_t *done = stage_await(stage, LM_RAFT_DONE_APPENDED);
        number = done->number;
        lm_raft_done_destroy(&done);
    }
}

void stage_truncate(stage_t *stage, uint64_t index)
{
    stage->disk->truncate(stage->disk, index);
    stage->last = index - 1;
}

bool stage_entries_are(const lm_raft_done_t *loaded, uint64_t (*term_of)(uint64_t index))
{
    uint8_t bytes[256];
    for (size_t i = 0; i < loaded->n_entries; i++) {
        uint64_t index = loaded->first_index + i, term = term_of(index);
        const lm_raft_entry_t *entry = &loaded->entries[i];
        if (entry->term != term) return false;
        if (index == 1 ? entry->type != LM_RAFT_CHANGE
                       : entry->type != LM_RAFT_COMMAND ||
                             !lm_bytes_equal(entry->data, stage_entry(index, term, bytes)))
            return false;
    }
    return true;
}

/* ---- images ---------------------------------------------------------------------------------- */

void stage_body(uint64_t index, uint64_t offset, uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        uint64_t at = offset + i;
        bytes[i] = (uint8_t)(at * 31 + (at >> 8) * 7 + (at >> 16) * 3 + index);
    }
}

static void put_configuration(lm_raft_image_t *image)
{
    lm_raft_identity_t who = stage_identity();
    struct raft_configuration configuration;
    struct raft_buffer bytes;
    raft_configuration_init(&configuration);
    for (uint32_t i = 0; i < who.n_servers; i++)
        raft_configuration_add(&configuration, who.servers[i].id, who.servers[i].name, RAFT_VOTER);
    raft_configuration_encode(&configuration, &bytes);
    raft_configuration_close(&configuration);
    memcpy(image->configuration, bytes.base, bytes.len);
    image->configuration_size = (uint32_t)bytes.len;
    image->configuration_index = 1;
    raft_free(bytes.base);
}

lm_raft_image_t stage_image(uint64_t index, uint64_t term, size_t size)
{
    lm_raft_image_t image = {
        .index = index, .term = term, .length = size, .state_hash = index * 1000003};
    uint8_t bytes[4096];
    for (size_t at = 0; at < size; at += sizeof bytes) {
        size_t part = size - at < sizeof bytes ? size - at : sizeof bytes;
        stage_body(index, at, bytes, part);
        image.crc32c = lm_crc32c(image.crc32c, lm_bytes(bytes, part));
    }
    put_configuration(&image);
    return image;
}

void stage_write_image(stage_t *stage, const lm_raft_image_t *image, uint64_t offset)
{
    uint8_t *bytes = lm_alloc(LM_RAFT_IMAGE_PIECE_BYTES);
    unsigned unanswered = 0;
    while (offset < image->length || unanswered > 0) {
        if (offset < image->length && unanswered < LM_RAFT_IMAGE_PIECES_AHEAD) {
            size_t size = LM_RAFT_IMAGE_PIECE_BYTES;
            if (image->length - offset < size) size = (size_t)(image->length - offset);
            stage_body(image->index, offset, bytes, size);
            stage->disk->image_write(stage->disk, offset, lm_bytes(bytes, size));
            offset += size;
            unanswered++;
            continue;
        }
        lm_raft_done_t *done = stage_await(stage, LM_RAFT_DONE_IMAGE_WRITTEN);
        lm_raft_done_destroy(&done);
        unanswered--;
    }
    free(bytes);
}

void stage_snapshot(stage_t *stage, uint64_t index, uint64_t term, size_t size, uint32_t trailing)
{
    lm_raft_image_t image = stage_image(index, term, size);
    stage->disk->image_begin(stage->disk, index, term, 0, false);
    lm_raft_done_t *done = stage_await(stage, LM_RAFT_DONE_IMAGE_BEGUN);
    stage_expect(done->number == 0, "begun with %llu bytes", (unsigned long long)done->number);
    lm_raft_done_destroy(&done);
    stage_write_image(stage, &image, 0);
    stage->disk->image_finish(stage->disk, &image, trailing);
    if (trailing == 0) stage->last = index;
    done = stage_await(stage, LM_RAFT_DONE_IMAGE_FINISHED);
    stage_expect(done->image.index == index && done->image.crc32c == image.crc32c, "another image");
    lm_raft_done_destroy(&done);
}

bool stage_image_is_whole(stage_t *stage, const lm_raft_image_t *image)
{
    uint8_t *bytes = lm_alloc(LM_RAFT_IMAGE_PIECE_BYTES);
    uint64_t offset = 0;
    bool whole = true, last = false;
    while (whole && !last) {
        stage->disk->image_read(stage->disk, offset, image->index, image->term, offset,
                                LM_RAFT_IMAGE_PIECE_BYTES);
        lm_raft_done_t *done = stage_await(stage, LM_RAFT_DONE_IMAGE_DATA);
        whole = done->data != NULL && done->number == offset && done->offset == offset;
        stage_body(image->index, offset, bytes, done->data_size);
        whole = whole && memcmp(bytes, done->data, done->data_size) == 0;
        offset += done->data_size;
        last = done->last;
        lm_raft_done_destroy(&done);
    }
    free(bytes);
    return whole && offset == image->length;
}

/* ---- children -------------------------------------------------------------------------------- */

static pid_t begin_child(void (*story)(stage_t *stage, void *arg), stage_t *stage, void *arg)
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        in_child = true;
        story(stage, arg);
        _exit(0);
    }
    return child;
}

bool stage_kill(void (*story)(stage_t *stage, void *arg), stage_t *stage, void *arg,
                const _Atomic bool *ready, unsigned us)
{
    int status = 0;
    pid_t child = begin_child(story, stage, arg);
    while (ready && !atomic_load(ready))
        if (waitpid(child, &status, WNOHANG) != 0 || usleep(200) != 0) return false;
    usleep(us);
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

int stage_child(void (*story)(stage_t *stage, void *arg), stage_t *stage, void *arg, int seconds)
{
    int status = 0;
    pid_t child = begin_child(story, stage, arg);
    for (int waited = 0; waitpid(child, &status, WNOHANG) == 0; waited++) {
        if (waited > seconds * 1000) {
            kill(child, SIGKILL);
            waitpid(child, &status, 0);
            return -1;
        }
        usleep(1000);
    }
    return WIFSIGNALED(status) ? 256 + WTERMSIG(status) : WEXITSTATUS(status);
}
