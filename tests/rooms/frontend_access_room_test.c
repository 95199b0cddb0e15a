/* The clients room with a file of access: every role, every method, every kind of name, and what is
 * refused before that. The tables here say once more, in other words, what is meant to be allowed.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "frontend_access.h"
#include "frontend_audit.h"
#include "frontend_clients.h"
#include "frontend_fake_driver.h"
#include "frontend_peers.h"
#include "wire_api.h"
#include "wire_bus.h"
#include "wire_health.h"
#include "wire_peer.h"
#include "wire_region.h"

static fake_driver_t *driver;
static lm_frontend_clients_t *clients;
static lm_frontend_peers_t *peers;
static lm_test_host_t *host;

static lm_bytes_t b(const char *text) { return lm_bytes_of(text); }

/* The digest of token ci is 32 bytes of 0x11. */
static const char access_text[] =
    "token ci 1111111111111111111111111111111111111111111111111111111111111111\n"
    "grant reader reader in/\n"
    "grant locker locker in/\n"
    "grant operator operator\n"
    "grant admin admin in/\n"
    "grant ci locker in/\n"
    "grant all admin \"\"\n";

/* ---- who comes ------------------------------------------------------------------------------- */

static void come_with_certificate(const char *name)
{
    lm_frontend_party_t *party = lm_arena_alloc(driver->arena, sizeof *party + sizeof(lm_bytes_t));
    party->identity = b(name);
    party->names[party->n_names++] = b(name);
    driver->party = party;
    driver->bearer = NULL;
}

static void come_with_token(int byte, bool readable)
{
    lm_frontend_bearer_t *bearer = lm_arena_alloc(driver->arena, sizeof *bearer);
    bearer->readable = readable;
    memset(bearer->digest, byte, sizeof bearer->digest);
    driver->bearer = bearer;
}

static void come_as_nobody(void)
{
    driver->party = NULL;
    driver->bearer = NULL;
}

/* ---- the room -------------------------------------------------------------------------------- */

static void read_access(const char *text)
{
    fake_event_bytes(host, LM_FRONTEND_ACCESS, NULL, b(text), 0);
}

static void start(const lm_room_t *room, void *self, const char *client_auth, bool tls)
{
    host = lm_test_host_new(room, self);
    lm_bus_node_config_t config = fake_config();
    if (tls) config.tls_ca = config.tls_cert = config.tls_key = b("/pem");
    if (tls) config.access = b("/access");
    config.client_auth = b(client_auth);
    lm_test_deliver(host, LM_SUPERVISOR, LM_MSG_START, &config, 0);
}

static void start_clients(const char *client_auth, bool tls)
{
    uint64_t seed[2] = {1, 2};
    driver = fake_driver_new();
    clients = lm_frontend_clients_new(seed);
    lm_frontend_clients_set_driver(clients, &driver->face);
    start(&lm_frontend_clients_room, clients, client_auth, tls);
    if (tls) read_access(access_text);
    fake_event(host, LM_FRONTEND_LISTENING, NULL);
    lm_test_restart_peer(host, LM_LOCK);
}

static void set_up(void) { start_clients("request", true); }

static void tear_down(void)
{
    lm_test_host_destroy(&host);
    lm_frontend_clients_destroy(&clients);
    lm_frontend_peers_destroy(&peers);
    fake_driver_destroy(&driver);
}

TestSuite(frontend_access, .init = set_up, .fini = tear_down, .timeout = 60);
TestSuite(frontend_access_bare, .fini = tear_down, .timeout = 60);

/* ---- the matrix ------------------------------------------------------------------------------ */

typedef enum { FREE, NODE, ROLES } kind_t;
/* INSIDE: only inside of the prefix. ALL: only for who may see all names. */
typedef enum { NO_NAMES, INSIDE, ALL } names_t;

typedef struct {
    lm_frontend_method_id_t method;
    kind_t kind;
    bool reader, locker, operator_, admin;
    names_t names;
} row_t;

static const row_t matrix[] = {
    {LM_METHOD_ACQUIRE, ROLES, false, true, false, true, INSIDE},
    {LM_METHOD_RELEASE, ROLES, false, true, false, true, INSIDE},
    {LM_METHOD_RENEW, ROLES, false, true, false, true, INSIDE},
    {LM_METHOD_CANCEL, ROLES, false, true, false, true, NO_NAMES},
    {LM_METHOD_GET, ROLES, true, true, false, true, INSIDE},
    {LM_METHOD_LIST, ROLES, true, true, false, true, INSIDE},
    {LM_METHOD_OPEN_SESSION, ROLES, false, true, false, true, NO_NAMES},
    {LM_METHOD_KEEP_ALIVE, ROLES, false, true, false, true, NO_NAMES},
    {LM_METHOD_KEEP_ALIVE_STREAM, ROLES, false, true, false, true, NO_NAMES},
    {LM_METHOD_CLOSE_SESSION, ROLES, false, true, false, true, NO_NAMES},
    {LM_METHOD_GET_SESSION, ROLES, true, true, false, true, ALL},
    {LM_METHOD_LIST_SESSIONS, ROLES, true, true, false, true, NO_NAMES},
    {LM_METHOD_GET_STATUS, ROLES, true, false, true, true, NO_NAMES},
    {LM_METHOD_REFLECTION, ROLES, true, true, true, true, NO_NAMES},
    {LM_METHOD_REFLECTION_ALPHA, ROLES, true, true, true, true, NO_NAMES},
    {LM_METHOD_HEALTH_CHECK, FREE, true, true, true, true, NO_NAMES},
    {LM_METHOD_HEALTH_WATCH, FREE, true, true, true, true, NO_NAMES},
    {LM_METHOD_FORWARD, NODE, false, false, false, false, NO_NAMES},
    {LM_METHOD_UNDELIVERED, NODE, false, false, false, false, NO_NAMES},
    {LM_METHOD_LINK, NODE, false, false, false, false, NO_NAMES},
    {LM_METHOD_REGION_HELLO, NODE, false, false, false, false, NO_NAMES},
};
enum { ROWS = sizeof matrix / sizeof *matrix };

/* A request that breaks no rule, about that name or prefix. */
static const void *request_of(lm_frontend_method_id_t method, const char *name)
{
    static lm_api_acquire_request_t acquire;
    static lm_api_release_request_t release;
    static lm_api_renew_request_t renew;
    static lm_api_cancel_request_t cancel;
    static lm_api_get_request_t get;
    static lm_api_list_request_t list;
    static lm_peer_call_context_t context;
    static lm_peer_lock_call_t call;
    static lm_peer_forward_request_t forward;
    static lm_peer_undelivered_request_t undelivered;
    static lm_region_region_identity_t region;
    static lm_region_hello_request_t hello;
    static lm_api_open_session_request_t open_session;
    static lm_api_keep_alive_request_t keep_alive;
    static lm_api_close_session_request_t close_session;
    static lm_api_get_session_request_t get_session;
    static lm_api_list_sessions_request_t list_sessions;
    static const char empty[64];
    const lm_bytes_t session = b("0123456789abcdef"),
                     secret = b("0123456789abcdef0123456789abcdef");
    open_session.client = b("c");
    keep_alive = (lm_api_keep_alive_request_t){.session_id = session, .secret = secret};
    close_session = (lm_api_close_session_request_t){.session_id = session, .secret = secret};
    get_session.session_id = session;
    acquire = (lm_api_acquire_request_t){.name = b(name), .owner = b("o")};
    release = (lm_api_release_request_t){.name = b(name), .owner = b("o"), .hold_id = b("1.1")};
    renew = (lm_api_renew_request_t){.name = b(name), .owner = b("o"), .hold_id = b("1.1")};
    cancel = (lm_api_cancel_request_t){.owner = b("o"), .request_id = b("r")};
    get.name = b(name);
    list.prefix = b(name);
    context.identity = b("all");
    call = (lm_peer_lock_call_t){
        .request_case = LM_PEER_LOCK_CALL_REQUEST_GET, .get = &get, .context = &context};
    forward = (lm_peer_forward_request_t){.from = b("n2"), .call = &call};
    undelivered = (lm_peer_undelivered_request_t){.from = b("n2"), .forward_id = 1};
    region = (lm_region_region_identity_t){.region = b("west"), .node = b("n1"), .protocol = 1};
    hello.from = &region;
    switch (method) {
    case LM_METHOD_ACQUIRE: return &acquire;
    case LM_METHOD_RELEASE: return &release;
    case LM_METHOD_RENEW: return &renew;
    case LM_METHOD_CANCEL: return &cancel;
    case LM_METHOD_GET: return &get;
    case LM_METHOD_LIST: return &list;
    case LM_METHOD_OPEN_SESSION: return &open_session;
    case LM_METHOD_KEEP_ALIVE: return &keep_alive;
    case LM_METHOD_CLOSE_SESSION: return &close_session;
    case LM_METHOD_GET_SESSION: return &get_session;
    case LM_METHOD_LIST_SESSIONS: return &list_sessions;
    case LM_METHOD_FORWARD: return &forward;
    case LM_METHOD_UNDELIVERED: return &undelivered;
    case LM_METHOD_REGION_HELLO: return &hello;
    default: return empty; /* all of its fields may be empty */
    }
}

/* Makes the call; "" if it was let through, otherwise its reason. */
static const char *try(lm_frontend_method_id_t id, const char *name)
{
    const lm_frontend_method_t *method = lm_frontend_method(id);
    fake_handle_t *handle;
    if (id == LM_METHOD_LINK) {
        handle = fake_open(driver, host, id);
        lm_peer_link_hello_t hello = {
            .version = 1, .region = b("r"), .from = b("n2"), .to = b("n1"), .cluster_id = b("c")};
        lm_peer_link_request_t request = {.body_case = LM_PEER_LINK_REQUEST_BODY_HELLO,
                                          .hello = &hello};
        fake_receive(driver, host, handle, &lm_peer_link_request_type, &request);
    } else if (method->stream) {
        handle = fake_open(driver, host, id);
    } else {
        handle = fake_call(driver, host, id, request_of(id, name), lm_test_now(host) + 1000000);
    }
    const char *reason = handle->finished && handle->status ? fake_reason(driver, handle) : "";
    bool asked = lm_test_take(host, LM_MSG_LOCK_CALL) != NULL;
    cr_assert(!asked || !*reason, "%s: refused, and lock was asked", method->path);
    return reason;
}

static bool is(const char *one, const char *other) { return strcmp(one, other) == 0; }

static unsigned n_unexpected;

static void expect(const row_t *row, const char *who, const char *name, const char *wanted)
{
    const char *reason = try(row->method, name);
    if (is(reason, wanted)) return;
    n_unexpected++;
    fprintf(stderr, "%s by %s of \"%s\": \"%s\", not \"%s\"\n",
            lm_frontend_method(row->method)->path, who, name, reason, wanted);
}

static bool may(const row_t *row, const char *role)
{
    return (is(role, "reader") && row->reader) || (is(role, "locker") && row->locker) ||
           (is(role, "operator") && row->operator_) || (is(role, "admin") && row->admin);
}

static const char *verdict_of(const row_t *row, const char *role, bool inside)
{
    if (row->kind == FREE) return "";
    if (row->kind == NODE) return "UNAUTHENTICATED";
    bool covered = row->names == NO_NAMES || (row->names == INSIDE && inside);
    return may(row, role) && covered ? "" : "PERMISSION_DENIED";
}

static void walk(lm_participant_t room)
{
    static const char *const inside[] = {"in/", "in/a", "in//", "in/\xc3\xa4"};
    static const char *const outside[] = {"in", "i", "out/a", "IN/a", "/in/a", " in/a"};
    for (size_t i = 0; i < ROWS; i++) {
        const row_t *row = &matrix[i];
        if (lm_frontend_method(row->method)->room != room) continue;
        for (size_t k = 0; lm_access_roles[k]; k++) {
            const char *role = lm_access_roles[k];
            come_with_certificate(role);
            for (size_t n = 0; n < 4; n++)
                expect(row, role, inside[n], verdict_of(row, role, true));
            for (size_t n = 0; n < 6; n++)
                expect(row, role, outside[n], verdict_of(row, role, false));
        }
        come_with_certificate("stranger");
        expect(row, "stranger", "in/a",
               row->kind == ROLES ? "PERMISSION_DENIED" : verdict_of(row, "", true));
        come_as_nobody();
        expect(row, "nobody", "in/a", row->kind == FREE ? "" : "UNAUTHENTICATED");
    }
    cr_assert_eq(n_unexpected, 0, "%u unexpected", n_unexpected);
}

Test(frontend_access, every_role_and_every_method_and_every_kind_of_name) { walk(LM_CLIENTS); }

Test(frontend_access_bare, no_role_makes_a_client_a_node_or_a_region)
{
    driver = fake_driver_new();
    peers = lm_frontend_peers_new(1, 1);
    lm_frontend_peers_set_driver(peers, &driver->face);
    start(&lm_frontend_peers_room, peers, "request", true);
    fake_event(host, LM_FRONTEND_LISTENING, NULL);
    walk(LM_PEERS);
}

Test(frontend_access, no_method_is_left_out_here_or_has_a_row_that_says_nothing)
{
    for (int id = 0; id < LM_METHODS; id++) {
        const lm_frontend_method_t *method = lm_frontend_method((lm_frontend_method_id_t)id);
        const row_t *row = NULL;
        for (size_t i = 0; i < ROWS; i++)
            if ((int)matrix[i].method == id) row = &matrix[i];
        cr_assert(row, "%s is not in the matrix", method->path);
        cr_assert_neq(method->needs, LM_RIGHT_UNSAID, "%s", method->path);
        cr_assert_eq(method->needs == LM_RIGHT_NODE, method->between_nodes, "%s", method->path);
        cr_assert_eq(method->names != LM_NAMES_NONE, row->names != NO_NAMES, "%s", method->path);
    }
}

/* List with the empty prefix asks for all names. */
Test(frontend_access, a_list_of_everything_needs_a_role_that_covers_everything)
{
    come_with_certificate("reader");
    cr_assert_str_eq(try(LM_METHOD_LIST, ""), "PERMISSION_DENIED");
    come_with_certificate("all");
    cr_assert_str_eq(try(LM_METHOD_LIST, ""), "");
    cr_assert_str_eq(try(LM_METHOD_GET_SESSION, ""), "");
}

Test(frontend_access, a_stream_ends_with_its_token)
{
    come_as_nobody();
    come_with_token(0x11, true);
    fake_handle_t *stream = fake_open(driver, host, LM_METHOD_KEEP_ALIVE_STREAM);
    fake_receive(driver, host, stream, &lm_api_keep_alive_request_type,
                 request_of(LM_METHOD_KEEP_ALIVE, ""));
    cr_assert(lm_test_take(host, LM_MSG_LOCK_CALL));
    read_access("grant all admin \"\"\ngrant * admin \"\"\n");
    fake_receive(driver, host, stream, &lm_api_keep_alive_request_type,
                 request_of(LM_METHOD_KEEP_ALIVE, ""));
    cr_assert(stream->finished);
    cr_assert_str_eq(fake_reason(driver, stream), "UNAUTHENTICATED");
    cr_assert_null(lm_test_take(host, LM_MSG_LOCK_CALL));
}

/* ---- who ------------------------------------------------------------------------------------- */

static void expect_identity(const char *wanted)
{
    fake_call(driver, host, LM_METHOD_GET, request_of(LM_METHOD_GET, "in/a"),
              lm_test_now(host) + 1000000);
    const lm_test_sent_t *sent = lm_test_take(host, LM_MSG_LOCK_CALL);
    cr_assert(sent);
    lm_bytes_t identity = ((const lm_peer_lock_call_t *)sent->body)->context->identity;
    cr_assert(lm_bytes_equal(identity, b(wanted)), "%.*s", LM_BYTES_ARG(identity));
}

Test(frontend_access, s12_a_token_is_the_name_that_goes_with_it)
{
    come_as_nobody();
    come_with_token(0x11, true);
    expect_identity("ci");
    come_with_certificate("reader");
    come_with_token(0x11, true);
    expect_identity("ci");
}

Test(frontend_access, a_token_that_is_not_known_is_refused_whatever_the_certificate_says)
{
    come_with_certificate("all");
    come_with_token(0x12, true);
    cr_assert_str_eq(try(LM_METHOD_GET, "in/a"), "UNAUTHENTICATED");
    come_with_token(0x11, false);
    cr_assert_str_eq(try(LM_METHOD_GET, "in/a"), "UNAUTHENTICATED");
    cr_assert_str_eq(try(LM_METHOD_HEALTH_CHECK, ""), "");
}

Test(frontend_access_bare, a_token_in_plaintext_is_refused)
{
    start_clients("none", false);
    come_as_nobody();
    cr_assert_str_eq(try(LM_METHOD_GET, "a"), "");
    come_with_token(0x11, true);
    cr_assert_str_eq(try(LM_METHOD_GET, "a"), "UNAUTHENTICATED");
    cr_assert_str_eq(try(LM_METHOD_GET_STATUS, "a"), "UNAUTHENTICATED");
}

Test(frontend_access_bare, certificates_count_for_nothing_where_clients_are_not_asked)
{
    start_clients("none", true);
    come_with_certificate("all");
    cr_assert_str_eq(try(LM_METHOD_GET, "in/a"), "UNAUTHENTICATED");
    come_with_token(0x11, true);
    cr_assert_str_eq(try(LM_METHOD_GET, "in/a"), "");
}

/* ---- the file -------------------------------------------------------------------------------- */

Test(frontend_access, a_new_file_is_in_force_at_once)
{
    come_as_nobody();
    come_with_token(0x11, true);
    cr_assert_str_eq(try(LM_METHOD_ACQUIRE, "in/a"), "");
    read_access("grant ci locker in/\n");
    cr_assert_str_eq(try(LM_METHOD_ACQUIRE, "in/a"), "UNAUTHENTICATED");
    read_access(
        "token ci 1111111111111111111111111111111111111111111111111111111111111111\n"
        "grant ci reader in/\n");
    cr_assert_str_eq(try(LM_METHOD_ACQUIRE, "in/a"), "PERMISSION_DENIED");
}

Test(frontend_access, a_file_with_a_mistake_changes_nothing)
{
    static const char *const wrong[] = {"", "\n", "# all gone\n", "grant all reader \"\"",
                                        "grant all reader \"\"\ngrant x\n"};
    come_with_certificate("all");
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        read_access(wrong[i]);
        cr_assert_str_eq(try(LM_METHOD_ACQUIRE, "in/a"), "", "%s", wrong[i]);
    }
}

Test(frontend_access_bare, nothing_is_served_before_the_file_can_be_used)
{
    start_clients("request", true);
    lm_frontend_clients_destroy(&clients);
    lm_test_host_destroy(&host);
    uint64_t seed[2] = {1, 2};
    clients = lm_frontend_clients_new(seed);
    lm_frontend_clients_set_driver(clients, &driver->face);
    start(&lm_frontend_clients_room, clients, "request", true);
    come_with_certificate("all");
    cr_assert_str_eq(try(LM_METHOD_GET, "in/a"), "PERMISSION_DENIED");
    read_access("grant\n");
    cr_assert(lm_test_has_ended(host, NULL));
}

/* A call that waits keeps the name under which it came. */
Test(frontend_access, s12_a_waiting_call_keeps_its_identity_when_its_token_goes)
{
    come_as_nobody();
    come_with_token(0x11, true);
    fake_call(driver, host, LM_METHOD_GET, request_of(LM_METHOD_GET, "in/a"),
              lm_test_now(host) + 5000000);
    const lm_test_sent_t *sent = lm_test_take(host, LM_MSG_LOCK_CALL);
    read_access("grant all admin \"\"\n");
    lm_peer_lock_answer_t answer = {.kind = LM_PEER_ANSWER_KIND_FORWARD, .leader = b("n2")};
    lm_test_reply(host, LM_LOCK, LM_MSG_LOCK_ANSWER, sent->correlation, &answer);
    fake_handle_t *forward = fake_outgoing(driver, LM_METHOD_FORWARD);
    cr_assert(forward);
    const lm_peer_forward_request_t *request =
        fake_decode(driver, &lm_peer_forward_request_type, forward->payload);
    lm_bytes_t identity = request->call->context->identity;
    cr_assert(lm_bytes_equal(identity, b("ci")), "%.*s", LM_BYTES_ARG(identity));
}

/* ---- what is written down -------------------------------------------------------------------- */

/* What work() writes to standard error. */
static size_t written_by(void (*work)(void), char *text, size_t size)
{
    FILE *file = tmpfile();
    int kept = dup(STDERR_FILENO);
    fflush(stderr);
    dup2(fileno(file), STDERR_FILENO);
    work();
    dup2(kept, STDERR_FILENO);
    close(kept);
    rewind(file);
    size_t n = fread(text, 1, size - 1, file);
    text[n] = 0;
    fclose(file);
    return n;
}

static void refuse_one(void)
{
    come_with_certificate("evil\" from=nowhere");
    try(LM_METHOD_ACQUIRE, "out/a\naudit refused reason=forged");
}

Test(frontend_access, an_audit_line_says_who_what_and_why_and_cannot_be_forged)
{
    char text[4096];
    written_by(refuse_one, text, sizeof text);
    cr_assert(strstr(text,
                     "audit refused reason=no_role method=Acquire "
                     "identity=\"evil\\x22 from=nowhere\" "
                     "name=\"out/a\\x0aaudit refused reason=forged\" "
                     "from=ipv4:192.0.2.1:7\n"),
              "%s", text);
    cr_assert_eq(strchr(text, '\n')[1], 0, "%s", text);
}

static void refuse_many(void)
{
    come_as_nobody();
    for (int i = 0; i < 1000; i++) try(LM_METHOD_GET, "in/a");
    lm_test_advance(host, 1100000);
}

Test(frontend_access, a_flood_of_refusals_writes_a_few_lines_and_says_how_many_are_missing)
{
    char text[32768];
    written_by(refuse_many, text, sizeof text);
    unsigned n = 0;
    for (const char *at = text; (at = strstr(at, "audit refused")); at++) n++;
    cr_assert_eq(n, LM_AUDIT_LINES, "%u lines", n);
    cr_assert(strstr(text, "audit left out 980 lines"), "%s", text);
}

static double metric(const char *name, const char *label)
{
    const lm_test_sent_t *sent = NULL, *last = NULL;
    while ((sent = lm_test_take(host, LM_MSG_STATUS_REPORT))) last = sent;
    cr_assert(last);
    const lm_bus_status_report_t *report = last->body;
    for (size_t i = 0; i < report->n_metrics; i++) {
        const lm_bus_metric_t *one = &report->metrics[i];
        if (lm_bytes_equal(one->name, b(name)) &&
            (!label || lm_bytes_equal(one->labels[0].value, b(label))))
            return one->value;
    }
    return -1;
}

Test(frontend_access, refusals_are_counted_by_reason)
{
    static const struct {
        const char *who, *name, *reason;
    } rows[] = {{"reader", "in/a", "no_right"},
                {"locker", "out/a", "outside_prefix"},
                {"stranger", "in/a", "no_role"},
                {NULL, "in/a", "no_name"}};
    for (size_t i = 0; i < 4; i++) {
        if (rows[i].who)
            come_with_certificate(rows[i].who);
        else
            come_as_nobody();
        try(LM_METHOD_ACQUIRE, rows[i].name);
        lm_test_advance(host, 1100000);
        cr_assert_eq(metric("lockmgr_frontend_refused_total", rows[i].reason), 1, "%s",
                     rows[i].reason);
    }
}
