/* The threads of all processes of this node, and where each of them is: what the kernel says, and
 * the stacks that the threads leave when they are asked (act_stacks.h).
 *
 * Taken by the driver, since it looks at the kernel and waits for answers.
 */
#ifndef LM_HEALTH_THREADS_H
#define LM_HEALTH_THREADS_H

#include "base_arena.h"
#include "health_system.h"

enum {
    HEALTH_THREADS_MAX = 512,     /* more than a node has; the rest is left out */
    HEALTH_THREADS_WAIT_MS = 100, /* for answers, all together */
};

typedef struct {
    uint64_t address;     /* in its process; not the first one: behind a call */
    const char *file;     /* name of the program or library; NULL: in none */
    const char *path;     /* the same, whole */
    uint64_t inode;       /* of that file */
    uint64_t offset;      /* there, as its symbols count */
    const char *function; /* NULL: its symbols do not say */
    bool calls;           /* the address is one to which it will return */
} health_frame_t;

typedef struct {
    const char *process; /* as health_process_t has it */
    int pid, tid;
    const char *name;
    char state;          /* of the kernel: R, S, D, T, t, Z, X, I */
    int priority;        /* of the kernel */
    const char *missing; /* why there is no stack; NULL: there is one */
    uint64_t number;     /* of the question it was asked */
    health_frame_t *frames;
    size_t n_frames; /* the innermost first */
} health_thread_t;

typedef struct {
    health_thread_t *items; /* by process, as the kernel lists them */
    size_t n;
} health_threads_t;

/** Takes all threads of those processes, their stacks included; everything lives as long as the
 *  arena. Waits for answers, HEALTH_THREADS_WAIT_MS at most. */
health_threads_t health_threads_take(const health_system_t *system, const char *run_dir,
                                     lm_arena_t *arena);

/* ---- health_symbols.c ------------------------------------------------------------------------ */

/** Finds out, for all frames, in which file and function they are. */
void health_symbols_find(const health_threads_t *threads, lm_arena_t *arena);
/** The functions of frames that are all of the file with these bytes, aligned like memory from
 *  malloc; whatever it is in truth. frames come sorted by offset, which becomes one as its symbols
 *  have them. */
void health_symbols_read(const void *bytes, size_t size, health_frame_t **frames, size_t n,
                         lm_arena_t *arena);

#endif
