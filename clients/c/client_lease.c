#include "client_lease.h"

#include <stdio.h>

#include "client.h"

enum {
    /* Keep-alives are due at whole multiples of this, so that those of one program meet and leave
     * together; each goes that much earlier at most. */
    PACK_US = 25000,
    PAUSE_MIN_US = 50000,
    PAUSE_MAX_US = 2000000,
    TIMEOUT_MIN_US = 100000,
    TIMEOUT_MAX_US = 5000000,
};

static uint64_t at_least(uint64_t a, uint64_t b) { return a > b ? a : b; }
static uint64_t at_most(uint64_t a, uint64_t b) { return a < b ? a : b; }

/** What sent_us + lease would be with that part of the length less; not before 0. */
static uint64_t moment(uint64_t end_us, uint64_t less_us)
{
    return end_us > less_us ? end_us - less_us : 0;
}

static void take(lm_lease_t *lease, uint64_t sent_us, int64_t ttl_ms, int64_t remaining_ms)
{
    uint64_t end_us = lm_client_deadline_us(sent_us, remaining_ms);
    if (end_us <= lease->end_us) return; /* L4 */
    uint64_t full_us = sent_us + (remaining_ms > 0 ? (uint64_t)remaining_ms * 1000 : 0);
    lease->ttl_us = (uint64_t)ttl_ms * 1000;
    lease->end_us = end_us;
    lease->safe_until_us = at_most(moment(full_us, lease->ttl_us / 3), end_us);
    lease->next_us = moment(full_us, lease->ttl_us - lease->ttl_us / 3);
    lease->next_us -= lease->next_us % PACK_US; /* L5 */
}

void lm_lease_begin(lm_lease_t *lease, uint64_t sent_us, int64_t ttl_ms, int64_t remaining_ms)
{
    *lease = (lm_lease_t){0};
    take(lease, sent_us, ttl_ms, remaining_ms);
}

void lm_lease_lose(lm_lease_t *lease, const char *cause)
{
    if (lease->lost) return;
    lease->lost = true;
    snprintf(lease->cause, sizeof lease->cause, "%s", cause);
}

lm_lease_state_t lm_lease_state(lm_lease_t *lease, uint64_t now_us)
{
    if (now_us >= lease->end_us)
        lm_lease_lose(lease, "no keep-alive was acknowledged before the lease ran out");
    if (lease->lost) return LM_LEASE_LOST;
    return now_us >= lease->safe_until_us ? LM_LEASE_JEOPARDY : LM_LEASE_SAFE;
}

uint64_t lm_lease_wake_us(const lm_lease_t *lease, uint64_t now_us)
{
    if (lease->lost) return UINT64_MAX;
    uint64_t wake_us = lease->end_us;
    if (now_us < lease->safe_until_us) wake_us = at_most(wake_us, lease->safe_until_us);
    if (!lease->under_way) wake_us = at_most(wake_us, lease->next_us);
    return wake_us;
}

bool lm_lease_send(lm_lease_t *lease, uint64_t now_us, uint64_t *timeout_ms)
{
    if (lm_lease_state(lease, now_us) == LM_LEASE_LOST) return false;
    if (lease->under_way || now_us < lease->next_us) return false;
    uint64_t patience_us =
        at_most(at_least(lease->ttl_us / 6, TIMEOUT_MIN_US), (uint64_t)TIMEOUT_MAX_US);
    /* An answer after the deadline is of no use. */
    *timeout_ms = at_most(patience_us, lease->end_us - now_us) / 1000 + 1;
    lease->under_way = true;
    return true;
}

void lm_lease_kept(lm_lease_t *lease, uint64_t now_us, uint64_t sent_us, int64_t ttl_ms,
                   int64_t remaining_ms)
{
    lease->under_way = false;
    lease->pause_us = 0;
    if (lm_lease_state(lease, now_us) == LM_LEASE_LOST) return; /* L2 */
    take(lease, sent_us, ttl_ms, remaining_ms);
    /* An acknowledgement that gave nothing, or arrived late, must not call for the next at once. */
    lease->next_us = at_least(lease->next_us, now_us + PAUSE_MIN_US);
}

void lm_lease_failed(lm_lease_t *lease, uint64_t now_us, uint32_t chance)
{
    uint64_t most_us = at_most(at_least(lease->ttl_us / 10, PAUSE_MIN_US), (uint64_t)PAUSE_MAX_US);
    lease->under_way = false;
    lease->pause_us = at_most(at_least(lease->pause_us * 2, PAUSE_MIN_US), most_us);
    lease->next_us = now_us + lease->pause_us / 2 + chance % (lease->pause_us / 2 + 1);
}
