#include "frontend_reflection.h"

#include <stdlib.h>

#include "frontend_methods.h"
#include "wire_reflection.h"

enum { GRPC_INVALID_ARGUMENT = 3, GRPC_NOT_FOUND = 5 };

typedef lm_reflection_server_reflection_request_t request_t;
typedef lm_reflection_server_reflection_response_t response_t;

static void fail(response_t *response, int32_t code, lm_bytes_t text, lm_arena_t *arena)
{
    lm_reflection_error_response_t *error = lm_arena_alloc(arena, sizeof *error);
    *error = (lm_reflection_error_response_t){.error_code = code, .error_message = text};
    response->message_response_case =
        LM_REFLECTION_SERVER_REFLECTION_RESPONSE_MESSAGE_RESPONSE_ERROR_RESPONSE;
    response->error_response = error;
}

static void give_file(response_t *response, const lm_reflected_file_t *file, lm_arena_t *arena)
{
    lm_reflection_file_descriptor_response_t *files = lm_arena_alloc(arena, sizeof *files);
    files->n_file_descriptor_proto = file->n_files;
    files->file_descriptor_proto =
        lm_arena_alloc(arena, file->n_files * sizeof *files->file_descriptor_proto);
    for (size_t i = 0; i < file->n_files; i++) {
        const lm_reflected_file_t *one = &lm_reflected_files[file->files[i]];
        files->file_descriptor_proto[i] = lm_bytes(one->bytes, one->size);
    }
    response->message_response_case =
        LM_REFLECTION_SERVER_REFLECTION_RESPONSE_MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE;
    response->file_descriptor_response = files;
}

static void on_filename(const request_t *request, response_t *response, lm_arena_t *arena)
{
    for (size_t i = 0; i < lm_n_reflected_files; i++) {
        const lm_reflected_file_t *file = &lm_reflected_files[i];
        if (!lm_bytes_equal(request->file_by_filename, lm_bytes_of(file->name))) continue;
        give_file(response, file, arena);
        return;
    }
    fail(response, GRPC_NOT_FOUND,
         lm_arena_print(arena, "there is no file %.*s", LM_BYTES_ARG(request->file_by_filename)),
         arena);
}

static int by_name(const void *name, const void *symbol)
{
    return lm_bytes_compare(*(const lm_bytes_t *)name,
                            lm_bytes_of(((const lm_reflected_symbol_t *)symbol)->name));
}

static const lm_reflected_symbol_t *find_symbol(lm_bytes_t name)
{
    return bsearch(&name, lm_reflected_symbols, lm_n_reflected_symbols,
                   sizeof *lm_reflected_symbols, by_name);
}

static void on_symbol(const request_t *request, response_t *response, lm_arena_t *arena)
{
    const lm_reflected_symbol_t *symbol = find_symbol(request->file_containing_symbol);
    if (symbol)
        give_file(response, &lm_reflected_files[symbol->file], arena);
    else
        fail(response, GRPC_NOT_FOUND,
             lm_arena_print(arena, "there is no symbol %.*s",
                            LM_BYTES_ARG(request->file_containing_symbol)),
             arena);
}

static void on_list(const request_t *request, response_t *response, lm_arena_t *arena)
{
    (void)request;
    lm_reflection_list_service_response_t *list = lm_arena_alloc(arena, sizeof *list);
    while (lm_frontend_services[list->n_service]) list->n_service++;
    list->service = lm_arena_alloc(arena, list->n_service * sizeof *list->service);
    for (size_t i = 0; i < list->n_service; i++)
        list->service[i].name = lm_bytes_of(lm_frontend_services[i]);
    response->message_response_case =
        LM_REFLECTION_SERVER_REFLECTION_RESPONSE_MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE;
    response->list_services_response = list;
}

/* proto3 has no extensions of its own messages. */
static void on_extension(const request_t *request, response_t *response, lm_arena_t *arena)
{
    (void)request;
    fail(response, GRPC_NOT_FOUND, lm_bytes_of("there are no extensions"), arena);
}

static void on_extension_numbers(const request_t *request, response_t *response, lm_arena_t *arena)
{
    if (!find_symbol(request->all_extension_numbers_of_type)) {
        on_extension(request, response, arena);
        return;
    }
    lm_reflection_extension_number_response_t *numbers = lm_arena_alloc(arena, sizeof *numbers);
    numbers->base_type_name = request->all_extension_numbers_of_type;
    response->message_response_case =
        LM_REFLECTION_SERVER_REFLECTION_RESPONSE_MESSAGE_RESPONSE_ALL_EXTENSION_NUMBERS_RESPONSE;
    response->all_extension_numbers_response = numbers;
}

static void on_nothing(const request_t *request, response_t *response, lm_arena_t *arena)
{
    (void)request;
    fail(response, GRPC_INVALID_ARGUMENT, lm_bytes_of("the request asks nothing"), arena);
}

#define ASKED(name) LM_REFLECTION_SERVER_REFLECTION_REQUEST_MESSAGE_REQUEST_##name

typedef void on_question_t(const request_t *, response_t *, lm_arena_t *);
static on_question_t *const questions[] = {
    [ASKED(NONE)] = on_nothing,
    [ASKED(FILE_BY_FILENAME)] = on_filename,
    [ASKED(FILE_CONTAINING_SYMBOL)] = on_symbol,
    [ASKED(FILE_CONTAINING_EXTENSION)] = on_extension,
    [ASKED(ALL_EXTENSION_NUMBERS_OF_TYPE)] = on_extension_numbers,
    [ASKED(LIST_SERVICES)] = on_list,
};

bool lm_frontend_reflection_answer(lm_bytes_t bytes, lm_arena_t *arena, lm_bytes_t *answer)
{
    void *decoded;
    if (lm_wire_decode(&lm_reflection_server_reflection_request_type, bytes, arena, &decoded,
                       NULL) != LM_RC_OK)
        return false;
    request_t *request = decoded;
    response_t response = {.valid_host = request->host, .original_request = request};
    questions[request->message_request_case](request, &response, arena);
    *answer = lm_wire_encode(&lm_reflection_server_reflection_response_type, &response, arena);
    return true;
}
