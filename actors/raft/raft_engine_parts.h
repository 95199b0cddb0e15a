/* The engine's state, shared by the two files that drive it. Nobody else includes this. */
#ifndef LM_RAFT_ENGINE_PARTS_H
#define LM_RAFT_ENGINE_PARTS_H

#include <raft.h>

#include "base_arena.h"
#include "raft_engine.h"
#include "raft_messages.h"

/* What waits while term and vote are being written. */
typedef enum {
    LM_RAFT_EVENT_FRAME,
    LM_RAFT_EVENT_APPENDED,
    LM_RAFT_EVENT_SNAPSHOT,
    LM_RAFT_EVENT_INSTALLED,
} lm_raft_event_kind_t;

typedef struct lm_raft_event {
    struct lm_raft_event *next;
    lm_raft_event_kind_t kind;
    uint64_t number;             /* APPENDED: of the write; SNAPSHOT: trailing entries */
    lm_raft_received_t received; /* FRAME */
    lm_raft_image_t *image;      /* SNAPSHOT */
} lm_raft_event_t;

/* A write in flight: entries first..first+n-1 as they were then. */
typedef struct lm_raft_write {
    struct lm_raft_write *next;
    uint64_t number, first, n, first_serial;
    lm_raft_buffer_t *buffer;
} lm_raft_write_t;

typedef struct {
    bool link_up;
    bool unanswered;      /* entries were sent and nothing has come back */
    uint64_t sent_behind; /* index before the entries sent last */
    uint64_t sent_ms;     /* when it was last sent entries or a heartbeat, as the engine counts */
    unsigned forgets;     /* results in a row that contradict what it acknowledged */
    uint64_t forgets_since_us;
} lm_raft_peer_t;

struct lm_raft_engine {
    struct raft raft;
    lm_raft_engine_options_t options;
    lm_raft_identity_t identity;
    lm_raft_log_t *log;
    lm_arena_t *arena;
    lm_raft_peer_t peers[LM_RAFT_SERVERS_MAX]; /* as identity.servers */
    bool started;
    bool may_campaign;
    unsigned late_in_row;
    uint64_t durable_term, durable_vote;
    bool holding; /* a report of term and vote is awaited */
    uint64_t held_since_us;
    struct raft_update held;
    lm_raft_event_t *first, **last;
    size_t held_frames, held_bytes;
    lm_raft_write_t *writes, **last_write;
    uint64_t next_write;
    uint64_t commit, applied, leader_start, stripped;
    uint64_t elections[LM_RAFT_ELECTIONS_N], prevotes_rejected;
    uint64_t unacceptable, complained_us;
    lm_raft_image_t image; /* the snapshot that the log goes on from */
    bool installing;       /* the log is gone, the snapshot below is not there yet */
    lm_raft_image_t install;
    struct {
        lm_raft_role_t role;
        uint64_t term, leader;
    } shown;
    lm_raft_fault_t fault;
};

/** One event and its duties. Returns what the engine returned. */
int lm_raft_engine_step(lm_raft_engine_t *engine, struct raft_event *event, uint64_t now_us);
/** Handles what waits, as far as it may. */
void lm_raft_engine_drive(lm_raft_engine_t *engine, uint64_t now_us);
/** Puts an event behind those that wait. */
void lm_raft_engine_put(lm_raft_engine_t *engine, lm_raft_event_t *event);
/** Notes the first error; what: in the words of an operator. */
void lm_raft_engine_set_fault(lm_raft_engine_t *engine, const char *what, int rv);

/* ---- raft_engine_image.c --------------------------------------------------------------------- */

/** Fills the start event from what was read from disk, log and snapshot here too. *metadata and the
 *  entries, which are freed with free, are memory that the event points to. */
struct raft_entry *lm_raft_engine_load(lm_raft_engine_t *engine, const lm_raft_done_t *loaded,
                                       struct raft_event *event,
                                       struct raft_snapshot_metadata *metadata);
/** The engine has thrown its log away for a snapshot: so does this one. */
void lm_raft_engine_drop_log(lm_raft_engine_t *engine, struct raft_update *update);
void lm_raft_engine_handle_snapshot(lm_raft_engine_t *engine, const lm_raft_image_t *image,
                                    uint64_t trailing, uint64_t now_us);
void lm_raft_engine_handle_installed(lm_raft_engine_t *engine, uint64_t now_us);

#endif
