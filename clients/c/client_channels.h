/* The channels of a client, one to each of its endpoints. When a file of its credentials has been
 * renewed they are made anew; calls that are under way end on the old ones.
 *
 * Invariants
 *   H1  A channel lives at least as long as somebody has it borrowed.
 *   H2  Renewed files come into force together, and only if they can be used: a key that does not
 *       belong to its certificate, as while files are replaced one by one, changes nothing.
 */
#ifndef LM_CLIENT_CHANNELS_H
#define LM_CLIENT_CHANNELS_H

#include <grpc/grpc.h>

#include "client.h"

enum { LM_ENDPOINTS_MAX = 32 };

typedef struct lm_channels lm_channels_t;

/** endpoints: separated by commas. tls may be NULL; its texts are copied. NULL: *problem, if that
 *  is not NULL, says why, for people. */
lm_channels_t *lm_channels_new(const char *endpoints, const lm_client_tls_t *tls,
                               char problem[256]);
/** Nobody may have borrowed any. */
void lm_channels_destroy(lm_channels_t **channels);

size_t lm_channels_count(const lm_channels_t *channels);
/** n: less than the count. */
const char *lm_channels_endpoint(const lm_channels_t *channels, size_t n);

/** The n-th channel, to make a call on it; from any thread. Looks at the files of the credentials
 *  first, once a second. To be given back at once, by the same thread: the call lives on. */
grpc_channel *lm_channels_borrow(lm_channels_t *channels, size_t n);
void lm_channels_give_back(lm_channels_t *channels);

#endif
