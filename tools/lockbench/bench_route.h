/* Which connections a load uses: enough of them that no server's limit of streams per connection
 * is in the way, and as many for every target. */
#ifndef LM_BENCH_ROUTE_H
#define LM_BENCH_ROUTE_H

#include <stddef.h>

enum {
    BENCH_WORKERS_MAX = 2048,
    BENCH_ENDPOINTS_MAX = 32,
};

/** The comma-separated list of connections for so many workers; worker w uses the (w modulo n)-th
 *  of them. leader: index of the only endpoint to be used, or -1 for all in turn. The caller frees
 *  it. Returns NULL if there is no endpoint, no such one, or more than 32 connections. */
char *bench_route_make(const char *endpoints, int leader, size_t workers, size_t *n);

#endif
