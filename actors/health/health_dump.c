/* The page of threads: as JSON in the form that Spring gives it, or as text for people. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "health_json.h"
#include "health_threads.h"

/* What Java's tools take for the line of a function that has none, since it is native. */
enum { NATIVE_LINE = -2 };

/* States of the kernel in Java's words. A thread of ours that waits for another one sleeps; what
 * cannot even be interrupted, or was stopped from outside, is blocked. */
static const char *state_of(char state)
{
    static const struct {
        char kernel;
        const char *name;
    } rows[] = {{'R', "RUNNABLE"}, {'S', "WAITING"}, {'I', "WAITING"},    {'D', "BLOCKED"},
                {'T', "BLOCKED"},  {'t', "BLOCKED"}, {'Z', "TERMINATED"}, {'X', "TERMINATED"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].kernel == state) return rows[i].name;
    return "RUNNABLE";
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static json_t *frame_json(const health_frame_t *frame, const char *file, const char *function)
{
    char offset[32];
    snprintf(offset, sizeof offset, "0x%" PRIx64, frame->file ? frame->offset : frame->address);
    json_t *json = json_object();
    json_object_set_new(json, "methodName", json_string(*function ? function : offset));
    json_object_set_new(json, "fileName", json_string(file));
    json_object_set_new(json, "lineNumber", json_integer(NATIVE_LINE));
    json_object_set_new(json, "nativeMethod", json_true());
    json_object_set_new(json, "offset", json_string(offset));
    return json;
}

static json_t *stack_json(const health_thread_t *thread)
{
    json_t *stack = json_array();
    for (size_t i = 0; i < thread->n_frames; i++) {
        const health_frame_t *frame = &thread->frames[i];
        json_array_append_new(stack, frame_json(frame, frame->file ? frame->file : "",
                                                frame->function ? frame->function : ""));
    }
    return stack;
}

static json_t *thread_json(const health_thread_t *thread)
{
    json_t *json = json_object();
    json_object_set_new(json, "threadName", health_json_text(lm_bytes_of(thread->name)));
    json_object_set_new(json, "threadId", json_integer(thread->tid));
    json_object_set_new(json, "threadState", json_string(state_of(thread->state)));
    json_object_set_new(json, "daemon", json_boolean(thread->tid != thread->pid));
    json_object_set_new(json, "priority", json_integer(thread->priority));
    json_object_set_new(json, "process", health_json_text(lm_bytes_of(thread->process)));
    json_object_set_new(json, "processId", json_integer(thread->pid));
    json_object_set_new(json, "stackTrace", stack_json(thread));
    if (thread->missing) json_object_set_new(json, "stackMissing", json_string(thread->missing));
    return json;
}

/* ---- text ------------------------------------------------------------------------------------ */

static void print_thread(FILE *out, const health_thread_t *thread)
{
    fprintf(out, "\"%s\" #%d %sprio=%d process=%s pid=%d\n   state: %s\n", thread->name,
            thread->tid, thread->tid != thread->pid ? "daemon " : "", thread->priority,
            thread->process, thread->pid, state_of(thread->state));
    for (size_t i = 0; i < thread->n_frames; i++) {
        const health_frame_t *frame = &thread->frames[i];
        fprintf(out, "\tat %s(%s%s0x%" PRIx64 ")\n", frame->function ? frame->function : "",
                frame->file ? frame->file : "", frame->file ? "+" : "",
                frame->file ? frame->offset : frame->address);
    }
    if (thread->missing) fprintf(out, "\t- no stack: %s\n", thread->missing);
    fputc('\n', out);
}

static health_answer_t text_page(const health_threads_t *threads)
{
    health_answer_t answer = {.code = 200, .content_type = "text/plain;charset=UTF-8"};
    FILE *out = open_memstream(&answer.body, &answer.size);
    for (size_t i = 0; i < threads->n; i++) print_thread(out, &threads->items[i]);
    fclose(out);
    return answer;
}

static bool wants_text(const char *accept)
{
    return accept && strstr(accept, "text/plain") && !strstr(accept, "json");
}

health_answer_t health_dump_page(const health_t *health, const health_request_t *request)
{
    const health_threads_t *threads = health_threads(health);
    if (!threads) return health_json_error(request, 503, "The processes are not known yet");
    if (wants_text(request->accept)) return text_page(threads);
    json_t *all = json_array();
    for (size_t i = 0; i < threads->n; i++)
        json_array_append_new(all, thread_json(&threads->items[i]));
    return health_json_answer(request, 200, json_pack("{s:o}", "threads", all));
}
