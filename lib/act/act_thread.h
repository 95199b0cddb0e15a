/* The thread host: an actor as a thread among others of one process, over inproc://.
 *
 * It is the same room on the same loop; who lives and who is ready is told by the same messages as
 * between processes. What a process leaves to its parent a thread says itself: that it has ended.
 *
 * Invariants
 *   T1  A thread cannot be killed. One that is stuck can only be left behind, by ending the
 *       process.
 *   T2  An actor has a voice of its own, which the threads that it starts take (base_voice.h).
 *   T3  When a thread has been destroyed nothing of it runs any more, so that what belongs to
 *       the process may be taken down. (czmq's own actors are never joined.)
 */
#ifndef LM_ACT_THREAD_H
#define LM_ACT_THREAD_H

#include "act_host.h"
#include "act_page.h"

typedef struct lm_thread lm_thread_t;

/** Called by the actor's thread as the last thing it does; its page is lm_page_mine. */
typedef void lm_thread_ended_t(void *arg, lm_exit_t code);

/** Starts an actor in a thread. process is copied; its supervisor is an inproc:// endpoint and
 *  its parent_pid 0. The page for last words is made in its run directory. NULL if that or the
 *  thread is refused; the reason is logged. Calls and destroys belong to one thread. */
lm_thread_t *lm_thread_new(const lm_process_t *process, lm_actor_run_t *run,
                           lm_thread_ended_t *ended, void *arg);

/** The page of the actor, for reading. */
const lm_page_t *lm_thread_page(const lm_thread_t *thread);

/** Waits until the thread has ended, and frees what was its. */
void lm_thread_destroy(lm_thread_t **thread);

/** What lm_process_start does for a process, for one that hosts actors as threads: the page of each
 *  actor gets its last words, and all threads can be asked for their stacks. Before the first
 *  thread. */
void lm_thread_prepare_process(void);

#endif
