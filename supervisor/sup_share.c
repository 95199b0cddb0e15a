#include "sup_share.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base_log.h"

#define POOL_SIZE "UV_THREADPOOL_SIZE"

enum { DISK_THREADS_MIN = 2, DISK_THREADS_MAX = 4 };

unsigned lm_sup_share_disk_threads(const lm_quota_t *quota)
{
    double wanted = 1 + ceil(quota->cores);
    if (wanted > DISK_THREADS_MAX) return DISK_THREADS_MAX;
    return wanted < DISK_THREADS_MIN ? DISK_THREADS_MIN : (unsigned)wanted;
}

void lm_sup_share_print(const lm_quota_t *quota, unsigned disk_threads,
                        char text[LM_SUP_SHARE_TEXT_MAX])
{
    char why[LM_QUOTA_FROM_MAX + 16] = "no limit of a group";
    if (quota->limited) snprintf(why, sizeof why, "by %s", quota->from);
    snprintf(text, LM_SUP_SHARE_TEXT_MAX,
             "may use %.2f of %u processors (%s): threads for the disk %u, for gRPC 1, for each "
             "room and its bus 1",
             quota->cores, quota->processors, why, disk_threads);
}

void lm_sup_share_take(void)
{
    lm_quota_t quota;
    char text[LM_SUP_SHARE_TEXT_MAX], number[16];
    lm_quota_look(&lm_quota_mine, 0, &quota);
    const char *given = getenv(POOL_SIZE);
    unsigned n =
        given && *given ? (unsigned)strtoul(given, NULL, 10) : lm_sup_share_disk_threads(&quota);
    snprintf(number, sizeof number, "%u", n);
    if (!given || !*given) setenv(POOL_SIZE, number, 1);
    lm_sup_share_print(&quota, n, text);
    lm_info("%s", text);
}
