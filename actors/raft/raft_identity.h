/* Who this node is in which region, as a small text that is kept beside the log.
 *
 * Invariants
 *   I1  A stage is reached only in the order accepted, formed, started; formed is skipped by all
 *       but the first node.
 *   I2  Whatever bytes are read: they are the text that was written, or they are refused.
 */
#ifndef LM_RAFT_IDENTITY_H
#define LM_RAFT_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

#include "base_bytes.h"
#include "raft_limits.h"

typedef enum {
    LM_RAFT_EMPTY,    /* nothing is known; never written */
    LM_RAFT_ACCEPTED, /* belongs to a region that may come into being; has no vote yet */
    LM_RAFT_FORMED,   /* first node only: every node has accepted, the region exists */
    LM_RAFT_STARTED,  /* has a log, and a vote */
} lm_raft_stage_t;

typedef struct {
    uint64_t id;
    char name[LM_RAFT_NAME_SIZE];
} lm_raft_server_t;

typedef struct {
    lm_raft_stage_t stage;
    char region[LM_RAFT_NAME_SIZE];
    char node[LM_RAFT_NAME_SIZE];
    char cluster_id[LM_RAFT_ID_SIZE];
    char history_id[LM_RAFT_ID_SIZE];
    uint32_t epoch;
    uint32_t n_servers;
    lm_raft_server_t servers[LM_RAFT_SERVERS_MAX];
} lm_raft_identity_t;

#define LM_RAFT_IDENTITY_TEXT_MAX 8192

/** Writes the text of an identity, NUL-terminated, into text. Returns its length. */
size_t lm_raft_identity_write(const lm_raft_identity_t *identity,
                              char text[LM_RAFT_IDENTITY_TEXT_MAX]);
/** Reads a text. Returns NULL and fills identity, or a sentence about what is wrong with it. */
const char *lm_raft_identity_read(lm_bytes_t text, lm_raft_identity_t *identity);

/** Id of a server by name; 0 if there is none. */
uint64_t lm_raft_identity_id(const lm_raft_identity_t *identity, const char *name);

/** "empty", "accepted", ... */
const char *lm_raft_stage_name(lm_raft_stage_t stage);

/** CRC-32 as in Ethernet. */
uint32_t lm_raft_identity_crc(lm_bytes_t bytes);

#endif
