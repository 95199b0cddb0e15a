/* Keeps a hold that was granted as late as its lease is long, for test_keeper.py.
 *
 *     keeper_story ENDPOINTS NAME
 *
 * Exit status 0: it was held all the time, and is given back. */
#include <stdio.h>
#include <unistd.h>

#include "client.h"

enum { CALL_MS = 10000, TTL_MS = 1500, LOOKS = 250, LOOK_US = 10000 };

static bool is_held_all_the_time(const lm_keeper_t *keeper)
{
    for (int i = 0; i < LOOKS; i++) {
        if (!lm_keeper_holds(keeper)) return false;
        usleep(LOOK_US);
    }
    return true;
}

static int hold(lm_client_t *client, const char *name, lm_arena_t *arena)
{
    lm_api_acquire_request_t request = {.name = lm_bytes_of(name),
                                        .owner = lm_bytes_of("late"),
                                        .mode = LM_API_LOCK_MODE_EXCLUSIVE,
                                        .ttl_ms = TTL_MS};
    const void *response = NULL;
    lm_client_result_t result =
        lm_client_call(client, LM_CLIENT_ACQUIRE, &request, CALL_MS, arena, &response);
    if (result.grpc_status != 0) return 3;
    result.sent_us -= 2 * TTL_MS * 1000; /* as if it had waited so long */
    lm_keeper_t *keeper = lm_keeper_start(client, name, "late", response, &result, -1);
    bool held = is_held_all_the_time(keeper);
    if (!held) fprintf(stderr, "lost: %s\n", lm_keeper_cause(keeper));
    return lm_keeper_stop(&keeper, true) && held ? 0 : 4;
}

int main(int argc, char **argv)
{
    if (argc != 3) return 2;
    lm_client_t *client = lm_client_open(argv[1]);
    lm_arena_t *arena = lm_arena_new();
    int code = hold(client, argv[2], arena);
    lm_arena_destroy(&arena);
    lm_client_close(&client);
    return code;
}
