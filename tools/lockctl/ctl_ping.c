/* lockctl ping NAME: takes a lock and gives it back, again and again, and says what that was like:
 * how long a region could not be used while it was updated, and from when to when.
 *
 * Invariants
 *   CP1  A call without an answer is made again with the same request id until there is one, so no
 *        hold of its own stands in its way.
 *   CP2  "granted" is the time at which the answer was here, "released" the one before the release
 *        was sent: between them the lock was held, by this machine's clock. */
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "ctl.h"

enum { DEFAULT_INTERVAL_MS = 100 };

typedef struct {
    const ctl_options_t *options;
    lm_client_t *client;
    lm_arena_t *arena; /* of one turn */
    char owner[160];
    int signals_fd;
    int64_t n, n_lost, n_unanswered;
    uint64_t granted_us, longest_us; /* the last grant, the longest time between two */
    double longest_until;            /* when that time ended */
    int refused;                     /* exit code of what no repeat can cure; 0: nothing yet */
} ping_t;

/** One turn as it was. */
typedef struct {
    int64_t token;
    double granted, released; /* seconds since 1970 */
    uint64_t acquire_us, release_us;
    unsigned attempts; /* of both calls */
    bool lost;
    char endpoint[160];
} turn_t;

static double clock_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static const char *text_of(double at, char text[40])
{
    time_t whole = (time_t)at;
    struct tm tm;
    char seconds[32];
    strftime(seconds, sizeof seconds, "%Y-%m-%dT%H:%M:%S", gmtime_r(&whole, &tm));
    snprintf(text, 40, "%s.%03dZ", seconds, (int)((at - (double)whole) * 1000));
    return text;
}

/** Waits; true when the program is asked to end. */
static bool is_over(const ping_t *ping, int64_t wait_ms)
{
    struct pollfd fd = {.fd = ping->signals_fd, .events = POLLIN};
    return poll(&fd, 1, (int)(wait_ms < INT32_MAX ? wait_ms : INT32_MAX)) > 0;
}

/* ---- what is said ---------------------------------------------------------------------------- */

static void say_json(const ping_t *ping, json_t *line)
{
    if (!ping->options->quiet) {
        json_dumpf(line, stdout, JSON_COMPACT);
        putchar('\n');
        fflush(stdout);
    }
    json_decref(line);
}

static void say_turn(const ping_t *ping, const turn_t *turn)
{
    char when[40];
    if (ping->options->form == CTL_JSON) {
        say_json(ping,
                 json_pack("{s:s, s:o, s:f, s:f, s:f, s:f, s:i, s:b, s:s}", "name",
                           ping->options->words[1], "token", json_sprintf("%" PRId64, turn->token),
                           "granted", turn->granted, "released", turn->released, "acquireMs",
                           (double)turn->acquire_us / 1000, "releaseMs",
                           (double)turn->release_us / 1000, "attempts", (int)turn->attempts, "lost",
                           (int)turn->lost, "endpoint", turn->endpoint));
    } else if (!ping->options->quiet) {
        printf("%s token %" PRId64 " acquire %.1f ms release %.1f ms%s%s\n",
               text_of(turn->granted, when), turn->token, (double)turn->acquire_us / 1000,
               (double)turn->release_us / 1000, turn->attempts > 2 ? ", repeated" : "",
               turn->lost ? ", LOST" : "");
        fflush(stdout);
    }
}

static void say_unanswered(const ping_t *ping, const char *verb, const lm_client_result_t *result)
{
    char when[40];
    double now = clock_s();
    const char *why = result->own ? lm_rc_name(result->code) : result->text;
    if (ping->options->form == CTL_JSON)
        say_json(ping, json_pack("{s:s, s:f, s:s, s:s}", "name", ping->options->words[1], "at", now,
                                 "unanswered", verb, "why", why));
    else if (!ping->options->quiet)
        printf("%s %s has no answer: %s\n", text_of(now, when), verb, why);
    fflush(stdout);
}

static void say_end(const ping_t *ping)
{
    char when[40];
    if (ping->options->form == CTL_JSON)
        say_json(ping,
                 json_pack("{s:s, s:I, s:I, s:I, s:f, s:f}", "name", ping->options->words[1],
                           "locks", (json_int_t)ping->n, "lostHolds", (json_int_t)ping->n_lost,
                           "unansweredCalls", (json_int_t)ping->n_unanswered, "longestMs",
                           (double)ping->longest_us / 1000, "longestUntil", ping->longest_until));
    else if (!ping->options->quiet)
        printf("%" PRId64 " locks, %" PRId64 " lost, %" PRId64
               " calls without an answer; longest time without a grant %.3f s, until %s\n",
               ping->n, ping->n_lost, ping->n_unanswered, (double)ping->longest_us / 1e6,
               ping->n > 1 ? text_of(ping->longest_until, when) : "-");
}

/* ---- a turn ---------------------------------------------------------------------------------- */

/** Whether a repeat may be answered otherwise: not if the request itself is refused. */
static bool may_pass(const lm_client_result_t *result)
{
    static const int final[] = {3, 5, 7, 9, 12, 16};
    for (size_t i = 0; i < sizeof final / sizeof *final; i++)
        if (result->grpc_status == final[i]) return false;
    return true;
}

/** Calls until there is an answer (CP1); false: there is none, or it is a refusal. */
static bool call(ping_t *ping, const char *verb, lm_client_method_t method, const void *request,
                 int64_t wait_ms, turn_t *turn, lm_client_result_t *result, const void **answer)
{
    for (;;) {
        *result = lm_client_call(ping->client, method, request,
                                 ctl_timeout_ms(ping->options, wait_ms), ping->arena, answer);
        turn->attempts += result->attempts;
        snprintf(turn->endpoint, sizeof turn->endpoint, "%s", result->endpoint);
        if (result->grpc_status == 0 || !may_pass(result)) return result->grpc_status == 0;
        ping->n_unanswered++;
        say_unanswered(ping, verb, result);
        if (is_over(ping, DEFAULT_INTERVAL_MS)) return false;
    }
}

static const lm_api_acquire_response_t *take(ping_t *ping, turn_t *turn)
{
    const ctl_options_t *o = ping->options;
    char id[33];
    lm_client_make_id(id);
    int64_t wait_ms = ctl_wait_ms(o, 0);
    lm_api_acquire_request_t request = {.name = lm_bytes_of(o->words[1]),
                                        .owner = lm_bytes_of(ping->owner),
                                        .request_id = lm_bytes_of(id),
                                        .mode = ctl_mode(o),
                                        .ttl_ms = o->ttl_ms > 0 ? o->ttl_ms : 0,
                                        .wait_ms = wait_ms};
    const void *answer = NULL;
    lm_client_result_t result;
    uint64_t begun_us = lm_client_clock_us();
    if (!call(ping, "acquire", LM_CLIENT_ACQUIRE, &request, wait_ms, turn, &result, &answer)) {
        if (!may_pass(&result)) ping->refused = ctl_fail(o, &result);
        return NULL;
    }
    turn->granted = clock_s();
    turn->acquire_us = lm_client_clock_us() - begun_us;
    return answer;
}

static void give_back(ping_t *ping, turn_t *turn, lm_bytes_t hold_id)
{
    char id[33];
    lm_client_make_id(id);
    lm_api_release_request_t request = {.name = lm_bytes_of(ping->options->words[1]),
                                        .owner = lm_bytes_of(ping->owner),
                                        .hold_id = hold_id,
                                        .request_id = lm_bytes_of(id)};
    const void *answer = NULL;
    lm_client_result_t result;
    turn->released = clock_s();
    uint64_t begun_us = lm_client_clock_us();
    if (!call(ping, "release", LM_CLIENT_RELEASE, &request, 0, turn, &result, &answer))
        turn->lost = !may_pass(&result);
    turn->release_us = lm_client_clock_us() - begun_us;
}

static void count_grant(ping_t *ping, const turn_t *turn)
{
    uint64_t now_us = lm_client_clock_us();
    if (ping->n++ && now_us - ping->granted_us > ping->longest_us) {
        ping->longest_us = now_us - ping->granted_us;
        ping->longest_until = turn->granted;
    }
    ping->granted_us = now_us;
}

static void take_turn(ping_t *ping)
{
    turn_t turn = {0};
    const lm_api_acquire_response_t *grant = take(ping, &turn);
    if (!grant || grant->result != LM_API_ACQUIRE_RESULT_GRANTED) return;
    count_grant(ping, &turn);
    turn.token = grant->token;
    give_back(ping, &turn, grant->hold_id);
    if (turn.lost) ping->n_lost++;
    say_turn(ping, &turn);
}

int ctl_ping(lm_client_t *client, const ctl_options_t *options)
{
    if (!ctl_has_words(options, 1, 1, "the name of a lock")) return CTL_USAGE;
    ping_t ping = {.options = options, .client = client, .signals_fd = ctl_signals_fd()};
    snprintf(ping.owner, sizeof ping.owner, "%s",
             options->owner ? options->owner : ctl_make_owner());
    int64_t interval_ms = options->interval_ms >= 0 ? options->interval_ms : DEFAULT_INTERVAL_MS;
    int64_t left = options->count >= 0 ? options->count : INT64_MAX;
    for (; left > 0 && !ping.refused; left--) {
        ping.arena = lm_arena_new();
        take_turn(&ping);
        lm_arena_destroy(&ping.arena);
        if (ping.refused || is_over(&ping, left > 1 ? interval_ms : 0)) break;
    }
    close(ping.signals_fd);
    if (ping.refused) return ping.refused;
    say_end(&ping);
    if (ping.n_lost) return CTL_LOST;
    return ping.n_unanswered ? CTL_UNAVAILABLE : CTL_OK;
}
