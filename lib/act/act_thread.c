#include "act_thread.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "act_link.h"
#include "act_process.h"
#include "act_stacks.h"
#include "base_arena.h"
#include "base_check.h"
#include "base_log.h"
#include "base_voice.h"

struct lm_thread {
    pthread_t thread;
    lm_process_t process;
    lm_actor_run_t *run;
    lm_thread_ended_t *ended;
    void *arg;
    lm_voice_t *voice;
    lm_page_t *page;
};

void lm_thread_prepare_process(void)
{
    lm_check_on_last_words(lm_process_last_words);
    lm_stacks_begin(NULL, NULL);
}

static lm_voice_t *make_voice(const lm_process_t *process, lm_page_t *page)
{
    lm_voice_t *voice = lm_voice_new();
    lm_voice_settings_t settings = *lm_voice_settings(voice);
    snprintf(settings.actor, sizeof settings.actor, "%s", process->actor);
    lm_voice_set(voice, &settings);
    lm_voice_set_page(voice, page);
    return voice;
}

static void *thread_main(void *arg)
{
    lm_thread_t *thread = arg;
    lm_voice_take(thread->voice);
    pthread_setname_np(pthread_self(), thread->process.actor);
    lm_exit_t code = thread->run(&thread->process);
    thread->ended(thread->arg, code);
    lm_voice_take(NULL);
    return NULL;
}

static void destroy_ended(lm_thread_t *thread)
{
    lm_voice_destroy(&thread->voice);
    const lm_page_t *page = thread->page;
    lm_page_close(&page);
    free(thread);
}

lm_thread_t *lm_thread_new(const lm_process_t *process, lm_actor_run_t *run,
                           lm_thread_ended_t *ended, void *arg)
{
    lm_page_t *page = lm_page_create(process->run_dir, process->actor);
    if (!page) {
        lm_error("no page for last words in %s: %s", process->run_dir, strerror(errno));
        return NULL;
    }
    lm_thread_t *thread = lm_alloc(sizeof *thread);
    *thread = (lm_thread_t){.process = *process, .run = run, .ended = ended, .arg = arg};
    thread->page = page;
    thread->voice = make_voice(process, page);
    lm_link_prepare_process();
    int error = pthread_create(&thread->thread, NULL, thread_main, thread);
    if (error == 0) return thread;
    lm_error("no thread for %s: %s", process->actor, strerror(error));
    destroy_ended(thread);
    return NULL;
}

const lm_page_t *lm_thread_page(const lm_thread_t *thread) { return thread->page; }

void lm_thread_destroy(lm_thread_t **thread)
{
    if (!*thread) return;
    pthread_join((*thread)->thread, NULL);
    destroy_ended(*thread);
    *thread = NULL;
}
