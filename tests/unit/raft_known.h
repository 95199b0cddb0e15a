/* An identity for tests of the disk. */
#ifndef LM_RAFT_KNOWN_H
#define LM_RAFT_KNOWN_H

#include "raft_disk.h"

/** Of node n1 of region r, in a cluster of n_servers (1 or 2) voters, n1 and n2. */
static inline lm_raft_identity_t known_identity(lm_raft_stage_t stage, uint32_t n_servers)
{
    return (lm_raft_identity_t){.stage = stage,
                                .region = "r",
                                .node = "n1",
                                .cluster_id = "00112233445566778899aabbccddeeff",
                                .history_id = "ffeeddccbbaa99887766554433221100",
                                .n_servers = n_servers,
                                .servers = {{77, "n1"}, {88, "n2"}}};
}

#endif
