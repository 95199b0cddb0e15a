/* Messages in and out of their protobuf form, and what is refused on the way. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire_api.h"
#include "wire_bus.h"
#include "wire_log.h"
#include "wire_peer.h"
#include "wire_region.h"
#include "wire_rpc.h"

static lm_arena_t *arena;

static void set_up(void) { arena = lm_arena_new(); }
static void tear_down(void) { lm_arena_destroy(&arena); }

TestSuite(wire, .init = set_up, .fini = tear_down);

Test(wire, every_kind_of_field_survives_the_way_there_and_back)
{
    lm_api_holder_t holders[] = {
        {.owner = lm_bytes_of("a"), .mode = LM_API_LOCK_MODE_SHARED, .token = INT64_MAX},
        {.owner = lm_bytes_of("b"), .mode = 77, .token = -1},
    };
    lm_api_response_header_t header = {.node = lm_bytes_of("n1"), .term = UINT64_MAX};
    lm_api_acquire_response_t in = {.header = &header,
                                    .result = LM_API_ACQUIRE_RESULT_HELD,
                                    .lease_remaining_ms = -5,
                                    .n_holders = 2,
                                    .holders = holders,
                                    .waiters = UINT32_MAX};
    lm_bytes_t bytes = lm_wire_encode(&lm_api_acquire_response_type, &in, arena);
    void *message;
    cr_assert_eq(lm_wire_decode(&lm_api_acquire_response_type, bytes, arena, &message, NULL),
                 LM_RC_OK);
    const lm_api_acquire_response_t *out = message;
    cr_assert_eq(out->header->term, UINT64_MAX);
    cr_assert(lm_bytes_equal(out->header->node, lm_bytes_of("n1")));
    cr_assert_eq(out->result, LM_API_ACQUIRE_RESULT_HELD);
    cr_assert_eq(out->lease_remaining_ms, -5);
    cr_assert_eq(out->waiters, UINT32_MAX);
    cr_assert_eq(out->n_holders, 2);
    cr_assert_eq(out->holders[0].token, INT64_MAX);
    cr_assert_eq(out->holders[1].mode, 77);
}

Test(wire, a_oneof_keeps_its_case_and_lists_may_be_empty)
{
    lm_log_expire_t expire = {.name = lm_bytes_of("x"), .hold = 7, .basis = 9};
    lm_log_command_t in = {.body_case = LM_LOG_COMMAND_BODY_EXPIRE, .expire = &expire};
    void *message;
    lm_bytes_t bytes = lm_wire_encode(&lm_log_command_type, &in, arena);
    cr_assert_eq(lm_wire_decode(&lm_log_command_type, bytes, arena, &message, NULL), LM_RC_OK);
    const lm_log_command_t *out = message;
    cr_assert_eq(out->body_case, LM_LOG_COMMAND_BODY_EXPIRE);
    cr_assert_eq(out->expire->basis, 9);
    cr_assert_null(out->acquire);
    cr_assert_null(out->pair);
}

Test(wire, two_names_that_differ_behind_a_nul_are_not_one_name)
{
    /* field 1, length 3: a NUL b */
    static const uint8_t bytes[] = {0x0a, 3, 'a', 0, 'b'};
    void *message;
    lm_wire_error_t error;
    cr_assert_eq(lm_wire_decode(&lm_api_get_request_type, lm_bytes(bytes, sizeof bytes), arena,
                                &message, &error),
                 LM_RC_INVALID_ARGUMENT);
    cr_assert_str_eq(error.field, "name");
    cr_assert_str_eq(error.rule, "must not contain NUL");
}

Test(wire, text_must_be_utf8_but_bytes_may_be_anything)
{
    static const uint8_t text[] = {0x0a, 2, 0xc3, 0x28};
    void *message;
    lm_wire_error_t error;
    cr_assert_eq(lm_wire_decode(&lm_api_get_request_type, lm_bytes(text, sizeof text), arena,
                                &message, &error),
                 LM_RC_INVALID_ARGUMENT);
    cr_assert_str_eq(error.rule, "must be valid UTF-8");
    static const uint8_t entry[] = {0x1a, 2, 0xc3, 0x00};
    cr_assert_eq(
        lm_wire_decode(&lm_peer_entry_type, lm_bytes(entry, sizeof entry), arena, &message, &error),
        LM_RC_OK);
}

Test(wire, garbage_is_malformed)
{
    static const uint8_t cut[] = {0x0a, 200, 'a'};
    void *message;
    lm_wire_error_t error;
    cr_assert_eq(lm_wire_decode(&lm_api_get_request_type, lm_bytes(cut, sizeof cut), arena,
                                &message, &error),
                 LM_RC_MALFORMED);
    cr_assert_str_eq(error.field, "");
}

Test(wire, random_and_mutated_bytes_end_with_a_message_or_a_refusal)
{
    static const lm_wire_type_t *const types[] = {
        &lm_api_acquire_request_type, &lm_api_list_response_type,
        &lm_peer_frame_type,          &lm_peer_lock_call_type,
        &lm_log_batch_type,           &lm_bus_envelope_type,
        &lm_bus_node_config_type,     &lm_region_hello_request_type,
        &lm_rpc_error_info_type};
    srand(1);
    for (int round = 0; round < 20000; round++) {
        uint8_t bytes[96];
        size_t size = (size_t)rand() % sizeof bytes;
        for (size_t i = 0; i < size; i++)
            bytes[i] = (uint8_t)(rand() % 3 ? rand() % 32 : rand()); /* small tags and lengths */
        void *message = NULL;
        const lm_wire_type_t *type = types[(size_t)rand() % (sizeof types / sizeof *types)];
        lm_rc_t rc = lm_wire_decode(type, lm_bytes(bytes, size), arena, &message, NULL);
        if (rc == LM_RC_OK) lm_wire_encode(type, message, arena);
        lm_arena_reset(arena);
    }
}

typedef struct {
    char text[512];
} printed_t;

static void add(void *arg, const char *words) { strcat(((printed_t *)arg)->text, words); }
static void on_begin(void *arg, const char *name)
{
    add(arg, name ? name : "-");
    add(arg, "{");
}
static void on_end(void *arg) { add(arg, "}"); }
static void on_text(void *arg, const char *name, lm_bytes_t value)
{
    char words[64];
    snprintf(words, sizeof words, "%s=%.*s ", name, LM_BYTES_ARG(value));
    add(arg, words);
}
static void on_enum(void *arg, const char *name, int32_t value, const char *value_name)
{
    (void)value;
    add(arg, name);
    add(arg, "=");
    add(arg, value_name ? value_name : "?");
    add(arg, " ");
}

Test(wire, visiting_shows_set_fields_with_their_json_names)
{
    lm_api_holder_t holder = {.owner = lm_bytes_of("o"), .mode = LM_API_LOCK_MODE_SHARED};
    lm_api_lock_info_t lock = {.name = lm_bytes_of("l"), .n_holders = 1, .holders = &holder};
    lm_api_get_response_t in = {.lock = &lock};
    lm_wire_visitor_t visitor = {.begin_message = on_begin,
                                 .end_message = on_end,
                                 .begin_list = on_begin,
                                 .end_list = on_end,
                                 .text = on_text,
                                 .enumeration = on_enum};
    printed_t printed = {""};
    lm_wire_visit(&lm_api_get_response_type, &in, false, &visitor, &printed);
    cr_assert_str_eq(printed.text, "lock{name=l holders{-{owner=o mode=LOCK_MODE_SHARED }}}");
}
