#include "sup_notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base_log.h"

/** False if the manager has to read first. What it refuses for another reason is not said again. */
static bool say(const lm_sup_notify_t *notify, const char *words)
{
    if (notify->fd < 0) return true;
    ssize_t size = sendto(notify->fd, words, strlen(words), MSG_DONTWAIT | MSG_NOSIGNAL,
                          (const struct sockaddr *)&notify->to, notify->to_size);
    return size >= 0 || (errno != EAGAIN && errno != ENOBUFS);
}

/** A path, or '@' and a name in the abstract namespace, whose first byte is NUL. */
static bool read_address(lm_sup_notify_t *notify, const char *address)
{
    size_t size = strlen(address);
    bool abstract = *address == '@';
    if ((!abstract && *address != '/') || size >= sizeof notify->to.sun_path) return false;
    notify->to = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(notify->to.sun_path, address, size);
    if (abstract) notify->to.sun_path[0] = '\0';
    notify->to_size =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size + (abstract ? 0 : 1));
    return true;
}

/** Half of the manager's limit; 0 if it has none, or has one for another process. */
static uint64_t read_beat(void)
{
    const char *limit = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    if (!limit || (pid && strtoll(pid, NULL, 10) != getpid())) return 0;
    return strtoull(limit, NULL, 10) / 2;
}

void lm_sup_notify_open(lm_sup_notify_t *notify)
{
    *notify = (lm_sup_notify_t){.fd = -1};
    const char *address = getenv("NOTIFY_SOCKET");
    if (address && *address) {
        if (read_address(notify, address))
            notify->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        else
            errno = EINVAL;
        if (notify->fd < 0) lm_warn("NOTIFY_SOCKET %s is not used: %s", address, strerror(errno));
        notify->beat_every_us = read_beat();
    }
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

void lm_sup_notify_close(lm_sup_notify_t *notify)
{
    if (notify->fd >= 0) close(notify->fd);
    notify->fd = -1;
}

static void tell_mode(lm_sup_notify_t *notify)
{
    static const char *const words[] = {
        [LM_NODE_STARTING] = "STATUS=not all actors are ready",
        [LM_NODE_SERVING] = "STATUS=all actors are ready",
        [LM_NODE_DRAINING] = "STOPPING=1\nSTATUS=handing over and stopping",
    };
    bool first = notify->mode == LM_NODE_SERVING && !notify->said_ready;
    if (notify->told) return;
    notify->told =
        say(notify, first ? "READY=1\nSTATUS=all actors are ready" : words[notify->mode]);
    notify->said_ready |= first && notify->told;
}

void lm_sup_notify_mode(lm_sup_notify_t *notify, lm_node_mode_t mode)
{
    if (notify->mode != mode) notify->told = false;
    notify->mode = mode;
    tell_mode(notify);
}

void lm_sup_notify_beat(lm_sup_notify_t *notify, uint64_t now_us)
{
    tell_mode(notify);
    if (notify->beat_every_us == 0 || now_us < notify->beat_at_us) return;
    notify->beat_at_us = now_us + notify->beat_every_us;
    say(notify, "WATCHDOG=1");
}
