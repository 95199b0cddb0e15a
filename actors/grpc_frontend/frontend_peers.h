/* The peers room: links between the raft actors of a region, hellos between regions, and the watch
 * over the own listener.
 *
 * Invariants
 *   FP1  Only configured peers of the own region and cluster are listened to; everybody else is
 *        refused with a status and counted.
 *   FP2  Of each peer at most one incoming link counts: the latest. Its frames carry an epoch that
 *        is greater than that of every link of this peer before, also across restarts (S24).
 *   FP3  Frames of one link are handed on in order. Some may be missing, none is late.
 *   FP4  A link whose peer does not take what is written to it is ended and opened anew.
 */
#ifndef LM_FRONTEND_PEERS_H
#define LM_FRONTEND_PEERS_H

#include "frontend_driver.h"
#include "frontend_keys.h"

typedef struct lm_frontend_peers lm_frontend_peers_t;

extern const lm_room_t lm_frontend_peers_room;

/** counter: of this start of the actor; it makes epochs grow across restarts. seed: for the times
 *  between attempts to connect. */
lm_frontend_peers_t *lm_frontend_peers_new(uint32_t counter, uint64_t seed);
void lm_frontend_peers_set_driver(lm_frontend_peers_t *room, lm_frontend_driver_t *driver);
void lm_frontend_peers_destroy(lm_frontend_peers_t **room);
/** The keys of both rooms; needed only where peer_key is configured. */
void lm_frontend_peers_set_keys(lm_frontend_peers_t *room, lm_frontend_keys_t *keys);

#endif
