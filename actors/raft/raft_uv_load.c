/* The directory before anything is written to it: the lock, the scan, the library's own reading,
 * and what the library takes on trust. */
#include <stdlib.h>

#include "base_arena.h"
#include "base_log.h"
#include "raft_messages.h"
#include "raft_scan.h"
#include "raft_uv_state.h"

#define NEVER_RETRY_MS (3600u * 1000)

/* ---- opening and loading --------------------------------------------------------------------- */

bool lm_raft_uv_load_open(lm_raft_uv_t *d, lm_raft_uv_command_t *command)
{
    lm_raft_fault_t fault = {0};
    lm_raft_done_t *done = lm_raft_uv_disk_done(LM_RAFT_DONE_OPENED, 0);
    d->dir = lm_raft_datadir_open(command->path, &fault);
    if (d->dir &&
        lm_raft_datadir_load(d->dir, command->region, command->node, &done->identity, &fault) &&
        lm_raft_scan(command->path, &done->identity, &d->scan, &fault)) {
        lm_raft_uv_disk_report(d, done);
        return true;
    }
    lm_raft_done_destroy(&done);
    lm_raft_uv_disk_fail(d, &fault);
    return true;
}

bool lm_raft_uv_load_save(lm_raft_uv_t *d, lm_raft_uv_command_t *command)
{
    lm_raft_fault_t fault = {0};
    if (lm_raft_datadir_save(d->dir, command->identity, &fault))
        lm_raft_uv_disk_report(d, lm_raft_uv_disk_done(LM_RAFT_DONE_IDENTITY, 0));
    else
        lm_raft_uv_disk_fail(d, &fault);
    return true;
}

/* ---- the library ----------------------------------------------------------------------------- */

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
    (void)info;
    /* Other types come from threads of the pool too, which must not look at anything here. */
    if (type != RAFT_UV_TRACER_WRITE_SUBMIT && type != RAFT_UV_TRACER_WRITE_COMPLETE) return;
    lm_raft_uv_t *d = tracer->impl;
    if (type == RAFT_UV_TRACER_WRITE_SUBMIT) {
        d->write_began_us = lm_raft_uv_disk_now();
    } else if (type == RAFT_UV_TRACER_WRITE_COMPLETE) {
        lm_histogram_note(&d->writes, lm_raft_uv_disk_now() - d->write_began_us);
        d->write_ended = true;
    }
}

static int open_io(lm_raft_uv_t *d, const lm_raft_identity_t *identity)
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

static int write_first_entry(lm_raft_uv_t *d, const lm_raft_identity_t *identity)
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

static void close_snapshot(struct raft_snapshot *snapshot)
{
    if (!snapshot) return;
    raft_configuration_close(&snapshot->configuration);
    for (unsigned i = 0; i < snapshot->n_bufs; i++) raft_free(snapshot->bufs[i].base);
    raft_free(snapshot->bufs);
    raft_free(snapshot);
}

/* ---- what was read --------------------------------------------------------------------------- */

static bool damaged(const lm_raft_uv_t *d, lm_raft_fault_t *fault, const char *what)
{
    return lm_raft_fault_set(fault, LM_EXIT_DAMAGED, "%s: %s", lm_raft_datadir_path(d->dir), what);
}

/* Reads what the snapshot says of its image; the scan has read the image through. */
static bool take_snapshot(lm_raft_uv_t *d, const struct raft_snapshot *snapshot,
                          lm_raft_image_t *image, lm_raft_fault_t *fault)
{
    struct raft_buffer bytes;
    *image = (lm_raft_image_t){.index = snapshot->index,
                               .term = snapshot->term,
                               .configuration_index = snapshot->configuration_index};
    if (raft_configuration_encode(&snapshot->configuration, &bytes) != 0)
        return damaged(d, fault, "the snapshot has no configuration");
    bool fits = bytes.len <= sizeof image->configuration;
    if (fits) {
        memcpy(image->configuration, bytes.base, bytes.len);
        image->configuration_size = (uint32_t)bytes.len;
    }
    raft_free(bytes.base);
    if (!fits) return damaged(d, fault, "the configuration of the snapshot is too large");
    if (snapshot->n_bufs != 1 ||
        !lm_raft_image_file_read_descriptor(lm_bytes(snapshot->bufs[0].base, snapshot->bufs[0].len),
                                            image))
        return lm_raft_fault_set(fault, LM_EXIT_DAMAGED,
                                 "%s/snapshot-%llu-%llu-* does not describe an image",
                                 lm_raft_datadir_path(d->dir), snapshot->term, snapshot->index);
    return true;
}

/* There are no changes of membership: every configuration names the servers of the identity. */
static bool same_servers(lm_bytes_t data, const lm_raft_identity_t *identity)
{
    struct raft_configuration configuration;
    struct raft_buffer bytes = {.base = (void *)(uintptr_t)data.data, .len = data.size};
    if (!lm_raft_messages_is_configuration(data) ||
        raft_configuration_decode(&bytes, &configuration) != 0)
        return false;
    bool same = configuration.n == identity->n_servers;
    for (unsigned i = 0; same && i < configuration.n; i++)
        same = lm_raft_identity_id(identity, configuration.servers[i].address) ==
               configuration.servers[i].id;
    raft_configuration_close(&configuration);
    return same;
}

static bool check_servers(const lm_raft_done_t *done, const lm_raft_identity_t *identity)
{
    const lm_raft_image_t *image = &done->image;
    if (image->index)
        return same_servers(lm_bytes(image->configuration, image->configuration_size), identity);
    return done->entries[0].type == LM_RAFT_CHANGE && same_servers(done->entries[0].data, identity);
}

/* The snapshot and the entries must belong together. */
static bool check_loaded(const lm_raft_uv_t *d, const lm_raft_done_t *done,
                         const lm_raft_identity_t *identity, lm_raft_fault_t *fault)
{
    const lm_raft_image_t *image = &done->image;
    uint64_t last = done->first_index + done->n_entries - 1, last_term = image->term;
    if (done->n_entries) last_term = done->entries[done->n_entries - 1].term;
    if (image->index == 0 && done->n_entries == 0) return damaged(d, fault, "the log is empty");
    if (last_term > done->term)
        return lm_raft_fault_set(fault, LM_EXIT_DAMAGED,
                                 "%s: metadata1 or metadata2 is damaged: term %llu is below that "
                                 "of the log",
                                 lm_raft_datadir_path(d->dir), (unsigned long long)done->term);
    if (image->index ? done->first_index > image->index + 1 || last < image->index
                     : done->first_index != 1)
        return damaged(d, fault, "the log does not reach back to the snapshot");
    if (done->first_index <= image->index &&
        done->entries[image->index - done->first_index].term != image->term)
        return damaged(d, fault, "the log and the snapshot contradict each other");
    if (image->index != d->scan.image.index || image->crc32c != d->scan.image.crc32c)
        return damaged(d, fault, "the snapshot is not the one that was scanned");
    if (!check_servers(done, identity))
        return damaged(d, fault,
                       LM_RAFT_IDENTITY_FILE " and the log or the snapshot name different servers");
    return true;
}

/* ---- loading --------------------------------------------------------------------------------- */

static bool open_library(lm_raft_uv_t *d, const lm_raft_uv_command_t *command)
{
    lm_raft_fault_t fault = {0};
    if (command->bootstrap && !lm_raft_datadir_clear_log(d->dir, &fault)) {
        lm_raft_uv_disk_fail(d, &fault);
        return false;
    }
    int rv = open_io(d, command->identity);
    if (rv == 0 && command->bootstrap) rv = write_first_entry(d, command->identity);
    if (rv == 0) return true;
    bool damage = rv == RAFT_CORRUPT || rv == RAFT_MALFORMED;
    lm_raft_uv_disk_fail_library(d, damage ? LM_EXIT_DAMAGED : LM_EXIT_SYSTEM, "cannot be opened",
                                 rv);
    return false;
}

static bool read_library(lm_raft_uv_t *d, const lm_raft_uv_command_t *command, lm_raft_done_t *done)
{
    lm_raft_fault_t fault = {0};
    raft_term term;
    raft_id vote;
    raft_index start;
    struct raft_snapshot *snapshot = NULL;
    struct raft_entry *entries = NULL;
    size_t n = 0;
    int rv = d->io.load(&d->io, &term, &vote, &snapshot, &start, &entries, &n);
    if (rv != 0) {
        lm_raft_uv_disk_fail_library(d, rv == RAFT_NOMEM ? LM_EXIT_SYSTEM : LM_EXIT_DAMAGED,
                                     "cannot be read", rv);
        return false;
    }
    done->term = d->durable_term = command->bootstrap ? 1 : term;
    done->voted_for = d->durable_vote = command->bootstrap ? 0 : vote;
    done->first_index = start;
    if (n > 0) take_entries(done, entries, n);
    bool good = !snapshot || take_snapshot(d, snapshot, &done->image, &fault);
    close_snapshot(snapshot);
    good = good && check_loaded(d, done, command->identity, &fault);
    if (!good) lm_raft_uv_disk_fail(d, &fault);
    return good;
}

/* A crash between the watermark and the engine's files left these behind by one write. */
static bool complete_vote(lm_raft_uv_t *d, lm_raft_done_t *done)
{
    const lm_raft_mark_t *mark = &d->scan.mark;
    if (mark->term == done->term && mark->vote == done->voted_for) return true;
    int rv = lm_raft_uv_log_set_vote(d, mark->term, mark->vote);
    done->term = mark->term;
    done->voted_for = mark->vote;
    if (rv != 0)
        lm_raft_uv_disk_fail_library(d, LM_EXIT_SYSTEM, "term and vote cannot be written", rv);
    return rv == 0;
}

static bool start_mark(lm_raft_uv_t *d, const lm_raft_uv_command_t *command, lm_raft_done_t *done)
{
    lm_raft_fault_t fault = {0};
    bool good = lm_raft_uv_mark_start(d, done, command->bootstrap, &fault);
    if (!good) lm_raft_uv_disk_fail(d, &fault);
    done->lost_index = d->mark.lost_index;
    return good;
}

bool lm_raft_uv_load_run(lm_raft_uv_t *d, lm_raft_uv_command_t *command)
{
    lm_raft_done_t *done = lm_raft_uv_disk_done(LM_RAFT_DONE_LOADED, 0);
    if (command->bootstrap) d->scan = (lm_raft_scan_t){0};
    if (open_library(d, command) && read_library(d, command, done) &&
        (command->bootstrap || complete_vote(d, done)) && start_mark(d, command, done)) {
        int rv = d->io.start(&d->io, 1000, NULL, NULL);
        d->io_is_started = true;
        if (rv == 0) {
            lm_raft_uv_disk_report(d, done);
            return true;
        }
        lm_raft_uv_disk_fail_library(d, LM_EXIT_SYSTEM, "cannot be written", rv);
    }
    lm_raft_done_destroy(&done);
    return true;
}
