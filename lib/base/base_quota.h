/* The share of processors that this process may use: those it may run on, and the limit that a
 * control group of version 1 or 2 puts on it.
 *
 * Invariants
 *   Q1  The limit is the smallest of all groups above the process, its own included, as far as they
 *       can be seen: in a container the file system of groups often begins at the own one.
 *   Q2  What cannot be read is no limit; the share is never 0.
 */
#ifndef LM_BASE_QUOTA_H
#define LM_BASE_QUOTA_H

#include <stdbool.h>
#include <stdint.h>

/** Where to look. */
typedef struct {
    const char *groups; /* the file that names the groups of the process */
    const char *mount;  /* where the file systems of groups are */
} lm_quota_place_t;

/** Those of this process: /proc/self/cgroup and /sys/fs/cgroup. */
extern const lm_quota_place_t lm_quota_mine;

enum { LM_QUOTA_FROM_MAX = 256 };

typedef struct {
    double cores;                 /* processors that may be used, > 0; 0.5 is half of one */
    unsigned processors;          /* those that this process may run on, >= 1 */
    bool limited;                 /* a group allows less than all of them */
    unsigned version;             /* of the groups that were found: 1, 2, or 0 for none */
    char from[LM_QUOTA_FROM_MAX]; /* file of the limit; empty: there is none */
    /* What came of it, as the own group counts. */
    uint64_t periods, throttled_periods;
    double throttled_seconds;
} lm_quota_t;

/** Looks anew. processors: how many this process may run on; 0 asks the kernel. */
void lm_quota_look(const lm_quota_place_t *place, unsigned processors, lm_quota_t *quota);

#endif
