/* The peers room: links of other nodes and of strangers, answers to the own links, hellos between
 * regions, as any bytes. */
#include "frontend_fake_driver.h"
#include "frontend_peers.h"
#include "fuzz_raw.h"
#include "fuzz_target.h"
#include "wire_bus.h"
#include "wire_peer.h"
#include "wire_region.h"

enum { STEPS_MAX = 56 };

typedef struct {
    fuzz_input_t in;
    fake_driver_t *driver;
    lm_frontend_peers_t *room;
    lm_test_host_t *host;
    bool stopped;
} story_t;

static lm_bytes_t b(const char *text) { return lm_bytes_of(text); }

static void start(story_t *s)
{
    lm_bus_node_config_t config = fake_config();
    config.listen = b("0.0.0.0");
    config.grpc_port = 9001;
    s->driver = fake_driver_new();
    s->room = lm_frontend_peers_new(6, 1);
    lm_frontend_peers_set_driver(s->room, &s->driver->face);
    s->host = lm_test_host_new(&lm_frontend_peers_room, s->room);
    lm_test_deliver(s->host, LM_SUPERVISOR, LM_MSG_START, &config, 0);
    fake_event(s->host, LM_FRONTEND_LISTENING, NULL);
    lm_test_advance(s->host, 100000);
}

static fake_handle_t *some(story_t *s, bool incoming)
{
    size_t from = fuzz_u8(&s->in);
    for (size_t i = 0; i < s->driver->n_handles; i++) {
        fake_handle_t *fake = s->driver->handles[(from + i) % s->driver->n_handles];
        if (fake->handle.incoming == incoming && !fake->dropped) return fake;
    }
    return NULL;
}

/* ---- what comes in --------------------------------------------------------------------------- */

static void on_open(story_t *s)
{
    fake_handle_t *link = fake_open(s->driver, s->host, LM_METHOD_LINK);
    lm_bytes_t first = fuzz_block(&s->in);
    if (!link->finished) fake_receive_bytes(s->host, link, first);
}

/* A link that says who it is as it should. */
static void on_good_link(story_t *s)
{
    static const char *const from[] = {"n2", "n3"};
    uint8_t who = fuzz_u8(&s->in) & 1;
    lm_peer_link_hello_t hello = {.version = 1,
                                  .region = b("r"),
                                  .from = b(from[who]),
                                  .to = b("n1"),
                                  .cluster_id = b("c"),
                                  .server_id = who ? 33 : 22};
    lm_peer_link_request_t request = {.body_case = LM_PEER_LINK_REQUEST_BODY_HELLO,
                                      .hello = &hello};
    fake_handle_t *link = fake_open(s->driver, s->host, LM_METHOD_LINK);
    fake_receive(s->driver, s->host, link, &lm_peer_link_request_type, &request);
}

static void on_receive(story_t *s)
{
    fake_handle_t *handle = some(s, true);
    lm_bytes_t payload = fuzz_block(&s->in);
    if (!handle || !handle->handle.method->stream) return;
    fake_event_bytes(s->host, LM_FRONTEND_RECEIVED, handle, payload, 0);
}

static void on_frame(story_t *s)
{
    fake_handle_t *handle = some(s, true);
    lm_peer_link_request_t request = {.body_case = LM_PEER_LINK_REQUEST_BODY_FRAME,
                                      .frame = fuzz_block(&s->in)};
    if (!handle || handle->handle.method->id != LM_METHOD_LINK) return;
    fake_receive(s->driver, s->host, handle, &lm_peer_link_request_type, &request);
}

static void on_half_close(story_t *s)
{
    fake_handle_t *handle = some(s, true);
    if (handle && handle->handle.method->stream)
        fake_event(s->host, LM_FRONTEND_HALF_CLOSED, handle);
}

static void on_over(story_t *s)
{
    fake_handle_t *handle = some(s, true);
    if (handle) fake_over(s->host, handle, handle->finished);
}

static void on_region_hello(story_t *s)
{
    lm_bytes_t payload = fuzz_block(&s->in);
    fake_handle_t *handle = fake_incoming(s->driver, LM_METHOD_REGION_HELLO);
    fake_event_bytes(s->host, LM_FRONTEND_CALLED, handle, payload, 0);
}

/* ---- what was asked -------------------------------------------------------------------------- */

static void on_heard(story_t *s)
{
    fake_handle_t *handle = some(s, false);
    lm_bytes_t payload = fuzz_block(&s->in);
    if (handle && handle->handle.method->stream)
        fake_event_bytes(s->host, LM_FRONTEND_RECEIVED, handle, payload, 0);
}

static void on_good_answer(story_t *s)
{
    fake_handle_t *handle = some(s, false);
    uint8_t who = fuzz_u8(&s->in) & 1;
    lm_peer_link_hello_t hello = {.version = 1,
                                  .region = b("r"),
                                  .from = b(who ? "n3" : "n2"),
                                  .to = b("n1"),
                                  .cluster_id = b("c"),
                                  .server_id = who ? 33 : 22};
    lm_peer_link_response_t response = {.hello = &hello};
    if (handle && handle->handle.method->id == LM_METHOD_LINK)
        fake_receive(s->driver, s->host, handle, &lm_peer_link_response_type, &response);
}

static void on_answered(story_t *s)
{
    fake_handle_t *handle = some(s, false);
    int status = fuzz_u8(&s->in) % 20;
    lm_bytes_t payload = fuzz_block(&s->in);
    if (handle) fake_event_bytes(s->host, LM_FRONTEND_ANSWERED, handle, payload, status);
}

/* ---- the node -------------------------------------------------------------------------------- */

static void on_bus(story_t *s)
{
    static const struct {
        lm_participant_t from;
        lm_message_number_t number;
    } heard[] = {
        {LM_RAFT, LM_MSG_PEER_SEND},
        {LM_RAFT, LM_MSG_RAFT_IDENTITY},
        {LM_GATEWAY, LM_MSG_REGION_HELLO_OUT},
        {LM_SUPERVISOR, LM_MSG_NODE_MODE},
    };
    size_t which = fuzz_u8(&s->in) % (sizeof heard / sizeof *heard);
    fuzz_raw(s->host, &lm_frontend_peers_room, heard[which].from, 1, heard[which].number, 0,
             fuzz_block(&s->in));
}

static void on_hello_answer(story_t *s)
{
    const lm_test_sent_t *sent = lm_test_take(s->host, LM_MSG_REGION_HELLO_IN);
    lm_bytes_t body = fuzz_block(&s->in);
    if (sent)
        fuzz_raw(s->host, &lm_frontend_peers_room, LM_GATEWAY, 1, LM_MSG_REGION_HELLO_ANSWER,
                 sent->correlation, body);
}

static void on_identity(story_t *s)
{
    lm_bus_raft_member_t members[] = {
        {11, b("n1"), b("")}, {22, b("n2"), b("")}, {33, b("n3"), b("")}};
    lm_bus_raft_identity_t identity = {
        .cluster_id = b("c"), .server_id = 11, .n_members = 3, .members = members};
    lm_test_deliver(s->host, LM_RAFT, LM_MSG_RAFT_IDENTITY, &identity, 0);
}

static void on_advance(story_t *s) { lm_test_advance(s->host, fuzz_number(&s->in, 3)); }

static void on_stop(story_t *s)
{
    lm_bus_stop_t stop = {.grace_ms = 1000};
    if (!s->stopped) lm_test_deliver(s->host, LM_SUPERVISOR, LM_MSG_STOP, &stop, 0);
    s->stopped = true;
}

static void (*const steps[])(story_t *) = {
    on_open,     on_good_link,   on_receive,  on_frame, on_half_close,   on_over,
    on_heard,    on_good_answer, on_answered, on_bus,   on_hello_answer, on_region_hello,
    on_identity, on_advance,     on_stop,     on_frame,
};

static void end(story_t *s)
{
    fake_end_all(s->driver, s->host);
    lm_test_host_destroy(&s->host);
    lm_frontend_peers_destroy(&s->room);
    fake_driver_destroy(&s->driver);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    story_t s = {.in = {lm_bytes(data, size)}};
    start(&s);
    for (int i = 0; i < STEPS_MAX && s.in.left.size; i++)
        steps[fuzz_u8(&s.in) % (sizeof steps / sizeof *steps)](&s);
    end(&s);
    return 0;
}
