/* A seed is played twice, the second time right behind the first, and compared event by event: when
 * it happened, what chance had been drawn by then, what went over the bus and the network, and what
 * was noted (M1). A third time, given the same as the second, tells whether what they were given
 * makes the difference, or something else does.
 *
 * The memory of the engine (libraft) lies elsewhere the second time, with other rests in it: what
 * is decided by an address, or by what was never written, is decided otherwise.
 *
 * Only what leaves a room is compared: what goes wrong inside of one is found at the first event at
 * which it shows. */
#include <inttypes.h>
#include <malloc.h>
#include <raft.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base_check.h"
#include "sim.h"

enum { NOTES_BEFORE = 40, NOTES_BEHIND = 20 };

/* How things stood behind an event. */
typedef struct {
    uint64_t at_us, chance, said, n_notes;
} step_t;

struct sim_record {
    step_t *steps;
    size_t n_steps, steps_room;
    sim_note_t *notes;
    size_t n_notes, notes_room;
    uint64_t said; /* hash of all bytes up to now */
    sim_result_t result;
};

/* ---- the engine's memory --------------------------------------------------------------------- */

/* Every allocation begins so far behind a multiple of 64 KiB: that is in the lower bytes of all
 * addresses. */
#define STEP_BYTES ((size_t)65536)

typedef struct {
    size_t offset;
    uint8_t rest; /* in every byte that has not been written */
} memory_t;

static memory_t memories[] = {{.offset = 0x5550, .rest = 0x5a}, {.offset = 0, .rest = 0xa5}};

static void *memory_alloc(void *arg, size_t size)
{
    const memory_t *memory = arg;
    void *block;
    LM_CHECK(posix_memalign(&block, STEP_BYTES, memory->offset + size + 1) == 0, "no memory");
    return memset((uint8_t *)block + memory->offset, memory->rest, size);
}

static void *memory_calloc(void *arg, size_t n, size_t size)
{
    return memset(memory_alloc(arg, n * size), 0, n * size);
}

static void memory_free(void *arg, void *at)
{
    (void)arg;
    free((void *)((uintptr_t)at & ~(STEP_BYTES - 1)));
}

/* How long the old block was is not known; what lies behind it may be copied too. */
static void *memory_realloc(void *arg, void *at, size_t size)
{
    void *bigger = memory_alloc(arg, size);
    if (!at) return bigger;
    const uint8_t *block = (const uint8_t *)((uintptr_t)at & ~(STEP_BYTES - 1));
    size_t room = malloc_usable_size((void *)(uintptr_t)block) - (size_t)((uint8_t *)at - block);
    memcpy(bigger, at, room < size ? room : size);
    memory_free(arg, at);
    return bigger;
}

static void set_memory(memory_t *memory)
{
    static struct raft_heap heap;
    heap = (struct raft_heap){.data = memory,
                              .malloc = memory_alloc,
                              .free = memory_free,
                              .calloc = memory_calloc,
                              .realloc = memory_realloc};
    raft_heap_set(&heap);
}

/* ---- recording ------------------------------------------------------------------------------- */

void sim_record_note(sim_record_t *record, const sim_note_t *note)
{
    if (record->n_notes == record->notes_room) {
        record->notes_room = 2 * record->notes_room + 4096;
        record->notes = lm_realloc(record->notes, record->notes_room * sizeof *record->notes);
    }
    record->notes[record->n_notes++] = *note;
}

void sim_record_bytes(sim_record_t *record, lm_bytes_t bytes)
{
    record->said = lm_bytes_hash(bytes, record->said + bytes.size);
}

void sim_record_event(sim_record_t *record, const sim_t *sim)
{
    if (record->n_steps == record->steps_room) {
        record->steps_room = 2 * record->steps_room + 8192;
        record->steps = lm_realloc(record->steps, record->steps_room * sizeof *record->steps);
    }
    record->steps[record->n_steps++] = (step_t){.at_us = sim->now_us,
                                                .chance = sim->chance,
                                                .said = record->said,
                                                .n_notes = record->n_notes};
}

static sim_record_t *play(const sim_options_t *options, memory_t *memory)
{
    set_memory(memory);
    sim_record_t *record = lm_alloc(sizeof *record);
    sim_t *sim = sim_new(options, &record->result);
    sim->record = record;
    sim_run(sim);
    sim_destroy(&sim);
    raft_heap_set_default();
    return record;
}

static void record_free(sim_record_t *record)
{
    free(record->steps);
    free(record->notes);
    free(record);
}

/* ---- comparing ------------------------------------------------------------------------------- */

static bool same_note(const sim_note_t *a, const sim_note_t *b)
{
    return a->at_us == b->at_us && a->format == b->format && a->node == b->node &&
           a->who == b->who && memcmp(a->numbers, b->numbers, sizeof a->numbers) == 0 &&
           strcmp(a->text, b->text) == 0;
}

static size_t first_note(const sim_record_t *a, const sim_record_t *b)
{
    size_t n = a->n_notes < b->n_notes ? a->n_notes : b->n_notes, i = 0;
    while (i < n && same_note(&a->notes[i], &b->notes[i])) i++;
    return i;
}

static const char *difference(const step_t *a, const step_t *b)
{
    if (a->at_us != b->at_us) return "its time";
    if (a->said != b->said) return "what was sent";
    if (a->chance != b->chance) return "what was drawn";
    return a->n_notes != b->n_notes ? "how many notes there are" : NULL;
}

/* The first event behind which they differ, and in what; NULL: they are alike. A difference in the
 * notes alone is one of the event that made the first of them. */
static const char *compare(const sim_record_t *a, const sim_record_t *b, size_t *event)
{
    size_t n = a->n_steps < b->n_steps ? a->n_steps : b->n_steps, note = first_note(a, b);
    bool notes = note < a->n_notes || note < b->n_notes;
    for (*event = 0; *event < n; ++*event) {
        const char *what = difference(&a->steps[*event], &b->steps[*event]);
        if (what) return what;
        if (notes && a->steps[*event].n_notes > note) return "what was noted";
    }
    if (a->n_steps != b->n_steps) return "that it happened";
    bool ends =
        a->result.failed != b->result.failed || strcmp(a->result.words, b->result.words) != 0;
    return ends || notes ? "how it ended" : NULL;
}

/* ---- telling --------------------------------------------------------------------------------- */

static void show(const sim_record_t *record, size_t event, const char *which)
{
    const step_t *step = event < record->n_steps ? &record->steps[event] : NULL;
    size_t behind = event > 0 && event <= record->n_steps ? record->steps[event - 1].n_notes : 0;
    size_t first = behind > NOTES_BEFORE ? behind - NOTES_BEFORE : 0;
    size_t end = behind + NOTES_BEHIND < record->n_notes ? behind + NOTES_BEHIND : record->n_notes;
    printf("---- the %s time: %zu events, trace %016" PRIx64 "\n", which, record->n_steps,
           record->result.trace_hash);
    fflush(stdout);
    for (size_t i = first; i < end; i++) {
        if (i == behind && step)
            dprintf(STDOUT_FILENO,
                    "---- event %zu at %" PRIu64 " us, chance %016" PRIx64 ", sent %016" PRIx64
                    "\n",
                    event, step->at_us, step->chance, step->said);
        sim_print_note(&record->notes[i], STDOUT_FILENO);
    }
}

static const char *odd_one(const sim_options_t *options, const sim_record_t *a,
                           const sim_record_t *b)
{
    size_t event;
    sim_record_t *third = play(options, &memories[1]);
    bool like_a = !compare(third, a, &event), like_b = !compare(third, b, &event);
    record_free(third);
    return like_a ? "as the first" : like_b ? "as the second" : "like neither";
}

void sim_play_twice(const sim_options_t *options, sim_result_t *result)
{
    size_t event;
    sim_record_t *first = play(options, &memories[0]);
    sim_record_t *second = play(options, &memories[1]);
    const char *what = compare(first, second, &event);
    *result = first->result;
    if (what) {
        snprintf(result->rule, sizeof result->rule, "REPLAY");
        snprintf(result->words, sizeof result->words,
                 "played twice, event %zu of %zu and %zu differs in %s; a third time is %s", event,
                 first->n_steps, second->n_steps, what, odd_one(options, first, second));
        result->failed = true;
        printf("seed %" PRIu64 ": %s\n", options->seed, result->words);
        show(first, event, "first");
        show(second, event, "second");
    }
    record_free(first);
    record_free(second);
}
