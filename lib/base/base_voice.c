#include "base_voice.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base_arena.h"

/* Replaced settings stay, since somebody may still be reading them: a few per actor and start. */
typedef struct kept {
    struct kept *before;
    lm_voice_settings_t settings;
} kept_t;

struct lm_voice {
    kept_t *_Atomic now; /* NULL: none were made yet */
    void *_Atomic page;
};

static const lm_voice_settings_t nameless = {.actor = "lockmgr", .level = LM_LOG_INFO};

static lm_voice_t of_process;
static _Thread_local lm_voice_t *of_thread;

lm_voice_t *lm_voice_new(void)
{
    lm_voice_t *voice = lm_alloc(sizeof *voice);
    lm_voice_set(voice, lm_voice_settings(&of_process));
    return voice;
}

void lm_voice_destroy(lm_voice_t **voice)
{
    if (!*voice) return;
    kept_t *kept = atomic_load(&(*voice)->now);
    while (kept) {
        kept_t *before = kept->before;
        free(kept);
        kept = before;
    }
    free(*voice);
    *voice = NULL;
}

lm_voice_t *lm_voice_mine(void) { return of_thread ? of_thread : &of_process; }

void lm_voice_take(lm_voice_t *voice) { of_thread = voice; }

const lm_voice_settings_t *lm_voice_settings(const lm_voice_t *voice)
{
    const kept_t *kept = atomic_load_explicit(&voice->now, memory_order_acquire);
    return kept ? &kept->settings : &nameless;
}

void lm_voice_set(lm_voice_t *voice, const lm_voice_settings_t *settings)
{
    kept_t *kept = lm_alloc(sizeof *kept);
    kept->settings = *settings;
    kept->before = atomic_load(&voice->now);
    while (!atomic_compare_exchange_weak(&voice->now, &kept->before, kept)) continue;
}

void *lm_voice_page(const lm_voice_t *voice) { return atomic_load(&voice->page); }

void lm_voice_set_page(lm_voice_t *voice, void *page) { atomic_store(&voice->page, page); }
