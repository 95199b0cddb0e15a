#include "sup_spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base_check.h"
#include "base_log.h"

bool lm_sup_spawn_find_bin_dir(char dir[LM_SUP_BIN_DIR_BYTES])
{
    memset(dir, 0, LM_SUP_BIN_DIR_BYTES);
    ssize_t size = readlink("/proc/self/exe", dir, LM_SUP_BIN_DIR_BYTES - 1);
    char *slash = size > 0 ? strrchr(dir, '/') : NULL;
    if (!slash || size == LM_SUP_BIN_DIR_BYTES - 1) {
        lm_error("the own executable cannot be found: %s", size < 0 ? strerror(errno) : "too long");
        return false;
    }
    *slash = '\0';
    return true;
}

lm_exit_t lm_sup_spawn_init(lm_sup_spawn_t *spawn, const lm_process_t *self)
{
    *spawn = (lm_sup_spawn_t){.self = self};
    if (!lm_sup_spawn_find_bin_dir(spawn->bin_dir)) return LM_EXIT_SYSTEM;
    for (size_t i = 0; i < LM_SUP_CHILDREN; i++) {
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s/%s", spawn->bin_dir, lm_sup_children_program(i));
        if (access(path, X_OK) == 0) continue;
        lm_error("%s: %s; it must lie beside lockmgrd", path, strerror(errno));
        return LM_EXIT_SYSTEM;
    }
    return LM_EXIT_OK;
}

/* ---- start ---- */

/** What the child's main will read, made before the fork: after it only simple calls are safe. */
typedef struct {
    char path[PATH_MAX];
    char boot[24], counter[16], parent[16];
    const char *argv[12];
} command_t;

static void prepare(command_t *command, const lm_sup_spawn_t *spawn, size_t child, uint32_t counter)
{
    const lm_process_t *self = spawn->self;
    snprintf(command->path, sizeof command->path, "%s/%s", spawn->bin_dir,
             lm_sup_children_program(child));
    snprintf(command->boot, sizeof command->boot, "%" PRIu64, self->generation.boot_id);
    snprintf(command->counter, sizeof command->counter, "%u", counter);
    snprintf(command->parent, sizeof command->parent, "%d", (int)getpid());
    const char *const argv[] = {command->path,    "--supervisor", self->supervisor, "--run-dir",
                                self->run_dir,    "--boot",       command->boot,    "--counter",
                                command->counter, "--parent",     command->parent,  NULL};
    _Static_assert(sizeof argv == sizeof command->argv, "one place for each");
    memcpy(command->argv, argv, sizeof argv);
}

/** In the child. The parent may be gone before the parent-death signal is set; that is why its
 *  number is compared afterwards. */
static noreturn void become(const command_t *command, pid_t parent)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent) _exit(LM_EXIT_TRY_LATER);
    int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null_fd >= 0) dup2(null_fd, STDIN_FILENO);
    close_range(3, UINT_MAX, CLOSE_RANGE_CLOEXEC);
    execv(command->path, (char *const *)command->argv);
    static const char words[] = "lockmgrd: a child's executable cannot be executed\n";
    ssize_t written = write(STDERR_FILENO, words, sizeof words - 1);
    (void)written;
    _exit(LM_EXIT_SYSTEM);
}

bool lm_sup_spawn_start(lm_sup_spawn_t *spawn, size_t child, uint32_t counter)
{
    lm_sup_process_t *process = &spawn->processes[child];
    LM_CHECK(process->pid == 0, "%s still has process %d", lm_sup_children[child].name,
             (int)process->pid);
    command_t command;
    prepare(&command, spawn, child, counter);
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) become(&command, parent);
    if (pid < 0) {
        lm_error("%s cannot be started: %s", lm_sup_children[child].name, strerror(errno));
        return false;
    }
    *process = (lm_sup_process_t){.pid = pid, .counter = counter, .spawned_us = lm_clock_us()};
    lm_info("%s started: pid %d, start %u", lm_sup_children[child].name, (int)pid, counter);
    return true;
}

/* ---- life ---- */

void lm_sup_spawn_kill(lm_sup_spawn_t *spawn, size_t child, const char *why)
{
    lm_sup_process_t *process = &spawn->processes[child];
    if (process->pid == 0) return;
    lm_warn("%s (pid %d) is killed: %s", lm_sup_children[child].name, (int)process->pid, why);
    process->killed_why = why;
    kill(process->pid, SIGKILL);
}

/** The page of this start. That of an earlier one went with its burial. */
static const lm_page_t *page_of(lm_sup_spawn_t *spawn, size_t child)
{
    lm_sup_process_t *process = &spawn->processes[child];
    if (!process->page)
        process->page = lm_page_open(spawn->self->run_dir, lm_sup_children[child].name);
    return process->page;
}

static bool is_stopped(pid_t pid)
{
    char path[32], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t size = read(fd, text, sizeof text - 1);
    close(fd);
    if (size <= 0) return false;
    text[size] = '\0';
    /* "pid (name) state ...", and the name may contain anything. */
    const char *end = strrchr(text, ')');
    return end && (end[2] == 'T' || end[2] == 't');
}

bool lm_sup_spawn_is_blocking(lm_sup_spawn_t *spawn, size_t child)
{
    if (spawn->processes[child].pid == 0) return false;
    const lm_page_t *page = page_of(spawn, child);
    if (!page || atomic_load(&page->blocking_since_us) == 0) return false;
    return !is_stopped(spawn->processes[child].pid);
}

/* ---- death ---- */

static void describe(lm_sup_spawn_t *spawn, size_t child, int status, lm_sup_death_t *death)
{
    lm_sup_process_t *process = &spawn->processes[child];
    *death = (lm_sup_death_t){.child = child,
                              .pid = process->pid,
                              .counter = process->counter,
                              .code = WIFEXITED(status) ? WEXITSTATUS(status) : 0,
                              .signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0,
                              .lived_us = lm_clock_us() - process->spawned_us,
                              .killed_why = process->killed_why};
    const lm_page_t *page = page_of(spawn, child);
    if (page) {
        size_t size = strnlen(page->last_words, sizeof death->last_words - 1);
        memcpy(death->last_words, page->last_words, size);
    }
    lm_page_close(&process->page);
    *process = (lm_sup_process_t){0};
}

/** Removes what the dead left in the run directory, so that nothing of it is taken for its
 *  successor's. */
static void clear_away(const lm_sup_spawn_t *spawn, size_t child, uint32_t counter)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s.page", spawn->self->run_dir, lm_sup_children[child].name);
    unlink(path);
    snprintf(path, sizeof path, "%s/%s.%u", spawn->self->run_dir, lm_sup_children[child].name,
             counter);
    unlink(path);
}

static bool find_child(const lm_sup_spawn_t *spawn, pid_t pid, size_t *child)
{
    for (*child = 0; *child < LM_SUP_CHILDREN; (*child)++) {
        if (spawn->processes[*child].pid == pid) return true;
    }
    return false;
}

bool lm_sup_spawn_reap(lm_sup_spawn_t *spawn, lm_sup_death_t *death)
{
    int status;
    size_t child;
    for (pid_t pid = waitpid(-1, &status, WNOHANG); pid > 0; pid = waitpid(-1, &status, WNOHANG)) {
        if (!find_child(spawn, pid, &child)) {
            lm_debug("process %d, nobody's child any more, is reaped", (int)pid);
            continue;
        }
        describe(spawn, child, status, death);
        clear_away(spawn, child, death->counter);
        return true;
    }
    return false;
}
