#include "client_keeps.h"

#include <grpc/support/time.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base_check.h"
#include "client_stream.h"

/** The way to a node. */
typedef struct {
    lm_stream_t *stream; /* NULL: there is none that takes requests */
    bool unknown;        /* the node does not know such a thing */
} way_t;

struct lm_keeps {
    lm_client_t *client;
    pthread_mutex_t mutex;
    grpc_completion_queue *queue;
    pthread_t courier;
    bool begun;
    size_t n_streams; /* that are not destroyed */
    pthread_cond_t none_left;
    lm_arena_t *scratch; /* of the courier */
    way_t ways[];
};

lm_keeps_t *lm_keeps_new(lm_client_t *client)
{
    size_t n = lm_client_endpoints(client);
    lm_keeps_t *keeps = lm_alloc(sizeof *keeps + n * sizeof keeps->ways[0]);
    *keeps = (lm_keeps_t){.client = client};
    for (size_t i = 0; i < n; i++) keeps->ways[i] = (way_t){0};
    pthread_mutex_init(&keeps->mutex, NULL);
    pthread_cond_init(&keeps->none_left, NULL);
    keeps->queue = grpc_completion_queue_create_for_next(NULL);
    keeps->scratch = lm_arena_new();
    return keeps;
}

/* ---- the courier ----------------------------------------------------------------------------- */

static void end(lm_keep_t *keep)
{
    uint64_t one = 1;
    keep->ended = true;
    if (write(keep->bell, &one, sizeof one) != (ssize_t)sizeof one)
        perror("lockmgr session: eventfd");
}

static void answered(const lm_stream_news_t *news)
{
    lm_keep_t *keep = news->owner;
    void *response = NULL;
    keep->sent_us = news->sent_us;
    if (lm_wire_decode(&lm_api_keep_alive_response_type, news->answer, keep->arena, &response,
                       NULL) == LM_RC_OK)
        keep->response = response;
    end(keep);
}

static void over(lm_keeps_t *keeps, const lm_stream_news_t *news)
{
    lm_keep_t *keep;
    for (size_t i = 0; i < lm_client_endpoints(keeps->client); i++) {
        way_t *way = &keeps->ways[i];
        if (way->stream != news->stream) continue;
        way->stream = NULL;
        way->unknown = news->status == GRPC_STATUS_UNIMPLEMENTED;
    }
    while ((keep = lm_stream_take(news->stream))) end(keep);
}

static void on_event(lm_keeps_t *keeps, const grpc_event *event)
{
    lm_arena_reset(keeps->scratch);
    lm_stream_news_t news = lm_stream_event(event->tag, event->success, keeps->scratch);
    if (news.owner) answered(&news);
    if (news.over) over(keeps, &news);
    if (!news.last) return;
    lm_stream_destroy(&news.stream);
    if (--keeps->n_streams == 0) pthread_cond_signal(&keeps->none_left);
}

static void *carry(void *arg)
{
    lm_keeps_t *keeps = arg;
    for (;;) {
        grpc_event event =
            grpc_completion_queue_next(keeps->queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
        if (event.type != GRPC_OP_COMPLETE) return NULL;
        pthread_mutex_lock(&keeps->mutex);
        on_event(keeps, &event);
        pthread_mutex_unlock(&keeps->mutex);
    }
}

/** Signals are for the threads of the program. */
static void begin(lm_keeps_t *keeps)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    LM_CHECK(pthread_create(&keeps->courier, NULL, carry, keeps) == 0, "no thread");
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    keeps->begun = true;
}

void lm_keeps_destroy(lm_keeps_t **self)
{
    lm_keeps_t *keeps = *self;
    pthread_mutex_lock(&keeps->mutex);
    for (size_t i = 0; i < lm_client_endpoints(keeps->client); i++)
        if (keeps->ways[i].stream) lm_stream_cancel(keeps->ways[i].stream);
    while (keeps->n_streams > 0) pthread_cond_wait(&keeps->none_left, &keeps->mutex);
    pthread_mutex_unlock(&keeps->mutex);
    grpc_completion_queue_shutdown(keeps->queue);
    if (keeps->begun)
        pthread_join(keeps->courier, NULL);
    else
        grpc_completion_queue_next(keeps->queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
    grpc_completion_queue_destroy(keeps->queue);
    pthread_cond_destroy(&keeps->none_left);
    pthread_mutex_destroy(&keeps->mutex);
    lm_arena_destroy(&keeps->scratch);
    free(keeps);
    *self = NULL;
}

/* ---- sessions -------------------------------------------------------------------------------- */

static lm_stream_t *stream_to(lm_keeps_t *keeps, size_t endpoint)
{
    way_t *way = &keeps->ways[endpoint];
    if (way->stream || way->unknown) return way->stream;
    if (!keeps->begun) begin(keeps);
    way->stream = lm_stream_open(lm_client_channels(keeps->client), endpoint, keeps->queue);
    keeps->n_streams++;
    return way->stream;
}

bool lm_keeps_send(lm_keeps_t *keeps, size_t endpoint, lm_bytes_t session_id, lm_bytes_t request,
                   lm_keep_t *keep)
{
    pthread_mutex_lock(&keeps->mutex);
    lm_stream_t *stream = stream_to(keeps, endpoint);
    keep->ended = false;
    keep->response = NULL;
    keep->endpoint = endpoint;
    keep->under_way = stream && lm_stream_add(stream, session_id, request, keep);
    if (keep->under_way) lm_stream_flush(stream);
    pthread_mutex_unlock(&keeps->mutex);
    return keep->under_way;
}

bool lm_keeps_collect(lm_keeps_t *keeps, lm_keep_t *keep)
{
    pthread_mutex_lock(&keeps->mutex);
    bool ended = keep->ended;
    pthread_mutex_unlock(&keeps->mutex);
    if (ended) keep->under_way = keep->ended = false;
    return ended;
}

void lm_keeps_forget(lm_keeps_t *keeps, lm_keep_t *keep, bool silent)
{
    pthread_mutex_lock(&keeps->mutex);
    lm_stream_t *stream = keeps->ways[keep->endpoint].stream;
    if (stream && !keep->ended) {
        lm_stream_forget(stream, keep);
        if (silent) lm_stream_cancel(stream);
    }
    keep->under_way = keep->ended = false;
    pthread_mutex_unlock(&keeps->mutex);
}
