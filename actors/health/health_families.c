#include "health_families.h"

#include <stdlib.h>
#include <string.h>

#include "base_arena.h"

static int by_name(const void *a, const void *b)
{
    const lm_bus_metric_t *x = *(const lm_bus_metric_t *const *)a;
    const lm_bus_metric_t *y = *(const lm_bus_metric_t *const *)b;
    int order = lm_bytes_compare(x->name, y->name);
    if (order != 0) return order;
    return x < y ? -1 : x > y; /* as they were reported */
}

static bool is_included(const char *list, lm_bytes_t name)
{
    if (!list || !*list) return true;
    for (const char *p = list; *p;) {
        size_t length = strcspn(p, ",");
        if (lm_bytes_equal(name, lm_bytes(p, length))) return true;
        p += length + (p[length] == ',');
    }
    return false;
}

health_families_t *health_families_collect(const health_t *health, const char *included)
{
    health_families_t *all = lm_alloc(sizeof *all);
    for (int p = LM_SUPERVISOR; p < LM_PARTICIPANTS; p++) {
        const lm_bus_status_report_t *report = health_voice(health, (lm_participant_t)p)->report;
        for (size_t i = 0; report && i < report->n_metrics && all->n < HEALTH_SAMPLES_MAX; i++)
            if (is_included(included, report->metrics[i].name))
                all->items[all->n++] = &report->metrics[i];
    }
    qsort(all->items, all->n, sizeof(const lm_bus_metric_t *), by_name);
    return all;
}

size_t health_families_end(const health_families_t *all, size_t first)
{
    size_t i = first + 1;
    while (i < all->n && lm_bytes_equal(all->items[i]->name, all->items[first]->name)) i++;
    return i;
}

lm_bytes_t health_families_stem(const lm_bus_metric_t *metric)
{
    static const char suffix[] = "_total";
    size_t length = sizeof suffix - 1;
    lm_bytes_t stem = metric->name;
    if (metric->kind == LM_BUS_METRIC_KIND_COUNTER && stem.size > length &&
        memcmp(stem.data + stem.size - length, suffix, length) == 0)
        stem.size -= length;
    return stem;
}

double health_families_count(const lm_bus_metric_t *metric)
{
    uint64_t count = 0;
    for (size_t i = 0; i < metric->n_buckets; i++) count += metric->buckets[i];
    return (double)count;
}
