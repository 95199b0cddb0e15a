/* Giving leadership away: when the node drains, when the lock asks for it, when there is no lock to
 * lead with (S21, S8), when it or the disk takes nothing any more (S20), when a node cannot be
 * helped by this leader (S19).
 *
 * Invariants
 *   H1  Leadership goes only to a voter that has said lately that its lock is fit, and that it has
 *       no reason of its own to give leadership away: else it would go round and round.
 *   H2  A DRAIN is answered once: as soon as another leads, or nobody could, or time is up. */
#include "base_log.h"
#include "raft_state.h"

#define TRY_AGAIN_US UINT64_C(200000)

static bool could_lead(const lm_raft_room_t *room, uint32_t i)
{
    const lm_raft_node_t *node = &room->nodes[i];
    return i != room->self && node->id != lm_raft_engine_forgetful(room->engine, room->now_us) &&
           node->link_up && node->lock_ready && node->state_at_us != 0 &&
           room->now_us < node->state_at_us + LM_RAFT_NODE_STATE_VALID_US;
}

/* The fit voter whose log reaches furthest; -1 if there is none. */
static int choose(const lm_raft_room_t *room)
{
    int best = -1;
    uint64_t best_match = 0;
    for (uint32_t i = 0; i < room->n_nodes; i++) {
        if (!could_lead(room, i)) continue;
        uint64_t match = lm_raft_engine_match(room->engine, room->nodes[i].id);
        if (best >= 0 && match <= best_match) continue;
        best = (int)i;
        best_match = match;
    }
    return best;
}

static bool restarts_too_often(const lm_raft_room_t *room)
{
    uint64_t oldest = room->lock.restarts_us[0];
    return oldest != 0 && room->now_us < oldest + LM_RAFT_RESTARTS_US;
}

/* Why this node should not lead any more; NULL if it may. */
static const char *reason(const lm_raft_room_t *room)
{
    const lm_raft_lock_t *lock = &room->lock;
    if (room->draining || room->drain_pending) return "the node is about to stop";
    if (lock->attached && lock->give_up) return "the lock asks for it";
    if (restarts_too_often(room)) return "the lock restarts too often";
    if (lock->away_since_us && room->now_us >= lock->away_since_us + LM_RAFT_LOCK_AWAY_US)
        return "the lock is away";
    if (lm_raft_loss_is(room)) return "the log is not complete";
    if (room->choked_since_us && room->now_us >= room->choked_since_us + LM_RAFT_CHOKED_US)
        return "the lock or the disk takes nothing";
    if (lm_raft_engine_forgetful(room->engine, room->now_us) &&
        room->now_us >= room->forgetful_us + LM_RAFT_FORGETFUL_US)
        return "another node has lost what it had acknowledged, which only a new leader can send "
               "it";
    return NULL;
}

bool lm_raft_handover_would(const lm_raft_room_t *room) { return reason(room) != NULL; }

static void try_handover(lm_raft_room_t *room)
{
    const char *why = reason(room);
    if (!why || lm_raft_engine_transferee(room->engine) != 0 ||
        room->now_us < room->transfer_tried_us + TRY_AGAIN_US)
        return;
    int target = choose(room);
    if (target < 0) return;
    room->transfer_tried_us = room->now_us;
    if (!lm_raft_engine_transfer(room->engine, room->nodes[target].id, room->now_us)) return;
    room->figures.transfers++;
    if (lm_raft_engine_forgetful(room->engine, room->now_us)) room->forgetful_us = room->now_us;
    lm_info("gives leadership to %s: %s", room->nodes[target].name, why);
}

static void answer_drain(lm_raft_room_t *room, bool done)
{
    lm_bus_drained_t body = {.done = done};
    lm_outbox_reply(room->out, &room->drain_caller, LM_MSG_DRAINED, &body);
    room->drain_pending = false;
}

void lm_raft_handover_on_drain(void *self, const lm_message_t *message, lm_outbox_t *out)
{
    lm_raft_room_t *room = lm_raft_room_enter(self, message->now_us, out);
    const lm_bus_drain_t *body = message->body;
    uint64_t grace_us = (uint64_t)body->grace_ms * 1000;
    if (room->drain_pending) answer_drain(room, false);
    room->drain_caller = message->from;
    room->draining = true;
    room->drain_pending = true;
    room->transfer_tried_us = 0;
    room->drain_until_us =
        room->now_us + (grace_us < LM_RAFT_DRAIN_US ? grace_us : LM_RAFT_DRAIN_US);
    if (room->phase != LM_RAFT_RUNNING)
        answer_drain(room, true);
    else if (lm_raft_room_leads(room) && choose(room) < 0)
        answer_drain(room, false);
}

static void settle_drain(lm_raft_room_t *room)
{
    bool leads = lm_raft_room_leads(room);
    if (!leads && lm_raft_engine_leader(room->engine) != 0)
        answer_drain(room, true);
    else if (room->now_us >= room->drain_until_us)
        answer_drain(room, !leads);
    else
        lm_outbox_wake(room->out, room->drain_until_us);
}

static void watch_choking(lm_raft_room_t *room)
{
    if (!lm_raft_room_leads(room) || !lm_raft_propose_is_choked(room))
        room->choked_since_us = 0;
    else if (room->choked_since_us == 0)
        room->choked_since_us = room->now_us;
}

void lm_raft_handover_settle(lm_raft_room_t *room)
{
    watch_choking(room);
    if (lm_raft_room_leads(room)) try_handover(room);
    if (room->drain_pending) settle_drain(room);
}
