/* What belongs to the process and not to one of its rooms. Internal to lib/act. */
#ifndef LM_ACT_PROCESS_H
#define LM_ACT_PROCESS_H

#include "act_page.h"

/** Makes page the one that lm_page_mine returns. */
void lm_page_set_mine(lm_page_t *page);

/** Writes last words to the page of this process, if it has one. The first ones stay. */
void lm_process_last_words(const char *words);

#endif
