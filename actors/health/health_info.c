/* What a node is: its build, its machine, its processes; and how much it logs. */
#include <ctype.h>
#include <jansson.h>
#include <math.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "health_build.h"
#include "health_json.h"

static json_t *git_of(const health_build_t *build)
{
    return json_pack("{s:s,s:{s:s,s:s}}", "branch", build->branch, "commit", "id", build->commit,
                     "time", build->commit_time);
}

static const char *owner(char *number, size_t size)
{
    char texts[1024];
    static char name[64];
    struct passwd entry, *found = NULL;
    snprintf(number, size, "%u", (unsigned)geteuid());
    if (getpwuid_r(geteuid(), &entry, texts, sizeof texts, &found) != 0 || !found) return number;
    snprintf(name, sizeof name, "%s", found->pw_name);
    return name;
}

/* The node as a whole: its supervisor's ids, the memory of all of its processes. */
static json_t *process_of(const health_system_t *system)
{
    char number[16];
    uint64_t resident = 0;
    double cores =
        system->n_processes ? system->quota.cores : (double)sysconf(_SC_NPROCESSORS_ONLN);
    for (size_t i = 0; i < system->n_processes; i++)
        resident += system->processes[i].resident_bytes;
    json_t *json =
        json_pack("{s:i,s:i,s:s,s:I}", "pid", (int)getpid(), "parentPid", (int)getppid(), "owner",
                  owner(number, sizeof number), "cpus", (json_int_t)fmax(1, floor(cores)));
    json_object_set_new(json, "memory", json_pack("{s:I}", "residentBytes", (json_int_t)resident));
    return json;
}

static json_t *lockmgr_of(const health_t *health)
{
    const lm_bus_node_config_t *config = health_config(health);
    const lm_bus_raft_role_event_t *role = health_role(health);
    json_t *json = json_object();
    json_object_set_new(json, "region", health_json_text(config->region));
    json_object_set_new(json, "nodeId", health_json_text(config->node));
    json_object_set_new(json, "clusterId",
                        health_json_text(role ? role->cluster_id : lm_bytes(NULL, 0)));
    json_object_set_new(json, "protocolVersion", json_integer(1));
    return json;
}

health_answer_t health_info_page(const health_t *health, const health_request_t *request)
{
    const health_build_t *build = health_build();
    struct utsname os;
    uname(&os);
    json_t *json = json_object();
    /* The sources tell when it was made: two builds of the same ones are the same. */
    json_object_set_new(json, "build",
                        json_pack("{s:s,s:s,s:s}", "name", "lockmgr", "version", build->version,
                                  "time", build->commit_time));
    json_object_set_new(json, "git", git_of(build));
    json_object_set_new(
        json, "os",
        json_pack("{s:s,s:s,s:s}", "name", os.sysname, "version", os.release, "arch", os.machine));
    json_object_set_new(json, "process", process_of(health_system(health)));
    json_object_set_new(json, "lockmgr", lockmgr_of(health));
    return health_json_answer(request, 200, json);
}

/* ---- loggers --------------------------------------------------------------------------------- */

/* A node has one level, that of its configuration; the actors have it from there. */
static json_t *logger(const health_t *health, bool root)
{
    char level[16];
    snprintf(level, sizeof level, "%.*s", LM_BYTES_ARG(health_config(health)->log_level));
    for (char *c = level; *c; c++) *c = (char)toupper((unsigned char)*c);
    json_t *json = json_object();
    if (root) json_object_set_new(json, "configuredLevel", json_string(level));
    json_object_set_new(json, "effectiveLevel", json_string(level));
    return json;
}

health_answer_t health_info_loggers(const health_t *health, const health_request_t *request)
{
    const lm_bus_child_table_t *table = health_children(health);
    json_t *loggers = json_object();
    json_object_set_new(loggers, "ROOT", logger(health, true));
    json_object_set_new(loggers, "supervisor", logger(health, false));
    for (size_t i = 0; table && i < table->n_children; i++) {
        char name[HEALTH_NAME_SIZE];
        snprintf(name, sizeof name, "%.*s", LM_BYTES_ARG(table->children[i].name));
        json_object_set_new(loggers, name, logger(health, false));
    }
    return health_json_answer(request, 200,
                              json_pack("{s:[s,s,s,s,s],s:o,s:{}}", "levels", "ERROR", "WARN",
                                        "INFO", "DEBUG", "TRACE", "loggers", loggers, "groups"));
}

health_answer_t health_info_logger(const health_t *health, const health_request_t *request,
                                   const char *name)
{
    const lm_bus_child_table_t *table = health_children(health);
    bool root = strcmp(name, "ROOT") == 0, known = root || strcmp(name, "supervisor") == 0;
    for (size_t i = 0; table && i < table->n_children; i++)
        known = known || lm_bytes_equal(table->children[i].name, lm_bytes_of(name));
    if (!known) return health_json_error(request, 404, "Not Found");
    return health_json_answer(request, 200, logger(health, root));
}
