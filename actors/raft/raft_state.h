/* The room's state, shared by the files that each see to one part of it; theirs alone. */
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
/* How often a follower tells its leader how its lock is, when nothing has changed. */
#define LM_RAFT_NODE_STATE_US UINT64_C(500000)
/* What a follower said of its lock is believed that long. */
#define LM_RAFT_NODE_STATE_VALID_US UINT64_C(1500000)
/* A lock that is away longer is no lock to lead with. */
#define LM_RAFT_LOCK_AWAY_US UINT64_C(3000000)
/* Nor is one that takes nothing any more. */
#define LM_RAFT_CHOKED_US UINT64_C(3000000)
/* Leadership is not given up more often than this for a node that has lost entries. */
#define LM_RAFT_FORGETFUL_US UINT64_C(5000000)
/* A snapshot that the lock has begun to load so often may be damaged on this disk. */
#define LM_RAFT_LOADS_MAX 3
/* Whose own tick comes later than this counts nobody's silence. */
/* What a voter has said of the region's leader to a node outside of it is believed for so long. */
#define LM_RAFT_OUTSIDE_US UINT64_C(2000000)
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
    /* The round whose way to that node and back is being timed (0: none), and since when. */
    uint64_t timed_round, timed_since_us;
    lm_histogram_t round_trips;
    bool was_timed;
} lm_raft_node_t;

/* What a node without data knows of a region that is there without it. */
typedef struct {
    bool known, votes; /* votes: this node is one of its voters, and has lost its data */
    bool news;
    char cluster_id[LM_RAFT_ID_SIZE];
    uint64_t term;
    char leader[LM_RAFT_NAME_SIZE]; /* empty: none is known */
    uint64_t leader_us, heard_us;   /* when it was last named; when anything was last heard */
    uint32_t n_voters;
    char voters[LM_RAFT_SERVERS_MAX][LM_RAFT_NAME_SIZE];
} lm_raft_outside_t;

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
    LM_RAFT_REFUSED_LOSS,
    LM_RAFT_REFUSED_N,
} lm_raft_refused_t;

/* What a lock says it has. */
typedef struct {
    bool of_this_region;
    uint64_t applied_index, applied_term, state_hash;
} lm_raft_attach_t;

/* The lock actor of this node, as an attached reader of the log. */
typedef struct {
    bool attached;
    lm_generation_t generation;
    uint64_t delivered;    /* last index it was given, or said it had */
    uint64_t delivered_us; /* when it was given that */
    uint64_t check_term;   /* term it says that `delivered` has, as long as that is not committed */
    uint64_t credit;       /* up to this index */
    uint64_t attach_commit; /* commit index when it attached */
    bool blocked;           /* its pipe is full */
    bool ready, give_up;
    uint64_t applied_index, state_hash;
    uint64_t heard_us;      /* last message from it */
    uint64_t loads_us;      /* when it last asked for a piece of the snapshot */
    unsigned loads;         /* snapshots in a row that it was given and did not finish loading */
    uint64_t away_since_us; /* 0: it is fit */
    uint64_t restarts_us[LM_RAFT_RESTARTS];
    bool parked; /* what it attached with waits for the end of an installation */
    lm_caller_t parked_caller;
    lm_raft_attach_t parked_attach;
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

/* ---- images: see raft_image.c ---------------------------------------------------------------- */

typedef enum {
    LM_RAFT_WRITES_NOTHING,
    LM_RAFT_WRITES_TAKEN,   /* of the lock here */
    LM_RAFT_WRITES_FETCHED, /* from another node */
} lm_raft_writes_t;

typedef struct {
    lm_raft_writes_t what;
    lm_raft_image_t image;
    unsigned awaited, stale; /* reports of this image, and of those that were given up */
    bool finishing;
    uint32_t trailing; /* while finishing; 0: it is an installation */
} lm_raft_writer_t;

#define LM_RAFT_READER_LOCK (-1)
#define LM_RAFT_READERS_LOCK 8
#define LM_RAFT_READERS_NODE (2 * LM_RAFT_IMAGE_PIECES_AHEAD)
#define LM_RAFT_READERS (LM_RAFT_READERS_LOCK + LM_RAFT_SERVERS_MAX * LM_RAFT_READERS_NODE)

/* Somebody who waits for a piece of an image. */
typedef struct {
    uint64_t number; /* 0: a free place */
    int node;        /* or LM_RAFT_READER_LOCK */
    lm_caller_t caller;
    uint64_t index, term, offset;
} lm_raft_reader_t;

/* A lock keeps four unanswered. */
#define LM_RAFT_PARTS 8

typedef struct {
    lm_caller_t caller;
    uint64_t end; /* offset behind it */
    bool last;
} lm_raft_part_t;

/* A snapshot that is being taken: the rest is in the writer. */
typedef struct {
    uint64_t received, progress_us, next_try_us;
    uint32_t crc32c;
    lm_raft_part_t parts[LM_RAFT_PARTS];
    unsigned n_parts;
} lm_raft_taking_t;

/* A snapshot that is being fetched. */
typedef struct {
    bool on;
    bool begun; /* the disk has said what is there */
    bool whole; /* all of it is written, and it is what it should be */
    lm_raft_image_t image;
    uint32_t node;                 /* it comes from */
    uint64_t next, asked, written; /* offsets: awaited, asked for, on disk */
    uint64_t gap_at;               /* 1 + what was awaited when a piece was found to be missing */
    uint32_t crc32c;
    uint64_t progress_us, asked_us;
} lm_raft_fetch_t;

typedef struct {
    uint64_t leader_changes, proposals_committed, proposals_failed, reads, read_rounds, transfers;
    uint64_t refused[LM_RAFT_REFUSED_N];
    uint64_t late_ticks;
    lm_histogram_t lateness; /* of its wake-ups */
    uint64_t snapshots_taken, snapshots_dropped, pieces_served;
    uint64_t snapshots_fetched, snapshots_installed, fetches_dropped, bytes_fetched;
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
    const lm_histogram_t *(*writes)(const lm_raft_disk_t *disk);
    /* configuration */
    char region[LM_RAFT_NAME_SIZE], data_dir[4096];
    uint32_t election_ms, heartbeat_ms;
    uint64_t snapshot_bytes, fetch_bytes, undelivered_bytes_max, log_bytes_max;
    size_t piece_bytes; /* of an image, at once */
    bool small_bounds;  /* see lm_raft_room_set_small */
    uint32_t trailing_entries;
    /* Those that have a vote, or will have one when the region has been formed, come first, n_nodes
     * of them; up to n_known those that are configured and have none. Each part is sorted. */
    uint32_t n_nodes, n_known, self;
    lm_raft_node_t nodes[LM_RAFT_SERVERS_MAX];
    lm_raft_outside_t outside;
    /* who it is */
    lm_raft_bootstrap_t forming; /* its identity is the durable one */
    lm_raft_done_t *loaded;      /* waits for the last stage to be durable */
    lm_raft_engine_t *engine;
    /* parts */
    lm_raft_lock_t lock;
    lm_raft_writer_t writer;
    lm_raft_taking_t taking;
    lm_raft_fetch_t fetch;
    uint64_t queried_us, served_us, served_since_us;
    lm_raft_reader_t readers[LM_RAFT_READERS];
    uint64_t reader_number;
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
    uint64_t choked_since_us; /* 0: it is not */
    uint64_t forgetful_us;    /* when leadership was last given up for a node that lost entries */
    /* Not 0: this node once acknowledged entries up to here, and its log was found to end at the
     * second (S19). */
    uint64_t lost_index, lost_end;
    uint64_t wanted_us; /* when a node last asked for a snapshot that was not there */
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

/* ---- raft_outside.c: configured nodes without a vote ----------------------------------------- */

/** Parts the nodes that have a vote, by the identity that was found, from the others. False: peers
 *  lacks one of them, or this node; the room has failed. */
bool lm_raft_outside_part(lm_raft_room_t *room, const lm_raft_identity_t *found);
/** Answers a node without data: the region is there. */
void lm_raft_outside_tell(lm_raft_room_t *room, uint32_t node);
/** Such an answer has come. */
void lm_raft_outside_heard(lm_raft_room_t *room, uint32_t node, const lm_peer_frame_t *frame);
/** The leader of the region that is there without this node; empty if none is known. */
const char *lm_raft_outside_leader(const lm_raft_room_t *room);
/** Whether this node is one that has no vote there. */
bool lm_raft_outside_is_surplus(const lm_raft_room_t *room);
/** Whether a node of that name votes, as far as this node knows. */
bool lm_raft_outside_counts(const lm_raft_room_t *room, const char *name);
/** The sentence about it, for operators; empty if there is nothing to say. */
void lm_raft_outside_problem(const lm_raft_room_t *room, char *text, size_t size);

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

/** What has been installed is there: a lock that waits for it is answered. */
void lm_raft_attach_unpark(lm_raft_room_t *room);

/* ---- raft_image.c: images on disk ------------------------------------------------------------ */

void lm_raft_image_on_read(void *self, const lm_message_t *message, lm_outbox_t *out);
/** Another node wants a piece of a snapshot. */
void lm_raft_image_serve(lm_raft_room_t *room, uint32_t node, const lm_peer_snapshot_read_t *read);
/** IMAGE_DATA of the disk; and its other reports about images. */
void lm_raft_image_was_read(lm_raft_room_t *room, const lm_raft_done_t *done);
void lm_raft_image_reported(lm_raft_room_t *room, const lm_raft_done_t *done);
/** The writer: only when it is idle may one be begun; only what is not finishing can be dropped. Of
 *  one that is fetched, what is there already is kept, and may be kept again. */
void lm_raft_image_begin(lm_raft_room_t *room, lm_raft_writes_t what, const lm_raft_image_t *image);
void lm_raft_image_write(lm_raft_room_t *room, uint64_t offset, lm_bytes_t data);
void lm_raft_image_finish(lm_raft_room_t *room, const lm_raft_image_t *image, bool install);
void lm_raft_image_drop(lm_raft_room_t *room, bool keep);

/* ---- raft_snapshot.c: taking one of the lock here -------------------------------------------- */

void lm_raft_snapshot_on_part(void *self, const lm_message_t *message, lm_outbox_t *out);
void lm_raft_snapshot_on_drop(void *self, const lm_message_t *message, lm_outbox_t *out);
/** A report of the disk about it. */
void lm_raft_snapshot_written(lm_raft_room_t *room, const lm_raft_done_t *done);
/** Whether one is to be taken as soon as what is delivered is stored here. */
bool lm_raft_snapshot_is_due(const lm_raft_room_t *room);
/** Gives up the one that is being taken, unless it is about to stand. */
void lm_raft_snapshot_drop(lm_raft_room_t *room, const char *why);
/** Begins one if it is due; right behind what has been delivered. */
void lm_raft_snapshot_settle(lm_raft_room_t *room);

/* ---- raft_fetch.c: fetching one from another node -------------------------------------------- */

/** The leader says that it has only a snapshot of what is missing here. */
void lm_raft_fetch_installs(lm_raft_room_t *room, uint32_t node,
                            const lm_peer_install_snapshot_t *install);
/** Answers of a node that was asked for its snapshot, or for a piece. */
void lm_raft_fetch_offered(lm_raft_room_t *room, uint32_t node,
                           const lm_peer_snapshot_offer_t *offer);
void lm_raft_fetch_piece(lm_raft_room_t *room, uint32_t node, const lm_peer_snapshot_data_t *piece);
/** Another node asks for this one's snapshot. */
void lm_raft_fetch_queried(lm_raft_room_t *room, uint32_t node,
                           const lm_peer_snapshot_query_t *question);
/** The link to a node has come or gone. */
void lm_raft_fetch_link(lm_raft_room_t *room, uint32_t node, bool up);
/** Another node was offered, or was sent, this one's snapshot. */
void lm_raft_fetch_note_served(lm_raft_room_t *room);
/** Asks a server for a snapshot of an entry behind that one; if it has none it takes one soon. */
void lm_raft_fetch_ask_for(lm_raft_room_t *room, uint64_t server_id, uint64_t above_index);
/** Whether this node's lock is so far behind that only a snapshot of the leader helps (S20). */
bool lm_raft_fetch_is_wanted(const lm_raft_room_t *room);
/** Asks again, gives up, or makes what is whole the node's snapshot. */
void lm_raft_fetch_settle(lm_raft_room_t *room);
/** A report of the disk about it. */
void lm_raft_fetch_written(lm_raft_room_t *room, const lm_raft_done_t *done);
/** Whether a snapshot of this node's lock has to wait. */
bool lm_raft_fetch_postpones(const lm_raft_room_t *room);

/* ---- raft_propose.c: entries of this node's lock --------------------------------------------- */

void lm_raft_propose_on_propose(void *self, const lm_message_t *message, lm_outbox_t *out);
/** Whether nothing can be proposed because too much waits for the lock or for the disk. */
bool lm_raft_propose_is_choked(const lm_raft_room_t *room);
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

/* ---- raft_loss.c: acknowledged entries that are gone (S19) ----------------------------------- */

/** Notes what was found at the start. False if this node can never be made good: it ends. */
bool lm_raft_loss_begin(lm_raft_room_t *room, const lm_raft_done_t *loaded);
/** Ends it when all that is missing is here again; until then asks the leader for a snapshot, if
 *  nothing else helps. */
void lm_raft_loss_settle(lm_raft_room_t *room);
/** Whether this node's log is not complete: it neither votes nor campaigns. */
bool lm_raft_loss_is(const lm_raft_room_t *room);
/** The sentence about it, for operators. */
void lm_raft_loss_problem(const lm_raft_room_t *room, char *text, size_t size);

/* ---- raft_handover.c: giving leadership away ------------------------------------------------- */

void lm_raft_handover_on_drain(void *self, const lm_message_t *message, lm_outbox_t *out);
void lm_raft_handover_settle(lm_raft_room_t *room);
/** Whether this node would give leadership away at once if it had it: it is no target for others.
 */
bool lm_raft_handover_would(const lm_raft_room_t *room);

/* ---- raft_report.c: what others hear of this node -------------------------------------------- */

/** Tells role and status if something has changed or a second has passed. */
void lm_raft_report_settle(lm_raft_room_t *room);
/** Tells health at once how the room is, with its figures. Where both are told this goes first: a
 *  node is ready once the role names a leader, and its pages agree with that. */
void lm_raft_report_status(lm_raft_room_t *room);
/** Tells the role at once, to one. */
void lm_raft_report_role(lm_raft_room_t *room, lm_participant_t to);

#endif
