#include "act_stacks.h"

#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "act_host.h"
#include "base_log.h"

/* HANDLER_FRAMES_MAX: what the handler itself has on the stack, a sanitizer's share counted. */
enum { HANDLER_FRAMES_MAX = 16, WALKED_MAX = LM_STACK_FRAMES_MAX + HANDLER_FRAMES_MAX };

/* Of the process: a signal has no other way to find it. */
static _Atomic(lm_stacks_t *) mine;

/* ---- answering ------------------------------------------------------------------------------- */

/* Where the signal met the thread. */
static uint64_t met_at(const void *context)
{
    const mcontext_t *machine = &((const ucontext_t *)context)->uc_mcontext;
#if defined(__x86_64__)
    return (uint64_t)machine->gregs[REG_RIP];
#elif defined(__aarch64__)
    return machine->pc;
#else
#error "act_stacks.c does not know this machine's program counter"
#endif
}

static void fill(lm_stack_place_t *place, uint64_t at)
{
    void *walked[WALKED_MAX];
    int n_walked = backtrace(walked, WALKED_MAX), first = 0;
    while (first < n_walked && (uint64_t)(uintptr_t)walked[first] != at) first++;
    uint32_t n = 0;
    place->frames[n++] = at;
    for (int i = first + 1; i < n_walked && n < LM_STACK_FRAMES_MAX; i++)
        place->frames[n++] = (uint64_t)(uintptr_t)walked[i];
    place->n = n;
}

static void on_question(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    int error = errno;
    lm_stacks_t *stacks = atomic_load(&mine);
    uint64_t number = (uint64_t)(uintptr_t)info->si_value.sival_ptr;
    lm_stack_place_t *place = stacks ? &stacks->places[number % LM_STACKS_PLACES] : NULL;
    if (info->si_code == SI_QUEUE && place && !atomic_exchange(&place->busy, 1)) {
        place->number = 0;
        fill(place, met_at(context));
        place->number = number;
        place->busy = 0;
    }
    errno = error;
}

static lm_stacks_t *map(int fd, int protection)
{
    int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
    void *stacks = mmap(NULL, sizeof(lm_stacks_t), protection, flags, fd, 0);
    return stacks == MAP_FAILED ? NULL : stacks;
}

static void name_file(char path[192], const char *run_dir, const char *name)
{
    snprintf(path, 192, "%s/%s.stacks", run_dir, name);
}

static lm_stacks_t *make(const char *run_dir, const char *name)
{
    char path[192];
    if (!run_dir) return map(-1, PROT_READ | PROT_WRITE);
    name_file(path, run_dir, name);
    unlink(path);
    int fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0) return NULL;
    lm_stacks_t *stacks = NULL;
    if (ftruncate(fd, sizeof *stacks) == 0) stacks = map(fd, PROT_READ | PROT_WRITE);
    close(fd);
    return stacks;
}

void lm_stacks_begin(const char *run_dir, const char *name)
{
    void *one[1];
    lm_stacks_t *none = NULL, *stacks = make(run_dir, name);
    if (!stacks) {
        lm_warn("no place for stacks, thread dumps will lack them: %s", strerror(errno));
        return;
    }
    if (!atomic_compare_exchange_strong(&mine, &none, stacks)) {
        munmap(stacks, sizeof *stacks);
        return;
    }
    backtrace(one, 1); /* loads what it needs */
    struct sigaction action = {.sa_sigaction = on_question, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigfillset(&action.sa_mask);
    sigaction(SIGURG, &action, NULL);
}

void lm_stacks_refuse(void)
{
    sigset_t question;
    sigemptyset(&question);
    sigaddset(&question, SIGURG);
    pthread_sigmask(SIG_BLOCK, &question, NULL);
}

/* ---- asking ---------------------------------------------------------------------------------- */

const lm_stacks_t *lm_stacks_open(const char *run_dir, const char *name)
{
    char path[192];
    struct stat status;
    name_file(path, run_dir, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return NULL;
    bool whole = fstat(fd, &status) == 0 && (size_t)status.st_size >= sizeof(lm_stacks_t);
    const lm_stacks_t *stacks = whole ? map(fd, PROT_READ) : NULL;
    close(fd);
    return stacks;
}

void lm_stacks_close(const lm_stacks_t **stacks)
{
    if (*stacks) munmap((void *)(uintptr_t)*stacks, sizeof **stacks);
    *stacks = NULL;
}

const lm_stacks_t *lm_stacks_mine(void) { return atomic_load(&mine); }

bool lm_stacks_may_ask(uint64_t blocked, uint64_t handled)
{
    const uint64_t bit = UINT64_C(1) << (SIGURG - 1);
    return !(blocked & bit) && handled & bit;
}

/* Numbers go on from those of a predecessor, whose questions may still be answered. */
static uint64_t next_number(void)
{
    static _Atomic uint64_t last;
    uint64_t before = atomic_load(&last), next;
    do next = before ? before + 1 : lm_clock_us() + 1;
    while (!atomic_compare_exchange_weak(&last, &before, next));
    return next;
}

uint64_t lm_stacks_ask(int pid, int tid)
{
    uint64_t number = next_number();
    siginfo_t info = {0};
    info.si_signo = SIGURG;
    info.si_code = SI_QUEUE;
    info.si_pid = getpid();
    info.si_uid = getuid();
    info.si_value.sival_ptr = (void *)(uintptr_t)number;
    bool sent = syscall(SYS_rt_tgsigqueueinfo, pid, tid, SIGURG, &info) == 0;
    return sent ? number : 0;
}

size_t lm_stacks_answer(const lm_stacks_t *stacks, uint64_t number,
                        uint64_t frames[LM_STACK_FRAMES_MAX])
{
    const lm_stack_place_t *place = &stacks->places[number % LM_STACKS_PLACES];
    if (place->number != number) return 0;
    size_t n = place->n;
    if (n > LM_STACK_FRAMES_MAX) return 0;
    for (size_t i = 0; i < n; i++) frames[i] = place->frames[i];
    return place->number == number ? n : 0;
}
