/* Reading the configuration. The only file that knows libconfig. */
#include "sup_config.h"

#include <errno.h>
#include <libconfig.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base_arena.h"
#include "base_bytes.h"
#include "base_check.h"
#include "sup_config_rows.h"
#include "sup_config_rules.h"
#include "sup_config_scan.h"

enum { PATH_MAX_BYTES = 160 };

typedef struct {
    const char *file;
    lm_sup_config_t *config;
    lm_sup_problems_t *problems;
    lm_sup_problems_t *warnings;
    char where[LM_SUP_ROWS_MAX][LM_SUP_WHERE_MAX]; /* of each row's value; "" for a default */
    bool has_peers;
    bool is_broken;      /* the file cannot be read or has a syntax error */
    const char *scanned; /* included file whose numbers were looked at last; the parser's text */
} reader_t;

/* ---- places ---- */

static void print_where(const reader_t *reader, const config_setting_t *setting,
                        char where[LM_SUP_WHERE_MAX])
{
    const char *file = config_setting_source_file(setting);
    snprintf(where, LM_SUP_WHERE_MAX, "%s:%u", file ? file : reader->file,
             (unsigned)config_setting_source_line(setting));
}

static const char *where_of_path(const void *arg, const char *path)
{
    const reader_t *reader = arg;
    const lm_sup_row_t *row = lm_sup_rows_find(lm_sup_rows, lm_sup_n_rows, path, strlen(path));
    LM_CHECK(row, "no row %s", path);
    return reader->where[row - lm_sup_rows];
}

/* ---- values ---- */

static bool is_number(const config_setting_t *setting)
{
    return config_setting_type(setting) == CONFIG_TYPE_INT ||
           config_setting_type(setting) == CONFIG_TYPE_INT64;
}

static bool is_text(const config_setting_t *setting)
{
    return config_setting_type(setting) == CONFIG_TYPE_STRING;
}

/** Files that the main one includes are looked at when the first value of each comes by. */
static void scan_numbers(reader_t *reader, const config_setting_t *setting)
{
    const char *file = config_setting_source_file(setting);
    if (!file || strcmp(file, reader->scanned) == 0 || strcmp(file, reader->file) == 0) return;
    lm_sup_config_scan_numbers(file, reader->problems);
    reader->scanned = file;
}

/** [ "a", "b" ], or the same in parentheses. */
static void read_names(reader_t *reader, const config_setting_t *setting, const lm_sup_row_t *row,
                       const char *path, void *target, const char *where)
{
    int type = config_setting_type(setting), n = config_setting_length(setting);
    bool right = type == CONFIG_TYPE_ARRAY || type == CONFIG_TYPE_LIST;
    for (int i = 0; right && i < n; i++)
        right = is_text(config_setting_get_elem(setting, (unsigned)i));
    if (!right || n == 0) {
        lm_sup_problems_add(reader->problems, where, "%s must be [ \"text\", ... ]; it %s", path,
                            row->rule);
        return;
    }
    lm_sup_rows_clear_names(row, target);
    for (int i = 0; i < n; i++) {
        const config_setting_t *element = config_setting_get_elem(setting, (unsigned)i);
        const char *name = config_setting_get_string(element);
        char at[LM_SUP_WHERE_MAX];
        print_where(reader, element, at);
        lm_sup_rows_add_name(row, target, name, strlen(name), path, at, reader->problems);
    }
}

static void read_value(reader_t *reader, const config_setting_t *setting, const lm_sup_row_t *row,
                       const char *path, void *target, const char *where)
{
    if (is_number(setting)) scan_numbers(reader, setting);
    if (row->type == LM_SUP_NAMES)
        read_names(reader, setting, row, path, target, where);
    else if (row->type == LM_SUP_NUMBER && is_number(setting))
        lm_sup_rows_set_number(row, target, config_setting_get_int64(setting), path, where,
                               reader->problems);
    else if (row->type == LM_SUP_TEXT && is_text(setting))
        lm_sup_rows_set_text(row, target, config_setting_get_string(setting), path, where,
                             reader->problems);
    else
        lm_sup_problems_add(reader->problems, where, "%s must be %s", path,
                            row->type == LM_SUP_NUMBER ? "a whole number" : "a \"text\"");
}

/* ---- lists ---- */

/** A list of groups, each of which becomes one struct. */
typedef struct {
    const char *path;
    const lm_sup_row_t *rows;
    size_t n_rows;
    size_t element_size;
    size_t where_offset;
    size_t max;
    bool may_be_empty;
} list_t;

static void read_element(reader_t *reader, const config_setting_t *group, const list_t *list,
                         char *element)
{
    char *where = element + list->where_offset;
    print_where(reader, group, where);
    bool given[LM_SUP_ROWS_MAX] = {false};
    for (size_t i = 0; i < list->n_rows; i++) lm_sup_rows_default(&list->rows[i], element);
    int n = config_setting_length(group);
    for (int i = 0; i < n; i++) {
        const config_setting_t *setting = config_setting_get_elem(group, (unsigned)i);
        const char *name = config_setting_name(setting);
        char path[PATH_MAX_BYTES], at[LM_SUP_WHERE_MAX];
        snprintf(path, sizeof path, "%s: %s", list->path, name);
        print_where(reader, setting, at);
        const lm_sup_row_t *row = lm_sup_rows_find(list->rows, list->n_rows, name, strlen(name));
        if (!row) {
            lm_sup_problems_add(reader->problems, at, "%s is not a known key", path);
            continue;
        }
        given[row - list->rows] = true;
        read_value(reader, setting, row, path, element, at);
    }
    for (size_t i = 0; i < list->n_rows; i++) {
        if (given[i] || list->rows[i].type == LM_SUP_NUMBER || list->rows[i].text) continue;
        lm_sup_problems_add(reader->problems, where, "%s: %s is missing", list->path,
                            list->rows[i].path);
    }
}

/** Reads a list into an array; returns the number of its elements that were groups. */
static size_t read_list(reader_t *reader, const config_setting_t *setting, const list_t *list,
                        void *array)
{
    char where[LM_SUP_WHERE_MAX];
    print_where(reader, setting, where);
    int n = config_setting_length(setting);
    if (config_setting_type(setting) != CONFIG_TYPE_LIST) {
        lm_sup_problems_add(reader->problems, where, "%s must be a list: ( { ... }, { ... } )",
                            list->path);
        return 0;
    }
    if ((size_t)n > list->max || (n == 0 && !list->may_be_empty))
        lm_sup_problems_add(reader->problems, where, "%s must have between %d and %zu elements",
                            list->path, list->may_be_empty ? 0 : 1, list->max);
    size_t used = 0;
    for (int i = 0; i < n && used < list->max; i++) {
        const config_setting_t *group = config_setting_get_elem(setting, (unsigned)i);
        if (config_setting_type(group) == CONFIG_TYPE_GROUP) {
            read_element(reader, group, list, (char *)array + list->element_size * used++);
            continue;
        }
        print_where(reader, group, where);
        lm_sup_problems_add(reader->problems, where, "%s: each element must be a { group }",
                            list->path);
    }
    return used;
}

static const list_t peers_list = {"peers",
                                  lm_sup_peer_rows,
                                  LM_SUP_PEER_ROWS,
                                  sizeof(lm_sup_peer_t),
                                  offsetof(lm_sup_peer_t, where),
                                  LM_SUP_PEERS_MAX,
                                  false};
static const list_t region_peers_list = {"region.peers",
                                         lm_sup_region_peer_rows,
                                         LM_SUP_REGION_PEER_ROWS,
                                         sizeof(lm_sup_region_peer_t),
                                         offsetof(lm_sup_region_peer_t, where),
                                         LM_SUP_REGION_PEERS_MAX,
                                         true};

static bool read_known_list(reader_t *reader, const config_setting_t *setting, const char *path)
{
    lm_sup_config_t *config = reader->config;
    if (strcmp(path, peers_list.path) == 0) {
        reader->has_peers = true;
        config->n_peers = read_list(reader, setting, &peers_list, config->peers);
        return true;
    }
    if (strcmp(path, region_peers_list.path) == 0) {
        config->n_region_peers =
            read_list(reader, setting, &region_peers_list, config->region_peers);
        return true;
    }
    return false;
}

/* ---- the file ---- */

/** True if some known key lies in the group of that path. */
static bool is_group_path(const char *path)
{
    size_t n = strlen(path);
    for (size_t i = 0; i < lm_sup_n_rows; i++) {
        if (strncmp(lm_sup_rows[i].path, path, n) == 0 && lm_sup_rows[i].path[n] == '.')
            return true;
    }
    return false;
}

static void read_group(reader_t *reader, const config_setting_t *group, const char *prefix);

static void read_setting(reader_t *reader, const config_setting_t *setting, const char *path)
{
    char where[LM_SUP_WHERE_MAX];
    print_where(reader, setting, where);
    const lm_sup_row_t *row = lm_sup_rows_find(lm_sup_rows, lm_sup_n_rows, path, strlen(path));
    if (row) {
        memcpy(reader->where[row - lm_sup_rows], where, sizeof where);
        read_value(reader, setting, row, path, reader->config, where);
        return;
    }
    if (read_known_list(reader, setting, path)) return;
    if (!is_group_path(path))
        lm_sup_problems_add(reader->problems, where, "%s is not a known key", path);
    else if (config_setting_type(setting) != CONFIG_TYPE_GROUP)
        lm_sup_problems_add(reader->problems, where, "%s must be a group: { ... }", path);
    else
        read_group(reader, setting, path);
}

/** The table has three levels, and so has the recursion. */
static void read_group(reader_t *reader, const config_setting_t *group, const char *prefix)
{
    int n = config_setting_length(group);
    for (int i = 0; i < n; i++) {
        const config_setting_t *setting = config_setting_get_elem(group, (unsigned)i);
        char path[PATH_MAX_BYTES];
        snprintf(path, sizeof path, "%s%s%s", prefix, *prefix ? "." : "",
                 config_setting_name(setting));
        read_setting(reader, setting, path);
    }
}

/** What the parser would otherwise say only as "file I/O error". */
static bool is_readable(reader_t *reader)
{
    struct stat found;
    FILE *stream = fopen(reader->file, "re");
    int error = errno;
    bool is_dir = stream && fstat(fileno(stream), &found) == 0 && S_ISDIR(found.st_mode);
    if (stream) fclose(stream);
    if (stream && !is_dir) return true;
    lm_sup_problems_add(reader->problems, reader->file, "cannot be read: %s",
                        strerror(is_dir ? EISDIR : error));
    return false;
}

static void read_file(reader_t *reader)
{
    reader->is_broken = true;
    if (!is_readable(reader)) return;
    config_t parsed;
    config_init(&parsed);
    if (config_read_file(&parsed, reader->file) == CONFIG_TRUE) {
        reader->is_broken = false;
        lm_sup_config_scan_numbers(reader->file, reader->problems);
        read_group(reader, config_root_setting(&parsed), "");
    } else {
        char where[LM_SUP_WHERE_MAX];
        const char *file = config_error_file(&parsed);
        snprintf(where, sizeof where, "%s:%d", file ? file : reader->file,
                 config_error_line(&parsed));
        lm_sup_problems_add(reader->problems, where, "%s", config_error_text(&parsed));
    }
    config_destroy(&parsed);
}

/* ---- the environment ---- */

static const char *find_variable(const char *const *environment, const char *name)
{
    size_t n = strlen(name);
    for (; *environment; environment++) {
        if (strncmp(*environment, name, n) == 0 && (*environment)[n] == '=')
            return *environment + n + 1;
    }
    return NULL;
}

/** Names with commas between them; spaces around a name do not count. */
static void read_variable_names(reader_t *reader, const lm_sup_row_t *row, const char *value,
                                const char *variable)
{
    lm_sup_rows_clear_names(row, reader->config);
    for (bool more = true; more;) {
        size_t size = strcspn(value, ","), begin = strspn(value, " "), end = size;
        while (end > begin && value[end - 1] == ' ') end--;
        if (begin > end) begin = end;
        lm_sup_rows_add_name(row, reader->config, value + begin, end - begin, row->path, variable,
                             reader->problems);
        more = value[size] == ',';
        value += size + more;
    }
}

/** A variable that is empty counts as one that is not set. */
static void read_variable(reader_t *reader, const lm_sup_row_t *row, const char *const *environment)
{
    char name[LM_SUP_ENV_NAME_MAX];
    lm_sup_rows_env_name(row, name);
    const char *value = find_variable(environment, name);
    if (!value || *value == '\0') return;
    snprintf(reader->where[row - lm_sup_rows], LM_SUP_WHERE_MAX, "%s", name);
    reader->config->origins[row - lm_sup_rows].in_environment = true;
    if (row->type == LM_SUP_TEXT) {
        lm_sup_rows_set_text(row, reader->config, value, row->path, name, reader->problems);
        return;
    }
    if (row->type == LM_SUP_NAMES) {
        read_variable_names(reader, row, value, name);
        return;
    }
    size_t digits = strspn(value, "0123456789");
    if (value[digits] != '\0' || digits > 18) {
        lm_sup_problems_add(reader->problems, name, "%s must be a whole number, not \"%s\"",
                            row->path, value);
        return;
    }
    long long number = strtoll(value, NULL, 10);
    lm_sup_rows_set_number(row, reader->config, number, row->path, name, reader->problems);
}

/** Names variables that look as if they were meant for us. Those that Kubernetes makes for a
 *  service called lockmgr do not: they begin with LOCKMGR_PORT or LOCKMGR_SERVICE_. */
static void warn_of_variables(reader_t *reader, const char *const *environment)
{
    static const char *const groups[] = {
        "LOCKMGR_RAFT_",   "LOCKMGR_LOCK_", "LOCKMGR_LIMITS_",           "LOCKMGR_LOG_",
        "LOCKMGR_REGION_", "LOCKMGR_TLS_",  "LOCKMGR_ACTUATOR_EXPOSURE_"};
    for (; *environment; environment++) {
        size_t size = strcspn(*environment, "=");
        bool similar = false, known = false;
        for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
            similar |= strncmp(*environment, groups[i], strlen(groups[i])) == 0;
        for (size_t i = 0; similar && i < lm_sup_n_rows; i++) {
            char name[LM_SUP_ENV_NAME_MAX];
            lm_sup_rows_env_name(&lm_sup_rows[i], name);
            known |= lm_bytes_equal(lm_bytes_of(name), lm_bytes(*environment, size));
        }
        if (similar && !known)
            lm_sup_problems_add(reader->warnings, NULL, "%.*s: there is no such setting", (int)size,
                                *environment);
    }
}

/** Before variables are looked at: what the file says. */
static void note_file(reader_t *reader)
{
    for (size_t i = 0; i < lm_sup_n_rows; i++) {
        lm_sup_origin_t *origin = &reader->config->origins[i];
        memcpy(origin->file_where, reader->where[i], sizeof origin->file_where);
        if (!*reader->where[i]) continue;
        lm_sup_rows_print(&lm_sup_rows[i], reader->config, origin->file_value,
                          sizeof origin->file_value);
    }
}

/* ---- all of it ---- */

static void check_missing(reader_t *reader)
{
    for (size_t i = 0; i < lm_sup_n_rows; i++) {
        const lm_sup_row_t *row = &lm_sup_rows[i];
        if (row->type == LM_SUP_NUMBER || row->text || *reader->where[i]) continue;
        lm_sup_problems_add(reader->problems, reader->file, "%s is missing; it %s", row->path,
                            row->rule);
    }
    if (!reader->has_peers)
        lm_sup_problems_add(reader->problems, reader->file,
                            "peers is missing; it must list all nodes of the region");
}

/** Nodes of a region are alike unless the list says otherwise. */
static void fill_raft_ports(lm_sup_config_t *config)
{
    for (size_t i = 0; i < config->n_peers; i++) {
        lm_sup_peer_t *peer = &config->peers[i];
        if (peer->raft_port) continue;
        peer->raft_port = config->raft_port ? config->raft_port : peer->grpc_port;
    }
}

void lm_sup_config_load(const char *file, const char *const *environment, lm_sup_config_t *config,
                        lm_sup_problems_t *problems, lm_sup_problems_t *warnings)
{
    reader_t *reader = lm_alloc(sizeof *reader);
    *reader = (reader_t){
        .file = file, .config = config, .problems = problems, .warnings = warnings, .scanned = ""};
    memset(config, 0, sizeof *config);
    for (size_t i = 0; i < lm_sup_n_rows; i++) lm_sup_rows_default(&lm_sup_rows[i], config);
    read_file(reader);
    note_file(reader);
    for (size_t i = 0; i < lm_sup_n_rows; i++) read_variable(reader, &lm_sup_rows[i], environment);
    fill_raft_ports(config);
    if (!reader->is_broken) {
        check_missing(reader);
        warn_of_variables(reader, environment);
        lm_sup_config_check_rules(config, where_of_path, reader, problems, warnings);
        lm_sup_config_check_dirs(config, where_of_path, reader, problems);
        lm_sup_config_check_tls(config, reader->file, where_of_path, reader, problems);
        lm_sup_config_check_access(config, where_of_path, reader, problems);
    }
    free(reader);
}
