#include "health_system.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base_proc.h"

/* ---- processes ------------------------------------------------------------------------------- */

static uint64_t count_fds(int pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd", pid);
    DIR *dir = opendir(path);
    if (!dir) return 0;
    uint64_t n = 0;
    for (struct dirent *one; (one = readdir(dir));) n += one->d_name[0] != '.';
    closedir(dir);
    return n;
}

static uint64_t max_fds(int pid)
{
    static const char words[] = "Max open files";
    char path[64], text[4096];
    snprintf(path, sizeof path, "/proc/%d/limits", pid);
    const char *line = lm_proc_read(path, text, sizeof text) ? strstr(text, words) : NULL;
    return line ? strtoull(line + sizeof words - 1, NULL, 10) : 0;
}

static uint64_t boot_time(void)
{
    static uint64_t known; /* does not change */
    char text[65536];
    if (!known && lm_proc_read("/proc/stat", text, sizeof text))
        known = lm_proc_number(text, "btime");
    return known;
}

/* Fields of /proc/PID/stat, counted from 1 as in its manual. */
enum {
    STAT_STATE = 3,
    STAT_USER = 14,
    STAT_KERNEL,
    STAT_START = 22,
    STAT_VIRTUAL,
    STAT_PAGES,
    STAT_END
};

static bool read_stat(int pid, uint64_t fields[STAT_END])
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    if (pid <= 0 || !lm_proc_read(path, text, sizeof text)) return false;
    char *rest = strrchr(text, ')'); /* the name before it may hold anything */
    if (!rest || !rest[1]) return false;
    rest += 2;
    for (int i = STAT_STATE; i < STAT_END; i++) {
        const char *field = strsep(&rest, " ");
        if (!field) return false;
        fields[i] = strtoull(field, NULL, 10);
    }
    return true;
}

static void look_at_process(health_process_t *p)
{
    uint64_t fields[STAT_END];
    double ticks = (double)sysconf(_SC_CLK_TCK);
    if (!read_stat(p->pid, fields)) return;
    p->cpu_seconds = (double)(fields[STAT_USER] + fields[STAT_KERNEL]) / ticks;
    p->started = (double)boot_time() + (double)fields[STAT_START] / ticks;
    p->virtual_bytes = fields[STAT_VIRTUAL];
    p->resident_bytes = fields[STAT_PAGES] * (uint64_t)sysconf(_SC_PAGESIZE);
    p->open_fds = count_fds(p->pid);
    p->max_fds = max_fds(p->pid);
}

static void list_process(health_system_t *system, lm_bytes_t name, int pid)
{
    if (system->n_processes == HEALTH_PROCESSES_MAX) return;
    health_process_t *p = &system->processes[system->n_processes++];
    *p = (health_process_t){.pid = pid};
    snprintf(p->name, sizeof p->name, "%.*s", LM_BYTES_ARG(name));
}

/* Actors that are threads are all in this process. */
void health_system_list(health_system_t *system, const lm_bus_child_table_t *table)
{
    int self = (int)getpid();
    bool threads = true;
    system->n_processes = 0;
    for (size_t i = 0; i < table->n_children; i++)
        threads = threads && (int)table->children[i].pid == self;
    if (threads) {
        list_process(system, lm_bytes_of("node"), self);
        return;
    }
    list_process(system, lm_bytes_of("supervisor"), (int)getppid());
    for (size_t i = 0; i < table->n_children; i++)
        list_process(system, table->children[i].name, (int)table->children[i].pid);
}

void health_system_look(health_system_t *system, const lm_bus_child_table_t *children,
                        const char *data_dir)
{
    struct statvfs fs;
    health_system_list(system, children);
    for (size_t i = 0; i < system->n_processes; i++) look_at_process(&system->processes[i]);
    lm_quota_look(&lm_quota_mine, 0, &system->quota);
    system->has_disk = statvfs(data_dir, &fs) == 0;
    if (!system->has_disk) return;
    system->disk_bytes = (uint64_t)fs.f_blocks * fs.f_frsize;
    system->disk_free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
}
