/* The lease of a session: cases are lines of what happens and what must be seen then. */
#include "client_lease.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define MS UINT64_C(1000)
#define BEGIN (1000000 * MS) /* when the session was opened, sent */

TestSuite(client_lease, .timeout = 20);

/** What happens; times are milliseconds since BEGIN, of a session of 30 s unless it says so. */
typedef enum {
    LOOK,  /* state is value */
    SENDS, /* whether a keep-alive goes out is value */
    KEPT,  /* the one that was sent at value is acknowledged, with all of its lease */
    LATE,  /* the same, with half of its lease */
    FAILS, /* the one under way has no answer */
    ENDED, /* the region says that the session has ended */
    WAKES, /* nothing happens before value; -1: never */
} happens_t;

typedef struct {
    int64_t at;
    happens_t what;
    int64_t value;
} row_t;

typedef struct {
    const char *name;
    row_t rows[16];
} case_t;

static const case_t cases[] = {
    {"a third, two thirds, the deadline",
     {{0, LOOK, LM_LEASE_SAFE},
      {0, WAKES, 10000},
      {9999, SENDS, false},
      {10000, SENDS, true},
      {10000, SENDS, false},
      {10000, WAKES, 20000},
      {19999, LOOK, LM_LEASE_SAFE},
      {20000, LOOK, LM_LEASE_JEOPARDY},
      {20000, WAKES, 29650},
      {29649, LOOK, LM_LEASE_JEOPARDY},
      {29650, LOOK, LM_LEASE_LOST},
      {29650, WAKES, -1}}},
    {"an acknowledgement counts from its sending (S6)",
     {{10000, SENDS, true},
      {14000, KEPT, 10000},
      {14000, WAKES, 20000},
      {29999, LOOK, LM_LEASE_SAFE},
      {30000, LOOK, LM_LEASE_JEOPARDY},
      {39649, LOOK, LM_LEASE_JEOPARDY},
      {39650, LOOK, LM_LEASE_LOST}}},
    {"jeopardy is left again",
     {{10000, SENDS, true},
      {21000, LOOK, LM_LEASE_JEOPARDY},
      {21000, KEPT, 20500},
      {21000, LOOK, LM_LEASE_SAFE},
      {30500, SENDS, true}}},
    {"lost is final, whatever is acknowledged",
     {{10000, SENDS, true},
      {29650, KEPT, 10000},
      {29650, LOOK, LM_LEASE_LOST},
      {29651, KEPT, 29650},
      {29651, LOOK, LM_LEASE_LOST},
      {30000, SENDS, false}}},
    {"told that it ended",
     {{5000, ENDED, 0}, {5000, LOOK, LM_LEASE_LOST}, {5001, WAKES, -1}, {10000, SENDS, false}}},
    {"the host slept beyond the deadline",
     {{10000, SENDS, true},
      {10100, KEPT, 10000},
      {100000, SENDS, false},
      {100000, LOOK, LM_LEASE_LOST}}},
    {"the host slept, but not that long",
     {{25000, LOOK, LM_LEASE_JEOPARDY},
      {25000, SENDS, true},
      {25010, KEPT, 25000},
      {25010, LOOK, LM_LEASE_SAFE},
      {25010, WAKES, 35000}}},
    {"the host slept while a keep-alive was under way",
     {{10000, SENDS, true},
      {29000, KEPT, 10000},
      {29000, LOOK, LM_LEASE_SAFE},
      {29000, SENDS, false},
      {29050, SENDS, true}}},
    {"an answer that is older than another changes nothing",
     {{10000, SENDS, true},
      {10010, KEPT, 10000},
      {20000, SENDS, true},
      {20010, KEPT, 5000},
      {30000, LOOK, LM_LEASE_JEOPARDY},
      {39650, LOOK, LM_LEASE_LOST}}},
    {"a lease of which half was gone when it was answered",
     {{10000, SENDS, true},
      {10000, KEPT, 10000},
      {20000, SENDS, true},
      {30000, LATE, 25100},
      {30100, LOOK, LM_LEASE_JEOPARDY},
      {39899, LOOK, LM_LEASE_JEOPARDY},
      {39900, LOOK, LM_LEASE_LOST}}},
    {"a failure is tried again soon",
     {{10000, SENDS, true}, {10001, FAILS, 0}, {10001, SENDS, false}, {10051, SENDS, true}}},
};

static void run(const case_t *one, const row_t *row, lm_lease_t *lease)
{
    uint64_t now = BEGIN + (uint64_t)row->at * MS, timeout_ms, wake;
    uint64_t sent = BEGIN + (uint64_t)row->value * MS;
    switch (row->what) {
    case LOOK:
        cr_assert_eq((int64_t)lm_lease_state(lease, now), row->value, "%s, at %lld: state %d",
                     one->name, (long long)row->at, lm_lease_state(lease, now));
        break;
    case SENDS:
        cr_assert_eq((int64_t)lm_lease_send(lease, now, &timeout_ms), row->value, "%s, at %lld",
                     one->name, (long long)row->at);
        break;
    case KEPT: lm_lease_kept(lease, now, sent, 30000, 30000); break;
    case LATE: lm_lease_kept(lease, now, sent, 30000, 15000); break;
    case FAILS: lm_lease_failed(lease, now, 0); break;
    case ENDED: lm_lease_lose(lease, "ended: closed"); break;
    case WAKES:
        wake = lm_lease_wake_us(lease, now);
        cr_assert_eq(wake, row->value < 0 ? UINT64_MAX : sent, "%s, at %lld: wakes %lld", one->name,
                     (long long)row->at, (long long)(wake - BEGIN) / 1000);
        break;
    }
}

Test(client_lease, s6_cases)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lm_lease_t lease;
        lm_lease_begin(&lease, BEGIN, 30000, 30000);
        for (const row_t *row = cases[i].rows; row == cases[i].rows || row->at; row++)
            run(&cases[i], row, &lease);
    }
}

Test(client_lease, keep_alives_of_one_program_are_due_together)
{
    static const uint64_t sent[] = {1, 9999, 24999, 25000, 31234567};
    for (size_t i = 0; i < sizeof sent / sizeof *sent; i++) {
        lm_lease_t lease;
        lm_lease_begin(&lease, BEGIN + sent[i], 1000, 1000);
        uint64_t third = BEGIN + sent[i] + 1000 * MS / 3;
        uint64_t wake = lm_lease_wake_us(&lease, BEGIN + sent[i]);
        cr_assert_eq(wake % (25 * MS), 0);
        cr_assert(wake <= third && third - wake < 25 * MS + 2);
    }
}

Test(client_lease, the_first_cause_stays)
{
    lm_lease_t lease;
    lm_lease_begin(&lease, BEGIN, 30000, 30000);
    lm_lease_lose(&lease, "ended: closed");
    cr_assert_eq(lm_lease_state(&lease, BEGIN + 60000 * MS), LM_LEASE_LOST);
    cr_assert_str_eq(lease.cause, "ended: closed");
    lm_lease_begin(&lease, BEGIN, 30000, 30000);
    cr_assert_eq(lm_lease_state(&lease, BEGIN + 60000 * MS), LM_LEASE_LOST);
    lm_lease_lose(&lease, "ended: closed");
    cr_assert_str_neq(lease.cause, "ended: closed");
}

Test(client_lease, s6_a_repeated_opening_whose_lease_is_partly_gone)
{
    lm_lease_t lease;
    lm_lease_begin(&lease, BEGIN, 30000, 12000);
    cr_assert_eq(lm_lease_state(&lease, BEGIN), LM_LEASE_SAFE);
    cr_assert_eq(lm_lease_state(&lease, BEGIN + 2000 * MS), LM_LEASE_JEOPARDY);
    uint64_t timeout_ms;
    cr_assert(lm_lease_send(&lease, BEGIN, &timeout_ms), "it is due at once");
    lm_lease_begin(&lease, BEGIN, 30000, 0);
    cr_assert_eq(lm_lease_state(&lease, BEGIN), LM_LEASE_LOST);
}

/** Without any answer: how often it sends before it is lost, and the shortest pause, when each
 *  attempt fails after so many microseconds. */
static unsigned count_sends(int64_t ttl_ms, uint64_t each_us, uint64_t *shortest_us)
{
    lm_lease_t lease;
    unsigned n = 0;
    uint64_t now = BEGIN, last = 0, timeout_ms;
    lm_lease_begin(&lease, BEGIN, ttl_ms, ttl_ms);
    *shortest_us = UINT64_MAX;
    while (lm_lease_state(&lease, now) != LM_LEASE_LOST) {
        if (lm_lease_send(&lease, now, &timeout_ms)) {
            if (last && now - last < *shortest_us) *shortest_us = now - last;
            cr_assert(now + timeout_ms * MS <= lease.end_us + MS, "waits beyond the deadline");
            last = now + each_us;
            n++;
            now += each_us;
            lm_lease_failed(&lease, now, n * 2654435761U);
        } else {
            uint64_t wake = lm_lease_wake_us(&lease, now);
            cr_assert(wake > now, "a wake-up that is not in the future");
            now = wake;
        }
    }
    return n;
}

Test(client_lease, failures_never_hammer)
{
    static const struct {
        int64_t ttl_ms;
        unsigned least, most;
    } rows[] = {{1000, 4, 30}, {5000, 5, 30}, {30000, 10, 40}, {86400000, 1000, 60000}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint64_t shortest;
        unsigned n = count_sends(rows[i].ttl_ms, 0, &shortest);
        cr_assert(n >= rows[i].least && n <= rows[i].most, "ttl %lld: %u",
                  (long long)rows[i].ttl_ms, n);
        cr_assert(shortest >= 25 * MS, "ttl %lld: %llu us", (long long)rows[i].ttl_ms,
                  (unsigned long long)shortest);
    }
}

Test(client_lease, a_node_that_does_not_answer_leaves_time_for_others)
{
    static const int64_t lengths[] = {1000, 3000, 30000, 300000};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        lm_lease_t lease;
        uint64_t timeout_ms, ttl = (uint64_t)lengths[i] * MS;
        lm_lease_begin(&lease, BEGIN, lengths[i], lengths[i]);
        cr_assert(lm_lease_send(&lease, BEGIN + ttl / 3, &timeout_ms));
        cr_assert(timeout_ms * MS <= ttl / 6 + MS, "ttl %lld: %llu ms", (long long)lengths[i],
                  (unsigned long long)timeout_ms);
        uint64_t shortest;
        cr_assert(count_sends(lengths[i], timeout_ms * MS, &shortest) >= 3);
    }
}
