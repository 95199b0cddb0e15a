/* The room's state, shared by the files that each see to one part of it. Nobody else includes this.
 */
#ifndef LM_RAFT_STATE_H
#define LM_RAFT_STATE_H

#include "act_room.h"
#include "raft_engine.h"
#include "raft_room.h"
#include "wire_api.h"
#include "wire_bus.h"

/* ---- times ----------------------------------------------------------------------------------- */

#define LM_RAFT_SECOND_US UINT64_C(1000000)
/* How often a region that is being formed says again what may be lost. */
#define LM_RAFT_FORMING_US UINT64_C(200000)
/* How often a follower tells its leader how its lock is. */
#define LM_RAFT_NODE_STATE_US UINT64_C(200000)
/* What a follower said of its lock is believed that long. */
#define LM_RAFT_NODE_STATE_VALID_US UINT64_C(1500000)
/* A lock that is away longer is no lock to lead with. */
#define LM_RAFT_LOCK_AWAY_US UINT64_C(3000000)
/* Whose own tick comes later than this counts nobody's silence. */
#define LM_RAFT_LATE_US UINT64_C(200000)
/* Nor is one that starts three times within this. */
#define LM_RAFT_RESTARTS_US UINT64_C(60000000)
#define LM_RAFT_RESTARTS 3
#define LM_RAFT_DRAIN_US UINT64_C(2000000)
/* A lock lags so far at most and still counts as caught up. */
#define LM_RAFT_LAG_ENTRIES 4096

typedef enum {
    LM_RAFT_NEW = 1 << 0,
    LM_RAFT_OPENING = 1 << 1,
    LM_RAFT_FORMING = 1 << 2,
    LM_RAFT_LOADING = 1 << 3,
    LM_RAFT_RUNNING = 1 << 4,
    LM_RAFT_ENDED = 1 << 5,
} lm_raft_phase_t;

/* ---- parts ----------------------------------------------------------------------------------- */

/* A configured node; this one too. */
typedef struct {
    char name[LM_RAFT_NAME_SIZE];
    char address[LM_RAFT_NAME_SIZE + 8];
    uint64_t id; /* 0 until the region is formed */
    uint64_t epoch;
    bool link_up;
    bool lock_ready;
    uint64_t applied_index, state_hash;
    uint64_t state_at_us; /* when it said so; 0: never */
    uint64_t read_round;  /* last round of reads it has confirmed */
} lm_raft_node_t;

/* Frames that were not taken, by reason. */
typedef enum {
    LM_RAFT_REFUSED_UNDECODABLE,
    LM_RAFT_REFUSED_UNKNOWN_NODE,
    LM_RAFT_REFUSED_OLD_EPOCH,
    LM_RAFT_REFUSED_CLUSTER,
    LM_RAFT_REFUSED_SENDER,
    LM_RAFT_REFUSED_RECEIVER,
    LM_RAFT_REFUSED_STAGE,
    LM_RAFT_REFUSED_INVALID,
    LM_RAFT_REFUSED_N,
} lm_raft_refused_t;

/* The lock actor of this node, as an attached reader of the log. */
typedef struct {
    bool attached;
    lm_generation_t generation;
    uint64_t delivered;  /* last index it was given, or said it had */
    uint64_t check_term; /* term it says that `delivered` has, as long as that is not committed */
    uint64_t credit;     /* up to this index */
    uint64_t attach_commit; /* commit index when it attached */
    bool blocked;           /* its pipe is full */
    bool ready, give_up;
    uint64_t applied_index, state_hash;
    uint64_t heard_us;      /* last message from it */
    uint64_t away_since_us; /* 0: it is fit */
    uint64_t restarts_us[LM_RAFT_RESTARTS];
    bool takeover_accepted; /* of the pair below */
    uint64_t takeover_term;
} lm_raft_lock_t;

typedef struct {
    uint64_t index, bytes;
} lm_raft_proposal_t;

typedef struct lm_raft_read {
    struct lm_raft_read *next;
    lm_caller_t caller;
    uint64_t index; /* commit index noted; 0: not yet */
    uint64_t round; /* 0: not begun */
} lm_raft_read_t;

typedef struct {
    uint64_t leader_changes, proposals_committed, proposals_failed, reads, read_rounds, transfers;
    uint64_t refused[LM_RAFT_REFUSED_N];
    uint64_t late_ticks;
} lm_raft_figures_t;

struct lm_raft_room {
    lm_raft_phase_t phase;
    lm_outbox_t *out; /* of the handler that runs */
    uint64_t now_us;
    uint64_t wake_us; /* when it wanted to be woken next */
    lm_arena_t *scratch;
    lm_raft_random_t *random;
    void *random_arg;
    lm_raft_disk_t *disk;
    void (*writes)(const lm_raft_disk_t *disk, uint64_t *count, uint64_t *microseconds);
    /* configuration */
    char region[LM_RAFT_NAME_SIZE], data_dir[4096];
    uint32_t election_ms, heartbeat_ms;
    uint32_t n_nodes, self;
    lm_raft_node_t nodes[LM_RAFT_SERVERS_MAX];
    /* who it is */
    lm_raft_bootstrap_t forming; /* its identity is the durable one */
    lm_raft_done_t *loaded;      /* waits for the last stage to be durable */
    lm_raft_engine_t *engine;
    /* parts */
    lm_raft_lock_t lock;
    lm_raft_proposal_t proposals[LM_RAFT_PROPOSALS_MAX]; /* a ring */
    uint32_t first_proposal, n_proposals;
    uint64_t proposal_bytes;
    lm_raft_read_t *reads, **last_read;
    size_t n_reads;
    uint64_t read_round, probed_us;
    bool probe_wanted;
    bool draining, drain_pending;
    lm_caller_t drain_caller;
    uint64_t drain_until_us, transfer_tried_us;
    /* what was last said */
    lm_raft_role_t said_role;
    uint64_t last_leader; /* the last one that was known */
    uint64_t said_term, said_leader, said_us, forming_us, node_state_us, node_state_leader;
    lm_raft_phase_t said_phase;
    bool said_fit;
    lm_raft_figures_t figures;
};

/** Notes the outbox and the time of a handler. */
static inline lm_raft_room_t *lm_raft_room_enter(void *self, uint64_t now_us, lm_outbox_t *out)
{
    lm_raft_room_t *room = self;
    room->now_us = now_us;
    room->out = out;
    return room;
}

static inline const lm_raft_identity_t *lm_raft_room_identity(const lm_raft_room_t *room)
{
    return &room->forming.identity;
}

static inline bool lm_raft_room_leads(const lm_raft_room_t *room)
{
    return room->phase == LM_RAFT_RUNNING &&
           lm_raft_engine_role(room->engine) == LM_RAFT_LEADER_ROLE;
}

/** Ends the actor, with last words. */
void lm_raft_room_fail(lm_raft_room_t *room, const lm_raft_fault_t *fault);

/* ---- raft_peers.c: the other nodes ----------------------------------------------------------- */

void lm_raft_peers_on_receive(void *self, const lm_message_t *message, lm_outbox_t *out);
void lm_raft_peers_on_link(void *self, const lm_message_t *message, lm_outbox_t *out);
/** Sends a frame to a node; its ids are filled in here. */
void lm_raft_peers_send(lm_raft_room_t *room, uint32_t node, lm_peer_frame_t *frame);
/** The same by server id, as the engine wants it. */
void lm_raft_peers_send_to(void *room, uint64_t server_id, lm_peer_frame_t *frame);
/** Says who this node is, to the frontend. */
void lm_raft_peers_tell_identity(lm_raft_room_t *room);
/** The frontend has started anew: its counts of streams begin anew too. */
void lm_raft_peers_forget_epochs(lm_raft_room_t *room);
/** Tells the leader how the lock here is, if it is time. */
void lm_raft_peers_tell_state(lm_raft_room_t *room);

/* ---- raft_forming.c: until there is a log ---------------------------------------------------- */

/** Begins with the identity that was found. */
void lm_raft_forming_begin(lm_raft_room_t *room, const lm_raft_identity_t *found);
/** Does what the bootstrap machine wishes. */
void lm_raft_forming_serve(lm_raft_room_t *room);
/** A frame about forming has come. */
void lm_raft_forming_receive(lm_raft_room_t *room, uint32_t node, const lm_peer_frame_t *frame);
/** Reports of the disk. */
void lm_raft_forming_saved(lm_raft_room_t *room);
void lm_raft_forming_loaded(lm_raft_room_t *room, lm_raft_done_t **done);

/* ---- raft_attach.c: the lock actor as a reader ----------------------------------------------- */

void lm_raft_attach_on_attach(void *self, const lm_message_t *message, lm_outbox_t *out);
void lm_raft_attach_on_credit(void *self, const lm_message_t *message, lm_outbox_t *out);
void lm_raft_attach_on_state(void *self, const lm_message_t *message, lm_outbox_t *out);
/** A new generation of the lock is there; the old one is no reader any more. */
void lm_raft_attach_gone(lm_raft_room_t *room);
/** Delivers what is committed and may be delivered. */
void lm_raft_attach_deliver(lm_raft_room_t *room);
/** Whether the lock is there, alive and has caught up: fit to lead with. */
bool lm_raft_attach_is_fit(const lm_raft_room_t *room);
/** The clock tick here came late: the lock may have been as silent as this process was deaf (S9).
 */
void lm_raft_attach_late(lm_raft_room_t *room);
/** Keeps account of how long it has not been fit. */
void lm_raft_attach_watch(lm_raft_room_t *room);
/** Whether this generation of the lock is the attached one. */
bool lm_raft_attach_is_from(const lm_raft_room_t *room, const lm_caller_t *from);

/* ---- raft_propose.c: entries of this node's lock --------------------------------------------- */

void lm_raft_propose_on_propose(void *self, const lm_message_t *message, lm_outbox_t *out);
/** Takes committed ones out of account; all, if this node does not lead any more. */
void lm_raft_propose_settle(lm_raft_room_t *room);

/* ---- raft_reads.c: linearizable reads -------------------------------------------------------- */

void lm_raft_reads_on_read_index(void *self, const lm_message_t *message, lm_outbox_t *out);
void lm_raft_reads_probe(lm_raft_room_t *room, uint32_t node, const lm_peer_read_probe_t *probe);
void lm_raft_reads_result(lm_raft_room_t *room, uint32_t node,
                          const lm_peer_read_probe_result_t *result);
/** Answers what can be answered and begins a round for the others. */
void lm_raft_reads_settle(lm_raft_room_t *room);
void lm_raft_reads_free(lm_raft_room_t *room);

/* ---- raft_handover.c: giving leadership away ------------------------------------------------- */

void lm_raft_handover_on_drain(void *self, const lm_message_t *message, lm_outbox_t *out);
void lm_raft_handover_settle(lm_raft_room_t *room);
/** Whether this node would give leadership away at once if it had it: it is no target for others.
 */
bool lm_raft_handover_would(const lm_raft_room_t *room);

/* ---- raft_report.c: what others hear of this node -------------------------------------------- */

/** Tells role and status if something has changed or a second has passed. */
void lm_raft_report_settle(lm_raft_room_t *room);
/** Tells the role at once, to one. */
void lm_raft_report_role(lm_raft_room_t *room, lm_participant_t to);

#endif
