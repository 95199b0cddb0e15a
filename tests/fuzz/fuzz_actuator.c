/* The actuator behind its HTTP library: reports of actors and requests for pages, as any bytes.
 * Every request has an answer with a body. */
#include <stdlib.h>

#include "act_test_host.h"
#include "fuzz_raw.h"
#include "fuzz_target.h"
#include "health_pages.h"
#include "wire_bus.h"

enum { STEPS_MAX = 40 };

typedef struct {
    fuzz_input_t in;
    health_t *health;
    lm_test_host_t *host;
} story_t;

static lm_bytes_t b(const char *text) { return lm_bytes_of(text); }

static void on_report(story_t *s)
{
    uint8_t from = fuzz_u8(&s->in);
    fuzz_raw(s->host, health_room_definition(),
             (lm_participant_t)(LM_SUPERVISOR + from % (LM_HEALTH - 1)), 1, LM_MSG_STATUS_REPORT, 0,
             fuzz_block(&s->in));
}

static void on_role(story_t *s)
{
    fuzz_raw(s->host, health_room_definition(), LM_RAFT, 1, LM_MSG_RAFT_ROLE, 0,
             fuzz_block(&s->in));
}

static void on_table(story_t *s)
{
    fuzz_raw(s->host, health_room_definition(), LM_SUPERVISOR, 1, LM_MSG_CHILD_TABLE, 0,
             fuzz_block(&s->in));
}

static void on_get(story_t *s)
{
    static const char *const pages[] = {
        "/actuator",
        "/actuator/health",
        "/actuator/health/liveness",
        "/actuator/info",
        "/actuator/health/readiness",
        "/actuator/prometheus",
        "/actuator/health/raft",
        "/actuator/health/region/",
        "/actuator/health/",
        "/actuator/metrics/",
        "/actuator/metrics/lockmgr_",
        "/actuator/loggers/",
        "/actuator/locks",
        "/actuator/threaddump",
        "/actuator/raft",
        "/actuator/env/",
    };
    lm_arena_t *arena = lm_arena_new();
    uint8_t how = fuzz_u8(&s->in);
    char *path = lm_arena_text(arena, fuzz_block(&s->in));
    if (how % 16 < sizeof pages / sizeof *pages)
        path = (char *)(uintptr_t)lm_arena_print(arena, "%s%s", pages[how % 16], path).data;
    health_request_t request = {.path = path};
    if (how & 16) request.accept = lm_arena_text(arena, fuzz_block(&s->in));
    if (how & 32) request.included_names = lm_arena_text(arena, fuzz_block(&s->in));
    while ((how & 64) && request.n_tags < HEALTH_TAGS_MAX && fuzz_u8(&s->in) % 2)
        request.tags[request.n_tags++] = lm_arena_text(arena, fuzz_block(&s->in));
    health_answer_t answer = how & 128 ? health_pages_refuse(s->health, &request)
                                       : health_pages_get(s->health, &request);
    LM_CHECK(answer.body && answer.content_type && answer.code >= 200 && answer.code < 600,
             "%s is answered with %u", path, answer.code);
    LM_CHECK(lm_bytes_hash(lm_bytes(answer.body, answer.size), 1) != 0, "a hash of 0");
    free(answer.body);
    lm_arena_destroy(&arena);
}

static void on_advance(story_t *s) { lm_test_advance(s->host, fuzz_number(&s->in, 3)); }

static void (*const steps[])(story_t *) = {on_get, on_report, on_role, on_table, on_advance};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    story_t s = {.in = {lm_bytes(data, size)}};
    lm_bus_node_config_t config = {
        .node = b("n1"),
        .region = b("east"),
        .actuator_include = b("env,health,info,locks,loggers,metrics,prometheus,raft,threaddump"),
    };
    s.health = health_room_new();
    s.host = lm_test_host_new(health_room_definition(), s.health);
    lm_test_deliver(s.host, LM_SUPERVISOR, LM_MSG_START, &config, 0);
    for (int i = 0; i < STEPS_MAX && s.in.left.size; i++)
        steps[fuzz_u8(&s.in) % (sizeof steps / sizeof *steps)](&s);
    lm_test_host_destroy(&s.host);
    health_room_destroy(&s.health);
    return 0;
}
