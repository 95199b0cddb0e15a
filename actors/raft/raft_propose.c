/* Entries that this node's lock wants in the log.
 *
 * Invariants
 *   P1  Only the attached generation of the lock proposes, under the term that this node leads,
 *       and nothing before a Takeover of that pair (S8).
 *   P2  What is refused is never in the log; what has an index may be committed some day.
 *   P3  Entries and bytes that are proposed and not committed are bounded, and so are bytes that
 *       are committed and that the lock has not taken, bytes that are not stored yet, and the log
 *       in memory as a whole (S20).
 *   P4  An entry that the other nodes would not take (raft_accept.h) is not proposed. */
#include "base_fault.h"
#include "raft_state.h"
#include "wire_command.h"

static lm_raft_proposal_t *proposal_at(lm_raft_room_t *room, uint32_t i)
{
    return &room->proposals[(room->first_proposal + i) % LM_RAFT_PROPOSALS_MAX];
}

static lm_rc_t check_authority(const lm_raft_room_t *room, const lm_message_t *message)
{
    const lm_bus_propose_t *body = message->body;
    const lm_raft_lock_t *lock = &room->lock;
    bool now = body->term == lm_raft_engine_term(room->engine) || LM_FAULT(ANY_PAIR);
    if (!lm_raft_room_leads(room) || !now) return LM_RC_NOT_LEADER;
    if (!lm_raft_attach_is_from(room, &message->from) || !body->incarnation) return LM_RC_NOT_READY;
    lm_generation_t incarnation = {.boot_id = body->incarnation->boot_id,
                                   .counter = body->incarnation->counter};
    if (lm_generation_compare(incarnation, lock->generation) != 0) return LM_RC_NOT_READY;
    bool taken = lock->takeover_accepted && lock->takeover_term == body->term;
    return body->takeover || taken || LM_FAULT(ANY_PAIR) ? LM_RC_OK : LM_RC_NOT_READY;
}

bool lm_raft_propose_is_choked(const lm_raft_room_t *room)
{
    const lm_raft_log_t *log = lm_raft_engine_log(room->engine);
    uint64_t commit = lm_raft_engine_commit(room->engine);
    uint64_t undelivered = room->lock.delivered < commit
                               ? lm_raft_log_bytes(log, room->lock.delivered + 1, commit)
                               : 0;
    return undelivered > room->undelivered_bytes_max ||
           lm_raft_log_memory(log) > room->log_bytes_max ||
           lm_raft_engine_unstored(room->engine) > LM_RAFT_UNSTORED_BYTES;
}

/* A Takeover is let through: without it the lock could not do what makes room. */
static lm_rc_t check_room(const lm_raft_room_t *room, const lm_bus_propose_t *body)
{
    if (!lm_wire_command_is_framed(body->entry)) return LM_RC_INVALID_ARGUMENT;
    if (room->n_proposals >= LM_RAFT_PROPOSALS_MAX ||
        room->proposal_bytes + body->entry.size > LM_RAFT_PROPOSAL_BYTES ||
        (!body->takeover && !LM_FAULT(CHOKED_TAKES) && lm_raft_propose_is_choked(room)))
        return LM_RC_OVERLOADED;
    return LM_RC_OK;
}

static lm_rc_t propose(lm_raft_room_t *room, const lm_message_t *message, uint64_t *index)
{
    const lm_bus_propose_t *body = message->body;
    lm_rc_t rc = check_authority(room, message);
    if (rc == LM_RC_OK) rc = check_room(room, body);
    if (rc == LM_RC_OK) rc = lm_raft_engine_submit(room->engine, body->entry, room->now_us, index);
    if (rc != LM_RC_OK) return rc;
    *proposal_at(room, room->n_proposals++) =
        (lm_raft_proposal_t){.index = *index, .bytes = body->entry.size};
    room->proposal_bytes += body->entry.size;
    if (body->takeover) {
        room->lock.takeover_accepted = true;
        room->lock.takeover_term = body->term;
    }
    return LM_RC_OK;
}

void lm_raft_propose_on_propose(void *self, const lm_message_t *message, lm_outbox_t *out)
{
    lm_raft_room_t *room = lm_raft_room_enter(self, message->now_us, out);
    const lm_bus_propose_t *body = message->body;
    uint64_t index = 0;
    lm_raft_propose_settle(room);
    lm_rc_t rc = propose(room, message, &index);
    if (rc != LM_RC_OK) room->figures.proposals_failed++;
    lm_bus_proposed_t answer = {.code = rc, .index = index, .term = rc ? 0 : body->term};
    lm_outbox_reply(out, &message->from, LM_MSG_PROPOSED, &answer);
}

void lm_raft_propose_settle(lm_raft_room_t *room)
{
    bool leads = lm_raft_room_leads(room) && lm_raft_engine_term(room->engine) == room->said_term;
    uint64_t commit = room->engine ? lm_raft_engine_commit(room->engine) : 0;
    while (room->n_proposals > 0) {
        const lm_raft_proposal_t *oldest = proposal_at(room, 0);
        bool committed = oldest->index <= commit;
        if (!committed && leads) break;
        if (committed) room->figures.proposals_committed++;
        room->proposal_bytes -= oldest->bytes;
        room->first_proposal = (room->first_proposal + 1) % LM_RAFT_PROPOSALS_MAX;
        room->n_proposals--;
    }
}
