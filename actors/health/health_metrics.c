/* The Prometheus page: every metric that the actors last reported, family by family. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "health_pages.h"

enum { METRICS_MAX = 8192 };

typedef struct {
    const lm_bus_metric_t *items[METRICS_MAX];
    size_t n;
} collection_t;

/** Names become families: all samples of one name stand together, as the format demands. */
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

static void collect(const health_t *health, const char *included, collection_t *all)
{
    for (int p = LM_SUPERVISOR; p < LM_PARTICIPANTS; p++) {
        const lm_bus_status_report_t *report = health_voice(health, (lm_participant_t)p)->report;
        for (size_t i = 0; report && i < report->n_metrics && all->n < METRICS_MAX; i++)
            if (is_included(included, report->metrics[i].name))
                all->items[all->n++] = &report->metrics[i];
    }
    qsort(all->items, all->n, sizeof(const lm_bus_metric_t *), by_name);
}

/** Label values and help texts: backslash, quote and newline are escaped. */
static void print_escaped(FILE *out, lm_bytes_t value, bool quotes)
{
    for (size_t i = 0; i < value.size; i++) {
        char c = (char)value.data[i];
        if (c == '\\' || (c == '"' && quotes))
            fprintf(out, "\\%c", c);
        else if (c == '\n')
            fputs("\\n", out);
        else
            fputc(c, out);
    }
}

static void print_head(FILE *out, const lm_bus_metric_t *m, bool openmetrics)
{
    bool counter = m->kind == LM_BUS_METRIC_KIND_COUNTER;
    lm_bytes_t family = m->name;
    /* OpenMetrics names a counter's family without the suffix of its samples. */
    if (openmetrics && counter && family.size > 6 &&
        memcmp(family.data + family.size - 6, "_total", 6) == 0)
        family.size -= 6;
    fprintf(out, "# HELP %.*s ", LM_BYTES_ARG(family));
    print_escaped(out, m->help, openmetrics);
    fprintf(out, "\n# TYPE %.*s %s\n", LM_BYTES_ARG(family), counter ? "counter" : "gauge");
}

static void print_sample(FILE *out, const lm_bus_metric_t *m)
{
    fprintf(out, "%.*s", LM_BYTES_ARG(m->name));
    for (size_t i = 0; i < m->n_labels; i++) {
        fprintf(out, "%c%.*s=\"", i == 0 ? '{' : ',', LM_BYTES_ARG(m->labels[i].key));
        print_escaped(out, m->labels[i].value, true);
        fputc('"', out);
    }
    if (m->n_labels > 0) fputc('}', out);
    if (m->value == floor(m->value) && fabs(m->value) < 1e15)
        fprintf(out, " %" PRId64 "\n", (int64_t)m->value);
    else
        fprintf(out, " %.9g\n", m->value);
}

static void print_build(FILE *out, const char *included)
{
    if (!is_included(included, lm_bytes_of("lockmgr_build_info"))) return;
    fprintf(out,
            "# HELP lockmgr_build_info Version of the software.\n"
            "# TYPE lockmgr_build_info gauge\n"
            "lockmgr_build_info{version=\"%s\"} 1\n",
            LM_VERSION);
}

health_answer_t health_metrics_page(const health_t *health, const health_request_t *request)
{
    bool openmetrics =
        request->accept && strstr(request->accept, "application/openmetrics-text") != NULL;
    collection_t *all = calloc(1, sizeof *all);
    health_answer_t answer = {
        .code = 200,
        .content_type = openmetrics ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                                    : "text/plain; version=0.0.4; charset=utf-8",
    };
    FILE *out = open_memstream(&answer.body, &answer.size);
    collect(health, request->included_names, all);
    print_build(out, request->included_names);
    for (size_t i = 0; i < all->n; i++) {
        if (i == 0 || !lm_bytes_equal(all->items[i]->name, all->items[i - 1]->name))
            print_head(out, all->items[i], openmetrics);
        print_sample(out, all->items[i]);
    }
    if (openmetrics) fputs("# EOF\n", out);
    fclose(out);
    free(all);
    return answer;
}
