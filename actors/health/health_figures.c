#include "health_figures.h"

#include "health_build.h"

typedef struct {
    lm_bus_metric_t *metrics;
    size_t n;
    lm_arena_t *arena;
} figures_t;

/* label_value without a byte: no label. */
static void add(figures_t *f, const char *name, const char *help, int32_t kind,
                lm_bytes_t label_value, double value)
{
    if (f->n == HEALTH_FIGURES_MAX) return;
    lm_bus_metric_t *metric = &f->metrics[f->n++];
    *metric = (lm_bus_metric_t){
        .name = lm_bytes_of(name), .help = lm_bytes_of(help), .kind = kind, .value = value};
    if (!label_value.size) return;
    metric->n_labels = 1;
    metric->labels = lm_arena_alloc(f->arena, sizeof *metric->labels);
    *metric->labels = (lm_bus_detail_t){.key = lm_bytes_of("actor"), .value = label_value};
}

static void add_build(figures_t *f)
{
    const health_build_t *build = health_build();
    add(f, "lockmgr_build_info", "Version and commit of the software.", LM_BUS_METRIC_KIND_GAUGE,
        lm_bytes(NULL, 0), 1);
    lm_bus_detail_t *labels = lm_arena_alloc(f->arena, 2 * sizeof *labels);
    labels[0] = (lm_bus_detail_t){lm_bytes_of("version"), lm_bytes_of(build->version), false};
    labels[1] = (lm_bus_detail_t){lm_bytes_of("commit"), lm_bytes_of(build->commit), false};
    f->metrics[f->n - 1].labels = labels;
    f->metrics[f->n - 1].n_labels = 2;
}

static void add_processes(figures_t *f, const health_system_t *system)
{
    for (size_t i = 0; i < system->n_processes; i++) {
        const health_process_t *p = &system->processes[i];
        lm_bytes_t name = lm_bytes_of(p->name);
        add(f, "process_cpu_seconds_total", "Time spent on processors, user and system.",
            LM_BUS_METRIC_KIND_COUNTER, name, p->cpu_seconds);
        const struct {
            const char *name, *help;
            double value;
        } rows[] = {
            {"process_resident_memory_bytes", "Resident memory.", (double)p->resident_bytes},
            {"process_virtual_memory_bytes", "Virtual memory.", (double)p->virtual_bytes},
            {"process_open_fds", "Open file descriptors.", (double)p->open_fds},
            {"process_max_fds", "File descriptors that may be open.", (double)p->max_fds},
            {"process_start_time_seconds", "When it began, in seconds since 1970.", p->started},
        };
        for (size_t k = 0; k < sizeof rows / sizeof *rows; k++)
            add(f, rows[k].name, rows[k].help, LM_BUS_METRIC_KIND_GAUGE, name, rows[k].value);
    }
}

static void add_children(figures_t *f, const lm_bus_child_table_t *table)
{
    for (size_t i = 0; table && i < table->n_children; i++) {
        const lm_bus_child_t *child = &table->children[i];
        add(f, "lockmgr_actor_up", "1 if the actor is ready.", LM_BUS_METRIC_KIND_GAUGE,
            child->name, lm_bytes_equal(child->state, lm_bytes_of("ready")));
        add(f, "lockmgr_actor_restarts_total", "Times that the supervisor has replaced the actor.",
            LM_BUS_METRIC_KIND_COUNTER, child->name, child->restarts);
    }
}

static void add_machine(figures_t *f, const health_system_t *system)
{
    const lm_bytes_t none = lm_bytes(NULL, 0);
    add(f, "lockmgr_cgroup_cpu_quota_cores", "Processors that this node may use.",
        LM_BUS_METRIC_KIND_GAUGE, none, system->quota.cores);
    add(f, "lockmgr_cgroup_cpu_periods_total", "Periods of the processor limit.",
        LM_BUS_METRIC_KIND_COUNTER, none, (double)system->quota.periods);
    add(f, "lockmgr_cgroup_cpu_throttled_periods_total", "Periods in which the limit was reached.",
        LM_BUS_METRIC_KIND_COUNTER, none, (double)system->quota.throttled_periods);
    add(f, "lockmgr_cgroup_cpu_throttled_seconds_total", "Time stood still because of the limit.",
        LM_BUS_METRIC_KIND_COUNTER, none, system->quota.throttled_seconds);
    if (!system->has_disk) return;
    add(f, "lockmgr_data_disk_size_bytes", "Size of the file system of the data directory.",
        LM_BUS_METRIC_KIND_GAUGE, none, (double)system->disk_bytes);
    add(f, "lockmgr_data_disk_free_bytes", "What is free there for this node.",
        LM_BUS_METRIC_KIND_GAUGE, none, (double)system->disk_free_bytes);
}

size_t health_figures_fill(const health_t *health, lm_bus_metric_t *metrics, lm_arena_t *arena)
{
    figures_t f = {.metrics = metrics, .arena = arena};
    const char *reason;
    const lm_bytes_t none = lm_bytes(NULL, 0);
    add_build(&f);
    add(&f, "lockmgr_node_ready", "1 if readiness is UP.", LM_BUS_METRIC_KIND_GAUGE, none,
        health_readiness(health, &reason) == HEALTH_UP);
    add(&f, "lockmgr_node_live", "1 if liveness is UP.", LM_BUS_METRIC_KIND_GAUGE, none,
        health_liveness(health, &reason) == HEALTH_UP);
    add(&f, "lockmgr_actuator_unauthorized_total",
        "Requests of the actuator without a token that counts.", LM_BUS_METRIC_KIND_COUNTER, none,
        (double)health_strangers(health));
    add_children(&f, health_children(health));
    if (health_system(health)->n_processes > 0) { /* has been looked at */
        add_machine(&f, health_system(health));
        add_processes(&f, health_system(health));
    }
    return f.n;
}
