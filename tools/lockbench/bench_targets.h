/* Whom lockbench can drive, and the echo server that it is itself. */
#ifndef LM_BENCH_TARGETS_H
#define LM_BENCH_TARGETS_H

#include "bench_load.h"

/** Through the flight of the C client. */
extern const bench_target_t bench_lockmgr;
/** The lock and lease services of etcd's v3 API, on raw grpc core. */
extern const bench_target_t bench_etcd;
/** A server that gives back what it gets: what the gRPC library alone can do on this machine. */
extern const bench_target_t bench_echo;

#define BENCH_ECHO_PATH "/lockbench.Echo/Call"

/** Serves echo calls at an address until *stop; returns an exit class. */
int bench_echo_serve(const char *address, const volatile int *stop);

#endif
