/* The file of tokens and grants, looked at again and again by the driver's thread.
 *
 * Invariants
 *   FF1  A file that cannot be read changes nothing; the log says why.
 *   FF2  What it means is the clients room's to decide: here it is a text.
 */
#ifndef LM_FRONTEND_ACCESS_FILE_H
#define LM_FRONTEND_ACCESS_FILE_H

#include "frontend_driver.h"

typedef struct lm_frontend_access_file lm_frontend_access_file_t;

/** Reads it for the first time; *event is its text. NULL: text[120] says why it cannot be used. */
lm_frontend_access_file_t *lm_frontend_access_file_new(const char *path,
                                                       lm_frontend_event_t **event, char *text);
void lm_frontend_access_file_destroy(lm_frontend_access_file_t **file);

/** Looks, at most once a second, whether it has changed; its new text, or NULL. */
lm_frontend_event_t *lm_frontend_access_file_poll(lm_frontend_access_file_t *file, uint64_t now_us);

#endif
