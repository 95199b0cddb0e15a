/* What belongs to an actor and not to one of its rooms. Internal to lib/act. */
#ifndef LM_ACT_PROCESS_H
#define LM_ACT_PROCESS_H

#include "act_host.h"
#include "act_page.h"

/** Makes page the one of the calling thread's voice, which lm_page_mine returns. */
void lm_page_set_mine(lm_page_t *page);

/** Writes last words to the page of the calling thread's voice, if it has one. The first ones stay.
 */
void lm_process_last_words(const char *words);

/** Writes the endpoint of the socket of that name (lm_post_address): a file of the run
 *  directory, or a name that is this boot's own, so that several nodes fit into one process. */
void lm_process_endpoint(const lm_process_t *process, const char *address, char *endpoint,
                         size_t size);

#endif
