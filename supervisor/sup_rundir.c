#include "sup_rundir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base_log.h"

enum { FILE_PATH_MAX_BYTES = LM_SUP_RUN_DIR_MAX + 64 };

static void print_path(const lm_sup_rundir_t *rundir, const char *name, const char *end,
                       char path[FILE_PATH_MAX_BYTES])
{
    snprintf(path, FILE_PATH_MAX_BYTES, "%s/%s%s", rundir->path, name, end);
}

bool lm_sup_rundir_make(const char *path, unsigned mode)
{
    char part[512];
    if ((size_t)snprintf(part, sizeof part, "%s", path) >= sizeof part) {
        errno = ENAMETOOLONG;
        return false;
    }
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(part, 0755) != 0 && errno != EEXIST) return false;
        *slash = '/';
    }
    return mkdir(path, mode) == 0 || errno == EEXIST;
}

/** A directory that others can enter, or a link that others can turn, would let them speak to our
 *  actors. */
static lm_exit_t check_private(const char *path)
{
    struct stat found;
    if (lstat(path, &found) != 0) {
        lm_error("run_dir %s: %s", path, strerror(errno));
        return LM_EXIT_SYSTEM;
    }
    if (!S_ISDIR(found.st_mode)) {
        lm_error("run_dir %s must be a directory, not a link to one or a file", path);
        return LM_EXIT_CONFIG;
    }
    if (found.st_uid != geteuid()) {
        lm_error("run_dir %s belongs to user %u, but this is user %u", path, found.st_uid,
                 geteuid());
        return LM_EXIT_CONFIG;
    }
    if ((found.st_mode & 077) != 0) {
        lm_error("run_dir %s has mode %04o and must be private: chmod 700 %s", path,
                 found.st_mode & 07777, path);
        return LM_EXIT_CONFIG;
    }
    return LM_EXIT_OK;
}

static lm_exit_t take_lock(lm_sup_rundir_t *rundir)
{
    char path[FILE_PATH_MAX_BYTES], text[32] = "";
    print_path(rundir, "lock", "", path);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        lm_error("%s: %s", path, strerror(errno));
        return LM_EXIT_SYSTEM;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        bool busy = errno == EWOULDBLOCK;
        if (pread(fd, text, sizeof text - 1, 0) < 0) text[0] = '\0';
        lm_error("run_dir %s: %s%s", rundir->path,
                 busy ? "in use by the supervisor with pid " : strerror(errno), busy ? text : "");
        close(fd);
        return busy ? LM_EXIT_TRY_LATER : LM_EXIT_SYSTEM;
    }
    int size = snprintf(text, sizeof text, "%d\n", (int)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)size, 0) != size)
        lm_warn("%s: %s", path, strerror(errno));
    rundir->lock_fd = fd;
    return LM_EXIT_OK;
}

static bool is_leftover(int dir_fd, const char *name)
{
    struct stat found;
    const char *end = strrchr(name, '.');
    if (fstatat(dir_fd, name, &found, AT_SYMLINK_NOFOLLOW) != 0) return false;
    if (S_ISSOCK(found.st_mode)) return true;
    return end &&
           (strcmp(end, ".page") == 0 || strcmp(end, ".stacks") == 0 || strcmp(end, ".new") == 0);
}

static void sweep(const lm_sup_rundir_t *rundir)
{
    DIR *dir = opendir(rundir->path);
    if (!dir) return;
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        if (is_leftover(dirfd(dir), entry->d_name)) unlinkat(dirfd(dir), entry->d_name, 0);
    }
    closedir(dir);
}

lm_exit_t lm_sup_rundir_open(lm_sup_rundir_t *rundir, const char *path)
{
    rundir->lock_fd = -1;
    snprintf(rundir->path, sizeof rundir->path, "%s", path);
    if (!lm_sup_rundir_make(path, 0700)) {
        lm_error("run_dir %s cannot be made: %s", path, strerror(errno));
        return LM_EXIT_SYSTEM;
    }
    lm_exit_t code = check_private(path);
    if (code == LM_EXIT_OK) code = take_lock(rundir);
    if (code == LM_EXIT_OK) sweep(rundir);
    return code;
}

void lm_sup_rundir_close(lm_sup_rundir_t *rundir)
{
    if (rundir->lock_fd >= 0) close(rundir->lock_fd);
    rundir->lock_fd = -1;
}

bool lm_sup_rundir_write(const lm_sup_rundir_t *rundir, const char *name, const char *text)
{
    char path[FILE_PATH_MAX_BYTES], fresh[FILE_PATH_MAX_BYTES];
    print_path(rundir, name, "", path);
    print_path(rundir, name, ".new", fresh);
    FILE *stream = fopen(fresh, "we");
    bool written = stream && fputs(text, stream) >= 0;
    if (stream && fclose(stream) != 0) written = false;
    if (written && rename(fresh, path) == 0) return true;
    lm_warn("%s cannot be written: %s", path, strerror(errno));
    return false;
}
