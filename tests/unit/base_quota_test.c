/* The share of processors, from trees of files as the kernel shows them. */
#include "base_quota.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[64], groups[128], mount[128];
static lm_quota_t quota;

static void setup(void)
{
    snprintf(root, sizeof root, "/tmp/lmquota.XXXXXX");
    cr_assert(mkdtemp(root));
    snprintf(groups, sizeof groups, "%s/cgroup", root);
    snprintf(mount, sizeof mount, "%s/fs", root);
    mkdir(mount, 0755);
}

static void teardown(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", root);
    cr_assert_eq(system(command), 0);
}

TestSuite(base_quota, .init = setup, .fini = teardown, .timeout = 30);

static void put(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");
    cr_assert(file, "%s", path);
    fputs(text, file);
    fclose(file);
}

/* A file below the mount, with the folders on the way to it. */
static void file(const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", mount, name);
    for (char *slash = strchr(path + strlen(mount) + 1, '/'); slash;
         slash = strchr(slash + 1, '/')) {
        *slash = 0;
        mkdir(path, 0755);
        *slash = '/';
    }
    put(path, text);
}

static void look(unsigned processors)
{
    lm_quota_place_t place = {groups, mount};
    lm_quota_look(&place, processors, &quota);
}

static void expect(unsigned version, double cores, const char *from)
{
    char path[512] = "";
    if (from) snprintf(path, sizeof path, "%s/%s", mount, from);
    cr_assert_eq(quota.version, version, "version %u", quota.version);
    cr_assert_float_eq(quota.cores, cores, 1e-9, "%f", quota.cores);
    cr_assert_eq(quota.limited, from != NULL);
    cr_assert_str_eq(quota.from, path);
}

Test(base_quota, nothing_is_no_limit)
{
    look(8);
    expect(0, 8, NULL);
    put(groups, "0::/\n");
    look(8);
    expect(2, 8, NULL);
    put(groups, "what is this\n\n1:\n");
    look(3);
    expect(0, 3, NULL);
}

Test(base_quota, version_2_in_a_container)
{
    put(groups, "0::/\n");
    file("cpu.max", "50000 100000\n");
    file("cpu.stat", "usage_usec 9\nnr_periods 40\nnr_throttled 7\nthrottled_usec 1500000\n");
    look(8);
    expect(2, 0.5, "cpu.max");
    cr_assert_eq(quota.periods, 40);
    cr_assert_eq(quota.throttled_periods, 7);
    cr_assert_float_eq(quota.throttled_seconds, 1.5, 1e-9);
}

Test(base_quota, version_2_without_a_limit)
{
    put(groups, "0::/\n");
    file("cpu.max", "max 100000\n");
    look(8);
    expect(2, 8, NULL);
}

Test(base_quota, version_2_the_smallest_of_all_groups_above_counts)
{
    put(groups, "0::/kubepods/pod1/node\n");
    file("kubepods/cpu.max", "300000 100000\n");
    file("kubepods/pod1/cpu.max", "150000 100000\n");
    file("kubepods/pod1/node/cpu.max", "max 100000\n");
    file("kubepods/pod1/node/cpu.stat", "nr_periods 3\nnr_throttled 1\nthrottled_usec 20\n");
    file("kubepods/cpu.stat", "nr_periods 99\n");
    look(8);
    expect(2, 1.5, "kubepods/pod1/cpu.max");
    cr_assert_eq(quota.periods, 3, "the own group counts, not one above");
    file("kubepods/pod1/node/cpu.max", "20000 100000\n");
    look(8);
    expect(2, 0.2, "kubepods/pod1/node/cpu.max");
}

Test(base_quota, a_limit_beyond_the_processors_is_none)
{
    put(groups, "0::/\n");
    file("cpu.max", "800000 100000\n");
    look(2);
    expect(2, 2, NULL);
}

Test(base_quota, version_1)
{
    put(groups, "5:memory:/m\n4:cpu,cpuacct:/docker/abc\n0::/\n");
    file("cpu/docker/abc/cpu.cfs_quota_us", "250000\n");
    file("cpu/docker/abc/cpu.cfs_period_us", "100000\n");
    file("cpu/docker/abc/cpu.stat", "nr_periods 5\nnr_throttled 2\nthrottled_time 3000000000\n");
    file("cpu/docker/cpu.cfs_quota_us", "-1\n");
    file("cpu/docker/cpu.cfs_period_us", "100000\n");
    look(8);
    expect(1, 2.5, "cpu/docker/abc/cpu.cfs_quota_us");
    cr_assert_eq(quota.throttled_periods, 2);
    cr_assert_float_eq(quota.throttled_seconds, 3.0, 1e-9);
}

/* In a container the file system of groups begins at the own one, while the kernel goes on naming
 * the way to it from outside. */
Test(base_quota, version_1_in_a_container)
{
    put(groups, "4:cpu,cpuacct:/kubepods/burstable/pod1/abc\n");
    file("cpu,cpuacct/cpu.cfs_quota_us", "50000\n");
    file("cpu,cpuacct/cpu.cfs_period_us", "100000\n");
    look(4);
    expect(1, 0.5, "cpu,cpuacct/cpu.cfs_quota_us");
}

Test(base_quota, version_1_without_a_limit)
{
    put(groups, "4:cpu,cpuacct:/\n");
    file("cpu/cpu.cfs_quota_us", "-1\n");
    file("cpu/cpu.cfs_period_us", "100000\n");
    look(4);
    expect(1, 4, NULL);
}

Test(base_quota, version_2_beside_version_1)
{
    put(groups, "3:memory:/\n0::/unit\n");
    file("memory/x", "");
    file("unified/unit/cpu.max", "100000 50000\n");
    look(4);
    expect(2, 2, "unified/unit/cpu.max");
}

Test(base_quota, this_process_has_a_share)
{
    lm_quota_look(&lm_quota_mine, 0, &quota);
    cr_assert_gt(quota.cores, 0);
    cr_assert_geq(quota.processors, 1);
    cr_assert(quota.cores <= quota.processors);
}
