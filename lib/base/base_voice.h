/* Who speaks: the name that log lines carry, and the page for last words.
 *
 * A process has one voice, and that is enough where a process is one actor. Where a whole node
 * lives in one process each actor has a voice of its own; a thread that an actor starts for itself
 * takes the actor's.
 *
 * Invariants
 *   O1  A thread that took no voice speaks with the process's.
 *   O2  Settings that were made once are never changed, only replaced as a whole, so that a thread
 *       that logs meanwhile reads the old ones or the new ones.
 */
#ifndef LM_BASE_VOICE_H
#define LM_BASE_VOICE_H

#include "base_log.h"

typedef struct {
    char node[64];
    char actor[64];
    lm_log_level_t level;
    bool json;
} lm_voice_settings_t;

typedef struct lm_voice lm_voice_t;

/** A voice with the settings that the process's has now, and no page. */
lm_voice_t *lm_voice_new(void);
/** No thread may speak with it any more. */
void lm_voice_destroy(lm_voice_t **voice);

/** That of the calling thread. Never NULL. */
lm_voice_t *lm_voice_mine(void);
/** From now on the calling thread speaks with that voice; NULL: with the process's. */
void lm_voice_take(lm_voice_t *voice);

/** Valid for as long as the voice is. */
const lm_voice_settings_t *lm_voice_settings(const lm_voice_t *voice);
/** Replaces the settings; they are copied. Any thread. */
void lm_voice_set(lm_voice_t *voice, const lm_voice_settings_t *settings);

/** Where last words go; its kind is the business of whoever set it. NULL: nowhere. */
void *lm_voice_page(const lm_voice_t *voice);
void lm_voice_set_page(lm_voice_t *voice, void *page);

#endif
