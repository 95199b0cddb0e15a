/* Looks at the connections of the ports from outside, since gRPC tells nothing of them, and
 * ends those of which the guard (frontend_guard.h) says so. A thread of its own, so that it goes on
 * when gRPC has too much to do.
 *
 * It sleeps until the guard wants to be asked, but looks ten times a second whether this process
 * uses the processor: a flood does, from its first millisecond on, and takes half a gigabyte of
 * memory a second.
 *
 * Invariants
 *   FE1  Connections are only shut down; it is gRPC that closes them, so no descriptor is closed
 *        under somebody.
 *   FE2  Nobody waits for a look: the lock is not held while sockets are looked at.
 */
#ifndef LM_FRONTEND_SENTRY_H
#define LM_FRONTEND_SENTRY_H

#include <stdbool.h>
#include <stdint.h>

#include "frontend_driver.h"
#include "frontend_guard.h"

typedef struct lm_frontend_sentry lm_frontend_sentry_t;

/** Starts the thread; the ports are listened on already. how: which, and what one address and one
 *  connection may have. calls: how many calls are open, for what they explain of memory; NULL:
 *  none. alone: as in lm_guard_facts_t. NULL if this process cannot see its descriptors. */
lm_frontend_sentry_t *lm_frontend_sentry_new(const lm_frontend_listen_t *how, bool alone,
                                             const _Atomic uint32_t *calls);
void lm_frontend_sentry_destroy(lm_frontend_sentry_t **sentry);

/** The number by which a connection to one of the ports is known: from the other side's address as
 *  gRPC writes it ("ipv4:1.2.3.4:5", "ipv6:%5B::1%5D:5") and that port. 0: not of the internet. */
uint64_t lm_frontend_sentry_key(const char *peer, uint16_t port);
/** As lm_frontend_guard_credit. From any thread; nothing happens without a sentry or a key. */
void lm_frontend_sentry_credit(lm_frontend_sentry_t *sentry, uint64_t key, int64_t bytes);
/** As lm_frontend_guard_vouch. As lm_frontend_sentry_credit. */
void lm_frontend_sentry_vouch(lm_frontend_sentry_t *sentry, uint64_t key);
/** A call begins, or ends, on that connection. As lm_frontend_sentry_credit. */
void lm_frontend_sentry_count(lm_frontend_sentry_t *sentry, uint64_t key, int more, bool wait);
lm_guard_figures_t lm_frontend_sentry_figures(lm_frontend_sentry_t *sentry);

#endif
