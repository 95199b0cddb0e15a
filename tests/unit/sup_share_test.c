/* What a node makes of its share of processors. */
#include "sup_share.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(sup_share, .timeout = 30);

static lm_quota_t share(double cores, bool limited)
{
    lm_quota_t quota = {.cores = cores, .processors = 8, .limited = limited};
    if (limited) snprintf(quota.from, sizeof quota.from, "/sys/fs/cgroup/cpu.max");
    return quota;
}

Test(sup_share, threads_for_the_disk)
{
    static const struct {
        double cores;
        unsigned threads;
    } rows[] = {{0.1, 2}, {0.5, 2}, {1, 2}, {1.5, 3}, {2, 3}, {2.01, 4}, {3, 4}, {64, 4}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        lm_quota_t quota = share(rows[i].cores, true);
        cr_expect_eq(lm_sup_share_disk_threads(&quota), rows[i].threads, "%f", rows[i].cores);
    }
}

Test(sup_share, the_sentence_names_quota_and_threads)
{
    char text[LM_SUP_SHARE_TEXT_MAX];
    lm_quota_t quota = share(0.5, true);
    lm_sup_share_print(&quota, 2, text);
    cr_assert_str_eq(text,
                     "may use 0.50 of 8 processors (by /sys/fs/cgroup/cpu.max): threads for "
                     "the disk 2, for gRPC 1, for each room and its bus 1");
    quota = share(8, false);
    lm_sup_share_print(&quota, 4, text);
    cr_assert(strstr(text, "8.00 of 8 processors (no limit of a group)"), "%s", text);
}

Test(sup_share, the_pool_is_told_and_who_has_chosen_keeps_it)
{
    unsetenv("UV_THREADPOOL_SIZE");
    lm_sup_share_take();
    unsigned long n = strtoul(getenv("UV_THREADPOOL_SIZE"), NULL, 10);
    cr_assert(n >= 2 && n <= 4, "%lu", n);
    setenv("UV_THREADPOOL_SIZE", "7", 1);
    lm_sup_share_take();
    cr_assert_str_eq(getenv("UV_THREADPOOL_SIZE"), "7");
}
