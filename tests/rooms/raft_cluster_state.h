/* The cluster's state, shared by the two files of it. Nobody else includes this. */
#ifndef LM_RAFT_CLUSTER_STATE_H
#define LM_RAFT_CLUSTER_STATE_H

#include "raft_cluster.h"
#include "wire_api.h"
#include "wire_bus.h"
#include "wire_peer.h"

#define MS UINT64_C(1000)
#define START_US UINT64_C(1000000)
#define FLIGHT_MAX 8

typedef unsigned long long ull_t;

typedef struct packet {
    struct packet *next;
    uint64_t due_us, epoch;
    uint32_t from, to;
    size_t size;
    uint8_t *bytes;
} packet_t;

typedef struct {
    uint64_t index, term, hash;
    bool known; /* raft has answered */
    uint64_t correlation;
} flight_t;

/* An image that a lock writes or reads. */
typedef struct {
    bool on;
    uint64_t index, term;
    uint8_t *bytes;
    size_t size, at, asked; /* at: sent, or read */
    uint32_t crc32c;
    unsigned unanswered;
    uint64_t first_call; /* answers to calls before it are about another image */
} image_t;

/* The stand-in for a lock actor. */
typedef struct {
    uint32_t counter; /* of its generation, as the host of its raft counts */
    bool attached, attaching, silent, stalled, stopped, ready;
    uint64_t attach_call, retry_us;
    char cluster_id[64], history_id[64];
    uint64_t applied, applied_term, hash, attach_commit;
    uint64_t n_deliveries; /* messages with entries that were taken */
    uint32_t role;
    uint64_t term;
    bool taking, serving;
    uint64_t taking_index;
    flight_t flight[FLIGHT_MAX];
    uint32_t n_flight;
    uint64_t load_us, read_call, read_us, read_floor;
    char problem[512];
    image_t taken, loaded;
} lock_t;

typedef struct {
    bool up, paused;
    lm_exit_t exit;
    int drained;
    lm_test_host_t *host;
    lm_raft_room_t *room;
    lm_fake_disk_t *disk;
    lock_t lock;
    const lm_bus_status_report_t *status;
    uint64_t epoch[LM_CLUSTER_MAX]; /* of the stream from node i to this one */
} node_t;

typedef struct {
    uint64_t term, hash;
} entry_t;

struct lm_cluster {
    lm_cluster_options_t options;
    uint64_t chance, now_us, load_ms;
    uint64_t next_command;
    size_t payload;
    node_t nodes[LM_CLUSTER_MAX];
    bool cut[LM_CLUSTER_MAX][LM_CLUSTER_MAX];
    packet_t *links[LM_CLUSTER_MAX][LM_CLUSTER_MAX], **link_ends[LM_CLUSTER_MAX][LM_CLUSTER_MAX];
    entry_t *history; /* by index - 1 */
    size_t n_history;
    flight_t *acknowledged;
    size_t n_acknowledged;
    uint64_t floor; /* highest acknowledged index */
    uint64_t reads, resets, restores, images;
    char ids[8][64];
    uint32_t n_ids;
};

/* ---- raft_cluster.c ---- */

void lm_cluster_attach(lm_cluster_t *c, uint32_t n);
void lm_cluster_tell(lm_cluster_t *c, uint32_t n);

/* ---- raft_cluster_image.c: the images of the stand-in ---- */

void lm_cluster_image_end(image_t *image);
/** A turn of a lock that writes or reads one. */
void lm_cluster_image_work(lm_cluster_t *c, uint32_t n);
/** It begins anew, with that image or with nothing. */
void lm_cluster_image_begin(lm_cluster_t *c, lock_t *lock, const lm_bus_image_t *image);
/** What raft says about images. */
void lm_cluster_image_hear(lm_cluster_t *c, uint32_t n, const lm_test_sent_t *sent);

#endif
