/* The real disk: the engine library's segment and term-and-vote files, on a thread of its own.
 *
 * Invariants
 *   V1  Everything that touches the disk happens on that thread (or on its pool), never on the
 *       room's.
 *   V2  While it is inside a call that may block, the page says since when.
 *   V3  A write that failed is reported as FAILED before anything is retried, and nothing is done
 *       after it; so is a write that takes longer than 30 s.
 */
#ifndef LM_RAFT_UV_DISK_H
#define LM_RAFT_UV_DISK_H

#include <stdatomic.h>

#include "base_histogram.h"
#include "raft_disk.h"

/** Called on the disk's thread with each report; takes it over. */
typedef void lm_raft_report_t(void *arg, lm_raft_done_t *done);

/** Starts the thread. blocking_since_us may be NULL: where to say since when a call blocks. */
lm_raft_disk_t *lm_raft_uv_disk_new(lm_raft_report_t *report, void *arg,
                                    _Atomic uint64_t *blocking_since_us);
/** Finishes what is under way, closes the files and the lock, ends the thread. Reports that come
 *  meanwhile still go to report. */
void lm_raft_uv_disk_destroy(lm_raft_disk_t **disk);

/** How long the synchronous writes of the log took. May be read from any thread. */
const lm_histogram_t *lm_raft_uv_disk_writes(const lm_raft_disk_t *disk);

#endif
