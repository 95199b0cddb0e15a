/* The Raft log in memory: every entry from index 1 on, with the buffers that hold their bytes.
 *
 * The engine remembers only terms. Whoever sends entries to a peer, delivers them to the lock or
 * writes them to disk reads them here.
 *
 * Invariants
 *   G1  Entries are contiguous from index 1; terms never fall.
 *   G2  A buffer lives as long as anybody holds a reference: the log for each entry in it, and
 *       whoever took one for a write in flight. Truncation never pulls memory from under a write.
 *   G3  Each entry has a serial that is never given twice, so that the report of a finished write
 *       can be told from one of an entry of the same index and term that was truncated since.
 */
#ifndef LM_RAFT_LOG_H
#define LM_RAFT_LOG_H

#include <stdint.h>

#include "base_bytes.h"

/** Memory that several entries share. Counted in one thread only. */
typedef struct lm_raft_buffer lm_raft_buffer_t;

/** Takes over memory, which release frees when the last reference is dropped. One reference is the
 *  caller's. */
lm_raft_buffer_t *lm_raft_buffer_adopt(void *memory, void (*release)(void *memory));
lm_raft_buffer_t *lm_raft_buffer_keep(lm_raft_buffer_t *buffer);
/** Drops one reference and sets *buffer to NULL; does nothing with NULL. */
void lm_raft_buffer_drop(lm_raft_buffer_t **buffer);

/** Types as the engine and the wire number them. */
enum { LM_RAFT_COMMAND = 1, LM_RAFT_BARRIER = 2, LM_RAFT_CHANGE = 3 };

typedef struct {
    uint64_t term;
    uint32_t type;
    lm_bytes_t data; /* in buffer */
    lm_raft_buffer_t *buffer;
    uint64_t serial;
    uint64_t bytes_before; /* data bytes of all entries before this one */
} lm_raft_record_t;

typedef struct lm_raft_log lm_raft_log_t;

lm_raft_log_t *lm_raft_log_new(void);
void lm_raft_log_destroy(lm_raft_log_t **log);

/** Appends an entry; the log takes a reference of its own on buffer. Returns its index. */
uint64_t lm_raft_log_append(lm_raft_log_t *log, uint64_t term, uint32_t type, lm_bytes_t data,
                            lm_raft_buffer_t *buffer);
/** Removes the entry at index and all behind it; index >= 1. */
void lm_raft_log_truncate(lm_raft_log_t *log, uint64_t index);

/** The entry at index, valid until the log changes; NULL if there is none. */
const lm_raft_record_t *lm_raft_log_get(const lm_raft_log_t *log, uint64_t index);
/** 0 if the log is empty. */
uint64_t lm_raft_log_last_index(const lm_raft_log_t *log);
/** Term of the entry at index; 0 if there is none. */
uint64_t lm_raft_log_term(const lm_raft_log_t *log, uint64_t index);
/** Data bytes of the entries first..last; 0 if last < first. Both are in the log or 0 and last. */
uint64_t lm_raft_log_bytes(const lm_raft_log_t *log, uint64_t first, uint64_t last);

#endif
