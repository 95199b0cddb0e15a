/* The frontend calls itself through its own listener, on a connection made for it: a listener that
 * once ran out of descriptors may accept nobody any more without a sign of it. Two failures in a
 * row end the actor, and its successor has a new listener. */
#include <string.h>

#include "base_log.h"
#include "frontend_peers_state.h"
#include "wire_health.h"

enum {
    EVERY_US = 5000000,
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

void lm_frontend_watchdog_tick(lm_frontend_peers_t *room, uint64_t late_us)
{
    /* Who stood still himself does not judge (S9). */
    if (late_us > LATE_US) {
        room->checks_failed = 0;
        room->check_at_us = room->now_us + EVERY_US;
    }
    if (room->check || !room->listening || room->stopping || room->now_us < room->check_at_us)
        return;
    room->check_at_us = room->now_us + EVERY_US;
    lm_frontend_target_t target = lm_frontend_config_target(
        LM_CHANNEL_FRESH, own_address(room->config->listen), room->config->grpc_port);
    lm_health_health_check_request_t request = {0};
    lm_bytes_t payload =
        lm_wire_encode(&lm_health_health_check_request_type, &request, room->scratch);
    room->check = room->driver->ops->call(room->driver, &target, LM_METHOD_HEALTH_CHECK, payload,
                                          room->now_us + WITHIN_US, NULL);
}

void lm_frontend_watchdog_answered(lm_frontend_peers_t *room, const lm_frontend_event_t *event)
{
    room->driver->ops->drop(room->driver, room->check);
    room->check = NULL;
    if (event->status == 0) {
        room->checks_failed = 0;
        return;
    }
    room->checks_failed++;
    lm_warn("the own listener does not answer: %s", event->text);
    if (room->checks_failed >= FAILURES_MAX && !room->stopping)
        lm_outbox_exit(room->out, LM_EXIT_TRY_LATER, "the own listener does not answer");
}
