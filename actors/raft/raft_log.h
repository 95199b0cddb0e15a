/* The Raft log in memory: its entries behind what a snapshot has made superfluous, with the buffers
 * that hold their bytes.
 *
 * The engine remembers only terms. Whoever sends entries to a peer, delivers them to the lock or
 * writes them to disk reads them here.
 *
 *   1 ... before | first ... last
 *     removed    |  kept
 *
 * Invariants
 *   G1  Entries are contiguous from the first index on; terms never fall.
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
    uint64_t bytes_before; /* data bytes of all entries before this one that were ever here */
} lm_raft_record_t;

typedef struct lm_raft_log lm_raft_log_t;

/** An empty log; its first entry will be entry 1. */
lm_raft_log_t *lm_raft_log_new(void);
void lm_raft_log_destroy(lm_raft_log_t **log);

/** Appends an entry; the log takes a reference of its own on buffer. Returns its index. */
uint64_t lm_raft_log_append(lm_raft_log_t *log, uint64_t term, uint32_t type, lm_bytes_t data,
                            lm_raft_buffer_t *buffer);
/** Removes the entry at index and all behind it; index is at least the first. */
void lm_raft_log_truncate(lm_raft_log_t *log, uint64_t index);
/** Removes the entries up to index, which is at most the last; does nothing if they are gone. */
void lm_raft_log_trim(lm_raft_log_t *log, uint64_t index);
/** Removes all entries; the log goes on behind that entry. term 0: it is not known. */
void lm_raft_log_begin(lm_raft_log_t *log, uint64_t index, uint64_t term);

/** The entry at index, valid until the log changes; NULL if there is none. */
const lm_raft_record_t *lm_raft_log_get(const lm_raft_log_t *log, uint64_t index);
/** Index of the first entry, or of the one that will be if there is none. */
uint64_t lm_raft_log_first_index(const lm_raft_log_t *log);
/** Index of the last entry, that before the first if there is none. */
uint64_t lm_raft_log_last_index(const lm_raft_log_t *log);
/** Term of the entry at index, also of the one before the first; 0 if it is not known. */
uint64_t lm_raft_log_term(const lm_raft_log_t *log, uint64_t index);
/** Data bytes of the entries first..last as far as they are in the log; last is not beyond it. */
uint64_t lm_raft_log_bytes(const lm_raft_log_t *log, uint64_t first, uint64_t last);
/** Bytes of memory that the log takes: data, and what is kept of each entry besides. */
uint64_t lm_raft_log_memory(const lm_raft_log_t *log);

#endif
