#include "sup_status.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base_log.h"

static const char *mode_name(lm_node_mode_t mode)
{
    static const char *const names[] = {"starting", "serving", "draining"};
    return names[mode];
}

/** Wall clock of a moment on the monotonic clock, in milliseconds since 1970; informative. */
static int64_t wall_ms(uint64_t at_us, uint64_t now_us)
{
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    return (int64_t)wall.tv_sec * 1000 + wall.tv_nsec / 1000000 - (int64_t)(now_us - at_us) / 1000;
}

static void print_child(FILE *stream, const lm_sup_room_t *room, size_t child, uint64_t now_us)
{
    lm_restart_view_t view = lm_restart_view(lm_sup_room_machine(room), child);
    fprintf(stream,
            "    {\"name\": \"%s\", \"pid\": %u, \"state\": \"%s\", \"start\": %u, "
            "\"restarts\": %u, \"troubled\": %s, \"since_ms\": %" PRId64 "}%s\n",
            lm_sup_children[child].name, lm_sup_room_pid(room, child),
            lm_child_state_name(view.state), view.counter, view.restarts,
            view.troubled ? "true" : "false", wall_ms(view.since_us, now_us),
            child + 1 < LM_SUP_CHILDREN ? "," : "");
}

/* Names keep rules (letters, digits, '.', '_', '-') under which nothing needs quoting. */
void lm_sup_status_write(const lm_sup_rundir_t *rundir, const lm_sup_config_t *config,
                         lm_generation_t self, const lm_sup_room_t *room, uint64_t now_us,
                         bool running)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    if (!stream) {
        lm_warn("no memory for the status file");
        return;
    }
    const char *mode = mode_name(lm_restart_mode(lm_sup_room_machine(room)));
    fprintf(stream,
            "{\n  \"node\": \"%s\",\n  \"region\": \"%s\",\n  \"version\": \"%s\",\n"
            "  \"pid\": %d,\n  \"boot_id\": \"%" PRIu64
            "\",\n  \"mode\": \"%s\",\n"
            "  \"ports\": {\"grpc\": %u, \"region\": %u, \"raft\": %u, \"actuator\": %u},\n"
            "  \"children\": [\n",
            config->node, config->region_id, LM_VERSION, running ? (int)getpid() : 0, self.boot_id,
            running ? mode : "stopped", config->grpc_port, config->region_port,
            config->raft_port ? config->raft_port : config->grpc_port, config->actuator_port);
    for (size_t i = 0; i < LM_SUP_CHILDREN; i++) print_child(stream, room, i, now_us);
    fputs("  ]\n}\n", stream);
    if (fclose(stream) == 0) lm_sup_rundir_write(rundir, "status", text);
    free(text);
}
