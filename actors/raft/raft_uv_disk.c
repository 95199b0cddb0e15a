/* One thread runs a libuv loop; commands come through a queue and an async handle.
 *
 * What must not meet is kept apart here: a truncation waits for all writes and for a snapshot that
 * is being put, and what comes behind a truncation or an installation waits until it has ended. */
#include "raft_uv_disk.h"

#include <stdlib.h>
#include <time.h>

#include "act_stacks.h"
#include "base_arena.h"
#include "base_door.h"
#include "raft_uv_state.h"

uint64_t lm_raft_uv_disk_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

void lm_raft_uv_disk_blocking(lm_raft_uv_t *d, bool on)
{
    if (d->blocking_since_us) atomic_store(d->blocking_since_us, on ? lm_raft_uv_disk_now() : 0);
}

/* ---- reports --------------------------------------------------------------------------------- */

lm_raft_done_t *lm_raft_uv_disk_done(lm_raft_done_kind_t kind, uint64_t number)
{
    lm_raft_done_t *done = lm_alloc(sizeof *done);
    done->kind = kind;
    done->number = number;
    return done;
}

void lm_raft_uv_disk_report(lm_raft_uv_t *d, lm_raft_done_t *done) { d->report(d->arg, done); }

void lm_raft_uv_disk_fail(lm_raft_uv_t *d, const lm_raft_fault_t *fault)
{
    if (d->failed) return;
    d->failed = true;
    lm_raft_done_t *done = lm_raft_uv_disk_done(LM_RAFT_DONE_FAILED, 0);
    done->fault = *fault;
    lm_raft_uv_disk_report(d, done);
}

void lm_raft_uv_disk_fail_library(lm_raft_uv_t *d, lm_exit_t code, const char *what, int rv)
{
    lm_raft_fault_t fault = {0};
    const char *detail = d->io.errmsg[0] ? d->io.errmsg : raft_strerror(rv);
    const char *where = d->dir ? lm_raft_datadir_path(d->dir) : "";
    lm_raft_fault_set(&fault, code, "%s: %s: %s", where, what, detail);
    lm_raft_uv_disk_fail(d, &fault);
}

/* ---- work for the pool ----------------------------------------------------------------------- */

static void on_work(uv_work_t *request)
{
    LM_DOOR_ARRIVE(request);
    lm_raft_uv_work_t *work = request->data;
    lm_voice_take(work->disk->voice);
    work->run(work);
    lm_voice_take(NULL);
    LM_DOOR_LEAVE(request);
}

static void on_work_ended(uv_work_t *request, int status)
{
    LM_DOOR_ARRIVE(request);
    lm_raft_uv_work_t *work = request->data;
    (void)status; /* nothing is ever cancelled */
    work->disk->works--;
    work->ended(work);
}

void lm_raft_uv_disk_work(lm_raft_uv_t *d, lm_raft_uv_work_t *work,
                          void (*run)(lm_raft_uv_work_t *work),
                          void (*ended)(lm_raft_uv_work_t *work))
{
    work->disk = d;
    work->run = run;
    work->ended = ended;
    work->work.data = work;
    d->works++;
    LM_DOOR_LEAVE(&work->work);
    uv_queue_work(&d->loop, &work->work, on_work, on_work_ended);
}

bool lm_raft_uv_disk_library_rests(const lm_raft_uv_t *d)
{
    return d->loop.active_reqs.count == d->works;
}

/* ---- closing --------------------------------------------------------------------------------- */

static void close_handles(lm_raft_uv_t *d)
{
    uv_close((uv_handle_t *)&d->async, NULL);
    uv_close((uv_handle_t *)&d->check, NULL);
    uv_close((uv_handle_t *)&d->timer, NULL);
    uv_close((uv_handle_t *)&d->mark.timer, NULL);
}

static void on_io_closed(struct raft_io *io)
{
    lm_raft_uv_t *d = (lm_raft_uv_t *)(void *)((char *)io - offsetof(lm_raft_uv_t, io));
    raft_uv_close(io);
    close_handles(d);
}

static bool run_close(lm_raft_uv_t *d, lm_raft_uv_command_t *command)
{
    (void)command;
    d->closing = true;
    if (!d->io_is_open) {
        close_handles(d);
    } else if (d->failed && d->io_is_started) {
        /* What the library would do next is not to be trusted. */
        uv_stop(&d->loop);
    } else {
        d->io.close(&d->io, on_io_closed);
    }
    return true;
}

/* ---- the thread ------------------------------------------------------------------------------ */

void lm_raft_uv_disk_push(lm_raft_uv_queue_t *queue, lm_raft_uv_command_t *command)
{
    command->next = NULL;
    *queue->last = command;
    queue->last = &command->next;
}

lm_raft_uv_command_t *lm_raft_uv_disk_pop(lm_raft_uv_queue_t *queue)
{
    lm_raft_uv_command_t *command = queue->first;
    if (!command) return NULL;
    queue->first = command->next;
    if (!queue->first) queue->last = &queue->first;
    return command;
}

void lm_raft_uv_disk_free(lm_raft_uv_command_t *command)
{
    free(command->path);
    free(command->region);
    free(command->node);
    free(command->identity);
    free(command->entries);
    free(command->image);
    free(command->data);
    free(command);
}

typedef struct {
    bool (*run)(lm_raft_uv_t *, lm_raft_uv_command_t *);
    bool blocks;
} handler_t;

static const handler_t handlers[] = {
    [LM_RAFT_UV_OPEN] = {lm_raft_uv_load_open, true},
    [LM_RAFT_UV_SAVE_IDENTITY] = {lm_raft_uv_load_save, true},
    [LM_RAFT_UV_LOAD] = {lm_raft_uv_load_run, true},
    [LM_RAFT_UV_SET_METADATA] = {lm_raft_uv_log_metadata, true},
    [LM_RAFT_UV_TRUNCATE] = {lm_raft_uv_log_truncate, true},
    [LM_RAFT_UV_APPEND] = {lm_raft_uv_log_append, false},
    [LM_RAFT_UV_FORGET_LOSS] = {lm_raft_uv_mark_forget, false},
    [LM_RAFT_UV_IMAGE_BEGIN] = {lm_raft_uv_image_run, false},
    [LM_RAFT_UV_IMAGE_WRITE] = {lm_raft_uv_image_run, false},
    [LM_RAFT_UV_IMAGE_FINISH] = {lm_raft_uv_image_run, false},
    [LM_RAFT_UV_IMAGE_DROP] = {lm_raft_uv_image_run, false},
    [LM_RAFT_UV_IMAGE_READ] = {lm_raft_uv_image_run, false},
    [LM_RAFT_UV_CLOSE] = {run_close, false},
};

static void run_command(lm_raft_uv_t *d, lm_raft_uv_command_t *command)
{
    const handler_t *handler = &handlers[command->kind];
    bool ended = true;
    if (!d->failed || command->kind == LM_RAFT_UV_CLOSE) {
        if (handler->blocks) lm_raft_uv_disk_blocking(d, true);
        ended = handler->run(d, command);
        if (handler->blocks) lm_raft_uv_disk_blocking(d, false);
    }
    if (ended) lm_raft_uv_disk_free(command);
}

static bool must_wait(const lm_raft_uv_t *d, const lm_raft_uv_command_t *command)
{
    if (d->failed || command->kind == LM_RAFT_UV_CLOSE) return false;
    if (d->truncating || d->installing) return true;
    if (command->kind == LM_RAFT_UV_TRUNCATE)
        return d->appends > 0 || d->images.put == LM_RAFT_PUT_RUNNING;
    if (command->kind == LM_RAFT_UV_IMAGE_FINISH && command->trailing == 0) return d->appends > 0;
    return false;
}

static void run_waiting(lm_raft_uv_t *d)
{
    while (d->waiting.first && !d->closing && !must_wait(d, d->waiting.first))
        run_command(d, lm_raft_uv_disk_pop(&d->waiting));
}

static void on_async(uv_async_t *async)
{
    lm_raft_uv_t *d = async->data;
    pthread_mutex_lock(&d->mutex);
    if (d->inlet.first) {
        *d->waiting.last = d->inlet.first;
        d->waiting.last = d->inlet.last;
        d->inlet.first = NULL;
        d->inlet.last = &d->inlet.first;
    }
    pthread_mutex_unlock(&d->mutex);
    run_waiting(d);
}

/* Runs after all callbacks of a turn of the loop. */
static void on_check(uv_check_t *check)
{
    lm_raft_uv_t *d = check->data;
    if (!d->failed && !d->closing) {
        lm_raft_uv_log_check(d);
        lm_raft_uv_image_check(d);
    }
    run_waiting(d);
}

static void on_timer(uv_timer_t *timer)
{
    lm_raft_uv_t *d = timer->data;
    if ((d->appends > 0 || d->truncating) &&
        lm_raft_uv_disk_now() - d->oldest_append_us > LM_RAFT_UV_STALL_US)
        lm_raft_uv_disk_fail_library(d, LM_EXIT_SYSTEM, "a write of the log has not ended for 30 s",
                                     RAFT_IOERR);
    if (!d->failed && !d->closing) lm_raft_uv_image_tick(d);
}

static void *thread_main(void *arg)
{
    lm_raft_uv_t *d = arg;
    lm_voice_take(d->voice);
    /* No write, and no sync, ends early because somebody wants to see stacks: a failed one is
     * final. Threads that libuv starts for it take this mask over. */
    lm_stacks_refuse();
    uv_run(&d->loop, UV_RUN_DEFAULT);
    return NULL;
}

/* ---- called by the room ---------------------------------------------------------------------- */

static lm_raft_uv_command_t *command_new(lm_raft_uv_kind_t kind)
{
    lm_raft_uv_command_t *command = lm_alloc(sizeof *command);
    command->kind = kind;
    return command;
}

static void put(lm_raft_disk_t *disk, lm_raft_uv_command_t *command)
{
    lm_raft_uv_t *d = (lm_raft_uv_t *)disk;
    pthread_mutex_lock(&d->mutex);
    lm_raft_uv_disk_push(&d->inlet, command);
    pthread_mutex_unlock(&d->mutex);
    uv_async_send(&d->async);
}

static void *copy(const void *bytes, size_t size)
{
    void *own = lm_alloc(size);
    memcpy(own, bytes, size);
    return own;
}

static void disk_open(lm_raft_disk_t *disk, const char *path, const char *region, const char *node)
{
    lm_raft_uv_command_t *command = command_new(LM_RAFT_UV_OPEN);
    command->path = strdup(path);
    command->region = strdup(region);
    command->node = strdup(node);
    put(disk, command);
}

static void disk_save_identity(lm_raft_disk_t *disk, const lm_raft_identity_t *identity)
{
    lm_raft_uv_command_t *command = command_new(LM_RAFT_UV_SAVE_IDENTITY);
    command->identity = copy(identity, sizeof *identity);
    put(disk, command);
}

static void disk_load(lm_raft_disk_t *disk, const lm_raft_identity_t *identity, bool bootstrap)
{
    lm_raft_uv_command_t *command = command_new(LM_RAFT_UV_LOAD);
    command->identity = copy(identity, sizeof *identity);
    command->bootstrap = bootstrap;
    put(disk, command);
}

static void disk_set_metadata(lm_raft_disk_t *disk, uint64_t term, uint64_t voted_for)
{
    lm_raft_uv_command_t *command = command_new(LM_RAFT_UV_SET_METADATA);
    command->term = term;
    command->voted_for = voted_for;
    put(disk, command);
}

static void disk_truncate(lm_raft_disk_t *disk, uint64_t index)
{
    lm_raft_uv_command_t *command = command_new(LM_RAFT_UV_TRUNCATE);
    command->index = index;
    put(disk, command);
}

static void disk_append(lm_raft_disk_t *disk, uint64_t number, const lm_raft_entry_t *entries,
                        size_t n)
{
    lm_raft_uv_command_t *command = command_new(LM_RAFT_UV_APPEND);
    command->number = number;
    command->n_entries = (unsigned)n;
    command->entries = lm_alloc(n * sizeof *command->entries);
    for (size_t i = 0; i < n; i++)
        command->entries[i] = (struct raft_entry){
            .term = entries[i].term,
            .type = (enum raft_entry_type)entries[i].type,
            .buf = {.base = (void *)(uintptr_t)entries[i].data.data, .len = entries[i].data.size},
        };
    put(disk, command);
}

static void disk_forget_loss(lm_raft_disk_t *disk)
{
    put(disk, command_new(LM_RAFT_UV_FORGET_LOSS));
}

static void disk_image_begin(lm_raft_disk_t *disk, uint64_t index, uint64_t term, uint32_t crc32c,
                             bool resume)
{
    lm_raft_uv_command_t *command = command_new(LM_RAFT_UV_IMAGE_BEGIN);
    command->index = index;
    command->term = term;
    command->crc32c = crc32c;
    command->resume = resume;
    put(disk, command);
}

static void disk_image_write(lm_raft_disk_t *disk, uint64_t offset, lm_bytes_t data)
{
    lm_raft_uv_command_t *command = command_new(LM_RAFT_UV_IMAGE_WRITE);
    command->offset = offset;
    command->data = copy(data.data, data.size);
    command->size = data.size;
    put(disk, command);
}

static void disk_image_finish(lm_raft_disk_t *disk, const lm_raft_image_t *image, uint32_t trailing)
{
    lm_raft_uv_command_t *command = command_new(LM_RAFT_UV_IMAGE_FINISH);
    command->image = copy(image, sizeof *image);
    command->trailing = trailing;
    put(disk, command);
}

static void disk_image_drop(lm_raft_disk_t *disk, bool keep)
{
    lm_raft_uv_command_t *command = command_new(LM_RAFT_UV_IMAGE_DROP);
    command->keep = keep;
    put(disk, command);
}

static void disk_image_read(lm_raft_disk_t *disk, uint64_t number, uint64_t index, uint64_t term,
                            uint64_t offset, size_t bytes_max)
{
    lm_raft_uv_command_t *command = command_new(LM_RAFT_UV_IMAGE_READ);
    command->number = number;
    command->index = index;
    command->term = term;
    command->offset = offset;
    command->size = bytes_max;
    put(disk, command);
}

static void start_loop(lm_raft_uv_t *d)
{
    uv_loop_init(&d->loop);
    uv_async_init(&d->loop, &d->async, on_async);
    uv_check_init(&d->loop, &d->check);
    uv_timer_init(&d->loop, &d->timer);
    d->async.data = d->check.data = d->timer.data = d;
    lm_raft_uv_mark_init(d);
    uv_check_start(&d->check, on_check);
    uv_timer_start(&d->timer, on_timer, 1000, 1000);
    pthread_create(&d->thread, NULL, thread_main, d);
    pthread_setname_np(d->thread, "disk");
}

lm_raft_disk_t *lm_raft_uv_disk_new(lm_raft_report_t *report, void *arg,
                                    _Atomic uint64_t *blocking_since_us)
{
    lm_raft_uv_t *d = lm_alloc(sizeof *d);
    d->base = (lm_raft_disk_t){
        .open = disk_open,
        .save_identity = disk_save_identity,
        .load = disk_load,
        .set_metadata = disk_set_metadata,
        .truncate = disk_truncate,
        .append = disk_append,
        .forget_loss = disk_forget_loss,
        .image_begin = disk_image_begin,
        .image_write = disk_image_write,
        .image_finish = disk_image_finish,
        .image_drop = disk_image_drop,
        .image_read = disk_image_read,
    };
    d->voice = lm_voice_mine();
    d->report = report;
    d->arg = arg;
    d->blocking_since_us = blocking_since_us;
    pthread_mutex_init(&d->mutex, NULL);
    d->inlet.last = &d->inlet.first;
    d->waiting.last = &d->waiting.first;
    lm_raft_uv_image_init(d);
    start_loop(d);
    return &d->base;
}

void lm_raft_uv_disk_destroy(lm_raft_disk_t **disk)
{
    lm_raft_uv_t *d = (lm_raft_uv_t *)*disk;
    lm_raft_uv_command_t *command;
    if (!d) return;
    *disk = NULL;
    put(&d->base, command_new(LM_RAFT_UV_CLOSE));
    pthread_join(d->thread, NULL);
    /* After a failure the library's pool may still be at work in it. */
    if (d->failed && d->io_is_started) return;
    uv_loop_close(&d->loop);
    lm_raft_uv_image_close(d);
    lm_raft_uv_mark_close(d);
    lm_raft_datadir_close(&d->dir);
    while ((command = lm_raft_uv_disk_pop(&d->waiting))) lm_raft_uv_disk_free(command);
    while ((command = lm_raft_uv_disk_pop(&d->inlet))) lm_raft_uv_disk_free(command);
    pthread_mutex_destroy(&d->mutex);
    free(d);
}

const lm_histogram_t *lm_raft_uv_disk_writes(const lm_raft_disk_t *disk)
{
    return &((const lm_raft_uv_t *)(uintptr_t)disk)->writes;
}
