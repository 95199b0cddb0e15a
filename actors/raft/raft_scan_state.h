/* What the parts of the scan share: the names that were found, and how to complain.
 *
 *   raft_scan           names, term and vote, what must be there
 *   raft_scan_snapshot  snapshots and images
 *   raft_scan_log       segments, and the watermark */
#ifndef LM_RAFT_SCAN_STATE_H
#define LM_RAFT_SCAN_STATE_H

#include "raft_datadir.h"
#include "raft_scan.h"

#define LM_RAFT_SCAN_NAME 64

typedef struct {
    uint64_t first, end;
    char name[LM_RAFT_SCAN_NAME];
} lm_raft_closed_t;

typedef struct {
    uint64_t term, index, stamp; /* no stamp but of snapshots */
    bool has_meta, has_data;
} lm_raft_place_t;

typedef struct {
    lm_raft_place_t *at;
    size_t n;
} lm_raft_places_t;

typedef struct {
    uint64_t *at;
    size_t n;
} lm_raft_numbers_t;

typedef struct {
    lm_raft_folder_t folder;
    lm_raft_closed_t *closed;
    size_t n_closed;
    lm_raft_numbers_t open;        /* counters in the names of open segments */
    lm_raft_numbers_t truncations; /* indexes in the names of notes */
    lm_raft_places_t installations, snapshots, images, parts;
    bool has_watermark;
    lm_raft_scan_t *result;
    lm_raft_fault_t *fault;
} lm_raft_scan_state_t;

/** Both return false. */
__attribute__((format(printf, 2, 3))) bool lm_raft_scan_damaged(lm_raft_scan_state_t *s,
                                                                const char *format, ...);
bool lm_raft_scan_unreadable(lm_raft_scan_state_t *s, const char *name);
/** Reads a whole file. *bytes is NULL if there is no such file; free it. */
bool lm_raft_scan_read(lm_raft_scan_state_t *s, const char *name, uint8_t **bytes, size_t *size);
/** Removes a file, if it is there, and says why; durable after lm_raft_scan_sync. */
bool lm_raft_scan_remove(lm_raft_scan_state_t *s, const char *name, const char *why);
bool lm_raft_scan_sync(lm_raft_scan_state_t *s);

/** Finds the newest snapshot that is whole, and removes what is left of others. */
bool lm_raft_scan_snapshots(lm_raft_scan_state_t *s);
/** Completes what was begun with the log: installations and truncations. */
bool lm_raft_scan_repair_log(lm_raft_scan_state_t *s);
/** Reads the log through, and compares it with the snapshot and the watermark. */
bool lm_raft_scan_log(lm_raft_scan_state_t *s);

#endif
