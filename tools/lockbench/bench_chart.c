/* Both axes are logarithmic: to the right the part of calls that took longer (1 in 10, 1 in 100),
 * upwards the latency. */
#include "bench_chart.h"

#include <math.h>
#include <string.h>

#include "bench_table.h"

enum { WIDTH = 760, HEIGHT = 420, LEFT = 70, RIGHT = 120, TOP = 50, BOTTOM = 50 };
enum { POINTS_MAX = 32, ROUNDS_MAX = 100 };

static const struct {
    const char *name, *colour;
} lines[] = {{"lockmgr", "#1b6ca8"}, {"etcd", "#c8553d"}, {"echo", "#777777"}};

enum { N_LINES = sizeof lines / sizeof *lines };

typedef struct {
    double part, us;
} point_t;

typedef struct {
    size_t n;
    point_t points[POINTS_MAX];
} line_t;

typedef struct {
    line_t lines[N_LINES];
    double min_us, max_us; /* whole powers of ten */
    double nines;          /* length of the lower axis: 2 is up to 99% */
} chart_t;

/* ---- gathering ------------------------------------------------------------------------------- */

static const json_t *curve_of(const json_t *run)
{
    const char *first = json_string_value(json_object_get(run, "first"));
    if (!first) return NULL;
    return json_object_get(json_object_get(json_object_get(run, "latency_us"), first), "curve");
}

/** The i-th point of a target's curves, median over its rounds; false if no round has it. */
static bool gather_point(const json_t *runs, const char *target, size_t i, point_t *point)
{
    double values[ROUNDS_MAX];
    size_t n = 0, at;
    json_t *run;
    json_array_foreach(runs, at, run)
    {
        const char *name = json_string_value(json_object_get(run, "target"));
        const json_t *pair = json_array_get(curve_of(run), i);
        if (!pair || !name || strcmp(name, target) != 0 || n == ROUNDS_MAX) continue;
        point->part = json_number_value(json_array_get(pair, 0));
        values[n++] = json_number_value(json_array_get(pair, 1));
    }
    point->us = fmax(bench_table_median(values, n), 1);
    return n > 0;
}

static double nines_of(double part) { return -log10(1 - fmin(part, 0.999999)); }

static bool gather(const json_t *runs, chart_t *c)
{
    size_t n = 0;
    double least = INFINITY, most = 0;
    memset(c, 0, sizeof *c);
    for (size_t l = 0; l < N_LINES; l++) {
        line_t *line = &c->lines[l];
        while (line->n < POINTS_MAX &&
               gather_point(runs, lines[l].name, line->n, &line->points[line->n])) {
            const point_t *p = &line->points[line->n++];
            least = fmin(least, p->us);
            most = fmax(most, p->us);
            c->nines = fmax(c->nines, nines_of(p->part));
        }
        n += line->n;
    }
    if (n == 0) return false;
    c->nines = fmax(ceil(c->nines), 1);
    c->min_us = pow(10, floor(log10(least)));
    c->max_us = fmax(pow(10, ceil(log10(most))), c->min_us * 10);
    return true;
}

/* ---- drawing --------------------------------------------------------------------------------- */

static double x_of(const chart_t *c, double nines)
{
    return LEFT + nines / c->nines * (WIDTH - LEFT - RIGHT);
}

static double y_of(const chart_t *c, double us)
{
    double part = log10(us / c->min_us) / log10(c->max_us / c->min_us);
    return HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM);
}

static void draw_text(FILE *out, double x, double y, const char *anchor, const char *text)
{
    fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", x, y, anchor);
    for (const char *c = text; *c; c++) {
        if (*c == '<')
            fputs("&lt;", out);
        else if (*c == '&')
            fputs("&amp;", out);
        else
            fputc(*c, out);
    }
    fputs("</text>\n", out);
}

static void draw_rule(FILE *out, double x1, double y1, double x2, double y2)
{
    fprintf(out, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"#ddd\"/>\n", x1,
            y1, x2, y2);
}

static void draw_axes(const chart_t *c, FILE *out)
{
    char text[32];
    for (double us = c->min_us; us <= c->max_us * 1.01; us *= 10) {
        draw_rule(out, LEFT, y_of(c, us), WIDTH - RIGHT, y_of(c, us));
        snprintf(text, sizeof text, "%g ms", us / 1e3);
        draw_text(out, LEFT - 8, y_of(c, us) + 4, "end", text);
    }
    for (int nines = 0; nines <= (int)c->nines; nines++) {
        draw_rule(out, x_of(c, nines), TOP, x_of(c, nines), HEIGHT - BOTTOM);
        snprintf(text, sizeof text, "%g%%", 100 - 100 / pow(10, nines));
        draw_text(out, x_of(c, nines), HEIGHT - BOTTOM + 20, "middle", text);
    }
}

static void draw_line(const chart_t *c, size_t l, double label_y, FILE *out)
{
    const line_t *line = &c->lines[l];
    fprintf(out, "<polyline fill=\"none\" stroke-width=\"2\" stroke=\"%s\" points=\"",
            lines[l].colour);
    for (size_t i = 0; i < line->n; i++)
        fprintf(out, "%s%.1f,%.1f", i ? " " : "", x_of(c, nines_of(line->points[i].part)),
                y_of(c, line->points[i].us));
    fprintf(out, "\"/>\n<rect x=\"%d\" y=\"%.1f\" width=\"14\" height=\"4\" fill=\"%s\"/>\n",
            WIDTH - RIGHT + 14, label_y - 6, lines[l].colour);
    draw_text(out, WIDTH - RIGHT + 34, label_y, "start", lines[l].name);
}

bool bench_chart_draw(const json_t *runs, const char *title, FILE *out)
{
    chart_t c;
    double label_y = TOP + 10;
    if (!gather(runs, &c)) return false;
    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" "
            "font-family=\"sans-serif\" font-size=\"12\">\n"
            "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
            WIDTH, HEIGHT);
    draw_text(out, LEFT, 26, "start", title);
    draw_axes(&c, out);
    for (size_t l = 0; l < N_LINES; l++) {
        if (c.lines[l].n == 0) continue;
        draw_line(&c, l, label_y, out);
        label_y += 20;
    }
    fputs("</svg>\n", out);
    return true;
}
