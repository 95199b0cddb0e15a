/* What is inside of a small region of locks (lock_world.h), for its files. */
#ifndef LOCK_WORLD_STATE_H
#define LOCK_WORLD_STATE_H

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "act_test_host.h"
#include "lock_room.h"
#include "lock_world.h"
#include "wire_api.h"
#include "wire_bus.h"
#include "wire_peer.h"

enum {
    NODES = 2,
    CLIENTS = 5,
    NAMES = 2,
    COPIES = 48,
    LOG_MAX = 20000,
    NOBODY = -1,
    PENDING_MAX = 16,
    PIECE = 700, /* bytes of an image in one part: images are small here */
};

typedef struct {
    uint64_t index, term, hash;
    uint8_t *data; /* owned */
    size_t size;
} world_image_t;

typedef struct {
    lm_lock_room_t *room;
    lm_test_host_t *host;
    uint32_t counter; /* of the lock's generation */
    bool attached;
    uint64_t delivered;
    uint64_t told_term; /* what this node's raft has said to it */
    bool told_leads;
    bool taken;             /* its Takeover of told_term was accepted */
    uint64_t mute_until_us; /* nothing of what its raft says is read until then */
    uint64_t ghosts;        /* entries of a leadership that is over, and nobody will see */
    uint64_t credit;        /* what its lock allows to deliver */
    bool restoring;         /* its lock loads an image; it has applied nothing then */
    world_image_t image;    /* its snapshot */
    uint64_t trimmed;       /* entries up to there are in its log no more */
    world_image_t taking;   /* what has come of the one that its lock is taking; index 0: none */
    const lm_test_sent_t *reads[PENDING_MAX]; /* IMAGE_READs without an answer */
    size_t n_reads;
} node_t;

typedef struct {
    bool used;
    bool open; /* the client still hears it */
    int client;
    uint64_t op; /* of the client, when it was sent */
    int kind;    /* lm_peer_lock_call_request_case_t */
    char id[24];
    char hold_id[32];
    int edge;
    int at; /* node whose lock has it; NOBODY: between hops */
    int to; /* between hops: where it goes next */
    uint64_t again_us;
    uint64_t correlation;
    bool stamped, seen;
    uint64_t stamp;
    uint64_t sent_us, deadline_us;
    const lm_peer_lock_answer_t *answer; /* on its way to the client */
    int answered_by;
    uint64_t answer_us;
} copy_t;

typedef enum { IDLE, ASKING, HOLDING } client_state_t;

typedef struct {
    client_state_t state;
    bool generic; /* another id with every attempt */
    uint64_t op, attempts;
    int name;
    int mode;
    int64_t wait_ms, ttl_ms;
    char hold_id[32];
    int64_t token;
    uint64_t told_index; /* what the lock that told it had applied */
    uint64_t belief_us;  /* until then; 0: believes nothing */
} client_t;

typedef struct {
    uint64_t seed, random;
    uint64_t now_us; /* since the beginning */
    node_t nodes[NODES];
    struct {
        uint64_t term;
        lm_bytes_t data;
    } log[LOG_MAX];
    uint64_t n_log, commit, term;
    int leader;
    bool faults;
    bool lagging; /* this seed: short leases, many attempts, locks that lag behind */
    client_t clients[CLIENTS];
    copy_t copies[COPIES];
    lm_arena_t *arena; /* answers on their way: they outlive the lock that gave them */
    int64_t best_token[NAMES];
    int best_owner[NAMES];
    world_figures_t figures;
} world_t;

#define FAILED(w, ...)                                                                           \
    do {                                                                                         \
        char text_[256];                                                                         \
        snprintf(text_, sizeof text_, __VA_ARGS__);                                              \
        cr_assert(false, "seed %" PRIu64 " step %" PRIu64 ": %s", (w)->seed, (w)->figures.steps, \
                  text_);                                                                        \
    } while (0)

static inline uint64_t draw(world_t *w, uint64_t below)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return (w->random * UINT64_C(0x2545f4914f6cdd1d) >> 16) % below;
}

static inline bool one_in(world_t *w, uint64_t n) { return w->faults && draw(w, n) == 0; }

/* ---- lock_world_images.c: snapshots, and locks that begin with one --------------------------- */

/** Something happens with images at that node. */
void world_images_step(world_t *w, int n);
/** Everything that waits is answered. */
void world_images_answer(world_t *w, int n);
/** Describes the image that a lock which has applied so much begins with; false: with none. */
bool world_images_attach(world_t *w, int n, uint64_t applied, bool known, lm_bus_image_t *image);
/** The lock or the raft of that node is another one now: nothing that was on its way is. */
void world_images_forget(node_t *node);
/** Takes what the lock allows to deliver. */
void world_images_credit(world_t *w, int n);
void world_images_free(world_image_t *image);

#endif
