/* What the room wants from a disk, and how it hears of it.
 *
 * Commands are carried out in the order given. Each but truncate ends with one report, an
 * lm_raft_done_t that is put into the room's inlet; after a FAILED there is none any more.
 *
 * Invariants
 *   K1  A report means that everything its command asked for is on stable storage.
 *   K2  Nothing that failed is tried again: the first failure is the last report.
 *   K3  Memory of entries that are being appended belongs to the room and stays until the report.
 */
#ifndef LM_RAFT_DISK_H
#define LM_RAFT_DISK_H

#include "raft_fault.h"
#include "raft_identity.h"
#include "raft_log.h"

typedef enum {
    LM_RAFT_DONE_OPENED,   /* open: identity is what was found */
    LM_RAFT_DONE_IDENTITY, /* save_identity */
    LM_RAFT_DONE_LOADED,   /* load: term, voted_for, entries */
    LM_RAFT_DONE_METADATA, /* set_metadata */
    LM_RAFT_DONE_APPENDED, /* append: number */
    LM_RAFT_DONE_FAILED,   /* fault */
} lm_raft_done_kind_t;

typedef struct {
    uint64_t term;
    uint32_t type;
    lm_bytes_t data;
    lm_raft_buffer_t *buffer; /* of loaded entries: the reference is the receiver's */
} lm_raft_entry_t;

typedef struct {
    lm_raft_done_kind_t kind;
    uint64_t number;
    lm_raft_identity_t identity;
    uint64_t term, voted_for;
    lm_raft_entry_t *entries; /* freed with free */
    size_t n_entries;
    lm_raft_fault_t fault;
} lm_raft_done_t;

/** Frees a report with the entries and references in it. */
void lm_raft_done_destroy(lm_raft_done_t **done);

typedef struct lm_raft_disk lm_raft_disk_t;
struct lm_raft_disk {
    /** Locks the directory, reads the identity, scans. region and node are copied. */
    void (*open)(lm_raft_disk_t *disk, const char *path, const char *region, const char *node);
    void (*save_identity)(lm_raft_disk_t *disk, const lm_raft_identity_t *identity);
    /** Reads the log. If bootstrap, its first entry, the configuration of the identity's servers as
     *  voters, is written before, over whatever an uncompleted start has left. */
    void (*load)(lm_raft_disk_t *disk, const lm_raft_identity_t *identity, bool bootstrap);
    /** Makes term and vote durable, the term first. */
    void (*set_metadata)(lm_raft_disk_t *disk, uint64_t term, uint64_t voted_for);
    /** Removes entries from index on; durable before the next append is reported. */
    void (*truncate)(lm_raft_disk_t *disk, uint64_t index);
    /** Appends n entries behind the last; the array is copied, their memory is not. */
    void (*append)(lm_raft_disk_t *disk, uint64_t number, const lm_raft_entry_t *entries, size_t n);
};

#endif
