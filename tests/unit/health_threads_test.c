/* Stacks that threads leave when they are asked, of this process and of another one, and the names
 * that are found for them. */
#include "health_threads.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "act_host.h"
#include "act_stacks.h"

static lm_arena_t *arena;
static char dir[] = "/tmp/lm-stacks-XXXXXX";

static void set_up(void) { arena = lm_arena_new(); }

static void tear_down(void) { lm_arena_destroy(&arena); }

TestSuite(health_threads, .init = set_up, .fini = tear_down, .timeout = 60);

/* ---- threads to be asked --------------------------------------------------------------------- */

static pthread_barrier_t all_there, all_seen;

void lm_test_waits_here(void);
__attribute__((noinline)) void lm_test_waits_here(void)
{
    pthread_barrier_wait(&all_there);
    pthread_barrier_wait(&all_seen);
    __asm__ volatile(""); /* no tail call: this function stays on the stack */
}

static void *waiting(void *arg)
{
    bool refuses = arg != NULL;
    pthread_setname_np(pthread_self(), refuses ? "refuses" : "waits");
    if (refuses) lm_stacks_refuse();
    lm_test_waits_here();
    return NULL;
}

static health_threads_t take(int pid, const char *name, const char *run_dir)
{
    health_system_t system = {.n_processes = 1, .processes = {{.pid = pid}}};
    snprintf(system.processes[0].name, sizeof system.processes[0].name, "%s", name);
    return health_threads_take(&system, run_dir, arena);
}

static const health_thread_t *find(const health_threads_t *threads, const char *name)
{
    for (size_t i = 0; i < threads->n; i++)
        if (strcmp(threads->items[i].name, name) == 0) return &threads->items[i];
    cr_assert_fail("no thread %s", name);
    return NULL;
}

static bool is_in(const health_thread_t *thread, const char *function)
{
    for (size_t i = 0; i < thread->n_frames; i++)
        if (thread->frames[i].function && strcmp(thread->frames[i].function, function) == 0)
            return true;
    return false;
}

/* ---- of this process ------------------------------------------------------------------------- */

Test(health_threads, each_thread_says_where_it_is_unless_it_refuses)
{
    pthread_t threads[2];
    lm_stacks_begin(NULL, NULL);
    lm_stacks_begin(NULL, NULL);
    pthread_barrier_init(&all_there, NULL, 3);
    pthread_barrier_init(&all_seen, NULL, 3);
    for (size_t i = 0; i < 2; i++) pthread_create(&threads[i], NULL, waiting, i ? &threads : NULL);
    pthread_barrier_wait(&all_there);
    usleep(20000);
    health_threads_t taken = take(getpid(), "self", NULL);
    const health_thread_t *waits = find(&taken, "waits"), *refuses = find(&taken, "refuses");
    cr_expect(is_in(waits, "lm_test_waits_here"));
    cr_expect_null(waits->missing);
    cr_expect_eq(waits->state, 'S');
    cr_expect_eq(waits->priority, 20 + getpriority(PRIO_PROCESS, 0));
    cr_expect_neq(waits->tid, getpid());
    cr_expect_str_eq(waits->process, "self");
    cr_expect_str_eq(refuses->missing, "it takes no signals");
    cr_expect_eq(refuses->n_frames, 0);
    cr_expect_eq(refuses->state, 'S');
    const health_thread_t *own = NULL;
    for (size_t i = 0; i < taken.n; i++)
        if (taken.items[i].tid == (int)syscall(SYS_gettid)) own = &taken.items[i];
    cr_assert_not_null(own);
    cr_expect(is_in(own, "health_threads_take"));
    cr_expect_eq(own->state, 'R');
    pthread_barrier_wait(&all_seen);
    for (size_t i = 0; i < 2; i++) pthread_join(threads[i], NULL);
}

Test(health_threads, an_answer_to_another_question_is_none)
{
    uint64_t frames[LM_STACK_FRAMES_MAX];
    lm_stacks_begin(NULL, NULL);
    uint64_t number = lm_stacks_ask(getpid(), (int)syscall(SYS_gettid));
    cr_assert_neq(number, 0);
    cr_expect_gt(lm_stacks_answer(lm_stacks_mine(), number, frames), 2);
    cr_expect_eq(lm_stacks_answer(lm_stacks_mine(), number + LM_STACKS_PLACES, frames), 0);
    for (int i = 0; i < LM_STACKS_PLACES; i++) lm_stacks_ask(getpid(), (int)syscall(SYS_gettid));
    cr_expect_eq(lm_stacks_answer(lm_stacks_mine(), number, frames), 0, "its place was used again");
    cr_expect_eq(lm_stacks_ask(getpid(), 1), 0, "not a thread of this process");
}

/* ---- of another one -------------------------------------------------------------------------- */

/* A process that does nothing; it answers if it has a name. */
static pid_t start(const char *name)
{
    int ready[2];
    char byte = 0;
    cr_assert_eq(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (name) lm_stacks_begin(dir, name);
        if (write(ready[1], &byte, 1) != 1) _exit(1);
        for (;;) pause();
    }
    cr_assert_eq(read(ready[0], &byte, 1), 1);
    return pid;
}

static void end(pid_t pid)
{
    int status;
    cr_expect_eq(waitpid(pid, &status, WNOHANG), 0, "it lives until now");
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
}

Test(health_threads, another_process_answers_through_its_file)
{
    cr_assert_not_null(mkdtemp(dir));
    pid_t pid = start("other");
    usleep(20000);
    health_threads_t taken = take(pid, "other", dir);
    cr_assert_eq(taken.n, 1);
    cr_expect_null(taken.items[0].missing, "%s", taken.items[0].missing);
    cr_expect(is_in(&taken.items[0], "start") && is_in(&taken.items[0], "pause"));
    cr_expect_str_eq(taken.items[0].frames[0].function, "pause");
    end(pid);
    char path[64];
    snprintf(path, sizeof path, "%s/other.stacks", dir);
    cr_expect_eq(unlink(path), 0);
    rmdir(dir);
}

Test(health_threads, one_that_does_not_answer_is_not_harmed)
{
    cr_assert_not_null(mkdtemp(dir));
    pid_t pid = start(NULL);
    health_threads_t taken = take(pid, "other", dir);
    cr_assert_eq(taken.n, 1);
    cr_expect_str_eq(taken.items[0].missing, "its process keeps no stacks");
    cr_expect_neq(lm_stacks_ask(pid, pid), 0);
    usleep(20000);
    end(pid);
    rmdir(dir);
}

Test(health_threads, one_that_is_stopped_is_waited_for_within_the_bound)
{
    int status;
    cr_assert_not_null(mkdtemp(dir));
    pid_t pid = start("other");
    kill(pid, SIGSTOP);
    cr_assert_eq(waitpid(pid, &status, WUNTRACED), pid);
    uint64_t before_us = lm_clock_us();
    health_threads_t taken = take(pid, "other", dir);
    cr_expect_geq(lm_clock_us() - before_us, HEALTH_THREADS_WAIT_MS * 1000);
    cr_expect_str_eq(taken.items[0].missing, "it did not answer in time");
    cr_expect_eq(taken.items[0].state, 'T');
    kill(pid, SIGCONT);
    usleep(20000);
    taken = take(pid, "other", dir);
    cr_expect_null(taken.items[0].missing, "%s", taken.items[0].missing);
    end(pid);
    char path[64];
    snprintf(path, sizeof path, "%s/other.stacks", dir);
    unlink(path);
    rmdir(dir);
}

Test(health_threads, a_process_that_is_gone_has_none)
{
    pid_t pid = start(NULL);
    end(pid);
    cr_expect_eq(take(pid, "other", dir).n, 0);
}

/* ---- files that are not what they seem ------------------------------------------------------- */

static uint64_t mixed(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *seed >> 33;
}

static void read_names(const void *bytes, size_t size)
{
    health_frame_t frames[16], *sorted[16];
    for (size_t i = 0; i < 16; i++) {
        frames[i] = (health_frame_t){.offset = 4096 * (i + 1) + 100 * i, .calls = i > 0};
        sorted[i] = &frames[i];
    }
    health_symbols_read(bytes, size, sorted, 16, arena);
    lm_arena_reset(arena);
}

Test(health_threads, symbols_of_any_bytes_are_read_within_them)
{
    struct stat status;
    uint64_t seed = 7;
    int fd = open("/proc/self/exe", O_RDONLY);
    cr_assert_eq(fstat(fd, &status), 0);
    size_t size = (size_t)status.st_size;
    const uint8_t *whole = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    cr_assert(whole != MAP_FAILED);
    read_names(whole, size);
    for (int i = 0; i < 40; i++) { /* cut off */
        size_t cut = i < 20 ? (size_t)i * 5 : mixed(&seed) % size;
        uint8_t *copy = lm_alloc(cut + 1);
        memcpy(copy, whole, cut);
        read_names(copy, cut);
        free(copy);
    }
    uint8_t *copy = lm_alloc(size);
    memcpy(copy, whole, size);
    uint64_t tables;
    memcpy(&tables, whole + 40, sizeof tables); /* e_shoff */
    for (int i = 0; i < 60; i++) {              /* wrong in what it says of its parts */
        size_t at = i % 2 ? tables + mixed(&seed) % (size - tables) : mixed(&seed) % 800;
        uint8_t before = copy[at];
        copy[at] = (uint8_t)mixed(&seed);
        read_names(copy, size);
        copy[at] = before;
    }
    free(copy);
    close(fd);
}
