/* Every answer becomes JSON first; the other forms are made from that. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"

enum { DEPTH_MAX = 16, COLUMN_MAX = 60 };

/* ---- messages to JSON ------------------------------------------------------------------------ */

typedef struct {
    json_t *stack[DEPTH_MAX];
    int depth;
} builder_t;

static void put(void *arg, const char *name, json_t *value)
{
    builder_t *b = arg;
    json_t *parent = b->stack[b->depth];
    if (name)
        json_object_set_new(parent, name, value);
    else
        json_array_append_new(parent, value);
}

static void open_value(void *arg, const char *name, json_t *value)
{
    builder_t *b = arg;
    put(arg, name, value);
    b->stack[++b->depth] = value;
}

static void begin_message(void *arg, const char *name) { open_value(arg, name, json_object()); }
static void begin_list(void *arg, const char *name) { open_value(arg, name, json_array()); }
static void end_value(void *arg) { ((builder_t *)arg)->depth--; }

static void put_text(void *arg, const char *name, lm_bytes_t v)
{
    put(arg, name, json_stringn(v.size ? (const char *)v.data : "", v.size));
}

static void put_bytes(void *arg, const char *name, lm_bytes_t v)
{
    char *hex = calloc(v.size * 2 + 1, 1);
    for (size_t i = 0; i < v.size; i++) snprintf(hex + 2 * i, 3, "%02x", v.data[i]);
    put(arg, name, json_string(hex));
    free(hex);
}

static void put_bool(void *arg, const char *name, bool v) { put(arg, name, json_boolean(v)); }
static void put_int32(void *arg, const char *name, int64_t v) { put(arg, name, json_integer(v)); }
static void put_real(void *arg, const char *name, double v) { put(arg, name, json_real(v)); }

/* 64-bit numbers are strings, as proto JSON has them: JavaScript would round them. */
static void put_int64(void *arg, const char *name, int64_t v)
{
    put(arg, name, json_sprintf("%" PRId64, v));
}

static void put_uint64(void *arg, const char *name, uint64_t v)
{
    put(arg, name, json_sprintf("%" PRIu64, v));
}

static void put_enum(void *arg, const char *name, int32_t v, const char *value_name)
{
    put(arg, name, value_name ? json_string(value_name) : json_integer(v));
}

json_t *ctl_json_of(const lm_wire_type_t *type, const void *message)
{
    static const lm_wire_visitor_t visitor = {
        .begin_message = begin_message,
        .end_message = end_value,
        .begin_list = begin_list,
        .end_list = end_value,
        .text = put_text,
        .bytes = put_bytes,
        .boolean = put_bool,
        .int32 = put_int32,
        .int64 = put_int64,
        .uint64 = put_uint64,
        .real = put_real,
        .enumeration = put_enum,
    };
    builder_t builder = {.stack = {json_object()}};
    lm_wire_visit(type, message, true, &visitor, &builder);
    return builder.stack[0];
}

/* ---- forms ----------------------------------------------------------------------------------- */

/** A scalar as text; the caller frees it. */
static char *scalar_text(const json_t *value)
{
    if (!value) return strdup("");
    if (json_is_string(value)) return strdup(json_string_value(value));
    return json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
}

static void print_yaml(const json_t *value, int indent, bool inline_first);

static void print_yaml_child(const json_t *value, int indent)
{
    if (json_is_object(value) || json_is_array(value)) {
        bool empty =
            json_is_object(value) ? json_object_size(value) == 0 : json_array_size(value) == 0;
        if (empty) {
            puts(json_is_object(value) ? " {}" : " []");
            return;
        }
        putchar('\n');
        print_yaml(value, indent, false);
        return;
    }
    /* A JSON scalar is a YAML scalar too, quotes and escapes included. */
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    printf(" %s\n", text);
    free(text);
}

static void print_yaml(const json_t *value, int indent, bool inline_first)
{
    const char *key;
    json_t *member;
    size_t i;
    if (json_is_array(value)) {
        json_array_foreach(value, i, member)
        {
            printf("%*s-", indent, "");
            if (json_is_object(member)) {
                putchar(' ');
                print_yaml(member, indent + 2, true);
            } else {
                print_yaml_child(member, indent + 2);
            }
        }
        return;
    }
    json_object_foreach((json_t *)(uintptr_t)value, key, member)
    {
        printf("%*s%s:", inline_first ? 0 : indent, "", key);
        inline_first = false;
        print_yaml_child(member, indent + 2);
    }
}

static void print_members(const json_t *object, const char *prefix)
{
    const char *key;
    json_t *member;
    json_object_foreach((json_t *)(uintptr_t)object, key, member)
    {
        char name[128];
        snprintf(name, sizeof name, "%s%s", prefix, key);
        if (json_is_object(member)) {
            strncat(name, ".", sizeof name - strlen(name) - 1);
            print_members(member, name);
            continue;
        }
        if (json_is_array(member) && json_array_size(member) == 0) continue;
        char *text = scalar_text(member);
        printf("%-24s %s\n", name, text);
        free(text);
    }
}

/** Member of an object by a dotted path; list elements by number. */
static const json_t *member_on(const json_t *value, char *path)
{
    char *part;
    while (value && (part = strsep(&path, ".")))
        value = json_is_array(value) ? json_array_get(value, strtoul(part, NULL, 10))
                                     : json_object_get(value, part);
    return value;
}

/** The first of the paths, with | between them, that leads to something; else the last. */
static const json_t *member_at(const json_t *value, const char *paths)
{
    char copy[128], *rest = copy, *path;
    const json_t *member = NULL;
    snprintf(copy, sizeof copy, "%s", paths);
    while ((path = strsep(&rest, "|"))) {
        member = member_on(value, path);
        if (member && (!json_is_string(member) || json_string_length(member))) break;
    }
    return member;
}

static void print_rows(const json_t *list, const ctl_column_t *columns)
{
    size_t n = 0, i;
    while (columns[n].title) n++;
    size_t *widths = lm_alloc(n * sizeof *widths);
    json_t *row;
    for (size_t c = 0; c < n; c++) widths[c] = strlen(columns[c].title);
    json_array_foreach(list, i, row) for (size_t c = 0; c < n; c++)
    {
        char *text = scalar_text(member_at(row, columns[c].member));
        size_t length = strlen(text);
        if (length > COLUMN_MAX) length = COLUMN_MAX;
        if (length > widths[c]) widths[c] = length;
        free(text);
    }
    for (size_t c = 0; c < n; c++) printf("%-*s  ", (int)widths[c], columns[c].title);
    putchar('\n');
    json_array_foreach(list, i, row)
    {
        for (size_t c = 0; c < n; c++) {
            char *text = scalar_text(member_at(row, columns[c].member));
            printf("%-*s  ", (int)widths[c], text);
            free(text);
        }
        putchar('\n');
    }
    free(widths);
}

static void print_simple(const json_t *value, const char *simple)
{
    size_t i;
    json_t *row;
    if (json_is_array(value)) {
        json_array_foreach(value, i, row) print_simple(row, simple);
        return;
    }
    char *text = scalar_text(member_at(value, simple));
    puts(text);
    free(text);
}

void ctl_print(const ctl_options_t *options, json_t *value, const ctl_column_t *columns,
               const char *simple)
{
    if (options->quiet) return;
    switch (options->form) {
    case CTL_JSON:
        json_dumpf(value, stdout, JSON_INDENT(2));
        putchar('\n');
        break;
    case CTL_YAML: print_yaml(value, 0, false); break;
    case CTL_SIMPLE: print_simple(value, simple); break;
    case CTL_TABLE:
        if (columns && json_is_array(value))
            print_rows(value, columns);
        else
            print_members(value, "");
        break;
    }
    fflush(stdout);
}
