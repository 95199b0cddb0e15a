/* A small region by seed: two lock actors, one log between them that a raft played by hand commits,
 * truncates and leads, edges that forward calls, and clients that ask, believe, renew and let go.
 *
 * Faults: leaders change, before anybody is told; proposals of a leader that is none any more get
 * an index and are lost; lock actors and rafts restart; raft refuses; answers are lost, late or
 * undelivered; callers leave and ask again, with the same id or with another one. Snapshots are
 * taken, given up, lost and installed, and logs are trimmed behind them, so that locks begin with
 * an image and the rest of the log.
 *
 * What must hold (checked after every step)
 *   - beliefs of several clients about one name are compatible;
 *   - the token of a new belief is greater than every token of another owner's before it;
 *   - replicas that have applied the same entries have the same hash.
 * And when the faults end: every call is answered, and in the end nothing is held or waited for. */
#ifndef LOCK_WORLD_H
#define LOCK_WORLD_H

#include <stdint.h>

typedef struct {
    uint64_t steps, grants, renewals, leader_changes, lock_restarts, raft_restarts, forwards;
    uint64_t undelivered, ended, unknown, timed_out, held;
    uint64_t snapshots, drops, restores;
} world_figures_t;

/** Runs one seed for that many steps and then until everything is quiet; stops the test with the
 *  seed if something does not hold. */
world_figures_t world_run(uint64_t seed, int steps);

#endif
