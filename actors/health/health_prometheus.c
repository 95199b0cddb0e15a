/* The Prometheus page: every metric that the actors last reported, family by family. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base_histogram.h"
#include "health_families.h"
#include "health_pages.h"

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
    static const char *const types[] = {[LM_BUS_METRIC_KIND_GAUGE] = "gauge",
                                        [LM_BUS_METRIC_KIND_COUNTER] = "counter",
                                        [LM_BUS_METRIC_KIND_HISTOGRAM] = "histogram"};
    bool known = m->kind >= 0 && (size_t)m->kind < sizeof types / sizeof *types;
    /* OpenMetrics names a counter's family without the suffix of its samples. */
    lm_bytes_t family = openmetrics ? health_families_stem(m) : m->name;
    fprintf(out, "# HELP %.*s ", LM_BYTES_ARG(family));
    print_escaped(out, m->help, openmetrics);
    fprintf(out, "\n# TYPE %.*s %s\n", LM_BYTES_ARG(family), known ? types[m->kind] : "gauge");
}

/* le: bound of a bucket; NULL: none */
static void print_labels(FILE *out, const lm_bus_metric_t *m, const char *le)
{
    char before = '{';
    for (size_t i = 0; i < m->n_labels; i++, before = ',') {
        fprintf(out, "%c%.*s=\"", before, LM_BYTES_ARG(m->labels[i].key));
        print_escaped(out, m->labels[i].value, true);
        fputc('"', out);
    }
    if (le) fprintf(out, "%cle=\"%s\"", before, le);
    if (le || m->n_labels > 0) fputc('}', out);
}

static void print_value(FILE *out, double value)
{
    if (value == floor(value) && fabs(value) < 1e15)
        fprintf(out, " %" PRId64 "\n", (int64_t)value);
    else
        fprintf(out, " %.9g\n", value);
}

static void print_histogram(FILE *out, const lm_bus_metric_t *m)
{
    uint64_t below = 0;
    for (size_t i = 0; i < m->n_buckets && i < LM_HISTOGRAM_BUCKETS; i++) {
        char le[32] = "+Inf";
        if (i < LM_HISTOGRAM_BOUNDS) {
            double bound = (double)lm_histogram_bounds_us[i] / 1e6;
            snprintf(le, sizeof le, bound == floor(bound) ? "%.1f" : "%g", bound);
        }
        below += m->buckets[i];
        fprintf(out, "%.*s_bucket", LM_BYTES_ARG(m->name));
        print_labels(out, m, le);
        print_value(out, (double)below);
    }
    fprintf(out, "%.*s_sum", LM_BYTES_ARG(m->name));
    print_labels(out, m, NULL);
    print_value(out, m->value);
    fprintf(out, "%.*s_count", LM_BYTES_ARG(m->name));
    print_labels(out, m, NULL);
    print_value(out, (double)below);
}

static void print_sample(FILE *out, const lm_bus_metric_t *m)
{
    if (m->kind == LM_BUS_METRIC_KIND_HISTOGRAM) {
        print_histogram(out, m);
        return;
    }
    fprintf(out, "%.*s", LM_BYTES_ARG(m->name));
    print_labels(out, m, NULL);
    print_value(out, m->value);
}

static bool wants_openmetrics(const char *accept)
{
    return accept && strstr(accept, "application/openmetrics-text") != NULL;
}

health_answer_t health_prometheus_page(const health_t *health, const health_request_t *request)
{
    bool openmetrics = wants_openmetrics(request->accept);
    health_answer_t answer = {
        .code = 200,
        .content_type = openmetrics ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                                    : "text/plain; version=0.0.4; charset=utf-8",
    };
    FILE *out = open_memstream(&answer.body, &answer.size);
    health_families_t *all = health_families_collect(health, request->included_names);
    for (size_t first = 0, end; first < all->n; first = end) {
        end = health_families_end(all, first);
        print_head(out, all->items[first], openmetrics);
        for (size_t i = first; i < end; i++) print_sample(out, all->items[i]);
    }
    if (openmetrics) fputs("# EOF\n", out);
    fclose(out);
    free(all);
    return answer;
}
