#include "base_quota.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base_proc.h"

const lm_quota_place_t lm_quota_mine = {.groups = "/proc/self/cgroup", .mount = "/sys/fs/cgroup"};

enum { GROUP_MAX = 512, PATH_SIZE = 1024 };

/* The files of one version. Of version 1 only those of the controller of processors count. */
typedef struct {
    unsigned version;
    const char *controller; /* "": the one hierarchy of version 2 */
    const char *folder;     /* below the mount */
    const char *limit;      /* file of the limit; the period is in the same one, or in the next */
    const char *period;
    const char *throttled; /* word of cpu.stat */
    double throttled_unit;
} version_t;

static const version_t versions[] = {
    {1, "cpu", "/cpu", "cpu.cfs_quota_us", "cpu.cfs_period_us", "throttled_time", 1e9},
    {1, "cpu", "/cpu,cpuacct", "cpu.cfs_quota_us", "cpu.cfs_period_us", "throttled_time", 1e9},
    /* Version 2 beside version 1, and alone. */
    {2, "", "/unified", "cpu.max", NULL, "throttled_usec", 1e6},
    {2, "", "", "cpu.max", NULL, "throttled_usec", 1e6},
};

/* The group of this process for a controller: a line "number:controllers:group". */
static bool find_group(const char *file, const char *controller, char group[GROUP_MAX])
{
    char text[8192], wanted[64];
    if (!lm_proc_read(file, text, sizeof text)) return false;
    snprintf(wanted, sizeof wanted, ",%s,", controller);
    for (char *rest = text, *line; (line = strsep(&rest, "\n"));) {
        char list[256];
        strsep(&line, ":");
        const char *names = strsep(&line, ":");
        if (!names || !line || strlen(line) >= GROUP_MAX) continue;
        snprintf(list, sizeof list, ",%s,", names);
        if (*controller ? !strstr(list, wanted) : *names != 0) continue;
        memcpy(group, line, strlen(line) + 1);
        if (strcmp(group, "/") == 0) *group = 0;
        return true;
    }
    return false;
}

/* False if there is no room for it; then there is no such file either. */
static bool join(char path[PATH_SIZE], const char *dir, const char *name)
{
    int size = snprintf(path, PATH_SIZE, "%s/%s", dir, name);
    return size > 0 && size < PATH_SIZE;
}

/* The limit of one group; false if it has none, or there is no such group. */
static bool read_limit(const version_t *version, const char *dir, double *cores)
{
    char path[PATH_SIZE], text[128], *rest;
    if (!join(path, dir, version->limit) || !lm_proc_read(path, text, sizeof text)) return false;
    double quota = strtod(text, &rest), period = strtod(rest, NULL); /* "max", -1: no limit */
    if (version->period) {
        bool told = join(path, dir, version->period) && lm_proc_read(path, text, sizeof text);
        period = told ? strtod(text, NULL) : 0;
    }
    *cores = period > 0 ? quota / period : 0;
    return *cores > 0;
}

static void look_at_group(const version_t *version, const char *dir, lm_quota_t *quota)
{
    double cores;
    if (!read_limit(version, dir, &cores) || cores >= quota->cores) return;
    quota->cores = cores;
    quota->limited = true;
    int n = snprintf(quota->from, sizeof quota->from, "%s/%s", dir, version->limit);
    if (n >= (int)sizeof quota->from) quota->from[sizeof quota->from - 1] = 0;
}

static bool read_counts(const version_t *version, const char *dir, lm_quota_t *quota)
{
    char path[PATH_SIZE], text[4096];
    if (!join(path, dir, "cpu.stat") || !lm_proc_read(path, text, sizeof text)) return false;
    quota->periods = lm_proc_number(text, "nr_periods");
    quota->throttled_periods = lm_proc_number(text, "nr_throttled");
    quota->throttled_seconds =
        (double)lm_proc_number(text, version->throttled) / version->throttled_unit;
    return true;
}

/* From the own group up to where the file system begins. */
static void look_at_all(const version_t *version, const char *top, char group[GROUP_MAX],
                        lm_quota_t *quota)
{
    char dir[PATH_SIZE];
    bool counted = false;
    for (;;) {
        snprintf(dir, sizeof dir, "%s%s", top, group);
        look_at_group(version, dir, quota);
        counted = counted || read_counts(version, dir, quota);
        char *slash = strrchr(group, '/');
        if (!slash) return;
        *slash = 0;
    }
}

static unsigned count_processors(void)
{
    cpu_set_t set;
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned n = online > 0 ? (unsigned)online : 1;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && (unsigned)CPU_COUNT(&set) < n)
        n = (unsigned)CPU_COUNT(&set);
    return n > 0 ? n : 1;
}

void lm_quota_look(const lm_quota_place_t *place, unsigned processors, lm_quota_t *quota)
{
    char group[GROUP_MAX];
    *quota = (lm_quota_t){.processors = processors ? processors : count_processors()};
    quota->cores = quota->processors;
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
        const version_t *version = &versions[i];
        char top[PATH_SIZE];
        snprintf(top, sizeof top, "%s%s", place->mount, version->folder);
        if (access(top, F_OK) != 0 || !find_group(place->groups, version->controller, group))
            continue;
        quota->version = version->version;
        look_at_all(version, top, group, quota);
        return;
    }
}
