/* The library retries a failed write by itself, without telling. It does trace every write that
 * ends; a write that ended without any append being reported is one that failed.
 *
 * A truncation gets the log to itself. The library tells nobody when it has ended, and writes on
 * after one that failed: entries would come to lie behind those they replace, and be read as others
 * after a restart. So the loop is watched until nothing is at work in it any more, and then the
 * directory is looked at. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "base_arena.h"
#include "raft_uv_state.h"

/* ---- term and vote --------------------------------------------------------------------------- */

int lm_raft_uv_log_set_vote(lm_raft_uv_t *d, uint64_t term, uint64_t voted_for)
{
    int rv = 0;
    /* Writing a term takes the vote away, so the same term is never written again. */
    if (term != d->durable_term) {
        rv = d->io.set_term(&d->io, term);
        d->durable_term = term;
        d->durable_vote = 0;
    }
    if (rv == 0 && voted_for != d->durable_vote) {
        rv = d->io.set_vote(&d->io, voted_for);
        d->durable_vote = voted_for;
    }
    return rv;
}

bool lm_raft_uv_log_metadata(lm_raft_uv_t *d, lm_raft_uv_command_t *command)
{
    lm_raft_fault_t fault = {0};
    if (!lm_raft_uv_mark_vote(d, command->term, command->voted_for, &fault)) {
        lm_raft_uv_disk_fail(d, &fault);
        return true;
    }
    int rv = lm_raft_uv_log_set_vote(d, command->term, command->voted_for);
    if (rv == 0)
        lm_raft_uv_disk_report(d, lm_raft_uv_disk_done(LM_RAFT_DONE_METADATA, 0));
    else
        lm_raft_uv_disk_fail_library(d, LM_EXIT_SYSTEM, "term and vote cannot be written", rv);
    return true;
}

/* ---- truncation ------------------------------------------------------------------------------ */

static void truncation_name(uint64_t index, char name[64])
{
    snprintf(name, 64, LM_RAFT_TRUNCATION_PREFIX "%llu", (unsigned long long)index);
}

bool lm_raft_uv_log_truncate(lm_raft_uv_t *d, lm_raft_uv_command_t *command)
{
    lm_raft_fault_t fault = {0};
    char name[64];
    truncation_name(command->index, name);
    if (!lm_raft_uv_mark_cut(d, command->index, &fault) ||
        !lm_raft_datadir_note(d->dir, name, &fault)) {
        lm_raft_uv_disk_fail(d, &fault);
        return true;
    }
    d->truncating = command->index;
    d->oldest_append_us = lm_raft_uv_disk_now();
    int rv = d->io.truncate(&d->io, command->index);
    if (rv != 0) lm_raft_uv_disk_fail_library(d, LM_EXIT_SYSTEM, "the log cannot be truncated", rv);
    return true;
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

bool lm_raft_uv_log_ends_before(lm_raft_uv_t *d, uint64_t index, lm_raft_fault_t *fault)
{
    const char *path = lm_raft_datadir_path(d->dir);
    DIR *list = opendir(path);
    bool good = list != NULL;
    for (struct dirent *entry; good && (entry = readdir(list));) {
        const char *dash = strchr(entry->d_name, '-');
        if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9' && dash)
            good = strtoull(dash + 1, NULL, 10) < index;
        else if (strncmp(entry->d_name, "open-", 5) == 0)
            good = !is_written(path, entry->d_name);
    }
    if (list) closedir(list);
    if (good) return true;
    return lm_raft_fault_set(fault, LM_EXIT_SYSTEM, "%s: the log could not be truncated at %llu",
                             path, (unsigned long long)index);
}

static void end_truncation(lm_raft_uv_t *d)
{
    lm_raft_fault_t fault = {0};
    char name[64];
    truncation_name(d->truncating, name);
    lm_raft_uv_disk_blocking(d, true);
    if (!lm_raft_uv_log_ends_before(d, d->truncating, &fault) ||
        !lm_raft_datadir_unnote(d->dir, name, &fault))
        lm_raft_uv_disk_fail(d, &fault);
    lm_raft_uv_disk_blocking(d, false);
    d->truncating = 0;
}

/* ---- entries --------------------------------------------------------------------------------- */

typedef struct {
    struct raft_io_append request;
    lm_raft_uv_t *disk;
    struct raft_entry *entries;
    uint64_t number;
    uint64_t last; /* index of the last entry */
} append_t;

static void on_appended(struct raft_io_append *request, int status)
{
    append_t *append = request->data;
    lm_raft_uv_t *d = append->disk;
    lm_raft_fault_t fault = {0};
    d->write_ended = false;
    d->appends--;
    d->oldest_append_us = lm_raft_uv_disk_now();
    if (status != 0 && !d->closing)
        lm_raft_uv_disk_fail_library(d, LM_EXIT_SYSTEM, "the log cannot be written", status);
    else if (status == 0 && !d->failed && !lm_raft_uv_mark_raise(d, append->last, &fault))
        lm_raft_uv_disk_fail(d, &fault);
    else if (status == 0 && !d->failed)
        lm_raft_uv_disk_report(d, lm_raft_uv_disk_done(LM_RAFT_DONE_APPENDED, append->number));
    free(append->entries);
    free(append);
}

bool lm_raft_uv_log_append(lm_raft_uv_t *d, lm_raft_uv_command_t *command)
{
    append_t *append = lm_alloc(sizeof *append);
    lm_raft_uv_mark_add(d, command->entries, command->n_entries);
    *append = (append_t){.disk = d,
                         .entries = command->entries,
                         .number = command->number,
                         .last = lm_raft_chain_last(&d->mark.chain)};
    append->request.data = append;
    command->entries = NULL;
    if (d->appends++ == 0) d->oldest_append_us = lm_raft_uv_disk_now();
    int rv =
        d->io.append(&d->io, &append->request, append->entries, command->n_entries, on_appended);
    if (rv != 0) lm_raft_uv_disk_fail_library(d, LM_EXIT_SYSTEM, "the log cannot be written", rv);
    return true;
}

void lm_raft_uv_log_check(lm_raft_uv_t *d)
{
    if (d->write_ended)
        lm_raft_uv_disk_fail_library(d, LM_EXIT_SYSTEM, "a write of the log failed", RAFT_IOERR);
    d->write_ended = false;
    if (d->truncating && !d->failed && lm_raft_uv_disk_library_rests(d)) end_truncation(d);
}
