/* One thread runs a libuv loop; commands come through a queue and an async handle.
 *
 * The library retries a failed write by itself, without telling. It does trace every write that
 * ends; a write that ended without any append being reported is one that failed (on_check).
 *
 * A truncation gets the log to itself: it waits until all writes are done, and what comes behind it
 * waits until it has ended. The library tells nobody of that, and writes on after one that failed:
 * entries would come to lie behind those they replace, and be read as others after a restart. So
 * the loop is watched until nothing is at work in it any more, and then the directory is looked at.
 */
#include "raft_uv_disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <raft.h>
#include <raft/uv.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base_arena.h"
#include "base_log.h"
#include "raft_datadir.h"
#include "raft_messages.h"
#include "raft_scan.h"

#define STALL_US UINT64_C(30000000)
#define NEVER_RETRY_MS (3600u * 1000)

typedef enum { OPEN, SAVE_IDENTITY, LOAD, SET_METADATA, TRUNCATE, APPEND, CLOSE } command_kind_t;

typedef struct command {
    struct command *next;
    command_kind_t kind;
    char *path, *region, *node;
    lm_raft_identity_t identity;
    bool bootstrap;
    uint64_t term, voted_for; /* SET_METADATA */
    uint64_t number;          /* APPEND; index of TRUNCATE */
    struct raft_entry *entries;
    unsigned n_entries;
} command_t;

typedef struct uv_disk uv_disk_t;

typedef struct {
    struct raft_io_append request;
    uv_disk_t *disk;
    struct raft_entry *entries;
    uint64_t number;
} append_t;

struct uv_disk {
    lm_raft_disk_t base;
    lm_raft_report_t *report;
    void *arg;
    _Atomic uint64_t *blocking_since_us;
    pthread_t thread;
    pthread_mutex_t mutex;
    command_t *first, **last; /* under the mutex */
    uv_loop_t loop;
    uv_async_t async;
    uv_check_t check;
    uv_timer_t timer;
    /* The rest belongs to the thread. */
    command_t *waiting, **waiting_last;
    lm_raft_datadir_t *dir;
    struct raft_io io;
    struct raft_uv_transport transport;
    struct raft_tracer tracer;
    bool io_is_open, io_is_started, failed, closing;
    uint64_t durable_term, durable_vote;
    unsigned appends;          /* in flight */
    uint64_t oldest_append_us; /* or when the truncation began */
    uint64_t truncating;       /* index; 0: none */
    bool write_ended;
    uint64_t write_began_us;
    _Atomic uint64_t writes, write_us;
};

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void blocking(uv_disk_t *d, bool on)
{
    if (d->blocking_since_us) atomic_store(d->blocking_since_us, on ? now_us() : 0);
}

/* ---- reports --------------------------------------------------------------------------------- */

static lm_raft_done_t *done_new(lm_raft_done_kind_t kind, uint64_t number)
{
    lm_raft_done_t *done = lm_alloc(sizeof *done);
    done->kind = kind;
    done->number = number;
    return done;
}

static void report(uv_disk_t *d, lm_raft_done_t *done) { d->report(d->arg, done); }

static void fail(uv_disk_t *d, const lm_raft_fault_t *fault)
{
    if (d->failed) return;
    d->failed = true;
    lm_raft_done_t *done = done_new(LM_RAFT_DONE_FAILED, 0);
    done->fault = *fault;
    report(d, done);
}

static void fail_library(uv_disk_t *d, lm_exit_t code, const char *what, int rv)
{
    lm_raft_fault_t fault = {0};
    const char *detail = d->io.errmsg[0] ? d->io.errmsg : raft_strerror(rv);
    const char *where = d->dir ? lm_raft_datadir_path(d->dir) : "";
    lm_raft_fault_set(&fault, code, "%s: %s: %s", where, what, detail);
    fail(d, &fault);
}

/* ---- opening and loading --------------------------------------------------------------------- */

static void run_open(uv_disk_t *d, command_t *command)
{
    lm_raft_fault_t fault = {0};
    lm_raft_scan_t scan;
    lm_raft_done_t *done = done_new(LM_RAFT_DONE_OPENED, 0);
    d->dir = lm_raft_datadir_open(command->path, &fault);
    if (d->dir &&
        lm_raft_datadir_load(d->dir, command->region, command->node, &done->identity, &fault) &&
        lm_raft_scan(command->path, &done->identity, &scan, &fault)) {
        report(d, done);
        return;
    }
    lm_raft_done_destroy(&done);
    fail(d, &fault);
}

static void run_save_identity(uv_disk_t *d, command_t *command)
{
    lm_raft_fault_t fault = {0};
    if (lm_raft_datadir_save(d->dir, &command->identity, &fault))
        report(d, done_new(LM_RAFT_DONE_IDENTITY, 0));
    else
        fail(d, &fault);
}

static int transport_init(struct raft_uv_transport *t, raft_id id, const char *address)
{
    (void)t, (void)id, (void)address;
    return 0;
}

static int transport_listen(struct raft_uv_transport *t, raft_uv_accept_cb accepted)
{
    (void)t, (void)accepted;
    return 0;
}

static int transport_connect(struct raft_uv_transport *t, struct raft_uv_connect *request,
                             raft_id id, const char *address, raft_uv_connect_cb connected)
{
    (void)t, (void)request, (void)id, (void)address, (void)connected;
    return RAFT_NOCONNECTION;
}

static void transport_close(struct raft_uv_transport *t, raft_uv_transport_close_cb closed)
{
    closed(t);
}

static void on_trace(struct raft_tracer *tracer, int type, const void *info)
{
    uv_disk_t *d = tracer->impl;
    (void)info;
    /* Other types come from threads of the pool too. */
    if (type == RAFT_UV_TRACER_WRITE_SUBMIT) {
        d->write_began_us = now_us();
    } else if (type == RAFT_UV_TRACER_WRITE_COMPLETE) {
        atomic_fetch_add(&d->writes, 1);
        atomic_fetch_add(&d->write_us, now_us() - d->write_began_us);
        d->write_ended = true;
    }
}

static int open_io(uv_disk_t *d, const lm_raft_identity_t *identity)
{
    d->transport = (struct raft_uv_transport){
        .version = 1,
        .init = transport_init,
        .listen = transport_listen,
        .connect = transport_connect,
        .close = transport_close,
    };
    d->tracer = (struct raft_tracer){.impl = d, .version = 2, .emit = on_trace};
    int rv = raft_uv_init(&d->io, &d->loop, lm_raft_datadir_path(d->dir), &d->transport);
    if (rv != 0) return rv;
    raft_uv_set_tracer(&d->io, &d->tracer);
    raft_uv_set_auto_recovery(&d->io, false);
    raft_uv_set_disk_retry(&d->io, NEVER_RETRY_MS);
    rv = d->io.init(&d->io, lm_raft_identity_id(identity, identity->node), identity->node);
    if (rv == 0)
        d->io_is_open = true;
    else
        raft_uv_close(&d->io);
    return rv;
}

static int write_first_entry(uv_disk_t *d, const lm_raft_identity_t *identity)
{
    struct raft_configuration configuration;
    raft_configuration_init(&configuration);
    int rv = 0;
    for (uint32_t i = 0; i < identity->n_servers && rv == 0; i++)
        rv = raft_configuration_add(&configuration, identity->servers[i].id,
                                    identity->servers[i].name, RAFT_VOTER);
    if (rv == 0) rv = d->io.bootstrap(&d->io, &configuration);
    raft_configuration_close(&configuration);
    return rv;
}

/* Makes our entries of the library's: those of one file share their memory. */
static void take_entries(lm_raft_done_t *done, struct raft_entry *entries, size_t n)
{
    lm_raft_buffer_t *buffer = NULL;
    done->entries = lm_alloc((n + 1) * sizeof *done->entries);
    done->n_entries = n;
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || entries[i].batch != entries[i - 1].batch) {
            lm_raft_buffer_drop(&buffer);
            buffer = lm_raft_buffer_adopt(entries[i].batch, raft_free);
        }
        done->entries[i] = (lm_raft_entry_t){
            .term = entries[i].term,
            .type = entries[i].type,
            .data = lm_bytes(entries[i].buf.base, entries[i].buf.len),
            .buffer = lm_raft_buffer_keep(buffer),
        };
    }
    lm_raft_buffer_drop(&buffer);
    raft_free(entries);
}

/* The first entry must name the servers that the identity names. */
static bool same_servers(const lm_raft_entry_t *entry, const lm_raft_identity_t *identity)
{
    struct raft_configuration configuration;
    struct raft_buffer bytes = {.base = (void *)(uintptr_t)entry->data.data,
                                .len = entry->data.size};
    if (entry->type != LM_RAFT_CHANGE || !lm_raft_messages_is_configuration(entry->data) ||
        raft_configuration_decode(&bytes, &configuration) != 0)
        return false;
    bool same = configuration.n == identity->n_servers;
    for (unsigned i = 0; same && i < configuration.n; i++)
        same = lm_raft_identity_id(identity, configuration.servers[i].address) ==
               configuration.servers[i].id;
    raft_configuration_close(&configuration);
    return same;
}

static bool check_loaded(const uv_disk_t *d, const lm_raft_done_t *done, bool snapshot,
                         const lm_raft_identity_t *identity, lm_raft_fault_t *fault)
{
    const char *path = lm_raft_datadir_path(d->dir);
    if (snapshot)
        return lm_raft_fault_set(fault, LM_EXIT_DAMAGED,
                                 "%s: there is a snapshot, which this "
                                 "version does not make",
                                 path);
    if (done->n_entries == 0)
        return lm_raft_fault_set(fault, LM_EXIT_DAMAGED, "%s: the log is empty", path);
    if (done->entries[done->n_entries - 1].term > done->term)
        return lm_raft_fault_set(fault, LM_EXIT_DAMAGED,
                                 "%s: metadata1 or metadata2 is damaged: term %llu is below that "
                                 "of the log",
                                 path, (unsigned long long)done->term);
    if (!same_servers(&done->entries[0], identity))
        return lm_raft_fault_set(fault, LM_EXIT_DAMAGED,
                                 "%s: " LM_RAFT_IDENTITY_FILE
                                 " and the "
                                 "log name different servers",
                                 path);
    return true;
}

static void run_load(uv_disk_t *d, command_t *command)
{
    lm_raft_fault_t fault = {0};
    raft_term term;
    raft_id vote;
    raft_index start;
    struct raft_snapshot *snapshot = NULL;
    struct raft_entry *entries = NULL;
    size_t n = 0;
    if (command->bootstrap && !lm_raft_datadir_clear_log(d->dir, &fault)) {
        fail(d, &fault);
        return;
    }
    int rv = open_io(d, &command->identity);
    if (rv == 0 && command->bootstrap) rv = write_first_entry(d, &command->identity);
    if (rv != 0) {
        bool damage = rv == RAFT_CORRUPT || rv == RAFT_MALFORMED;
        fail_library(d, damage ? LM_EXIT_DAMAGED : LM_EXIT_SYSTEM, "cannot be opened", rv);
        return;
    }
    rv = d->io.load(&d->io, &term, &vote, &snapshot, &start, &entries, &n);
    if (rv != 0) {
        fail_library(d, rv == RAFT_NOMEM ? LM_EXIT_SYSTEM : LM_EXIT_DAMAGED, "cannot be read", rv);
        return;
    }
    lm_raft_done_t *done = done_new(LM_RAFT_DONE_LOADED, 0);
    done->term = d->durable_term = command->bootstrap ? 1 : term;
    done->voted_for = d->durable_vote = command->bootstrap ? 0 : vote;
    if (n > 0) take_entries(done, entries, n);
    if (!check_loaded(d, done, snapshot != NULL, &command->identity, &fault)) {
        lm_raft_done_destroy(&done);
        fail(d, &fault);
        return;
    }
    rv = d->io.start(&d->io, 1000, NULL, NULL);
    d->io_is_started = true;
    if (rv == 0) {
        report(d, done);
        return;
    }
    lm_raft_done_destroy(&done);
    fail_library(d, LM_EXIT_SYSTEM, "cannot be written", rv);
}

/* ---- term and vote, entries ------------------------------------------------------------------ */

static void run_set_metadata(uv_disk_t *d, command_t *command)
{
    int rv = 0;
    /* Writing a term takes the vote away, so the same term is never written again. */
    if (command->term != d->durable_term) {
        rv = d->io.set_term(&d->io, command->term);
        d->durable_term = command->term;
        d->durable_vote = 0;
    }
    if (rv == 0 && command->voted_for != d->durable_vote) {
        rv = d->io.set_vote(&d->io, command->voted_for);
        d->durable_vote = command->voted_for;
    }
    if (rv == 0)
        report(d, done_new(LM_RAFT_DONE_METADATA, 0));
    else
        fail_library(d, LM_EXIT_SYSTEM, "term and vote cannot be written", rv);
}

static void run_truncate(uv_disk_t *d, command_t *command)
{
    lm_raft_fault_t fault = {0};
    if (!lm_raft_datadir_mark(d->dir, command->number, &fault)) {
        fail(d, &fault);
        return;
    }
    d->truncating = command->number;
    d->oldest_append_us = now_us();
    int rv = d->io.truncate(&d->io, command->number);
    if (rv != 0) fail_library(d, LM_EXIT_SYSTEM, "the log cannot be truncated", rv);
}

/* True if an open segment has been written to: it begins with the number of its format. */
static bool is_written(const char *path, const char *name)
{
    uint64_t format = 0;
    char file[PATH_MAX];
    int size = snprintf(file, sizeof file, "%s/%s", path, name);
    int fd = size < (int)sizeof file ? open(file, O_RDONLY | O_CLOEXEC) : -1;
    bool unused = fd >= 0 && read(fd, &format, sizeof format) >= 0 && format == 0;
    if (fd >= 0) close(fd);
    return !unused;
}

/* True if nothing of the log reaches to the index any more: no closed segment, and no open one, for
 * they are all closed before. */
static bool is_truncated(uv_disk_t *d, lm_raft_fault_t *fault)
{
    const char *path = lm_raft_datadir_path(d->dir);
    DIR *list = opendir(path);
    bool good = list != NULL;
    for (struct dirent *entry; good && (entry = readdir(list));) {
        const char *dash = strchr(entry->d_name, '-');
        if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9' && dash)
            good = strtoull(dash + 1, NULL, 10) < d->truncating;
        else if (strncmp(entry->d_name, "open-", 5) == 0)
            good = !is_written(path, entry->d_name);
    }
    if (list) closedir(list);
    if (good) return true;
    return lm_raft_fault_set(fault, LM_EXIT_SYSTEM, "%s: the log could not be truncated at %llu",
                             path, (unsigned long long)d->truncating);
}

static void end_truncation(uv_disk_t *d)
{
    lm_raft_fault_t fault = {0};
    blocking(d, true);
    if (!is_truncated(d, &fault) || !lm_raft_datadir_unmark(d->dir, d->truncating, &fault))
        fail(d, &fault);
    blocking(d, false);
    d->truncating = 0;
}

static void on_appended(struct raft_io_append *request, int status)
{
    append_t *append = request->data;
    uv_disk_t *d = append->disk;
    d->write_ended = false;
    d->appends--;
    d->oldest_append_us = now_us();
    if (status == 0 && !d->failed)
        report(d, done_new(LM_RAFT_DONE_APPENDED, append->number));
    else if (status != 0 && !d->closing)
        fail_library(d, LM_EXIT_SYSTEM, "the log cannot be written", status);
    free(append->entries);
    free(append);
}

static void run_append(uv_disk_t *d, command_t *command)
{
    append_t *append = lm_alloc(sizeof *append);
    *append = (append_t){.disk = d, .entries = command->entries, .number = command->number};
    append->request.data = append;
    command->entries = NULL;
    if (d->appends++ == 0) d->oldest_append_us = now_us();
    int rv =
        d->io.append(&d->io, &append->request, append->entries, command->n_entries, on_appended);
    if (rv != 0) fail_library(d, LM_EXIT_SYSTEM, "the log cannot be written", rv);
}

/* ---- closing --------------------------------------------------------------------------------- */

static void close_handles(uv_disk_t *d)
{
    uv_close((uv_handle_t *)&d->async, NULL);
    uv_close((uv_handle_t *)&d->check, NULL);
    uv_close((uv_handle_t *)&d->timer, NULL);
}

static void on_io_closed(struct raft_io *io)
{
    uv_disk_t *d = (uv_disk_t *)(void *)((char *)io - offsetof(uv_disk_t, io));
    raft_uv_close(io);
    close_handles(d);
}

static void run_close(uv_disk_t *d)
{
    d->closing = true;
    if (!d->io_is_open) {
        close_handles(d);
    } else if (d->failed && d->io_is_started) {
        /* What the library would do next is not to be trusted. */
        uv_stop(&d->loop);
    } else {
        d->io.close(&d->io, on_io_closed);
    }
}

/* ---- the thread ------------------------------------------------------------------------------ */

static void command_free(command_t *command)
{
    free(command->path);
    free(command->region);
    free(command->node);
    free(command->entries);
    free(command);
}

static void run_command(uv_disk_t *d, command_t *command)
{
    static void (*const run[])(uv_disk_t *, command_t *) = {
        [OPEN] = run_open,         [SAVE_IDENTITY] = run_save_identity,
        [LOAD] = run_load,         [SET_METADATA] = run_set_metadata,
        [TRUNCATE] = run_truncate, [APPEND] = run_append,
    };
    if (command->kind == CLOSE) {
        run_close(d);
    } else if (!d->failed) {
        bool quick = command->kind == APPEND;
        if (!quick) blocking(d, true);
        run[command->kind](d, command);
        if (!quick) blocking(d, false);
    }
}

static bool must_wait(const uv_disk_t *d, const command_t *command)
{
    if (d->failed || command->kind == CLOSE) return false;
    return d->truncating != 0 || (command->kind == TRUNCATE && d->appends > 0);
}

static void run_todo(uv_disk_t *d)
{
    while (d->waiting && !d->closing && !must_wait(d, d->waiting)) {
        command_t *command = d->waiting;
        d->waiting = command->next;
        if (!d->waiting) d->waiting_last = &d->waiting;
        run_command(d, command);
        command_free(command);
    }
}

static void on_async(uv_async_t *async)
{
    uv_disk_t *d = async->data;
    pthread_mutex_lock(&d->mutex);
    if (d->first) {
        *d->waiting_last = d->first;
        d->waiting_last = d->last;
        d->first = NULL;
        d->last = &d->first;
    }
    pthread_mutex_unlock(&d->mutex);
    run_todo(d);
}

/* Runs after all callbacks of a turn of the loop. */
static void on_check(uv_check_t *check)
{
    uv_disk_t *d = check->data;
    if (d->write_ended && !d->failed && !d->closing)
        fail_library(d, LM_EXIT_SYSTEM, "a write of the log failed", RAFT_IOERR);
    d->write_ended = false;
    if (d->truncating && d->loop.active_reqs.count == 0 && !d->failed && !d->closing)
        end_truncation(d);
    run_todo(d);
}

static void on_timer(uv_timer_t *timer)
{
    uv_disk_t *d = timer->data;
    if ((d->appends > 0 || d->truncating) && now_us() - d->oldest_append_us > STALL_US)
        fail_library(d, LM_EXIT_SYSTEM, "a write of the log has not ended for 30 s", RAFT_IOERR);
}

static void *thread_main(void *arg)
{
    uv_disk_t *d = arg;
    uv_run(&d->loop, UV_RUN_DEFAULT);
    return NULL;
}

/* ---- called by the room ---------------------------------------------------------------------- */

static command_t *command_new(command_kind_t kind)
{
    command_t *command = lm_alloc(sizeof *command);
    command->kind = kind;
    return command;
}

static void put(lm_raft_disk_t *disk, command_t *command)
{
    uv_disk_t *d = (uv_disk_t *)disk;
    pthread_mutex_lock(&d->mutex);
    *d->last = command;
    d->last = &command->next;
    pthread_mutex_unlock(&d->mutex);
    uv_async_send(&d->async);
}

static void disk_open(lm_raft_disk_t *disk, const char *path, const char *region, const char *node)
{
    command_t *command = command_new(OPEN);
    command->path = strdup(path);
    command->region = strdup(region);
    command->node = strdup(node);
    put(disk, command);
}

static void disk_save_identity(lm_raft_disk_t *disk, const lm_raft_identity_t *identity)
{
    command_t *command = command_new(SAVE_IDENTITY);
    command->identity = *identity;
    put(disk, command);
}

static void disk_load(lm_raft_disk_t *disk, const lm_raft_identity_t *identity, bool bootstrap)
{
    command_t *command = command_new(LOAD);
    command->identity = *identity;
    command->bootstrap = bootstrap;
    put(disk, command);
}

static void disk_set_metadata(lm_raft_disk_t *disk, uint64_t term, uint64_t voted_for)
{
    command_t *command = command_new(SET_METADATA);
    command->term = term;
    command->voted_for = voted_for;
    put(disk, command);
}

static void disk_truncate(lm_raft_disk_t *disk, uint64_t index)
{
    command_t *command = command_new(TRUNCATE);
    command->number = index;
    put(disk, command);
}

static void disk_append(lm_raft_disk_t *disk, uint64_t number, const lm_raft_entry_t *entries,
                        size_t n)
{
    command_t *command = command_new(APPEND);
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

lm_raft_disk_t *lm_raft_uv_disk_new(lm_raft_report_t *report_to, void *arg,
                                    _Atomic uint64_t *blocking_since_us)
{
    uv_disk_t *d = lm_alloc(sizeof *d);
    d->base = (lm_raft_disk_t){disk_open,         disk_save_identity, disk_load,
                               disk_set_metadata, disk_truncate,      disk_append};
    d->report = report_to;
    d->arg = arg;
    d->blocking_since_us = blocking_since_us;
    pthread_mutex_init(&d->mutex, NULL);
    d->last = &d->first;
    d->waiting_last = &d->waiting;
    uv_loop_init(&d->loop);
    uv_async_init(&d->loop, &d->async, on_async);
    uv_check_init(&d->loop, &d->check);
    uv_timer_init(&d->loop, &d->timer);
    d->async.data = d->check.data = d->timer.data = d;
    uv_check_start(&d->check, on_check);
    uv_timer_start(&d->timer, on_timer, 1000, 1000);
    pthread_create(&d->thread, NULL, thread_main, d);
    return &d->base;
}

void lm_raft_uv_disk_destroy(lm_raft_disk_t **disk)
{
    uv_disk_t *d = (uv_disk_t *)*disk;
    if (!d) return;
    *disk = NULL;
    put(&d->base, command_new(CLOSE));
    pthread_join(d->thread, NULL);
    /* After a failure the library's pool may still be at work in it. */
    if (d->failed && d->io_is_started) return;
    uv_loop_close(&d->loop);
    lm_raft_datadir_close(&d->dir);
    *d->waiting_last = d->first;
    while (d->waiting) {
        command_t *command = d->waiting;
        d->waiting = command->next;
        command_free(command);
    }
    pthread_mutex_destroy(&d->mutex);
    free(d);
}

void lm_raft_uv_disk_writes(const lm_raft_disk_t *disk, uint64_t *count, uint64_t *microseconds)
{
    uv_disk_t *d = (uv_disk_t *)(uintptr_t)disk;
    *count = atomic_load(&d->writes);
    *microseconds = atomic_load(&d->write_us);
}
