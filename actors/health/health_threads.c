#include "health_threads.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "act_host.h"
#include "act_stacks.h"
#include "base_proc.h"

enum { LOOK_AGAIN_US = 500 };

typedef struct {
    health_threads_t all;
    const lm_stacks_t *stacks[HEALTH_PROCESSES_MAX]; /* NULL: that process does not answer */
    size_t process_of[HEALTH_THREADS_MAX];
    size_t n_asked;
    const char *run_dir;
    lm_arena_t *arena;
} taking_t;

/* ---- what the kernel says -------------------------------------------------------------------- */

static const char *field_of(const char *text, const char *word)
{
    const char *line = strstr(text, word);
    return line ? line + strlen(word) + strspn(line + strlen(word), " \t") : "";
}

/* Field 18 of the line; the name before it may hold anything. */
static int priority_of(const char *text)
{
    const char *rest = strrchr(text, ')');
    for (int i = 0; rest && i < 16; i++) {
        rest = strchr(rest, ' ');
        if (rest) rest++;
    }
    return rest ? (int)strtol(rest, NULL, 10) : 0;
}

static bool read_file(const health_thread_t *thread, const char *file, char *text, size_t size)
{
    char path[96];
    snprintf(path, sizeof path, "/proc/%d/task/%d/%s", thread->pid, thread->tid, file);
    return lm_proc_read(path, text, size);
}

/* False if the thread has ended meanwhile. */
static bool read_thread(taking_t *taking, health_thread_t *thread, uint64_t *blocked,
                        uint64_t *handled)
{
    char status[4096], stat[1024];
    if (!read_file(thread, "status", status, sizeof status) ||
        !read_file(thread, "stat", stat, sizeof stat))
        return false;
    const char *name = field_of(status, "Name:");
    thread->name =
        lm_arena_text(taking->arena, lm_bytes(name, strcspn(name, "\n"))); /* escaped: one line */
    thread->state = *field_of(status, "State:");
    thread->priority = priority_of(stat);
    *blocked = strtoull(field_of(status, "SigBlk:"), NULL, 16);
    *handled = strtoull(field_of(status, "SigCgt:"), NULL, 16);
    return true;
}

/* ---- asking ---------------------------------------------------------------------------------- */

static void ask(taking_t *taking, health_thread_t *thread, uint64_t blocked, uint64_t handled)
{
    if (!taking->stacks[taking->process_of[taking->all.n]])
        thread->missing = "its process keeps no stacks";
    else if (!lm_stacks_may_ask(blocked, handled))
        thread->missing = "it takes no signals";
    else if (taking->n_asked == LM_STACKS_PLACES)
        thread->missing = "too many threads were asked";
    else if (!(thread->number = lm_stacks_ask(thread->pid, thread->tid)))
        thread->missing = "it cannot be asked";
    else
        taking->n_asked++;
}

static void take_process(taking_t *taking, const health_process_t *process, size_t at)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", process->pid);
    DIR *dir = opendir(path);
    if (!dir) return;
    taking->stacks[at] = process->pid == getpid() ? lm_stacks_mine()
                                                  : lm_stacks_open(taking->run_dir, process->name);
    const char *name = lm_arena_text(taking->arena, lm_bytes_of(process->name));
    for (struct dirent *one; (one = readdir(dir)) && taking->all.n < HEALTH_THREADS_MAX;) {
        uint64_t blocked, handled;
        health_thread_t *thread = &taking->all.items[taking->all.n];
        *thread = (health_thread_t){
            .process = name, .pid = process->pid, .tid = (int)strtol(one->d_name, NULL, 10)};
        taking->process_of[taking->all.n] = at;
        if (thread->tid <= 0 || !read_thread(taking, thread, &blocked, &handled)) continue;
        ask(taking, thread, blocked, handled);
        taking->all.n++;
    }
    closedir(dir);
}

/* ---- the answers ----------------------------------------------------------------------------- */

static bool collect(taking_t *taking, size_t at)
{
    uint64_t frames[LM_STACK_FRAMES_MAX];
    health_thread_t *thread = &taking->all.items[at];
    const lm_stacks_t *stacks = taking->stacks[taking->process_of[at]];
    thread->n_frames = lm_stacks_answer(stacks, thread->number, frames);
    if (thread->n_frames == 0) return false;
    thread->frames = lm_arena_alloc(taking->arena, thread->n_frames * sizeof *thread->frames);
    for (size_t i = 0; i < thread->n_frames; i++)
        thread->frames[i] = (health_frame_t){.address = frames[i], .calls = i > 0};
    return true;
}

static size_t collect_all(taking_t *taking)
{
    size_t n_open = 0;
    for (size_t i = 0; i < taking->all.n; i++) {
        const health_thread_t *thread = &taking->all.items[i];
        if (thread->number && !thread->n_frames && !collect(taking, i)) n_open++;
    }
    return n_open;
}

static void wait_for_answers(taking_t *taking)
{
    uint64_t until_us = lm_clock_us() + HEALTH_THREADS_WAIT_MS * UINT64_C(1000);
    while (collect_all(taking) > 0 && lm_clock_us() < until_us) usleep(LOOK_AGAIN_US);
    for (size_t i = 0; i < taking->all.n; i++) {
        health_thread_t *thread = &taking->all.items[i];
        if (thread->number && !thread->n_frames) thread->missing = "it did not answer in time";
    }
}

health_threads_t health_threads_take(const health_system_t *system, const char *run_dir,
                                     lm_arena_t *arena)
{
    taking_t *taking = lm_arena_alloc(arena, sizeof *taking);
    *taking = (taking_t){.run_dir = run_dir, .arena = arena};
    taking->all.items = lm_arena_alloc(arena, HEALTH_THREADS_MAX * sizeof *taking->all.items);
    for (size_t i = 0; i < system->n_processes; i++) take_process(taking, &system->processes[i], i);
    wait_for_answers(taking);
    for (size_t i = 0; i < system->n_processes; i++)
        if (taking->stacks[i] != lm_stacks_mine()) lm_stacks_close(&taking->stacks[i]);
    health_symbols_find(&taking->all, arena);
    return taking->all;
}
