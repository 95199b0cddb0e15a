/* Reads the segment files of the log as the engine's disk code writes them, to find out what is
 * wrong with one before that code is let loose on it.
 *
 * A segment: 8 bytes of format (1), then batches. A batch: checksum of its head, checksum of its
 * data, its head (count of entries, then 16 bytes for each: term, type, size), its data. All
 * numbers are little endian; every batch begins at a multiple of 8. */
#ifndef LM_RAFT_SEGMENT_H
#define LM_RAFT_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base_bytes.h"

typedef enum {
    LM_RAFT_BATCH_GOOD,
    LM_RAFT_BATCH_END, /* nothing more, or nothing but zeros */
    LM_RAFT_BATCH_CUT, /* the file ends inside it */
    LM_RAFT_BATCH_BAD, /* checksums or counts do not match */
} lm_raft_batch_state_t;

typedef struct {
    lm_raft_batch_state_t state;
    size_t offset;
    uint64_t n_entries;
    lm_bytes_t head; /* with the count */
    lm_bytes_t data;
    size_t next; /* offset behind it */
} lm_raft_batch_t;

#define LM_RAFT_SEGMENT_HEAD 8

/** True if the file begins as a segment does. */
bool lm_raft_segment_has_format(lm_bytes_t file);
bool lm_raft_segment_is_zero(lm_bytes_t file, size_t offset);
/** Looks at the batch that begins at offset. */
lm_raft_batch_t lm_raft_segment_batch(lm_bytes_t file, size_t offset);
/** Offset of the first good batch behind offset; 0 if there is none. */
size_t lm_raft_segment_good_after(lm_bytes_t file, size_t offset);

/** Entry i of a good batch. */
typedef struct {
    uint64_t term;
    uint32_t type;
    lm_bytes_t data;
} lm_raft_segment_entry_t;

/** Walks over the entries of a file; begin with *cursor zeroed. Returns false at the end or at the
 *  first batch that is not good. */
typedef struct {
    lm_raft_batch_t batch;
    uint64_t next_entry;
    size_t data_offset;
} lm_raft_segment_cursor_t;
bool lm_raft_segment_next(lm_bytes_t file, lm_raft_segment_cursor_t *cursor,
                          lm_raft_segment_entry_t *entry);

#endif
