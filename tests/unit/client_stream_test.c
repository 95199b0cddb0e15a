/* The stream of keep-alives: which answer is for which request. Nobody listens here; what a node
 * answers is the cluster tests' business. */
#include "client_stream.h"

#include <criterion/criterion.h>
#include <grpc/support/time.h>

#include "base_arena.h"
#include "client.h"
#include "client_internal.h"

TestSuite(client_stream, .timeout = 60);

static lm_client_t *client;
static grpc_completion_queue *queue;
static lm_stream_t *stream;
static lm_arena_t *arena;

static void begin(void)
{
    client = lm_client_open("127.0.0.1:1");
    queue = grpc_completion_queue_create_for_next(NULL);
    stream = lm_stream_open(lm_client_channels(client), 0, queue);
    arena = lm_arena_new();
}

static bool add(const char *session, void *owner)
{
    return lm_stream_add(stream, lm_bytes_of(session), lm_bytes_of("request"), owner);
}

/* Runs the stream to its end; returns how many owners were left without an answer. */
static size_t end(void **owners, size_t max)
{
    size_t n = 0;
    for (bool last = false; !last;) {
        grpc_event event =
            grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
        lm_stream_news_t news = lm_stream_event(event.tag, event.success, arena);
        cr_assert_null(news.owner, "nobody answers");
        if (news.over) cr_assert_not(add("late", &last), "what is over takes nothing (M3)");
        for (void *owner; news.over && (owner = lm_stream_take(stream));) {
            cr_assert_lt(n, max);
            owners[n++] = owner;
        }
        last = news.last;
    }
    lm_stream_destroy(&stream);
    grpc_completion_queue_shutdown(queue);
    grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
    grpc_completion_queue_destroy(queue);
    lm_arena_destroy(&arena);
    lm_client_close(&client);
    return n;
}

/* A late answer to the first would be taken for one to the second, which was sent later: its lease
 * would seem to last longer than it does. */
Test(client_stream, s6_m2_a_session_with_an_open_request_has_no_second_one_not_even_if_forgotten)
{
    int one, two, other;
    void *owners[3];
    begin();
    cr_assert(add("s1", &one));
    cr_assert_not(add("s1", &two));
    lm_stream_forget(stream, &one);
    cr_assert_not(add("s1", &two));
    cr_assert(add("s2", &other), "other sessions are not concerned");
    lm_stream_flush(stream);
    lm_stream_cancel(stream);
    cr_assert_eq(end(owners, 3), 1, "nobody waits for the forgotten one");
    cr_assert_eq(owners[0], &other);
}
