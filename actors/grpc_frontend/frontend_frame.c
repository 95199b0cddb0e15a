#include "frontend_frame.h"

#include <stdio.h>

void lm_frontend_frame_init(lm_frontend_frame_t *frame)
{
    frame->scratch = lm_arena_new();
    frame->texts = lm_arena_new();
}

void lm_frontend_frame_clear(lm_frontend_frame_t *frame)
{
    lm_arena_destroy(&frame->scratch);
    lm_arena_destroy(&frame->texts);
}

bool lm_frontend_frame_is_keyed(const lm_frontend_frame_t *frame)
{
    return frame->config->peer_key.size > 0;
}

uint32_t lm_frontend_frame_state(const lm_frontend_frame_t *frame)
{
    if (!frame->config) return LM_FRONTEND_NEW;
    return frame->listening ? LM_FRONTEND_SERVING : LM_FRONTEND_OPENING;
}

void lm_frontend_frame_start(lm_frontend_frame_t *frame, const lm_bus_node_config_t *config,
                             lm_participant_t room)
{
    frame->config = lm_frontend_config_copy(config, frame->texts);
    lm_frontend_listen_t how = lm_frontend_config_listen(frame->config);
    frame->driver->ops->listen(frame->driver, room, &how);
}

void lm_frontend_frame_finish(lm_frontend_frame_t *frame, lm_frontend_handle_t *handle,
                              lm_bytes_t message)
{
    frame->driver->ops->finish(frame->driver, handle, &(lm_frontend_finish_t){.message = message});
}

void lm_frontend_frame_fail(lm_frontend_frame_t *frame, lm_frontend_handle_t *handle,
                            const lm_frontend_error_t *error)
{
    lm_frontend_error_finish(frame->driver, handle, error, frame->scratch);
}

void lm_frontend_frame_listening(lm_frontend_frame_t *frame)
{
    frame->listening = true;
    lm_outbox_ready(frame->out);
}

bool lm_frontend_frame_ends(lm_frontend_frame_t *frame, const lm_frontend_event_t *event,
                            const char *other)
{
    char words[64];
    switch (event->kind) {
    case LM_FRONTEND_NOT_BOUND:
        lm_outbox_exit(frame->out, LM_EXIT_TRY_LATER, event->text);
        return true;
    case LM_FRONTEND_CLOSED:
        if (frame->stopping) lm_outbox_exit(frame->out, LM_EXIT_OK, "");
        return true;
    case LM_FRONTEND_OTHER_ENDED:
        snprintf(words, sizeof words, "the %s room has ended", other);
        lm_outbox_exit(frame->out, (lm_exit_t)event->status, words);
        return true;
    default: return false;
    }
}
