#include "frontend_access_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base_log.h"
#include "tls_text_file.h"

enum { LOOK_EVERY_US = 1000000, WHY_BYTES = 120 };

struct lm_frontend_access_file {
    char path[256];
    uint64_t look_at_us;
    lm_tls_text_stamp_t stamp; /* of what was tried last */
    char why[WHY_BYTES];       /* the fault that was told last */
};

static lm_frontend_event_t *read_file(lm_frontend_access_file_t *file, char why[WHY_BYTES])
{
    size_t size;
    char *text = lm_tls_text_file_read(file->path, LM_ACCESS_TEXT_BYTES_MAX, &size, why);
    if (!text) return NULL;
    lm_frontend_event_t *event = lm_frontend_event_new(LM_FRONTEND_ACCESS, NULL, size);
    if (size) memcpy(event->payload, text, size);
    free(text);
    return event;
}

lm_frontend_access_file_t *lm_frontend_access_file_new(const char *path,
                                                       lm_frontend_event_t **event, char *text)
{
    char why[WHY_BYTES];
    lm_frontend_access_file_t *file = lm_alloc(sizeof *file);
    snprintf(file->path, sizeof file->path, "%s", path);
    file->stamp = lm_tls_text_file_stamp(path);
    *event = read_file(file, why);
    if (*event) return file;
    snprintf(text, WHY_BYTES, "the file of access %.*s", WHY_BYTES - 32, why);
    lm_frontend_access_file_destroy(&file);
    return NULL;
}

void lm_frontend_access_file_destroy(lm_frontend_access_file_t **file)
{
    free(*file);
    *file = NULL;
}

lm_frontend_event_t *lm_frontend_access_file_poll(lm_frontend_access_file_t *file, uint64_t now_us)
{
    if (now_us < file->look_at_us) return NULL;
    file->look_at_us = now_us + LOOK_EVERY_US;
    lm_tls_text_stamp_t stamp = lm_tls_text_file_stamp(file->path);
    if (lm_tls_text_stamp_equal(&stamp, &file->stamp)) return NULL;
    file->stamp = stamp;
    char why[WHY_BYTES];
    lm_frontend_event_t *event = read_file(file, why);
    if (event) {
        file->why[0] = 0;
    } else if (strcmp(why, file->why) != 0) {
        memcpy(file->why, why, sizeof why);
        lm_warn("the changed file of access is not used: %s %s", file->path, why);
    }
    return event;
}
