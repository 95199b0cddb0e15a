#include "frontend_admission.h"

#include "base_check.h"
#include "frontend_limits.h"

enum {
    WINDOW_US = 100000,
    DELAY_MAX_US = 50000,
    SAMPLES_MIN = 4, /* fewer calls say nothing */
    ALL = LM_ADMISSION_ALL,
    RISE = ALL / 16, /* times how often the delay is too long, at most RISE_TIMES_MAX */
    RISE_TIMES_MAX = 3,
    FALL = ALL / 20,
};

/* Those that may wait are not counted one by one: so many of them are on their way to lock as came
 * in within the time that other calls take. */
static bool is_crowded(const lm_frontend_admission_t *a)
{
    uint64_t delay_us = a->least_us < WINDOW_US ? a->least_us : WINDOW_US;
    return a->under_way + a->n_waiting * delay_us / WINDOW_US > LM_CROWD_MIN;
}

static void rise(lm_frontend_admission_t *a)
{
    uint64_t times = a->least_us / DELAY_MAX_US;
    a->share += RISE * (uint32_t)(times < RISE_TIMES_MAX ? times : RISE_TIMES_MAX);
    if (a->share > 2 * ALL) a->share = 2 * ALL;
}

static void fall(lm_frontend_admission_t *a, uint64_t windows)
{
    uint64_t by = windows < 2 * ALL ? windows * FALL : 2 * ALL;
    a->share -= by < a->share ? (uint32_t)by : a->share;
}

/* A crowd of which nobody is answered may be about to be answered all at once: that changes
 * nothing. */
static void judge(lm_frontend_admission_t *a, uint64_t windows)
{
    bool known = a->n_took >= SAMPLES_MIN;
    if (!is_crowded(a) || (known && a->least_us < DELAY_MAX_US / 2))
        fall(a, windows);
    else if (known && a->least_us > DELAY_MAX_US)
        rise(a);
}

/* Ends the window if it is over. */
static void look(lm_frontend_admission_t *a, uint64_t now_us)
{
    if (now_us < a->window_end_us) return;
    judge(a, 1 + (now_us - a->window_end_us) / WINDOW_US);
    a->delay_us = a->n_took > 0 ? a->least_us : 0;
    a->least_us = UINT64_MAX;
    a->n_took = a->n_waiting = 0;
    a->window_end_us = now_us + WINDOW_US;
}

bool lm_frontend_admission_refuses(lm_frontend_admission_t *a, uint64_t now_us,
                                   lm_frontend_admission_class_t class)
{
    look(a, now_us);
    if (class == LM_ADMISSION_VITAL) return false;
    size_t kind = class == LM_ADMISSION_ACQUIRE;
    uint32_t share = a->share;
    if (class == LM_ADMISSION_READ) share = share > ALL ? share - ALL : 0;
    if (share > ALL) share = ALL;
    a->owed[kind] += share;
    bool refused = a->owed[kind] >= ALL;
    if (refused) a->owed[kind] -= ALL;
    if (refused) a->refused[kind]++;
    return refused || (class == LM_ADMISSION_ACQUIRE && lm_frontend_admission_is_full(a));
}

/* No answers at all teach nothing; then this is the bound. */
bool lm_frontend_admission_is_full(lm_frontend_admission_t *a)
{
    bool full = a->under_way >= LM_UNDER_WAY_MAX;
    if (full) a->refused[1]++;
    return full;
}

uint32_t lm_frontend_admission_share(lm_frontend_admission_t *a, uint64_t now_us)
{
    look(a, now_us);
    return a->share < ALL ? a->share : ALL;
}

void lm_frontend_admission_begins(lm_frontend_admission_t *a, bool waits)
{
    if (waits)
        a->n_waiting++;
    else
        a->under_way++;
}

void lm_frontend_admission_ends(lm_frontend_admission_t *a, uint64_t now_us, uint64_t arrived_us,
                                bool decided)
{
    LM_CHECK(a->under_way > 0, "a call ends that did not begin");
    a->under_way--;
    if (!decided) return;
    look(a, now_us);
    uint64_t took_us = now_us > arrived_us ? now_us - arrived_us : 0;
    if (took_us < a->least_us) a->least_us = took_us;
    a->n_took++;
}
