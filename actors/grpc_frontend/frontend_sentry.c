#include "frontend_sentry.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/tcp.h>
#include <malloc.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "act_host.h"
#include "base_arena.h"
#include "base_check.h"
#include "base_log.h"
#include "base_voice.h"
#include "frontend_limits.h"

enum {
    BUSY_EVERY_US = 100000, /* between looks at the processor */
    /* Of memory that is free, but not given back. That takes the processor, which others want
     * during an attack; but one of minutes leaves holes everywhere. */
    TRIM_US = 5000000,
    TRIM_BYTES = 64 * 1024 * 1024,
    TRIM_ATTACKED_US = 1000000,
    TRIM_ATTACKED_BYTES = 128 * 1024 * 1024,
    DISCARD_BYTES = 1024 * 1024, /* at once, so many times */
    DISCARDS_MAX = 64
};

/** An end of a connection, in this process. */
typedef struct {
    struct in6_addr address; /* of the one that connected */
    uint16_t port, to_port;
    bool incoming; /* it was accepted here */
    bool ages;     /* on the gRPC port */
} end_t;

struct lm_frontend_sentry {
    uint16_t ports[LM_PORTS]; /* 0: there is none */
    DIR *descriptors;         /* opened once: when it is needed most there may be none left */
    int memory;               /* statm of this process, opened once as well; -1: none */
    int ending;
    pthread_t thread;
    lm_voice_t *voice;
    bool alone;
    const _Atomic uint32_t *calls;

    /* Of the thread alone. */
    uint64_t next_us;              /* when the guard wants to be asked */
    uint64_t busy_us, busy_cpu_us; /* the last look at the processor */
    uint64_t trim_us;
    char last[LM_GUARD_REASONS][INET6_ADDRSTRLEN]; /* address that was ended for it */
    lm_guard_seen_t *seen;
    uint64_t *own; /* keys of connections that this process has made to one of the ports */
    size_t n_seen, n_seen_max, n_own, n_own_max;

    pthread_mutex_t lock; /* guards what follows */
    lm_frontend_guard_t *guard;
};

/* ---- addresses ------------------------------------------------------------------------------- */

/* Of an address, the port there, and the port of ours: one may call several of them from one. */
static uint64_t hash_of(const struct in6_addr *address, uint16_t from, uint16_t to)
{
    const uint16_t ports[] = {from, to};
    uint64_t hash = lm_bytes_hash(lm_bytes(address->s6_addr, 16), LM_HASH_START);
    hash = lm_bytes_hash(lm_bytes((const uint8_t *)ports, sizeof ports), hash);
    return hash ? hash : 1;
}

static void as_v6(const struct in_addr *from, struct in6_addr *to)
{
    memset(to, 0, sizeof *to);
    to->s6_addr[10] = to->s6_addr[11] = 0xff;
    memcpy(to->s6_addr + 12, from, 4);
}

static bool read_address(const struct sockaddr_storage *from, struct in6_addr *address,
                         uint16_t *port)
{
    if (from->ss_family == AF_INET) {
        const struct sockaddr_in *four = (const void *)from;
        as_v6(&four->sin_addr, address);
        *port = ntohs(four->sin_port);
    } else if (from->ss_family == AF_INET6) {
        const struct sockaddr_in6 *six = (const void *)from;
        *address = six->sin6_addr;
        *port = ntohs(six->sin6_port);
    } else {
        return false;
    }
    return true;
}

uint64_t lm_frontend_sentry_key(const char *peer, uint16_t port)
{
    char host[80];
    struct in6_addr address;
    struct in_addr four;
    const char *begin = strchr(peer, ':'), *colon = strrchr(peer, ':');
    if (!begin || begin == colon) return 0;
    begin++;
    size_t size = (size_t)(colon - begin);
    bool six = size > 6 && strncmp(begin, "%5B", 3) == 0;
    if (six) begin += 3, size -= 6;
    if (size >= sizeof host) return 0;
    memcpy(host, begin, size);
    host[size] = 0;
    if (six) host[strcspn(host, "%")] = 0; /* a zone */
    if (!six && inet_pton(AF_INET, host, &four) == 1)
        as_v6(&four, &address);
    else if (inet_pton(AF_INET6, host, &address) != 1)
        return 0;
    return hash_of(&address, (uint16_t)strtoul(colon + 1, NULL, 10), port);
}

static bool is_ours(const lm_frontend_sentry_t *sentry, uint16_t port)
{
    for (int i = 0; i < LM_PORTS; i++)
        if (port != 0 && port == sentry->ports[i]) return true;
    return false;
}

/* Whether it is a connection to one of the ports, of this node or of another one. */
static bool read_end(const lm_frontend_sentry_t *sentry, int fd, end_t *end)
{
    struct sockaddr_storage here, there;
    struct in6_addr here_address, there_address;
    uint16_t here_port, there_port;
    socklen_t size = sizeof here;
    if (getsockname(fd, (struct sockaddr *)&here, &size) < 0) return false;
    if (!read_address(&here, &here_address, &here_port)) return false;
    size = sizeof there;
    if (getpeername(fd, (struct sockaddr *)&there, &size) < 0) return false;
    if (!read_address(&there, &there_address, &there_port)) return false;
    end->incoming = is_ours(sentry, here_port);
    end->ages = here_port == sentry->ports[LM_PORT_GRPC];
    if (!end->incoming && !is_ours(sentry, there_port)) return false;
    end->address = end->incoming ? there_address : here_address;
    end->port = end->incoming ? there_port : here_port;
    end->to_port = end->incoming ? here_port : there_port;
    return true;
}

/* ---- looking --------------------------------------------------------------------------------- */

/* What gRPC has read of it so far. */
static uint64_t bytes_read(int fd)
{
    struct tcp_info info;
    socklen_t size = sizeof info;
    int unread = 0;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0) return LM_GUARD_BYTES_UNKNOWN;
    if (size < offsetof(struct tcp_info, tcpi_bytes_received) + sizeof info.tcpi_bytes_received)
        return LM_GUARD_BYTES_UNKNOWN;
    uint64_t bytes = info.tcpi_bytes_received;
    if (ioctl(fd, FIONREAD, &unread) == 0 && unread > 0 && (uint64_t)unread <= bytes)
        bytes -= (uint64_t)unread;
    return bytes;
}

static uint64_t socket_number(int fd)
{
    uint64_t number = 0;
    socklen_t size = sizeof number;
    return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &number, &size) == 0 ? number : 0;
}

/* Room for one more. */
static void *grown(void *rows, size_t n, size_t *n_max, size_t size)
{
    if (n < *n_max) return rows;
    *n_max = *n_max ? 2 * *n_max : 64;
    void *more = realloc(rows, *n_max * size);
    LM_CHECK(more, "no memory for %zu connections", *n_max);
    return more;
}

static void note(lm_frontend_sentry_t *sentry, int fd, const end_t *end)
{
    uint64_t key = hash_of(&end->address, end->port, end->to_port);
    if (end->incoming) {
        sentry->seen =
            grown(sentry->seen, sentry->n_seen, &sentry->n_seen_max, sizeof *sentry->seen);
        sentry->seen[sentry->n_seen++] = (lm_guard_seen_t){.key = key,
                                                           .host = hash_of(&end->address, 0, 0),
                                                           .bytes = bytes_read(fd),
                                                           .socket = socket_number(fd),
                                                           .fd = fd,
                                                           .ages = end->ages};
    } else {
        sentry->own = grown(sentry->own, sentry->n_own, &sentry->n_own_max, sizeof *sentry->own);
        sentry->own[sentry->n_own++] = key;
    }
}

static void look_around(lm_frontend_sentry_t *sentry)
{
    struct dirent *entry;
    end_t end;
    sentry->n_seen = sentry->n_own = 0;
    rewinddir(sentry->descriptors);
    while ((entry = readdir(sentry->descriptors)) != NULL) {
        if (entry->d_name[0] == '.') continue;
        int fd = (int)strtol(entry->d_name, NULL, 10);
        if (read_end(sentry, fd, &end)) note(sentry, fd, &end);
    }
    for (size_t i = 0; i < sentry->n_own; i++)
        for (size_t k = 0; k < sentry->n_seen; k++)
            if (sentry->seen[k].key == sentry->own[i]) sentry->seen[k].own = true;
}

static uint64_t cpu_us(void)
{
    struct timespec used;
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used) < 0) return 0;
    return (uint64_t)used.tv_sec * 1000000 + (uint64_t)used.tv_nsec / 1000;
}

static uint64_t resident_bytes(const lm_frontend_sentry_t *sentry)
{
    char text[64] = {0};
    uint64_t size, resident = 0;
    if (sentry->memory < 0 || pread(sentry->memory, text, sizeof text - 1, 0) <= 0) return 0;
    if (sscanf(text, "%" SCNu64 " %" SCNu64, &size, &resident) != 2) return 0;
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* What a flood has left behind is resident, but free for others: where there is much, malloc knows
 * how much of it is in use. */
static uint64_t used_bytes(const lm_frontend_sentry_t *sentry)
{
    uint64_t resident = resident_bytes(sentry);
    if (resident < LM_MEMORY_BYTES) return resident;
    struct mallinfo2 info = mallinfo2();
    uint64_t used = info.uordblks + info.hblkhd;
    return used ? used : resident; /* another malloc */
}

static lm_guard_facts_t read_facts(const lm_frontend_sentry_t *sentry)
{
    lm_guard_facts_t facts = {.cpu_us = cpu_us(),
                              .alone = sentry->alone,
                              .used_bytes = used_bytes(sentry),
                              .calls = sentry->calls ? atomic_load(sentry->calls) : 0};
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return facts;
    facts.descriptors_max = (size_t)limit.rlim_cur;
    int lowest = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
    facts.descriptors = lowest < 0 ? facts.descriptors_max : (size_t)lowest;
    if (lowest >= 0) close(lowest);
    return facts;
}

/* ---- doing what the guard says --------------------------------------------------------------- */

/* What has come and was not read yet would still be: megabytes of a flood. The kernel throws it
 * away without a copy. */
static void discard_unread(int fd)
{
    for (int i = 0; i < DISCARDS_MAX; i++)
        if (recv(fd, NULL, DISCARD_BYTES, MSG_TRUNC | MSG_DONTWAIT) <= 0) return;
}

/* Its descriptor may be somebody else's by now. */
static void end_connection(lm_frontend_sentry_t *sentry, const lm_guard_verdict_t *verdict)
{
    end_t end;
    if (!read_end(sentry, verdict->fd, &end) || !end.incoming) return;
    if (socket_number(verdict->fd) != verdict->socket) return;
    if (!verdict->socket && hash_of(&end.address, end.port, end.to_port) != verdict->key) return;
    shutdown(verdict->fd, SHUT_RDWR);
    if (verdict->reason == LM_GUARD_WASTEFUL) discard_unread(verdict->fd);
    inet_ntop(AF_INET6, &end.address, sentry->last[verdict->reason], INET6_ADDRSTRLEN);
}

static void say(lm_frontend_sentry_t *sentry, uint64_t now_us)
{
    static const char *const why[LM_GUARD_REASONS] = {
        [LM_GUARD_WASTEFUL] =
            "too much of what they send leads to nothing, or they open too many streams",
        [LM_GUARD_CROWDED] = "descriptors become few",
        [LM_GUARD_ADDRESS] = "their address has more than limits.connections_per_address_max",
        [LM_GUARD_AGED] = "their calls go on beyond grpc.max_connection_age_ms and its grace",
    };
    for (lm_guard_reason_t reason = 0; reason < LM_GUARD_REASONS; reason++) {
        pthread_mutex_lock(&sentry->lock);
        uint64_t n = lm_frontend_guard_unsaid(sentry->guard, now_us, reason);
        pthread_mutex_unlock(&sentry->lock);
        if (n)
            lm_log(reason == LM_GUARD_AGED ? LM_LOG_DEBUG : LM_LOG_WARN,
                   "connections are ended, %" PRIu64 " of them, the last from %s: %s", n,
                   sentry->last[reason], why[reason]);
    }
}

static void look(lm_frontend_sentry_t *sentry, const lm_guard_facts_t *facts)
{
    const lm_guard_verdict_t *verdicts;
    look_around(sentry);
    pthread_mutex_lock(&sentry->lock);
    size_t n = lm_frontend_guard_look(sentry->guard, lm_clock_us(), facts, sentry->seen,
                                      sentry->n_seen, &verdicts);
    pthread_mutex_unlock(&sentry->lock);
    /* They stay as they are until the next look, which is this thread's. */
    for (size_t i = 0; i < n; i++) end_connection(sentry, &verdicts[i]);
}

/* A flood leaves much memory behind that is free in here and nowhere else. Others wait for memory
 * while it is given back, so that is done when there is calm, or when there is very much of it. */
static void give_back_memory(lm_frontend_sentry_t *sentry, bool attacked, uint64_t now_us)
{
    if (now_us < sentry->trim_us) return;
    struct mallinfo2 info = mallinfo2();
    if (info.fordblks > (attacked ? TRIM_ATTACKED_BYTES : TRIM_BYTES)) malloc_trim(0);
    sentry->trim_us = now_us + (attacked ? TRIM_ATTACKED_US : TRIM_US);
}

/* ---- the thread ------------------------------------------------------------------------------ */

static int ms_until(uint64_t at_us)
{
    uint64_t now_us = lm_clock_us();
    return at_us > now_us ? (int)((at_us - now_us + 999) / 1000) : 0;
}

/* A flood that starts is known by the processor it takes. No connection is waited for: gRPC may
 * have taken it before this thread is awake, and then there is nothing left to see of it. */
static bool is_busy(lm_frontend_sentry_t *sentry, uint64_t now_us)
{
    uint64_t used_us = cpu_us();
    bool busy = lm_frontend_guard_is_busy(used_us - sentry->busy_cpu_us, now_us - sentry->busy_us);
    sentry->busy_us = now_us;
    sentry->busy_cpu_us = used_us;
    return busy;
}

/* Sleeps until there may be something to do. False: the thread is to end. */
static bool doze(lm_frontend_sentry_t *sentry)
{
    struct pollfd ending = {.fd = sentry->ending, .events = POLLIN};
    uint64_t busy_us = sentry->busy_us + BUSY_EVERY_US;
    return poll(&ending, 1, ms_until(busy_us < sentry->next_us ? busy_us : sentry->next_us)) <= 0;
}

/* Asks the guard whether to look, and does. True: there is an attack. */
static bool ask(lm_frontend_sentry_t *sentry, uint64_t now_us, bool busy)
{
    lm_guard_facts_t facts = read_facts(sentry);
    pthread_mutex_lock(&sentry->lock);
    if (busy) lm_frontend_guard_stir(sentry->guard, now_us);
    bool due = lm_frontend_guard_is_due(sentry->guard, now_us, &facts);
    pthread_mutex_unlock(&sentry->lock);
    if (due) look(sentry, &facts);
    pthread_mutex_lock(&sentry->lock);
    bool attacked = lm_frontend_guard_is_attacked(sentry->guard, now_us);
    sentry->next_us = lm_frontend_guard_next_us(sentry->guard, now_us, &facts);
    pthread_mutex_unlock(&sentry->lock);
    return attacked;
}

static void *run(void *arg)
{
    lm_frontend_sentry_t *sentry = arg;
    lm_voice_take(sentry->voice);
    while (doze(sentry)) {
        uint64_t now_us = lm_clock_us();
        bool busy = now_us >= sentry->busy_us + BUSY_EVERY_US && is_busy(sentry, now_us);
        if (!busy && now_us < sentry->next_us) continue;
        bool attacked = ask(sentry, now_us, busy);
        say(sentry, now_us);
        give_back_memory(sentry, attacked, now_us);
    }
    return NULL;
}

/* ---- from other threads ---------------------------------------------------------------------- */

void lm_frontend_sentry_credit(lm_frontend_sentry_t *sentry, uint64_t key, int64_t bytes)
{
    if (!sentry || key == 0) return;
    pthread_mutex_lock(&sentry->lock);
    lm_frontend_guard_credit(sentry->guard, key, bytes);
    pthread_mutex_unlock(&sentry->lock);
}

void lm_frontend_sentry_vouch(lm_frontend_sentry_t *sentry, uint64_t key)
{
    if (!sentry || key == 0) return;
    pthread_mutex_lock(&sentry->lock);
    lm_frontend_guard_vouch(sentry->guard, key);
    pthread_mutex_unlock(&sentry->lock);
}

void lm_frontend_sentry_count(lm_frontend_sentry_t *sentry, uint64_t key, int more, bool wait)
{
    if (!sentry || key == 0) return;
    pthread_mutex_lock(&sentry->lock);
    lm_frontend_guard_count(sentry->guard, key, more, wait);
    pthread_mutex_unlock(&sentry->lock);
}

lm_guard_figures_t lm_frontend_sentry_figures(lm_frontend_sentry_t *sentry)
{
    if (!sentry) return (lm_guard_figures_t){0};
    pthread_mutex_lock(&sentry->lock);
    lm_guard_figures_t figures = lm_frontend_guard_figures(sentry->guard);
    pthread_mutex_unlock(&sentry->lock);
    return figures;
}

/* ---- life ------------------------------------------------------------------------------------ */

lm_frontend_sentry_t *lm_frontend_sentry_new(const lm_frontend_listen_t *how, bool alone,
                                             const _Atomic uint32_t *calls)
{
    DIR *descriptors = opendir("/proc/self/fd");
    if (!descriptors) {
        lm_warn("/proc/self/fd cannot be read: harmful connections are not ended");
        return NULL;
    }
    lm_frontend_sentry_t *sentry = lm_alloc(sizeof *sentry);
    sentry->descriptors = descriptors;
    sentry->alone = alone;
    sentry->calls = calls;
    sentry->ports[LM_PORT_GRPC] = (uint16_t)how->grpc_port;
    sentry->ports[LM_PORT_REGION] = (uint16_t)how->region_port;
    sentry->ports[LM_PORT_RAFT] = (uint16_t)how->raft_port;
    sentry->memory = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    sentry->voice = lm_voice_mine();
    lm_guard_rules_t rules = {.per_address_max = how->connections_per_address_max,
                              .calls_max = LM_STREAMS_SLACK * how->streams_max,
                              .age_us = (uint64_t)how->connection_age_ms * 1000,
                              .grace_us = (uint64_t)how->connection_grace_ms * 1000};
    sentry->guard = lm_frontend_guard_new(lm_clock_us(), &rules);
    pthread_mutex_init(&sentry->lock, NULL);
    sentry->ending = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    LM_CHECK(sentry->ending >= 0, "no descriptor for the sentry: %s", strerror(errno));
    int error = pthread_create(&sentry->thread, NULL, run, sentry);
    LM_CHECK(error == 0, "no thread for the sentry: %s", strerror(error));
    pthread_setname_np(sentry->thread, "sentry");
    return sentry;
}

void lm_frontend_sentry_destroy(lm_frontend_sentry_t **self)
{
    const uint64_t one = 1;
    lm_frontend_sentry_t *sentry = *self;
    if (!sentry) return;
    *self = NULL;
    LM_CHECK(write(sentry->ending, &one, sizeof one) == sizeof one, "the sentry cannot be told");
    pthread_join(sentry->thread, NULL);
    lm_frontend_guard_destroy(&sentry->guard);
    close(sentry->ending);
    closedir(sentry->descriptors);
    if (sentry->memory >= 0) close(sentry->memory);
    pthread_mutex_destroy(&sentry->lock);
    free(sentry->seen);
    free(sentry->own);
    free(sentry);
}
