/* Images are written piece by piece in the pool, one piece of work at a time, so that nothing of
 * the log waits for them. When one is complete the library is given a snapshot that only names it.
 *
 *   command -> queue -> pool: write, check, rename -> the library's put -> pool: sweep -> report
 *
 * An own snapshot lets entries be appended while it is put, but no truncation begins. One that is
 * installed has the log to itself (must_wait in raft_uv_disk), and a note in the directory says so
 * until the old entries are gone: a crash in between would leave some of them.
 *
 * The library puts a snapshot that it could not write off for later, without telling. So whenever
 * nothing is at work any more, and the put has not ended, it never will. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base_arena.h"
#include "base_check.h"
#include "base_log.h"
#include "raft_messages.h"
#include "raft_uv_state.h"

/* Files of images stay open this long for the next read, also when they have been removed. */
#define OPEN_US UINT64_C(60000000)

static void next_job(lm_raft_uv_t *d);

static lm_raft_uv_t *disk_of(lm_raft_uv_work_t *work) { return work->disk; }

/* ---- the work in the pool -------------------------------------------------------------------- */

static void work_begin(lm_raft_uv_work_t *work)
{
    lm_raft_uv_images_t *im = &disk_of(work)->images;
    const lm_raft_uv_command_t *job = im->now;
    bool good =
        lm_raft_image_file_begin(&im->writer, lm_raft_datadir_folder(work->disk->dir), job->index,
                                 job->term, job->crc32c, job->resume, &im->fault);
    im->state = good ? LM_RAFT_IMAGE_GOOD : LM_RAFT_IMAGE_UNKNOWN;
}

static void work_write(lm_raft_uv_work_t *work)
{
    lm_raft_uv_images_t *im = &disk_of(work)->images;
    bool good =
        lm_raft_image_file_append(&im->writer, lm_bytes(im->now->data, im->now->size), &im->fault);
    im->state = good ? LM_RAFT_IMAGE_GOOD : LM_RAFT_IMAGE_UNKNOWN;
}

static void work_finish(lm_raft_uv_work_t *work)
{
    lm_raft_uv_images_t *im = &disk_of(work)->images;
    const lm_raft_image_t *image = im->now->image;
    lm_bytes_t configuration = lm_bytes(image->configuration, image->configuration_size);
    /* It may be another node that named it. */
    if (!lm_raft_messages_is_configuration(configuration)) {
        lm_raft_image_file_drop(&im->writer, false);
        lm_raft_fault_set(&im->fault, LM_EXIT_DAMAGED, "an image comes without a configuration");
        im->state = LM_RAFT_IMAGE_DAMAGED;
        return;
    }
    im->state = lm_raft_image_file_complete(&im->writer, image, &im->fault);
}

static void work_drop(lm_raft_uv_work_t *work)
{
    lm_raft_uv_images_t *im = &disk_of(work)->images;
    lm_raft_image_file_drop(&im->writer, im->now->keep);
    im->state = LM_RAFT_IMAGE_GOOD;
}

static void work_sweep(lm_raft_uv_work_t *work)
{
    lm_raft_uv_images_t *im = &disk_of(work)->images;
    bool good = lm_raft_image_file_sweep(lm_raft_datadir_folder(work->disk->dir), &im->fault);
    im->state = good ? LM_RAFT_IMAGE_GOOD : LM_RAFT_IMAGE_UNKNOWN;
}

/* ---- the end of a job ------------------------------------------------------------------------ */

static void end_job(lm_raft_uv_t *d, lm_raft_done_t *done)
{
    lm_raft_uv_images_t *im = &d->images;
    if (im->now->kind == LM_RAFT_UV_IMAGE_FINISH && im->now->trailing == 0) d->installing = false;
    lm_raft_uv_disk_free(im->now);
    im->now = NULL;
    if (done) lm_raft_uv_disk_report(d, done);
    next_job(d);
}

static void fail_job(lm_raft_uv_t *d, const lm_raft_fault_t *fault)
{
    d->images.put = LM_RAFT_PUT_NONE;
    lm_raft_uv_disk_fail(d, fault);
}

static void on_swept(lm_raft_uv_work_t *work)
{
    lm_raft_uv_t *d = work->disk;
    lm_raft_uv_images_t *im = &d->images;
    if (d->failed || d->closing) return;
    if (im->state != LM_RAFT_IMAGE_GOOD) {
        fail_job(d, &im->fault);
        return;
    }
    lm_raft_done_t *done = lm_raft_uv_disk_done(LM_RAFT_DONE_IMAGE_FINISHED, 0);
    done->image = d->scan.image = *im->now->image;
    end_job(d, done);
}

/* ---- the snapshot of the library ------------------------------------------------------------- */

static void installation_name(const lm_raft_image_t *image, char name[64])
{
    snprintf(name, 64, LM_RAFT_INSTALLATION_PREFIX "%llu-%llu", (unsigned long long)image->term,
             (unsigned long long)image->index);
}

/* The log is empty now, or the entries of before would be taken for those behind the snapshot. */
static bool end_installation(lm_raft_uv_t *d, lm_raft_fault_t *fault)
{
    const lm_raft_image_t *image = d->images.now->image;
    char name[64];
    installation_name(image, name);
    lm_raft_uv_disk_blocking(d, true);
    bool good = lm_raft_uv_log_ends_before(d, 1, fault) &&
                lm_raft_uv_mark_install(d, image->index, image->term, fault) &&
                lm_raft_datadir_unnote(d->dir, name, fault);
    lm_raft_uv_disk_blocking(d, false);
    return good;
}

static void on_put(struct raft_io_snapshot_put *request, int status)
{
    lm_raft_uv_t *d = request->data;
    lm_raft_uv_images_t *im = &d->images;
    lm_raft_fault_t fault = {0};
    raft_configuration_close(&im->snapshot.configuration);
    im->put = LM_RAFT_PUT_NONE;
    if (d->failed || d->closing) return;
    if (status != 0) {
        lm_raft_uv_disk_fail_library(d, LM_EXIT_SYSTEM, "the snapshot cannot be written", status);
        return;
    }
    if (im->now->trailing == 0 && !end_installation(d, &fault)) {
        fail_job(d, &fault);
        return;
    }
    lm_raft_uv_disk_work(d, &im->work, work_sweep, on_swept);
}

static bool begin_installation(lm_raft_uv_t *d, lm_raft_fault_t *fault)
{
    char name[64];
    installation_name(d->images.now->image, name);
    lm_raft_uv_disk_blocking(d, true);
    bool good = lm_raft_uv_mark_lower(d, d->images.now->image->index, fault) &&
                lm_raft_datadir_note(d->dir, name, fault);
    lm_raft_uv_disk_blocking(d, false);
    return good;
}

static bool prepare_log(lm_raft_uv_t *d, lm_raft_fault_t *fault)
{
    const lm_raft_uv_command_t *job = d->images.now;
    uint64_t index = job->image->index;
    if (job->trailing == 0) return begin_installation(d, fault);
    return index <= job->trailing || lm_raft_uv_mark_trim(d, index - job->trailing, fault);
}

static void start_put(lm_raft_uv_t *d)
{
    lm_raft_uv_images_t *im = &d->images;
    const lm_raft_image_t *image = im->now->image;
    lm_raft_fault_t fault = {0};
    struct raft_buffer bytes = {.base = (void *)(uintptr_t)image->configuration,
                                .len = image->configuration_size};
    im->snapshot = (struct raft_snapshot){.index = image->index,
                                          .term = image->term,
                                          .configuration_index = image->configuration_index,
                                          .bufs = &im->body,
                                          .n_bufs = 1};
    LM_CHECK(raft_configuration_decode(&bytes, &im->snapshot.configuration) == 0,
             "the configuration of image %llu", (unsigned long long)image->index);
    lm_raft_image_file_describe(image, im->descriptor);
    im->body = (struct raft_buffer){.base = im->descriptor, .len = sizeof im->descriptor};
    im->put_request.data = d;
    im->put = LM_RAFT_PUT_RUNNING;
    im->began_us = lm_raft_uv_disk_now();
    if (!prepare_log(d, &fault)) {
        fail_job(d, &fault);
        return;
    }
    int rv = d->io.snapshot_put(&d->io, im->now->trailing, &im->put_request, &im->snapshot, on_put);
    if (rv != 0)
        lm_raft_uv_disk_fail_library(d, LM_EXIT_SYSTEM, "the snapshot cannot be written", rv);
}

/* ---- jobs ------------------------------------------------------------------------------------ */

static void on_job_ended(lm_raft_uv_work_t *work)
{
    lm_raft_uv_t *d = work->disk;
    lm_raft_uv_images_t *im = &d->images;
    lm_raft_done_t *done = NULL;
    if (d->failed || d->closing) return;
    if (im->state == LM_RAFT_IMAGE_UNKNOWN) {
        fail_job(d, &im->fault);
        return;
    }
    if (im->now->kind == LM_RAFT_UV_IMAGE_FINISH && im->state == LM_RAFT_IMAGE_GOOD) {
        im->put = LM_RAFT_PUT_WAITING;
        return; /* goes on after all callbacks of this turn */
    }
    if (im->now->kind == LM_RAFT_UV_IMAGE_FINISH) {
        lm_warn("%s", im->fault.words);
        done = lm_raft_uv_disk_done(LM_RAFT_DONE_IMAGE_BAD, 0);
        done->image = *im->now->image;
    } else if (im->now->kind == LM_RAFT_UV_IMAGE_BEGIN) {
        done = lm_raft_uv_disk_done(LM_RAFT_DONE_IMAGE_BEGUN, im->writer.length);
    } else if (im->now->kind == LM_RAFT_UV_IMAGE_WRITE) {
        done = lm_raft_uv_disk_done(LM_RAFT_DONE_IMAGE_WRITTEN, im->writer.length);
    }
    end_job(d, done);
}

static void check_write(const lm_raft_uv_t *d, const lm_raft_uv_command_t *job)
{
    const lm_raft_image_writer_t *writer = &d->images.writer;
    LM_CHECK(writer->fd >= 0 && job->offset == writer->length,
             "bytes for %llu of an image of which there are %llu (%d)",
             (unsigned long long)job->offset, (unsigned long long)writer->length, writer->fd);
}

static void next_job(lm_raft_uv_t *d)
{
    static void (*const runs[])(lm_raft_uv_work_t *) = {
        [LM_RAFT_UV_IMAGE_BEGIN] = work_begin,
        [LM_RAFT_UV_IMAGE_WRITE] = work_write,
        [LM_RAFT_UV_IMAGE_FINISH] = work_finish,
        [LM_RAFT_UV_IMAGE_DROP] = work_drop,
    };
    lm_raft_uv_images_t *im = &d->images;
    if (im->now || d->failed || d->closing) return;
    im->now = lm_raft_uv_disk_pop(&im->queue);
    if (!im->now) return;
    if (im->now->kind == LM_RAFT_UV_IMAGE_WRITE) check_write(d, im->now);
    im->fault = (lm_raft_fault_t){0};
    im->began_us = lm_raft_uv_disk_now();
    lm_raft_uv_disk_work(d, &im->work, runs[im->now->kind], on_job_ended);
}

/* ---- reading --------------------------------------------------------------------------------- */

typedef struct {
    lm_raft_uv_work_t work;
    lm_raft_uv_command_t *command;
    lm_raft_uv_open_t *file;
    int error;
    lm_raft_done_t *done;
} read_t;

static void close_file(lm_raft_uv_open_t *file)
{
    close(file->fd);
    file->fd = -1;
}

/* An open file of that image; NULL if it is not there. */
static lm_raft_uv_open_t *file_of(lm_raft_uv_t *d, uint64_t index, uint64_t term)
{
    lm_raft_uv_open_t *oldest = NULL;
    for (size_t i = 0; i < LM_RAFT_UV_OPEN_MAX; i++) {
        lm_raft_uv_open_t *file = &d->images.open[i];
        if (file->fd >= 0 && file->index == index && file->term == term) return file;
        if (file->reads == 0 &&
            (!oldest || file->fd < 0 || (oldest->fd >= 0 && file->used_us < oldest->used_us)))
            oldest = file;
    }
    uint64_t length;
    int fd = lm_raft_image_file_open(lm_raft_datadir_folder(d->dir), index, term, &length);
    if (fd < 0) return NULL;
    /* More files than may be read at a time: one of them rests. */
    LM_CHECK(oldest != NULL, "%u images are being read", d->images.n_reading);
    if (oldest->fd >= 0) close_file(oldest);
    *oldest = (lm_raft_uv_open_t){.index = index, .term = term, .length = length, .fd = fd};
    return oldest;
}

static void work_read(lm_raft_uv_work_t *work)
{
    read_t *reading = (read_t *)(void *)work;
    lm_raft_done_t *done = reading->done;
    size_t size = done->data_size;
    for (done->data_size = 0; done->data_size < size;) {
        ssize_t got =
            pread(reading->file->fd, done->data + done->data_size, size - done->data_size,
                  (off_t)(LM_RAFT_IMAGE_HEAD_BYTES + reading->command->offset + done->data_size));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) {
            reading->error = got < 0 ? errno : EIO;
            return;
        }
        done->data_size += (size_t)got;
    }
}

static void next_read(lm_raft_uv_t *d);

static void on_read(lm_raft_uv_work_t *work)
{
    read_t *reading = (read_t *)(void *)work;
    lm_raft_uv_t *d = work->disk;
    lm_raft_fault_t fault = {0};
    char name[LM_RAFT_IMAGE_NAME_SIZE];
    reading->file->reads--;
    reading->file->used_us = lm_raft_uv_disk_now();
    d->images.n_reading--;
    lm_raft_image_file_name(reading->command->index, reading->command->term, name);
    if (reading->error)
        lm_raft_fault_set(&fault, LM_EXIT_SYSTEM, "%s/%s: %s", lm_raft_datadir_path(d->dir), name,
                          strerror(reading->error));
    if (reading->error || d->closing || d->failed) {
        lm_raft_done_destroy(&reading->done);
        if (reading->error && !d->closing) lm_raft_uv_disk_fail(d, &fault);
    } else {
        lm_raft_uv_disk_report(d, reading->done);
    }
    lm_raft_uv_disk_free(reading->command);
    free(reading);
    next_read(d);
}

static void start_read(lm_raft_uv_t *d, lm_raft_uv_command_t *command)
{
    lm_raft_done_t *done = lm_raft_uv_disk_done(LM_RAFT_DONE_IMAGE_DATA, command->number);
    done->offset = command->offset;
    lm_raft_uv_open_t *file = file_of(d, command->index, command->term);
    if (!file || command->offset > file->length) {
        lm_raft_uv_disk_report(d, done);
        lm_raft_uv_disk_free(command);
        return;
    }
    uint64_t left = file->length - command->offset;
    done->data_size = left < command->size ? (size_t)left : command->size;
    done->data = lm_alloc(done->data_size + 1);
    done->last = done->data_size == left;
    read_t *reading = lm_alloc(sizeof *reading);
    reading->command = command;
    reading->file = file;
    reading->done = done;
    file->reads++;
    d->images.n_reading++;
    lm_raft_uv_disk_work(d, &reading->work, work_read, on_read);
}

static void next_read(lm_raft_uv_t *d)
{
    while (!d->closing && !d->failed && d->images.n_reading < LM_RAFT_UV_READS_MAX &&
           d->images.reads.first)
        start_read(d, lm_raft_uv_disk_pop(&d->images.reads));
}

/* ---- life ------------------------------------------------------------------------------------ */

bool lm_raft_uv_image_run(lm_raft_uv_t *d, lm_raft_uv_command_t *command)
{
    if (command->kind == LM_RAFT_UV_IMAGE_READ) {
        lm_raft_uv_disk_push(&d->images.reads, command);
        next_read(d);
        return false;
    }
    if (command->kind == LM_RAFT_UV_IMAGE_FINISH) {
        LM_CHECK(command->image->index > d->scan.image.index, "an image of %llu behind one of %llu",
                 (unsigned long long)command->image->index,
                 (unsigned long long)d->scan.image.index);
        d->installing = command->trailing == 0;
    }
    lm_raft_uv_disk_push(&d->images.queue, command);
    next_job(d);
    return false;
}

/* Entries that were given before may still be on their way. */
static bool may_put(const lm_raft_uv_t *d)
{
    const lm_raft_uv_command_t *job = d->images.now;
    if (d->truncating) return false;
    if (job->trailing == 0 || job->image->index <= d->mark.written) return true;
    LM_CHECK(d->appends > 0, "a snapshot of entry %llu, but the log ends at %llu",
             (unsigned long long)job->image->index, (unsigned long long)d->mark.written);
    return false;
}

void lm_raft_uv_image_check(lm_raft_uv_t *d)
{
    lm_raft_uv_images_t *im = &d->images;
    if (d->failed) return;
    if (im->put == LM_RAFT_PUT_WAITING && may_put(d))
        start_put(d);
    else if (im->put == LM_RAFT_PUT_RUNNING && d->appends == 0 && lm_raft_uv_disk_library_rests(d))
        lm_raft_uv_disk_fail_library(d, LM_EXIT_SYSTEM, "the snapshot could not be written",
                                     RAFT_IOERR);
}

void lm_raft_uv_image_tick(lm_raft_uv_t *d)
{
    lm_raft_uv_images_t *im = &d->images;
    uint64_t now = lm_raft_uv_disk_now();
    /* To read a part through may take long. */
    if (im->now && im->now->kind != LM_RAFT_UV_IMAGE_BEGIN &&
        now - im->began_us > LM_RAFT_UV_STALL_US)
        lm_raft_uv_disk_fail_library(d, LM_EXIT_SYSTEM,
                                     "a write of an image has not ended for 30 s", RAFT_IOERR);
    for (size_t i = 0; i < LM_RAFT_UV_OPEN_MAX; i++) {
        lm_raft_uv_open_t *file = &im->open[i];
        if (file->fd >= 0 && file->reads == 0 && now - file->used_us > OPEN_US) close_file(file);
    }
}

void lm_raft_uv_image_init(lm_raft_uv_t *d)
{
    lm_raft_uv_images_t *im = &d->images;
    im->queue.last = &im->queue.first;
    im->reads.last = &im->reads.first;
    im->writer.fd = -1;
    for (size_t i = 0; i < LM_RAFT_UV_OPEN_MAX; i++) im->open[i].fd = -1;
}

void lm_raft_uv_image_close(lm_raft_uv_t *d)
{
    lm_raft_uv_images_t *im = &d->images;
    lm_raft_uv_command_t *command;
    lm_raft_image_file_drop(&im->writer, true);
    for (size_t i = 0; i < LM_RAFT_UV_OPEN_MAX; i++)
        if (im->open[i].fd >= 0) close_file(&im->open[i]);
    if (im->now) lm_raft_uv_disk_free(im->now);
    while ((command = lm_raft_uv_disk_pop(&im->queue))) lm_raft_uv_disk_free(command);
    while ((command = lm_raft_uv_disk_pop(&im->reads))) lm_raft_uv_disk_free(command);
}
