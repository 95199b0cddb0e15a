/* Actors as threads: their voice, their page, their end. */
#include "act_thread.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "act_process.h"
#include "base_voice.h"

typedef struct {
    sem_t done;
    lm_exit_t code;
    char words[64];
} end_t;

static char run_dir[64];
static end_t ends[2];

static void set_up(void)
{
    snprintf(run_dir, sizeof run_dir, "/tmp/lm-act-XXXXXX");
    cr_assert_not_null(mkdtemp(run_dir));
    for (int i = 0; i < 2; i++) sem_init(&ends[i].done, 0, 0);
}

static void tear_down(void)
{
    char command[96];
    snprintf(command, sizeof command, "rm -rf '%s'", run_dir);
    cr_assert_eq(system(command), 0);
}

TestSuite(act_thread, .init = set_up, .fini = tear_down, .timeout = 60);

static void on_ended(void *arg, lm_exit_t code)
{
    end_t *end = arg;
    end->code = code;
    snprintf(end->words, sizeof end->words, "%.60s", lm_page_mine()->last_words);
    sem_post(&end->done);
}

static lm_exit_t speak_and_fail(const lm_process_t *process)
{
    char words[96];
    snprintf(words, sizeof words, "last of %s", lm_voice_settings(lm_voice_mine())->actor);
    lm_process_last_words(words);
    lm_process_last_words("not the first");
    return process->generation.counter == 1 ? LM_EXIT_DAMAGED : LM_EXIT_OK;
}

/* Runs behind all that the host does in the thread: the C library calls it at the thread's end. */
static pthread_key_t leaving;
static _Atomic bool left;

static void leave_slowly(void *value)
{
    (void)value;
    usleep(200000);
    atomic_store(&left, true);
}

static lm_exit_t end_and_leave_slowly(const lm_process_t *process)
{
    (void)process;
    pthread_setspecific(leaving, &left);
    return LM_EXIT_OK;
}

static lm_thread_t *begin_with(const char *actor, uint32_t counter, lm_actor_run_t *run, end_t *end)
{
    lm_process_t process = {.generation = {.boot_id = 7, .counter = counter}};
    snprintf(process.run_dir, sizeof process.run_dir, "%s", run_dir);
    snprintf(process.supervisor, sizeof process.supervisor, "inproc://%s/7/supervisor", run_dir);
    snprintf(process.actor, sizeof process.actor, "%s", actor);
    return lm_thread_new(&process, run, on_ended, end);
}

static lm_thread_t *begin(const char *actor, uint32_t counter, end_t *end)
{
    return begin_with(actor, counter, speak_and_fail, end);
}

Test(act_thread, each_ends_with_its_own_code_and_words)
{
    lm_thread_t *raft = begin("raft", 1, &ends[0]), *lock = begin("lock", 2, &ends[1]);
    cr_assert(raft && lock);
    for (int i = 0; i < 2; i++) cr_assert_eq(sem_wait(&ends[i].done), 0);
    cr_assert_eq(ends[0].code, LM_EXIT_DAMAGED);
    cr_assert_eq(ends[1].code, LM_EXIT_OK);
    cr_assert_str_eq(ends[0].words, "last of raft");
    cr_assert_str_eq(ends[1].words, "last of lock");
    cr_assert_str_eq(lm_thread_page(lock)->last_words, "last of lock");
    const lm_page_t *seen = lm_page_open(run_dir, "raft");
    cr_assert_str_eq(seen->last_words, "last of raft", "others can read it too");
    lm_page_close(&seen);
    lm_thread_destroy(&raft);
    lm_thread_destroy(&lock);
    cr_assert_null(raft);
}

Test(act_thread, a_run_directory_that_is_not_there_is_told)
{
    snprintf(run_dir + strlen(run_dir), 8, "/no");
    cr_assert_null(begin("raft", 1, &ends[0]));
    *strrchr(run_dir, '/') = '\0';
}

Test(act_thread, nothing_of_it_runs_when_it_has_been_destroyed)
{
    cr_assert_eq(pthread_key_create(&leaving, leave_slowly), 0);
    lm_thread_t *raft = begin_with("raft", 1, end_and_leave_slowly, &ends[0]);
    cr_assert_eq(sem_wait(&ends[0].done), 0);
    cr_assert_not(atomic_load(&left));
    lm_thread_destroy(&raft);
    cr_assert(atomic_load(&left));
}
