/* Events from the driver to the rooms. */
#include <stdlib.h>

#include "frontend_driver.h"

lm_frontend_event_t *lm_frontend_event_new(lm_frontend_event_kind_t kind,
                                           lm_frontend_handle_t *handle, size_t size)
{
    lm_frontend_event_t *event = lm_alloc(sizeof *event + size);
    event->kind = kind;
    event->handle = handle;
    event->size = size;
    return event;
}

void lm_frontend_event_free(lm_frontend_event_t *event) { free(event); }

lm_bytes_t lm_frontend_event_payload(const lm_frontend_event_t *event)
{
    return lm_bytes(event->payload, event->size);
}
