/* The metrics as JSON, for people who look at one node: names, and the value of one of them, over
 * all labels or for those that were asked for. Names are those of the Prometheus page without
 * _total and with dots: lockmgr.raft.elections.started. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base_arena.h"
#include "health_families.h"
#include "health_json.h"

static char *dotted(const lm_bus_metric_t *metric)
{
    lm_bytes_t stem = health_families_stem(metric);
    char *name = strndup(stem.size ? (const char *)stem.data : "", stem.size);
    for (char *c = name; *c; c++)
        if (*c == '_') *c = '.';
    return name;
}

health_answer_t health_metrics_names(const health_t *health, const health_request_t *request)
{
    json_t *names = json_array();
    health_families_t *all = health_families_collect(health, NULL);
    for (size_t i = 0; i < all->n; i = health_families_end(all, i)) {
        char *name = dotted(all->items[i]);
        json_array_append_new(names, json_string(name));
        free(name);
    }
    free(all);
    return health_json_answer(request, 200, json_pack("{s:o}", "names", names));
}

/* ---- one of them ----------------------------------------------------------------------------- */

static const lm_bus_detail_t *label_of(const lm_bus_metric_t *metric, const char *key,
                                       size_t length)
{
    for (size_t i = 0; i < metric->n_labels; i++)
        if (lm_bytes_equal(metric->labels[i].key, lm_bytes(key, length))) return &metric->labels[i];
    return NULL;
}

/** Whether a sample has the label of a tag=KEY:VALUE. */
static bool has_tag(const lm_bus_metric_t *metric, const char *tag)
{
    size_t length = strcspn(tag, ":");
    const lm_bus_detail_t *label = label_of(metric, tag, length);
    return label && lm_bytes_equal(label->value, lm_bytes_of(tag + length + 1));
}

static bool has_tags(const lm_bus_metric_t *metric, const health_request_t *request)
{
    for (size_t i = 0; i < request->n_tags; i++)
        if (!has_tag(metric, request->tags[i])) return false;
    return true;
}

/* The samples of a name that have the wanted labels move to the front; returns how many. */
static size_t select_samples(health_families_t *all, const char *name,
                             const health_request_t *request)
{
    size_t n = 0;
    for (size_t first = 0, end; first < all->n && n == 0; first = end) {
        end = health_families_end(all, first);
        char *own = dotted(all->items[first]);
        bool is_it = strcmp(own, name) == 0;
        free(own);
        for (size_t i = first; is_it && i < end; i++)
            if (has_tags(all->items[i], request)) all->items[n++] = all->items[i];
    }
    return n;
}

static json_t *measurement(const char *statistic, double value)
{
    return json_pack("{s:s,s:f}", "statistic", statistic, "value", value);
}

static json_t *measurements(const health_families_t *all, size_t n)
{
    double value = 0, count = 0;
    for (size_t i = 0; i < n; i++) {
        value += all->items[i]->value;
        count += health_families_count(all->items[i]);
    }
    switch (all->items[0]->kind) {
    case LM_BUS_METRIC_KIND_HISTOGRAM:
        return json_pack("[o,o]", measurement("COUNT", count), measurement("TOTAL_TIME", value));
    case LM_BUS_METRIC_KIND_COUNTER: return json_pack("[o]", measurement("COUNT", value));
    default: return json_pack("[o]", measurement("VALUE", value));
    }
}

static void add_value(json_t *values, lm_bytes_t value)
{
    json_t *text = health_json_text(value), *one;
    size_t i;
    json_array_foreach(values, i, one) if (json_equal(one, text)) break;
    if (text && i == json_array_size(values)) json_array_append(values, text);
    json_decref(text);
}

static bool is_asked(const health_request_t *request, lm_bytes_t key)
{
    for (size_t i = 0; i < request->n_tags; i++)
        if (lm_bytes_equal(key, lm_bytes(request->tags[i], strcspn(request->tags[i], ":"))))
            return true;
    return false;
}

/* All samples of one name have the same labels. */
static json_t *available_tags(const health_families_t *all, size_t n,
                              const health_request_t *request)
{
    json_t *tags = json_array();
    for (size_t k = 0; k < all->items[0]->n_labels; k++) {
        lm_bytes_t key = all->items[0]->labels[k].key;
        if (is_asked(request, key)) continue;
        json_t *values = json_array();
        for (size_t i = 0; i < n; i++) {
            const lm_bus_detail_t *label =
                label_of(all->items[i], (const char *)key.data, key.size);
            if (label) add_value(values, label->value);
        }
        json_array_append_new(
            tags, json_pack("{s:o,s:o}", "tag", health_json_text(key), "values", values));
    }
    return tags;
}

static const char *unit_of(lm_bytes_t stem)
{
    static const char *const units[] = {"seconds", "bytes", "cores"};
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        size_t length = strlen(units[i]);
        if (stem.size > length && memcmp(stem.data + stem.size - length, units[i], length) == 0)
            return units[i];
    }
    return NULL;
}

health_answer_t health_metrics_one(const health_t *health, const health_request_t *request,
                                   const char *name)
{
    for (size_t i = 0; i < request->n_tags; i++)
        if (!strchr(request->tags[i], ':'))
            return health_json_error(request, 400, "Bad Request: tag=KEY:VALUE is wanted");
    if (request->too_many_tags)
        return health_json_error(request, 400, "Bad Request: too many tags");
    health_families_t *all = health_families_collect(health, NULL);
    size_t n = select_samples(all, name, request);
    if (n == 0) {
        free(all);
        return health_json_error(request, 404, "Not Found");
    }
    const lm_bus_metric_t *first = all->items[0];
    json_t *json = json_object();
    json_object_set_new(json, "name", json_string(name));
    json_object_set_new(json, "description", health_json_text(first->help));
    const char *unit = unit_of(health_families_stem(first));
    if (unit) json_object_set_new(json, "baseUnit", json_string(unit));
    json_object_set_new(json, "measurements", measurements(all, n));
    json_object_set_new(json, "availableTags", available_tags(all, n, request));
    free(all);
    return health_json_answer(request, 200, json);
}
