/* Calls of any method on raw grpc core, many at one time, driven by one thread: the counterpart of
 * the C client's flight for servers that are not lockmgr.
 *
 * Invariants
 *   R1  A place has one call at a time; each one ends once in bench_rpc_next.
 *   R2  Place p uses the (p modulo n)-th connection.
 */
#ifndef LM_BENCH_RPC_H
#define LM_BENCH_RPC_H

#include <stdbool.h>

#include "base_bytes.h"

typedef struct bench_rpc bench_rpc_t;

typedef struct {
    size_t place;
    int status;          /* of gRPC; 0 is success */
    lm_bytes_t response; /* valid until the next call of bench_rpc_next; empty unless status is 0 */
    char text[256];      /* why it failed */
} bench_rpc_end_t;

/** list: connections, comma-separated. */
bench_rpc_t *bench_rpc_open(const char *list, size_t places);
/** Cancels what is under way. */
void bench_rpc_close(bench_rpc_t *rpc);

/** Sends a request by a call of its own; a stream of the place is given up. path lives as long as
 *  the calls. */
void bench_rpc_call(bench_rpc_t *rpc, size_t place, const char *path, lm_bytes_t request);
/** Sends a request on the place's stream, which is opened if there is none, and awaits one answer.
 *  A place has one stream at a time. */
void bench_rpc_stream(bench_rpc_t *rpc, size_t place, const char *path, lm_bytes_t request);

/** Fetches the next end; false if there was none for wait_us. */
bool bench_rpc_next(bench_rpc_t *rpc, uint64_t wait_us, bench_rpc_end_t *end);

#endif
