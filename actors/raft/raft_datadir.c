/* Every change is made durable twice over: the file's bytes, then the directory that names it. */
#include "raft_datadir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base_arena.h"

struct lm_raft_datadir {
    char *path;
    int dir_fd;
    int lock_fd;
};

const char *lm_raft_datadir_path(const lm_raft_datadir_t *dir) { return dir->path; }

lm_raft_folder_t lm_raft_datadir_folder(const lm_raft_datadir_t *dir)
{
    return (lm_raft_folder_t){.path = dir->path, .fd = dir->dir_fd};
}

void lm_raft_datadir_close(lm_raft_datadir_t **dir)
{
    lm_raft_datadir_t *self = *dir;
    if (!self) return;
    if (self->lock_fd >= 0) close(self->lock_fd);
    if (self->dir_fd >= 0) close(self->dir_fd);
    free(self->path);
    free(self);
    *dir = NULL;
}

static bool take_lock(lm_raft_datadir_t *dir, lm_raft_fault_t *fault)
{
    dir->lock_fd = openat(dir->dir_fd, LM_RAFT_LOCK_FILE, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (dir->lock_fd < 0)
        return lm_raft_fault_set(fault, LM_EXIT_CONFIG, "data directory %s cannot be written: %s",
                                 dir->path, strerror(errno));
    if (flock(dir->lock_fd, LOCK_EX | LOCK_NB) == 0) return true;
    if (errno == EWOULDBLOCK)
        return lm_raft_fault_set(fault, LM_EXIT_TRY_LATER,
                                 "data directory %s is in use by another process", dir->path);
    return lm_raft_fault_set(fault, LM_EXIT_SYSTEM, "%s/" LM_RAFT_LOCK_FILE ": %s", dir->path,
                             strerror(errno));
}

/* A directory that was just made is not there after a loss of power unless the one above it is on
 * stable storage too. One that may not be read is that of somebody who made this one for us. */
static bool sync_above(const lm_raft_datadir_t *dir, lm_raft_fault_t *fault)
{
    int fd = openat(dir->dir_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return true;
    bool good = fsync(fd) == 0 || errno == EINVAL || errno == EROFS ||
                lm_raft_fault_set(fault, LM_EXIT_SYSTEM, "%s/..: %s", dir->path, strerror(errno));
    close(fd);
    return good;
}

lm_raft_datadir_t *lm_raft_datadir_open(const char *path, lm_raft_fault_t *fault)
{
    lm_raft_datadir_t *dir = lm_alloc(sizeof *dir);
    *dir = (lm_raft_datadir_t){.path = strdup(path), .dir_fd = -1, .lock_fd = -1};
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        lm_raft_fault_set(fault, LM_EXIT_CONFIG, "data directory %s cannot be made: %s", path,
                          strerror(errno));
    } else if ((dir->dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0) {
        lm_raft_fault_set(fault, LM_EXIT_CONFIG, "data directory %s cannot be read: %s", path,
                          strerror(errno));
    } else if (take_lock(dir, fault) && sync_above(dir, fault)) {
        return dir;
    }
    lm_raft_datadir_close(&dir);
    return NULL;
}

/* ---- the identity ---------------------------------------------------------------------------- */

static bool system_fault(const lm_raft_datadir_t *dir, const char *file, lm_raft_fault_t *fault)
{
    return lm_raft_fault_set(fault, LM_EXIT_SYSTEM, "%s/%s: %s", dir->path, file, strerror(errno));
}

bool lm_raft_datadir_load(const lm_raft_datadir_t *dir, const char *region, const char *node,
                          lm_raft_identity_t *identity, lm_raft_fault_t *fault)
{
    char text[LM_RAFT_IDENTITY_TEXT_MAX + 1];
    *identity = (lm_raft_identity_t){.stage = LM_RAFT_EMPTY};
    int fd = openat(dir->dir_fd, LM_RAFT_IDENTITY_FILE, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno == ENOENT || system_fault(dir, LM_RAFT_IDENTITY_FILE, fault);
    ssize_t size = read(fd, text, sizeof text);
    int error = errno;
    close(fd);
    errno = error;
    if (size < 0) return system_fault(dir, LM_RAFT_IDENTITY_FILE, fault);
    const char *wrong = lm_raft_identity_read(lm_bytes(text, (size_t)size), identity);
    if (wrong)
        return lm_raft_fault_set(fault, LM_EXIT_DAMAGED,
                                 "%s/" LM_RAFT_IDENTITY_FILE " is damaged: %s", dir->path, wrong);
    if (strcmp(identity->region, region) != 0 || strcmp(identity->node, node) != 0)
        return lm_raft_fault_set(fault, LM_EXIT_CONFIG,
                                 "%s/" LM_RAFT_IDENTITY_FILE
                                 " is that of node %s of region %s, "
                                 "but this is node %s of region %s",
                                 dir->path, identity->node, identity->region, node, region);
    return true;
}

static bool write_all(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t written = write(fd, bytes, size);
        if (written < 0) return false;
        bytes += written;
        size -= (size_t)written;
    }
    return fsync(fd) == 0;
}

bool lm_raft_datadir_save(const lm_raft_datadir_t *dir, const lm_raft_identity_t *identity,
                          lm_raft_fault_t *fault)
{
    char text[LM_RAFT_IDENTITY_TEXT_MAX];
    size_t size = lm_raft_identity_write(identity, text);
    int fd = openat(dir->dir_fd, LM_RAFT_IDENTITY_TEMPORARY,
                    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return system_fault(dir, LM_RAFT_IDENTITY_TEMPORARY, fault);
    bool written = write_all(fd, text, size);
    if (!written) system_fault(dir, LM_RAFT_IDENTITY_TEMPORARY, fault);
    close(fd);
    if (!written) return false;
    if (renameat(dir->dir_fd, LM_RAFT_IDENTITY_TEMPORARY, dir->dir_fd, LM_RAFT_IDENTITY_FILE) !=
            0 ||
        fsync(dir->dir_fd) != 0)
        return system_fault(dir, LM_RAFT_IDENTITY_FILE, fault);
    return true;
}

/* ---- notes, and beginning anew --------------------------------------------------------------- */

bool lm_raft_datadir_note(const lm_raft_datadir_t *dir, const char *name, lm_raft_fault_t *fault)
{
    int fd = openat(dir->dir_fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return system_fault(dir, name, fault);
    close(fd);
    return fsync(dir->dir_fd) == 0 || system_fault(dir, name, fault);
}

bool lm_raft_datadir_unnote(const lm_raft_datadir_t *dir, const char *name, lm_raft_fault_t *fault)
{
    if (unlinkat(dir->dir_fd, name, 0) != 0 && errno != ENOENT)
        return system_fault(dir, name, fault);
    return fsync(dir->dir_fd) == 0 || system_fault(dir, name, fault);
}

static bool belongs_to_log(const char *name)
{
    static const char *const beginnings[] = {
        "metadata",
        "open-",
        "tmp-",
        "snapshot-",
        "image",
        LM_RAFT_TRUNCATION_PREFIX,
        LM_RAFT_INSTALLATION_PREFIX,
        "watermark",
    };
    for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; i++)
        if (strncmp(name, beginnings[i], strlen(beginnings[i])) == 0) return true;
    return *name >= '0' && *name <= '9';
}

bool lm_raft_datadir_clear_log(const lm_raft_datadir_t *dir, lm_raft_fault_t *fault)
{
    DIR *list = opendir(dir->path);
    if (!list) return system_fault(dir, ".", fault);
    bool done = true;
    for (struct dirent *entry; done && (entry = readdir(list));) {
        if (!belongs_to_log(entry->d_name)) continue;
        done =
            unlinkat(dir->dir_fd, entry->d_name, 0) == 0 || system_fault(dir, entry->d_name, fault);
    }
    closedir(list);
    return done && (fsync(dir->dir_fd) == 0 || system_fault(dir, ".", fault));
}
