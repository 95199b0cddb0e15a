/* How lock and raft stand: asked for GetStatus, and by the room itself for health, for the cluster
 * id that peers are checked against, and to notice that somebody else leads. */
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

#include "frontend_clients_state.h"

enum {
    ASK_EVERY_US = 1000000,
    ASK_SOON_US = 250000, /* while calls wait at another node, or something is missing */
    ANSWER_WITHIN_US = 1000000,
    FRESH_US = 3000000,
};

static void end(lm_frontend_call_t *call)
{
    call->finished = true;
    lm_frontend_timers_stop(&call->room->timers, &call->timer);
}

void lm_frontend_status_begin(lm_frontend_clients_t *room, lm_frontend_event_t *event)
{
    lm_frontend_error_t error;
    if (!lm_frontend_access_permit(room, event->handle, NULL, &error)) {
        lm_frontend_frame_fail(&room->frame, event->handle, &error);
        lm_frontend_event_free(event);
        return;
    }
    lm_frontend_call_t *call = lm_alloc(sizeof *call);
    call->room = room;
    call->handle = event->handle;
    call->handle->owner = call;
    call->method = event->handle->method;
    call->event = event;
    uint64_t within_us = ANSWER_WITHIN_US;
    if (event->deadline_us) {
        uint64_t left_us =
            event->deadline_us > room->frame.now_us ? event->deadline_us - room->frame.now_us : 0;
        if (left_us / 2 < within_us) within_us = left_us / 2;
    }
    call->give_up_us = room->frame.now_us + within_us;
    DL_APPEND(room->calls, call);
    room->n_calls++;
    lm_bus_status_query_t query = {0};
    call->attempt =
        lm_frontend_clients_ask(room, LM_MSG_STATUS_QUERY, &query, call->give_up_us, call);
}

/* What this node knows without its lock actor. */
static void answer_alone(lm_frontend_call_t *call)
{
    lm_frontend_clients_t *room = call->room;
    const lm_bus_node_config_t *config = room->frame.config;
    lm_api_response_header_t header = {.cluster_id = lm_bytes_of(room->cluster_id),
                                       .region = config->region,
                                       .node = config->node};
    lm_api_member_t *members =
        lm_arena_alloc(room->frame.scratch, (config->n_peers + 1) * sizeof *members);
    for (size_t i = 0; i < config->n_peers; i++) {
        members[i] =
            (lm_api_member_t){.name = config->peers[i].name,
                              .address = lm_arena_print(room->frame.scratch, "%.*s:%u",
                                                        LM_BYTES_ARG(config->peers[i].host),
                                                        config->peers[i].grpc_port)};
    }
    lm_api_get_status_response_t response = {
        .header = &header,
        .role = LM_API_RAFT_ROLE_AWAY,
        .n_members = config->n_peers,
        .members = members,
        .version = config->version,
        .ttl_default_ms = config->lock_default_timeout_ms,
        .ttl_min_ms = config->lock_min_timeout_ms,
        .ttl_max_ms = config->lock_max_timeout_ms,
        .problem = lm_bytes_of("the lock actor of this node is away")};
    lm_frontend_frame_finish(
        &room->frame, call->handle,
        lm_wire_encode(&lm_api_get_status_response_type, &response, room->frame.scratch));
}

/* ---- what the answer tells the room ---------------------------------------------------------- */

static void note_leader(lm_frontend_clients_t *room, lm_bytes_t leader)
{
    if (leader.size == 0 || lm_bytes_equal(leader, lm_bytes_of(room->leader))) return;
    snprintf(room->leader, sizeof room->leader, "%.*s", LM_BYTES_ARG(leader));
    lm_frontend_forward_leader_changed(room);
}

static void note(lm_frontend_clients_t *room, const lm_api_get_status_response_t *status)
{
    room->status_at_us = room->frame.now_us;
    room->role = status->role;
    if (status->header && status->header->cluster_id.size)
        snprintf(room->cluster_id, sizeof room->cluster_id, "%.*s",
                 LM_BYTES_ARG(status->header->cluster_id));
    note_leader(room, status->leader);
    lm_frontend_health_look(room);
}

bool lm_frontend_status_is_whole(const lm_frontend_clients_t *room)
{
    if (!room->lock_present || room->status_at_us == 0) return false;
    if (room->frame.now_us > room->status_at_us + FRESH_US) return false;
    return room->role == LM_API_RAFT_ROLE_FOLLOWER || room->role == LM_API_RAFT_ROLE_CANDIDATE ||
           room->role == LM_API_RAFT_ROLE_LEADER || room->role == LM_API_RAFT_ROLE_SURPLUS;
}

void lm_frontend_status_ask(lm_frontend_clients_t *room)
{
    bool soon = room->n_forwards > 0 || !lm_frontend_status_is_whole(room);
    lm_frontend_timers_set(&room->timers, &room->ask_timer,
                           room->frame.now_us + (soon ? ASK_SOON_US : ASK_EVERY_US));
    if (room->question || !room->frame.config) return;
    lm_bus_status_query_t query = {0};
    room->question = lm_frontend_clients_ask(room, LM_MSG_STATUS_QUERY, &query,
                                             room->frame.now_us + ANSWER_WITHIN_US, NULL);
}

static lm_frontend_attempt_t *take(lm_frontend_clients_t *room, uint64_t correlation)
{
    lm_frontend_attempt_t *attempt;
    HASH_FIND(hh, room->attempts, &correlation, sizeof correlation, attempt);
    if (!attempt) return NULL;
    HASH_DEL(room->attempts, attempt);
    if (room->question == attempt) room->question = NULL;
    return attempt;
}

void lm_frontend_status_on_answer(void *self, const lm_message_t *message, lm_outbox_t *out)
{
    lm_frontend_clients_t *room = self;
    room->frame.out = out;
    room->frame.now_us = message->now_us;
    lm_frontend_attempt_t *attempt = take(room, message->from.correlation);
    if (!attempt) return;
    lm_frontend_call_t *call = attempt->call;
    free(attempt);
    note(room, message->body);
    if (!call) return;
    call->attempt = NULL;
    end(call);
    lm_frontend_frame_finish(
        &room->frame, call->handle,
        lm_wire_encode(&lm_api_get_status_response_type, message->body, room->frame.scratch));
}

void lm_frontend_status_failed(lm_frontend_clients_t *room, lm_frontend_attempt_t *attempt,
                               lm_rc_t why)
{
    (void)why;
    lm_frontend_call_t *call = attempt->call;
    take(room, attempt->correlation);
    free(attempt);
    lm_frontend_health_look(room);
    if (!call) return;
    call->attempt = NULL;
    end(call);
    answer_alone(call);
}
