/* Tells the service manager that started lockmgrd how the node stands: the datagrams of systemd's
 * notification protocol, without its library.
 *
 * Invariants
 *   Y1  Without NOTIFY_SOCKET in the environment nothing is said.
 *   Y2  READY=1 is said once, when all actors have become ready for the first time: not when the
 *       region is formed, which may need other machines that are started after this one.
 *   Y3  Nothing waits. What a manager that reads slowly could not take is said again with the next
 *       beat, but for the sign of life itself.
 *   Y4  Children do not learn where the manager listens; only the supervisor speaks for the node.
 */
#ifndef LM_SUP_NOTIFY_H
#define LM_SUP_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "core_restart.h"

typedef struct {
    int fd; /* -1: nobody listens */
    struct sockaddr_un to;
    socklen_t to_size;
    lm_node_mode_t mode;
    bool told; /* the manager has taken the mode */
    bool said_ready;
    uint64_t beat_every_us; /* 0: the manager wants no signs of life */
    uint64_t beat_at_us;    /* CLOCK_MONOTONIC; when the next one is due */
} lm_sup_notify_t;

/** Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID and removes them from the environment. To be
 *  called before there are threads. An address that cannot be used is logged and counts as none. */
void lm_sup_notify_open(lm_sup_notify_t *notify);
void lm_sup_notify_close(lm_sup_notify_t *notify);

/** Says in which mode the node is, unless the manager knows. */
void lm_sup_notify_mode(lm_sup_notify_t *notify, lm_node_mode_t mode);

/** A sign of life of the supervisor's loop, passed on twice in the time limit that the manager has
 *  set. To be called by that loop and nobody else, many times in that limit. */
void lm_sup_notify_beat(lm_sup_notify_t *notify, uint64_t now_us);

#endif
