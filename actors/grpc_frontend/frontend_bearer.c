/* The token that a caller sends: "authorization: Bearer TOKEN" among the metadata of its call.
 *
 * Invariants
 *   FB1  Only its SHA-256 leaves this file. */
#include <stdlib.h>
#include <strings.h>

#include "frontend_driver_internal.h"
#include "tls_digest.h"

static lm_bytes_t bytes_of(const grpc_slice *slice)
{
    return lm_bytes(GRPC_SLICE_START_PTR(*slice), GRPC_SLICE_LENGTH(*slice));
}

/* False: it is of another scheme, or there is nothing behind it. */
static bool cut_scheme(lm_bytes_t value, lm_bytes_t *token)
{
    static const char scheme[] = "bearer ";
    size_t size = sizeof scheme - 1;
    if (value.size <= size || strncasecmp((const char *)value.data, scheme, size) != 0)
        return false;
    while (size < value.size && value.data[size] == ' ') size++;
    *token = lm_bytes(value.data + size, value.size - size);
    return token->size > 0;
}

lm_frontend_bearer_t *lm_frontend_bearer_of(const grpc_metadata_array *metadata)
{
    lm_frontend_bearer_t *bearer = NULL;
    for (size_t i = 0; i < metadata->count; i++) {
        const grpc_metadata *entry = &metadata->metadata[i];
        if (grpc_slice_str_cmp(entry->key, "authorization") != 0) continue;
        lm_bytes_t token;
        bool first = !bearer, good = cut_scheme(bytes_of(&entry->value), &token);
        if (first) bearer = lm_alloc(sizeof *bearer);
        bearer->readable = first && good;
        if (bearer->readable) lm_tls_digest_of(token, bearer->digest);
    }
    return bearer;
}
