/* Reflection from the tables that are made at build time. */
#include "frontend_reflection.h"

#include <criterion/criterion.h>

#include "frontend_methods.h"
#include "wire_reflection.h"

#define ASK(name) LM_REFLECTION_SERVER_REFLECTION_REQUEST_MESSAGE_REQUEST_##name
#define TOLD(name) LM_REFLECTION_SERVER_REFLECTION_RESPONSE_MESSAGE_RESPONSE_##name

typedef lm_reflection_server_reflection_request_t request_t;
typedef lm_reflection_server_reflection_response_t response_t;

static lm_arena_t *arena;

static void set_up(void) { arena = lm_arena_new(); }
static void tear_down(void) { lm_arena_destroy(&arena); }

TestSuite(frontend_reflection, .init = set_up, .fini = tear_down);

static const response_t *ask(request_t request)
{
    lm_bytes_t bytes =
        lm_wire_encode(&lm_reflection_server_reflection_request_type, &request, arena);
    lm_bytes_t answer;
    cr_assert(lm_frontend_reflection_answer(bytes, arena, &answer));
    void *response;
    cr_assert_eq(lm_wire_decode(&lm_reflection_server_reflection_response_type, answer, arena,
                                &response, NULL),
                 LM_RC_OK);
    return response;
}

static const response_t *ask_symbol(const char *symbol)
{
    return ask((request_t){.message_request_case = ASK(FILE_CONTAINING_SYMBOL),
                           .file_containing_symbol = lm_bytes_of(symbol)});
}

static void expect_error(const response_t *response, int code)
{
    cr_assert_eq(response->message_response_case, TOLD(ERROR_RESPONSE));
    cr_assert_eq(response->error_response->error_code, code);
}

Test(frontend_reflection, lists_the_public_services_only)
{
    const response_t *response =
        ask((request_t){.host = lm_bytes_of("h"), .message_request_case = ASK(LIST_SERVICES)});
    cr_assert_eq(response->message_response_case, TOLD(LIST_SERVICES_RESPONSE));
    cr_assert_eq(response->list_services_response->n_service, 5);
    cr_assert(lm_bytes_equal(response->valid_host, lm_bytes_of("h")));
    cr_assert_eq(response->original_request->message_request_case, ASK(LIST_SERVICES));
    expect_error(ask_symbol("lockmgr.peer.v1.RaftService"), 5);
}

Test(frontend_reflection, every_listed_service_and_method_is_found)
{
    for (size_t i = 0; lm_frontend_services[i]; i++)
        cr_assert_eq(ask_symbol(lm_frontend_services[i])->message_response_case,
                     TOLD(FILE_DESCRIPTOR_RESPONSE), "%s", lm_frontend_services[i]);
    static const char *const symbols[] = {
        "lockmgr.v1.LockService.Acquire",    "lockmgr.v1.AcquireRequest",
        "lockmgr.v1.AcquireRequest.wait_ms", "lockmgr.v1.LockMode",
        "lockmgr.v1.LOCK_MODE_SHARED",       "grpc.health.v1.HealthCheckResponse.ServingStatus"};
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++)
        cr_assert_eq(ask_symbol(symbols[i])->message_response_case, TOLD(FILE_DESCRIPTOR_RESPONSE),
                     "%s", symbols[i]);
}

Test(frontend_reflection, a_file_comes_with_all_it_imports_itself_first)
{
    const response_t *response =
        ask((request_t){.message_request_case = ASK(FILE_BY_FILENAME),
                        .file_by_filename = lm_bytes_of("lockmgr/v1/lock_service.proto")});
    const lm_reflection_file_descriptor_response_t *files = response->file_descriptor_response;
    cr_assert_eq(files->n_file_descriptor_proto, 2);
    /* Field 1 of a file's descriptor is its name. */
    lm_bytes_t first = files->file_descriptor_proto[0];
    static const char begin[] = "\x0a\x1dlockmgr/v1/lock_service.proto";
    cr_assert(lm_bytes_begin_with(first, lm_bytes_of(begin)));
}

Test(frontend_reflection, unknown_names_and_empty_questions_are_errors_not_ends)
{
    expect_error(ask_symbol("nothing.at.all"), 5);
    expect_error(ask_symbol(""), 5);
    expect_error(ask((request_t){.message_request_case = ASK(FILE_BY_FILENAME),
                                 .file_by_filename = lm_bytes_of("x.proto")}),
                 5);
    lm_reflection_extension_request_t extension = {.extension_number = 1};
    expect_error(ask((request_t){.message_request_case = ASK(FILE_CONTAINING_EXTENSION),
                                 .file_containing_extension = &extension}),
                 5);
    expect_error(ask((request_t){0}), 3);
    const response_t *numbers =
        ask((request_t){.message_request_case = ASK(ALL_EXTENSION_NUMBERS_OF_TYPE),
                        .all_extension_numbers_of_type = lm_bytes_of("lockmgr.v1.LockInfo")});
    cr_assert_eq(numbers->message_response_case, TOLD(ALL_EXTENSION_NUMBERS_RESPONSE));
    lm_bytes_t answer;
    cr_assert(!lm_frontend_reflection_answer(lm_bytes("\xff", 1), arena, &answer));
}

Test(frontend_reflection, symbols_are_sorted_for_the_search)
{
    for (size_t i = 1; i < lm_n_reflected_symbols; i++)
        cr_assert_lt(strcmp(lm_reflected_symbols[i - 1].name, lm_reflected_symbols[i].name), 0);
}
