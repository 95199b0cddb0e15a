#include "frontend_guard.h"

#include <stdlib.h>
#include <uthash.h>

#include "base_arena.h"
#include "base_check.h"
#include "frontend_limits.h"

enum {
    REST_US = 1000000,    /* between looks while nothing odd goes on */
    LIVELY_US = 100000,   /* ... while something does */
    TICK_US = 20000,      /* ... in an attack, and between looks at few descriptors */
    OPEN_PER_TICK = 200,  /* so many connections put the next look off by a tick */
    NEW_US = 1000000,     /* so long somebody is new */
    BURST_PER_MS = 20,    /* connections, when they come as fast as they can */
    GONE_ROUNDS = 3,      /* a credit may come after its connection has gone */
    GOING_US = 1000000,   /* who was told to go has gone by then */
    STRIKES_MAX = 3,      /* connections of one address that were ended, before others of it ... */
    STRIKE_US = 60000000, /* ... within that time have less credit */
    STRIKERS_MAX = 1024,
    ATTACK_US = 10000000, /* so long after the last one it is an attack */
    MEMORY_US = 200000,   /* what ends for memory needs some time to give it back */
    SAY_US = 1000000,
    LIVELY_BYTES_PER_SECOND = 64 * 1024, /* of all connections, without use */
    BUSY_PERCENT = 25,
    SECOND_US = 1000000,
};

typedef struct {
    uint64_t key;
    uint64_t useful, useful_seen; /* wraps; only differences count */
    uint64_t bytes_seen;
    uint64_t socket;
    uint64_t came;     /* bytes since the look before */
    int64_t calls;     /* open; below 0: their beginning was forgotten */
    int64_t waits;     /* those of them that may wait for a lock */
    int64_t greed;     /* the same as level, but falls slowly */
    int64_t level;     /* of bytes that led to nothing; falls with time */
    uint64_t host;     /* address without port */
    uint64_t round;    /* in which it was seen last */
    uint64_t since;    /* how many have been seen before it */
    uint64_t ended_us; /* when it was told to go; 0: never */
    uint64_t first_us; /* when it was seen first */
    int fd;
    bool by_node, called, own, ages;
    UT_hash_handle hh;
} connection_t;

/** An address whose connections were ended. */
typedef struct {
    uint64_t host;
    unsigned n;
    uint64_t until_us;
    UT_hash_handle hh;
} striker_t;

struct lm_frontend_guard {
    connection_t *connections;
    striker_t *strikers;
    lm_guard_figures_t figures;
    lm_guard_rules_t rules;
    uint64_t round, n_seen;
    uint64_t looked_us, next_look_us;
    uint64_t attacked_until_us, new_until_us, memory_after_us;
    uint64_t cpu_us;         /* at the last look */
    int64_t wasted;          /* bytes, in this look */
    bool heavy;              /* there is more memory than calls explain */
    connection_t **present;  /* those of this look that may be told to go */
    size_t n_present, n_max; /* n_max: of present and verdicts */
    size_t n_going;          /* those of this look that were told before it */
    lm_guard_verdict_t *verdicts;
    size_t n_verdicts;
    uint64_t unsaid[LM_GUARD_REASONS], said_us[LM_GUARD_REASONS];
};

/* ---- what others say of a connection --------------------------------------------------------- */

static connection_t *find(lm_frontend_guard_t *guard, uint64_t key)
{
    connection_t *connection;
    HASH_FIND(hh, guard->connections, &key, sizeof key, connection);
    if (connection) return connection;
    connection = lm_alloc(sizeof *connection);
    *connection =
        (connection_t){.key = key, .round = guard->round, .since = ++guard->n_seen, .fd = -1};
    HASH_ADD(hh, guard->connections, key, sizeof connection->key, connection);
    return connection;
}

void lm_frontend_guard_credit(lm_frontend_guard_t *guard, uint64_t key, int64_t bytes)
{
    LM_CHECK(key != 0, "a credit for nobody");
    connection_t *connection = find(guard, key);
    connection->useful += (uint64_t)bytes;
    connection->called = true;
}

void lm_frontend_guard_vouch(lm_frontend_guard_t *guard, uint64_t key)
{
    find(guard, key)->by_node = true;
}

void lm_frontend_guard_count(lm_frontend_guard_t *guard, uint64_t key, int more, bool wait)
{
    connection_t *connection = find(guard, key);
    connection->calls += more;
    if (wait) connection->waits += more;
}

/* ---- verdicts -------------------------------------------------------------------------------- */

static bool is_going(const connection_t *connection, uint64_t now_us)
{
    return connection->ended_us && now_us < connection->ended_us + GOING_US;
}

static void end(lm_frontend_guard_t *guard, connection_t *connection, uint64_t now_us,
                lm_guard_reason_t reason)
{
    LM_CHECK(guard->n_verdicts < guard->n_max, "more verdicts than connections");
    if (is_going(connection, now_us)) return;
    connection->ended_us = now_us;
    guard->verdicts[guard->n_verdicts++] = (lm_guard_verdict_t){.key = connection->key,
                                                                .socket = connection->socket,
                                                                .fd = connection->fd,
                                                                .reason = reason};
    guard->figures.ended[reason]++;
    guard->unsaid[reason]++;
}

static void forget_old_strikers(lm_frontend_guard_t *guard, uint64_t now_us)
{
    striker_t *striker, *next;
    HASH_ITER(hh, guard->strikers, striker, next)
    {
        if (now_us < striker->until_us && HASH_COUNT(guard->strikers) < STRIKERS_MAX) continue;
        HASH_DEL(guard->strikers, striker);
        free(striker);
    }
}

static void end_for_waste(lm_frontend_guard_t *guard, connection_t *connection, uint64_t now_us)
{
    striker_t *striker;
    connection->level = connection->greed = 0;
    end(guard, connection, now_us, LM_GUARD_WASTEFUL);
    forget_old_strikers(guard, now_us);
    HASH_FIND(hh, guard->strikers, &connection->host, sizeof connection->host, striker);
    if (!striker) {
        striker = lm_alloc(sizeof *striker);
        *striker = (striker_t){.host = connection->host};
        HASH_ADD(hh, guard->strikers, host, sizeof striker->host, striker);
    }
    striker->n++;
    striker->until_us = now_us + STRIKE_US;
    guard->attacked_until_us = now_us + ATTACK_US;
}

/* ---- waste ----------------------------------------------------------------------------------- */

static int64_t burst_of(const lm_frontend_guard_t *guard, const connection_t *connection,
                        uint64_t now_us)
{
    if (connection->by_node) return LM_WASTE_NODE_BYTES;
    striker_t *striker;
    HASH_FIND(hh, guard->strikers, &connection->host, sizeof connection->host, striker);
    bool known = striker && striker->n >= STRIKES_MAX && now_us < striker->until_us;
    return known ? LM_WASTE_AGAIN_BYTES : LM_WASTE_BYTES;
}

static void leak(int64_t *level, int64_t more, uint64_t less)
{
    *level += more - (int64_t)less;
    if (*level < 0) *level = 0;
}

static void weigh(lm_frontend_guard_t *guard, connection_t *connection, uint64_t bytes,
                  uint64_t now_us)
{
    uint64_t passed_us = now_us - guard->looked_us;
    if (bytes == LM_GUARD_BYTES_UNKNOWN) return;
    int64_t waste = -(int64_t)(connection->useful - connection->useful_seen);
    connection->came = bytes > connection->bytes_seen ? bytes - connection->bytes_seen : 0;
    waste += (int64_t)connection->came;
    connection->bytes_seen = bytes;
    connection->useful_seen = connection->useful;
    if (waste > 0) guard->wasted += waste;
    leak(&connection->level, waste, passed_us * LM_WASTE_BYTES_PER_SECOND / SECOND_US);
    leak(&connection->greed, waste, passed_us * LM_GREED_BYTES_PER_SECOND / SECOND_US);
    bool floods = guard->rules.calls_max && connection->calls > guard->rules.calls_max;
    if (floods || connection->level > burst_of(guard, connection, now_us))
        end_for_waste(guard, connection, now_us);
}

/* ---- too many -------------------------------------------------------------------------------- */

static int worth_of(const connection_t *connection)
{
    if (connection->own) return 3;
    return connection->by_node ? 2 : connection->called;
}

/* Those that go first come first. */
static int by_worth(const void *left, const void *right)
{
    const connection_t *a = *(connection_t *const *)left, *b = *(connection_t *const *)right;
    if (worth_of(a) != worth_of(b)) return worth_of(a) < worth_of(b) ? -1 : 1;
    return a->since < b->since ? 1 : -1;
}

/* How many descriptors there are beyond the reserve that is kept; 0: none, then *left says how many
 * more there may be. */
static size_t too_many(const lm_guard_facts_t *facts, size_t *left)
{
    size_t most = facts->descriptors_max, reserve = most / 8;
    if (reserve > LM_DESCRIPTORS_SPARE) reserve = LM_DESCRIPTORS_SPARE;
    *left = most;
    if (most == 0) return 0;
    size_t used = facts->descriptors + reserve;
    *left = used < most ? most - used : 0;
    return used > most ? used - most : 0;
}

static void make_room(lm_frontend_guard_t *guard, uint64_t now_us, size_t n)
{
    qsort(guard->present, guard->n_present, sizeof *guard->present, by_worth);
    for (size_t i = 0; i < guard->n_present && guard->n_verdicts < n; i++)
        if (!guard->present[i]->own) end(guard, guard->present[i], now_us, LM_GUARD_CROWDED);
}

static int by_host(const void *left, const void *right)
{
    const connection_t *a = *(connection_t *const *)left, *b = *(connection_t *const *)right;
    if (a->host != b->host) return a->host < b->host ? -1 : 1;
    return by_worth(left, right);
}

/* What an address has beyond its limit goes. Those that were told so before are not among the
 * present any more. */
static void limit_addresses(lm_frontend_guard_t *guard, uint64_t now_us)
{
    size_t most = guard->rules.per_address_max, first = 0;
    if (most == 0 || guard->n_present <= most) return;
    qsort(guard->present, guard->n_present, sizeof *guard->present, by_host);
    for (size_t i = 1; i <= guard->n_present; i++) {
        connection_t **of_host = &guard->present[first];
        if (i < guard->n_present && guard->present[i]->host == of_host[0]->host) continue;
        for (size_t k = 0; k + most < i - first; k++)
            if (!of_host[k]->own) end(guard, of_host[k], now_us, LM_GUARD_ADDRESS);
        first = i;
    }
}

/* ---- age ------------------------------------------------------------------------------------- */

/* They came at once when a node came up, and shall not all go at once. */
static uint64_t life_us(const lm_frontend_guard_t *guard, const connection_t *connection)
{
    uint64_t spread_us = guard->rules.age_us / 10;
    return guard->rules.age_us + spread_us + guard->rules.grace_us +
           connection->key % (spread_us + 1);
}

static void end_aged(lm_frontend_guard_t *guard, uint64_t now_us)
{
    if (guard->rules.age_us == 0) return;
    for (size_t i = 0; i < guard->n_present; i++) {
        connection_t *connection = guard->present[i];
        if (!connection->ages || connection->own || connection->by_node) continue;
        if (connection->waits > 0) continue;
        if (now_us - connection->first_us > life_us(guard, connection))
            end(guard, connection, now_us, LM_GUARD_AGED);
    }
}

/* ---- memory ---------------------------------------------------------------------------------- */

static uint64_t explained_bytes(const lm_guard_facts_t *facts)
{
    return LM_MEMORY_BYTES + (uint64_t)facts->calls * LM_MEMORY_BYTES_PER_CALL;
}

static int64_t greed_of(const connection_t *connection) { return connection->greed; }

/* Nodes send much, so that theirs weighs less. */
static int64_t traffic_of(const connection_t *connection)
{
    return (int64_t)(connection->by_node ? connection->came / 16 : connection->came);
}

static bool end_most(lm_frontend_guard_t *guard, uint64_t now_us,
                     int64_t (*weight_of)(const connection_t *connection))
{
    connection_t *most = NULL;
    for (size_t i = 0; i < guard->n_present; i++)
        if (!most || weight_of(guard->present[i]) > weight_of(most)) most = guard->present[i];
    if (!most || weight_of(most) <= LM_GREED_BYTES) return false;
    end_for_waste(guard, most, now_us);
    return true;
}

/* Streams that are opened and never say more are few bytes and much memory, and a client that does
 * not confirm the limit of streams has none. So the greediest one goes, until that helps. Calls
 * that come faster than they are taken wait inside of gRPC, ten kilobytes each, and those that were
 * answered speak for their connection: when nobody is greedy and there is twice the memory, the one
 * goes that sends most. */
static void save_memory(lm_frontend_guard_t *guard, const lm_guard_facts_t *facts, uint64_t now_us)
{
    if (now_us < guard->memory_after_us) return;
    guard->memory_after_us = now_us + MEMORY_US;
    if (end_most(guard, now_us, greed_of)) return;
    if (facts->alone && facts->used_bytes > explained_bytes(facts) + LM_MEMORY_BYTES)
        end_most(guard, now_us, traffic_of);
}

/* ---- looking --------------------------------------------------------------------------------- */

static void make_place(lm_frontend_guard_t *guard, size_t n)
{
    guard->n_present = guard->n_verdicts = guard->n_going = 0;
    if (n < guard->n_max) return;
    free(guard->present);
    free(guard->verdicts);
    guard->n_max = n + n / 2 + 16;
    guard->present = lm_alloc(guard->n_max * sizeof(connection_t *));
    guard->verdicts = lm_alloc(guard->n_max * sizeof *guard->verdicts);
}

/* Two at a time may have one key, if they came to two addresses of this node: calls are put down to
 * the first of them, and the other is judged as one that makes none. */
static connection_t *connection_of(lm_frontend_guard_t *guard, const lm_guard_seen_t *seen)
{
    connection_t *connection = find(guard, seen->key);
    bool taken = connection->round == guard->round && connection->fd >= 0;
    if (!taken || connection->socket == seen->socket) return connection;
    return find(guard, seen->key ^ seen->socket * UINT64_C(0x9e3779b97f4a7c15));
}

/* Whether it is another one from the same port: what that one sent, and what it was told, is none
 * of its business. */
static bool is_successor(connection_t *connection, const lm_guard_seen_t *seen)
{
    bool other = connection->socket && seen->socket && connection->socket != seen->socket;
    connection->socket = seen->socket;
    if (other) connection->ended_us = connection->bytes_seen = 0;
    return other;
}

static void see(lm_frontend_guard_t *guard, const lm_guard_seen_t *seen, uint64_t now_us)
{
    uint64_t before = guard->n_seen;
    connection_t *connection = connection_of(guard, seen);
    bool again = is_successor(connection, seen) || connection->round + 1 < guard->round;
    if (guard->n_seen != before || connection->fd < 0 || again) {
        guard->new_until_us = now_us + NEW_US;
        connection->first_us = now_us;
    }
    if (connection->round == guard->round && connection->fd >= 0) return; /* seen twice */
    connection->fd = seen->fd;
    connection->host = seen->host;
    connection->own = seen->own;
    connection->ages = seen->ages;
    connection->round = guard->round;
    if (is_going(connection, now_us)) {
        guard->n_going++;
        return;
    }
    weigh(guard, connection, seen->bytes, now_us);
    if (!is_going(connection, now_us)) guard->present[guard->n_present++] = connection;
}

/* Forgets those that have gone. */
static void sweep(lm_frontend_guard_t *guard)
{
    connection_t *connection, *next;
    HASH_ITER(hh, guard->connections, connection, next)
    {
        if (connection->round + GONE_ROUNDS >= guard->round) continue;
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): a list's head has no predecessor */
        HASH_DEL(guard->connections, connection);
        free(connection);
    }
}

static uint64_t pause_us(const lm_frontend_guard_t *guard, uint64_t now_us, uint64_t passed_us,
                         uint64_t cpu_us)
{
    if (lm_frontend_guard_is_attacked(guard, now_us)) return TICK_US;
    bool sent = (uint64_t)guard->wasted * SECOND_US > passed_us * LIVELY_BYTES_PER_SECOND;
    bool lively = sent || guard->heavy || now_us < guard->new_until_us ||
                  lm_frontend_guard_is_busy(cpu_us, passed_us);
    return lively ? LIVELY_US : REST_US;
}

static uint64_t crowd_us(const lm_frontend_guard_t *guard)
{
    return guard->figures.open / OPEN_PER_TICK * TICK_US;
}

size_t lm_frontend_guard_look(lm_frontend_guard_t *guard, uint64_t now_us,
                              const lm_guard_facts_t *facts, const lm_guard_seen_t *seen, size_t n,
                              const lm_guard_verdict_t **verdicts)
{
    size_t left, n_more = too_many(facts, &left);
    uint64_t passed_us = now_us - guard->looked_us, cpu_us = facts->cpu_us - guard->cpu_us;
    make_place(guard, n);
    guard->round++;
    guard->wasted = 0;
    guard->heavy = facts->used_bytes > explained_bytes(facts);
    for (size_t i = 0; i < n; i++) see(guard, &seen[i], now_us);
    sweep(guard);
    guard->figures.open = n;
    if (guard->heavy) save_memory(guard, facts, now_us);
    limit_addresses(guard, now_us);
    end_aged(guard, now_us);
    size_t n_fewer = guard->n_going + guard->n_verdicts;
    if (n_more > n_fewer) make_room(guard, now_us, n_more - guard->n_going);
    guard->looked_us = now_us;
    guard->cpu_us = facts->cpu_us;
    guard->next_look_us = now_us + pause_us(guard, now_us, passed_us, cpu_us) + crowd_us(guard);
    *verdicts = guard->verdicts;
    return guard->n_verdicts;
}

/* ---- when ------------------------------------------------------------------------------------ */

bool lm_frontend_guard_is_busy(uint64_t cpu_us, uint64_t passed_us)
{
    return cpu_us * 100 > passed_us * BUSY_PERCENT;
}

bool lm_frontend_guard_is_attacked(const lm_frontend_guard_t *guard, uint64_t now_us)
{
    return now_us < guard->attacked_until_us;
}

void lm_frontend_guard_stir(lm_frontend_guard_t *guard, uint64_t now_us)
{
    uint64_t soon_us = guard->looked_us + LIVELY_US + crowd_us(guard);
    if (soon_us < now_us) soon_us = now_us;
    if (soon_us < guard->next_look_us) guard->next_look_us = soon_us;
}

bool lm_frontend_guard_is_due(lm_frontend_guard_t *guard, uint64_t now_us,
                              const lm_guard_facts_t *facts)
{
    size_t left;
    return now_us >= guard->next_look_us || too_many(facts, &left) > 0;
}

uint64_t lm_frontend_guard_next_us(const lm_frontend_guard_t *guard, uint64_t now_us,
                                   const lm_guard_facts_t *facts)
{
    size_t left;
    too_many(facts, &left);
    uint64_t burst_ms = left / BURST_PER_MS;
    uint64_t pause = burst_ms < REST_US / 1000 ? burst_ms * 1000 : REST_US;
    uint64_t next_us = now_us + (pause > TICK_US ? pause : TICK_US);
    return next_us < guard->next_look_us ? next_us : guard->next_look_us;
}

/* ---- telling --------------------------------------------------------------------------------- */

uint64_t lm_frontend_guard_unsaid(lm_frontend_guard_t *guard, uint64_t now_us,
                                  lm_guard_reason_t reason)
{
    uint64_t n = guard->unsaid[reason];
    if (n == 0 || (guard->said_us[reason] && now_us < guard->said_us[reason] + SAY_US)) return 0;
    guard->unsaid[reason] = 0;
    guard->said_us[reason] = now_us;
    return n;
}

lm_guard_figures_t lm_frontend_guard_figures(const lm_frontend_guard_t *guard)
{
    return guard->figures;
}

/* ---- life ------------------------------------------------------------------------------------ */

lm_frontend_guard_t *lm_frontend_guard_new(uint64_t now_us, const lm_guard_rules_t *rules)
{
    lm_frontend_guard_t *guard = lm_alloc(sizeof *guard);
    guard->looked_us = guard->next_look_us = now_us;
    guard->rules = *rules;
    return guard;
}

void lm_frontend_guard_destroy(lm_frontend_guard_t **self)
{
    lm_frontend_guard_t *guard = *self;
    connection_t *connection, *next_connection;
    striker_t *striker, *next_striker;
    if (!guard) return;
    *self = NULL;
    HASH_ITER(hh, guard->connections, connection, next_connection)
    {
        HASH_DEL(guard->connections, connection);
        free(connection);
    }
    HASH_ITER(hh, guard->strikers, striker, next_striker)
    {
        HASH_DEL(guard->strikers, striker);
        free(striker);
    }
    free(guard->present);
    free(guard->verdicts);
    free(guard);
}
