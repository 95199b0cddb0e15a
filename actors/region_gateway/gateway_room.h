/* The region-gateway's room: who the other regions are and whether they can be reached.
 *
 * It exchanges a hello with every configured region about once a second through the frontend (which
 * alone speaks gRPC), and tells lock and health what it found.
 *
 * Invariants
 *   G1  At most one hello per region is under way.
 *   G2  A region is reachable only while its last hello was answered, by the region that is
 *       configured there, within STALE_US.
 *   G3  A hello from a region that is not configured here is refused; so is one whose cluster is
 *       another than the first that was seen for its region.
 */
#ifndef LM_GATEWAY_ROOM_H
#define LM_GATEWAY_ROOM_H

#include "act_room.h"

typedef struct gateway gateway_t;

/** Description of the room, for a host. */
const lm_room_t *gateway_room_definition(void);

gateway_t *gateway_room_new(void);
void gateway_room_destroy(gateway_t **gateway);

#endif
