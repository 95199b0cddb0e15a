/* The frontend calls itself through its own listeners, on a connection made for it: a listener that
 * once ran out of descriptors may accept nobody any more without a sign of it. Two failures of one
 * in a row end the actor, and its successor has new ones. */
#include <string.h>

#include "base_log.h"
#include "frontend_peers_state.h"
#include "wire_health.h"

enum {
    EVERY_US = 5000000,
    AGAIN_US = 2000000, /* after a failure */
    WITHIN_US = 2000000,
    LATE_US = 200000,
    FAILURES_MAX = 2,
};

/* An address at which a listener on this one is heard. */
static lm_bytes_t own_address(lm_bytes_t listen)
{
    if (lm_bytes_equal(listen, lm_bytes_of("0.0.0.0"))) return lm_bytes_of("127.0.0.1");
    if (lm_bytes_equal(listen, lm_bytes_of("::"))) return lm_bytes_of("::1");
    return listen;
}

void lm_frontend_watchdog_start(lm_frontend_peers_t *room)
{
    const lm_bus_node_config_t *config = room->frame.config;
    room->watches[room->n_watches++].port = config->grpc_port;
    if (config->raft_port) room->watches[room->n_watches++].port = config->raft_port;
}

static void check(lm_frontend_peers_t *room, lm_frontend_watch_t *watch)
{
    watch->at_us = room->frame.now_us + EVERY_US;
    lm_frontend_target_t target =
        lm_frontend_config_target(LM_CHANNEL_OWN, own_address(room->frame.config->listen),
                                  watch->port, room->frame.config->node);
    lm_health_health_check_request_t request = {0};
    lm_bytes_t payload =
        lm_wire_encode(&lm_health_health_check_request_type, &request, room->frame.scratch);
    watch->check =
        room->frame.driver->ops->call(room->frame.driver, &target, LM_METHOD_HEALTH_CHECK, payload,
                                      room->frame.now_us + WITHIN_US, NULL);
}

void lm_frontend_watchdog_tick(lm_frontend_peers_t *room, uint64_t late_us)
{
    for (size_t i = 0; i < room->n_watches; i++) {
        lm_frontend_watch_t *watch = &room->watches[i];
        /* Who stood still himself does not judge (S9). */
        if (late_us > LATE_US) {
            watch->failed = 0;
            watch->at_us = room->frame.now_us + EVERY_US;
        }
        bool due = !watch->check && room->frame.now_us >= watch->at_us;
        if (due && room->frame.listening && !room->frame.stopping) check(room, watch);
    }
}

static void answered(lm_frontend_peers_t *room, lm_frontend_watch_t *watch,
                     const lm_frontend_event_t *event)
{
    room->frame.driver->ops->drop(room->frame.driver, watch->check);
    watch->check = NULL;
    if (event->status == 0) {
        watch->failed = 0;
        return;
    }
    watch->failed++;
    watch->at_us = room->frame.now_us + AGAIN_US;
    lm_warn("the own listener on port %u does not answer: %s", watch->port, event->text);
    if (watch->failed >= FAILURES_MAX && !room->frame.stopping)
        lm_outbox_exit(room->frame.out, LM_EXIT_TRY_LATER, "the own listener does not answer");
}

bool lm_frontend_watchdog_answered(lm_frontend_peers_t *room, const lm_frontend_event_t *event)
{
    for (size_t i = 0; i < room->n_watches; i++) {
        if (room->watches[i].check != event->handle) continue;
        answered(room, &room->watches[i], event);
        return true;
    }
    return false;
}
