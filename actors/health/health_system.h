/* What the kernel says of this node: its processes, the share of processors it may use, its disk.
 *
 * Looked at by the driver every few seconds, so that no page waits for the kernel. What cannot be
 * read is zero, or absent where a zero would lie.
 */
#ifndef LM_HEALTH_SYSTEM_H
#define LM_HEALTH_SYSTEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base_quota.h"
#include "wire_bus.h"

enum { HEALTH_PROCESSES_MAX = 8, HEALTH_NAME_SIZE = 32 };

typedef struct {
    char name[HEALTH_NAME_SIZE]; /* of the actor, "supervisor", or "node" if all are threads */
    int pid;
    double cpu_seconds, started; /* started: seconds since 1970 */
    uint64_t resident_bytes, virtual_bytes, open_fds, max_fds;
} health_process_t;

typedef struct {
    health_process_t processes[HEALTH_PROCESSES_MAX];
    size_t n_processes;
    lm_quota_t quota; /* processors that this node may use */
    bool has_disk;
    uint64_t disk_bytes, disk_free_bytes; /* free: for this user */
} health_system_t;
/** Lists the processes, and nothing of them but names and numbers. */
void health_system_list(health_system_t *system, const lm_bus_child_table_t *children);
/** Looks at everything anew. The calling process is one of the children, and its parent their
 *  supervisor; or all of them are threads of it. A process that is not there any more has zeros.
 *  data_dir ends with NUL. */
void health_system_look(health_system_t *system, const lm_bus_child_table_t *children,
                        const char *data_dir);

#endif
