/* The tokens that the actuator asks for: a file of one a line, of the form of a peer_key, that may
 * change while the node runs.
 *
 * Invariants
 *   HT1  Whoever has no token of the file as it was last read in order is a stranger.
 *   HT2  How long a comparison takes does not depend on where a wrong token differs.
 */
#ifndef LM_HEALTH_TOKEN_H
#define LM_HEALTH_TOKEN_H

#include <stdbool.h>
#include <stdint.h>

typedef struct health_token health_token_t;

/** Reads the file. NULL: why[120] says what is wrong with it, beginning with a verb. */
health_token_t *health_token_new(const char *path, char why[120]);
void health_token_destroy(health_token_t **token);

/** Reads the file again if it is another one, once a second; what cannot be used changes nothing,
 *  and is told in the log. */
void health_token_look(health_token_t *token, uint64_t now_us);

/** Whether the value of a header Authorization, NULL if there is none, is "Bearer" and a token. */
bool health_token_admits(const health_token_t *token, const char *authorization);

#endif
