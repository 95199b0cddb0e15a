/* Stacks of the threads of a node's processes, for whoever diagnoses it.
 *
 * Each process has a file RUN/<name>.stacks of places for stacks, which the others of the run
 * directory may map. Whoever wants the stack of a thread sends it a signal that carries a number;
 * the thread's handler walks its own stack and leaves the addresses in the place of that number.
 * Neither the loop nor the bus of the asked process has a part in it, so that one that is busy or
 * stuck answers, too, and nobody's turn waits for it: it costs the thread some microseconds.
 *
 * Invariants
 *   SK1  The signal is SIGURG, which does nothing to a process that has no handler for it: asking
 *        the wrong process, or one that has only begun, harms nobody.
 *   SK2  The handler allocates nothing, takes no lock of ours, and leaves errno alone; what it
 *        needs of libgcc has been loaded by lm_stacks_begin.
 *   SK3  A place is written by one thread at a time; what was left there for another number, or
 *        is being written, is not taken for an answer.
 *   SK4  A thread that must not be interrupted blocks the signal (lm_stacks_refuse) and is never
 *        asked: its mask says so.
 */
#ifndef LM_ACT_STACKS_H
#define LM_ACT_STACKS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LM_STACKS_PLACES = 128, LM_STACK_FRAMES_MAX = 48 };

typedef struct {
    _Atomic uint32_t busy;   /* somebody writes */
    _Atomic uint32_t n;      /* frames */
    _Atomic uint64_t number; /* of the question that is answered here; 0: none yet */
    _Atomic uint64_t frames[LM_STACK_FRAMES_MAX];
} lm_stack_place_t;

typedef struct {
    lm_stack_place_t places[LM_STACKS_PLACES];
} lm_stacks_t;

/** From now on this process answers, once and for all: further calls do nothing. The file is made
 *  anew as RUN/<name>.stacks; run_dir NULL: without one, for those who ask within this process.
 *  What fails is logged, and this process does not answer then. */
void lm_stacks_begin(const char *run_dir, const char *name);
/** The calling thread, and those that it starts, take no questions. */
void lm_stacks_refuse(void);

/** Maps the places of another process for reading; NULL if there are none. */
const lm_stacks_t *lm_stacks_open(const char *run_dir, const char *name);
void lm_stacks_close(const lm_stacks_t **stacks);
/** Those of this process; NULL if it does not answer. */
const lm_stacks_t *lm_stacks_mine(void);

/** Whether a thread with these masks of blocked and handled signals, as /proc tells them, can be
 *  asked. */
bool lm_stacks_may_ask(uint64_t blocked, uint64_t handled);
/** Asks a thread of that process. Returns the number of the question, 0 if it could not be sent.
 *  A number's place is used again after LM_STACKS_PLACES further questions. */
uint64_t lm_stacks_ask(int pid, int tid);
/** The answer: how many frames there are, the innermost first; 0: there is none, yet. The first is
 *  where the thread was, the others are addresses to which it will return. */
size_t lm_stacks_answer(const lm_stacks_t *stacks, uint64_t number,
                        uint64_t frames[LM_STACK_FRAMES_MAX]);

#endif
