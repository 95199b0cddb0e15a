/* The clients room: everything a client of this node asks for, and what other nodes pass on for
 * theirs.
 *
 * Invariants
 *   FR1  Every call that came in is finished exactly once, before its deadline.
 *   FR2  A call is passed on one hop at most: what came by Forward goes to the own lock only
 *        (S13).
 *   FR3  The first answer is the answer. A grant that finds nobody is reported to the lock that
 *        made it, if that is the own one (S10, S13).
 *   FR4  UNAVAILABLE with our ErrorInfo is said only when no attempt of the call can have been
 *        applied; otherwise a change is answered OUTCOME_UNKNOWN (S14).
 *   FR5  All attempts of one call carry the stamp of the first (S12a) and the same request id.
 */
#ifndef LM_FRONTEND_CLIENTS_H
#define LM_FRONTEND_CLIENTS_H

#include "frontend_driver.h"
#include "frontend_keys.h"

typedef struct lm_frontend_clients lm_frontend_clients_t;

extern const lm_room_t lm_frontend_clients_room;

/** seed: 128 random bits from which request ids are made. The driver must outlive the room, but may
 *  be given later than here (lm_frontend_clients_set_driver), before the room runs. */
lm_frontend_clients_t *lm_frontend_clients_new(const uint64_t seed[2]);
void lm_frontend_clients_set_driver(lm_frontend_clients_t *room, lm_frontend_driver_t *driver);
void lm_frontend_clients_destroy(lm_frontend_clients_t **room);
/** The keys of both rooms; needed only where peer_key is configured. */
void lm_frontend_clients_set_keys(lm_frontend_clients_t *room, lm_frontend_keys_t *keys);

#endif
