/* What the files of a session share: its state, and the calls that it has under way.
 *
 * Invariants
 *   J1  Everything that changes is guarded by the session's mutex.
 *   J2  A job is freed by whoever waits for it, or, if nobody does, when it is done; never while
 *       its attempt is under way, since gRPC writes into that.
 *   J3  A job that has a hold has its busy flag too, so no hold has two jobs.
 */
#ifndef LM_CLIENT_SESSION_STATE_H
#define LM_CLIENT_SESSION_STATE_H

#include <pthread.h>

#include "client_holds.h"
#include "client_internal.h"
#include "client_keeps.h"
#include "client_lease.h"
#include "client_session.h"

/** A call that is repeated until it has an answer or its time is over. */
typedef struct lm_job {
    lm_attempt_t attempt; /* its address is the tag, and leads back to the job */
    lm_client_method_t method;
    lm_hold_t *hold; /* NULL: a keep-alive */
    bool waited_for; /* by lm_session_acquire or lm_session_release */
    bool under_way, done;
    lm_api_lock_mode_t mode;
    int64_t wait_ms;
    uint64_t due_us, end_us; /* of the next attempt, of all of them; CLOCK_BOOTTIME */
    bool unknown;            /* some attempt may have been applied */
    bool moves;              /* its attempt was ended so that another node is asked */
    size_t endpoint;
    uint64_t sequence; /* of a keep-alive: lm_holds_ask */
    lm_arena_t *arena; /* the response is decoded into it; of a waiter his own */
    const void *response;
    lm_client_result_t result;
    int done_fd; /* readable when done; -1: whoever waits does so on the condition */
    struct lm_job *next;
} lm_job_t;

typedef struct {
    int bell, timer, epoll; /* the first two are in the third */
    int change;             /* own_thread: readable after a change of the state */
} lm_session_fds_t;

struct lm_session {
    lm_client_t *client;
    char *name, *id, *secret;
    bool own_thread;
    void (*on_change)(void *arg, lm_session_state_t state);
    void *arg;

    pthread_mutex_t telling; /* one turn after the other, so that changes are told in order */
    pthread_mutex_t mutex;   /* taken inside of telling */
    pthread_cond_t job_done;
    lm_lease_t lease;
    lm_holds_t *holds;
    lm_job_t keeper; /* the keep-alive, as a call; what comes of it either way is noted here */
    lm_keep_t keep;  /* the keep-alive, over the stream */
    uint64_t keep_until_us; /* so long its answer is waited for */
    bool keep_broke;        /* it has none, since the stream broke: a call shall follow */
    unsigned calls_due;     /* so many keep-alives are calls before the stream is tried again */
    lm_job_t *jobs;         /* all others */
    size_t n_settling;
    uint64_t orphans;
    lm_session_state_t told; /* last state that somebody was told of */
    bool stopping;
    lm_arena_t *scratch; /* what is being sent */

    grpc_completion_queue *queue;
    lm_session_fds_t fds;
    pthread_t courier, loop;
};

/* ---- client_session_keep.c ------------------------------------------------------------------- */

/** Takes what has come, and sends a keep-alive if one is due. */
void lm_keep_turn(lm_session_t *session, uint64_t now_us);
/** Takes the answer that has come over the stream, if one has. */
void lm_keep_collect(lm_session_t *session, uint64_t now_us);
/** The call that is a keep-alive is over; its result is in session->keeper. */
void lm_keep_arrived(lm_session_t *session, uint64_t now_us);
/** When lm_keep_turn gives up waiting; UINT64_MAX: it does not wait. */
uint64_t lm_keep_wake_us(const lm_session_t *session);
/** Waits for none any more, without their ends. */
void lm_keep_cancel(lm_session_t *session);

/* ---- client_session_jobs.c ------------------------------------------------------------------- */

/** Begins an attempt with that request. */
void lm_job_start(lm_session_t *session, lm_job_t *job, lm_bytes_t request, uint64_t timeout_ms);
/** Loses the lease if the result says that the session has ended. */
void lm_job_note_end(lm_session_t *session, const lm_job_t *job);
/** A node that leaves a keep-alive without an answer must not keep those who wait there: what they
 *  want is asked for elsewhere. Requests in a session may be repeated at any time. */
void lm_job_move_from(lm_session_t *session, size_t endpoint);
/** Sends what is due, gives up what is too late, and begins to settle what was given up. */
void lm_job_turn(lm_session_t *session, uint64_t now_us);
/** When lm_job_turn has something to do by the clock alone; UINT64_MAX: nothing. */
uint64_t lm_job_wake_us(const lm_session_t *session);
/** The attempt of this job is over. */
void lm_job_arrived(lm_session_t *session, lm_job_t *job);
/** Puts a new job into the session's list. */
void lm_job_add(lm_session_t *session, lm_job_t *job);
/** Takes a job out of the list and gives back what is its own. */
void lm_job_remove(lm_session_t *session, lm_job_t *job);
/** Ends the attempts that are under way, early. */
void lm_job_cancel_all(lm_session_t *session);
/** True while an attempt is under way. */
bool lm_job_any(const lm_session_t *session);

#endif
