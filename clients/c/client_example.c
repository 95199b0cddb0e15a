/* Holds a lock while it counts to three, with nothing but what is installed:
 *
 *     gcc -o client_example client_example.c $(pkg-config --cflags --libs lockmgr)
 *     ./client_example localhost:9090 a/lock
 *
 * Invariants
 *   X1  Nothing is done unless the hold may be used at that moment.
 *   X2  The token goes along with whatever is done, for the case that it arrives too late. */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "client.h"

enum { CALL_MS = 10000, TTL_MS = 5000, STEPS = 3, STEP_US = 300000 };

/* Works under the lock; false if it was lost on the way. */
static bool count(const lm_keeper_t *keeper, int64_t token)
{
    for (int step = 1; step <= STEPS; step++) {
        if (!lm_keeper_holds(keeper)) return false;
        printf("%d under token %" PRId64 "\n", step, token);
        usleep(STEP_US);
    }
    return true;
}

static int hold(lm_client_t *client, const char *name, lm_arena_t *arena)
{
    char owner[33];
    lm_client_make_id(owner);
    lm_api_acquire_request_t request = {.name = lm_bytes_of(name),
                                        .owner = lm_bytes_of(owner),
                                        .mode = LM_API_LOCK_MODE_EXCLUSIVE,
                                        .ttl_ms = TTL_MS};
    const void *response = NULL;
    lm_client_result_t result =
        lm_client_call(client, LM_CLIENT_ACQUIRE, &request, CALL_MS, arena, &response);
    if (result.grpc_status != 0) {
        fprintf(stderr, "%s: %s\n", lm_rc_name(result.code), result.text);
        return 3;
    }
    const lm_api_acquire_response_t *grant = response;
    if (grant->result != LM_API_ACQUIRE_RESULT_GRANTED) {
        fprintf(stderr, "%s is held by somebody else\n", name);
        return 1;
    }
    lm_keeper_t *keeper = lm_keeper_start(client, name, owner, grant, &result, -1);
    bool whole = count(keeper, grant->token);
    bool held = lm_keeper_stop(&keeper, true);
    return whole && held ? 0 : 4;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: client_example ENDPOINTS NAME\n");
        return 2;
    }
    lm_client_t *client = lm_client_open(argv[1]);
    if (!client) return 2;
    lm_arena_t *arena = lm_arena_new();
    int status = hold(client, argv[2], arena);
    lm_arena_destroy(&arena);
    lm_client_close(&client);
    return status;
}
