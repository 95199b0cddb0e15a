/* What both rooms of the frontend are made of, and what the driver's events mean to both of them.
 *
 * A frame is the first member of a room's state. */
#ifndef LM_FRONTEND_FRAME_H
#define LM_FRONTEND_FRAME_H

#include "frontend_audit.h"
#include "frontend_config.h"
#include "frontend_errors.h"
#include "frontend_keys.h"

/** States of both rooms, for their tables of messages. */
enum {
    LM_FRONTEND_NEW = 1,     /* before START */
    LM_FRONTEND_OPENING = 2, /* the ports are not open yet */
    LM_FRONTEND_SERVING = 4,
};

typedef struct {
    lm_frontend_driver_t *driver;
    lm_arena_t *scratch; /* emptied at the end of each turn */
    lm_arena_t *texts;   /* as long as the room: its configuration */
    lm_outbox_t *out;    /* of the turn */
    uint64_t now_us;
    const lm_bus_node_config_t *config; /* NULL until START */
    bool listening, stopping;
    lm_frontend_audit_t audit;
    lm_frontend_keys_t *keys; /* the actor's, of both rooms */
} lm_frontend_frame_t;

/** Makes and frees what the frame itself owns: the two arenas. */
void lm_frontend_frame_init(lm_frontend_frame_t *frame);
void lm_frontend_frame_clear(lm_frontend_frame_t *frame);

/** Whether nodes and regions prove themselves by a key. */
bool lm_frontend_frame_is_keyed(const lm_frontend_frame_t *frame);

/** One of the states above. */
uint32_t lm_frontend_frame_state(const lm_frontend_frame_t *frame);

/** START: keeps a copy of the configuration and tells the driver to listen for that room. */
void lm_frontend_frame_start(lm_frontend_frame_t *frame, const lm_bus_node_config_t *config,
                             lm_participant_t room);

/** Sends the end of an incoming call or stream: with its answer (empty for a stream), or
 *  with an error. Once per handle. */
void lm_frontend_frame_finish(lm_frontend_frame_t *frame, lm_frontend_handle_t *handle,
                              lm_bytes_t message);
void lm_frontend_frame_fail(lm_frontend_frame_t *frame, lm_frontend_handle_t *handle,
                            const lm_frontend_error_t *error);

/** The event LISTENING: the room is ready. */
void lm_frontend_frame_listening(lm_frontend_frame_t *frame);

/** Deals with an event that means the same to both rooms (NOT_BOUND, CLOSED, OTHER_ENDED), which
 *  may end the actor. other: the name of the process' other room, for people. Returns false, and
 *  does nothing, if it is another event; the caller keeps the event in any case. */
bool lm_frontend_frame_ends(lm_frontend_frame_t *frame, const lm_frontend_event_t *event,
                            const char *other);

#endif
