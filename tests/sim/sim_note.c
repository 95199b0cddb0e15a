/* The trace: notes are kept as numbers and become text only when somebody reads them. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sim.h"

const sim_mark_t sim_fault_marks[SIM_FAULTS] = {
#define SIM_FAULT(name, text) {#name, text},
#define SIM_PROBE(name, text)
#include "sim_marks.def"
#undef SIM_FAULT
#undef SIM_PROBE
};

const sim_mark_t sim_probe_marks[SIM_PROBES] = {
#define SIM_FAULT(name, text)
#define SIM_PROBE(name, text) {#name, text},
#include "sim_marks.def"
#undef SIM_FAULT
#undef SIM_PROBE
};

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static int print_note(const sim_note_t *note, char *line, size_t size)
{
    const uint64_t *n = note->numbers;
    const char *who = note->who ? lm_participant_name((lm_participant_t)note->who) : "";
    char where[16] = "--";
    if (note->node >= 0) snprintf(where, sizeof where, "n%d", note->node + 1);
    int used = snprintf(line, size, "%4" PRIu64 ".%06" PRIu64 " %s %-8s ", note->at_us / SIM_S,
                        note->at_us % SIM_S, where, who);
    if (note->text[0])
        used += snprintf(line + used, size - (size_t)used, note->format, note->text, n[0], n[1]);
    else
        used += snprintf(line + used, size - (size_t)used, note->format, n[0], n[1], n[2], n[3]);
    if ((size_t)used >= size - 1) used = (int)size - 2;
    line[used++] = '\n';
    line[used] = 0;
    return used;
}
#pragma GCC diagnostic pop

static void hash_note(sim_t *sim, const sim_note_t *note)
{
    uint64_t hash = sim->result->trace_hash;
    uint64_t words[] = {
        note->at_us,      note->numbers[0], note->numbers[1],          note->numbers[2],
        note->numbers[3], note->who,        (uint64_t)(note->node + 1)};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        hash ^= words[i] + UINT64_C(0x9e3779b97f4a7c15) + (hash << 6) + (hash >> 2);
        hash *= UINT64_C(0xff51afd7ed558ccd);
    }
    hash ^= lm_bytes_hash(lm_bytes_of(note->text), (uint64_t)note->format[0]);
    sim->result->trace_hash = hash;
}

static void add(sim_t *sim, const sim_note_t *note)
{
    sim->notes[sim->n_notes++ % SIM_NOTES] = *note;
    hash_note(sim, note);
    if (sim->record) sim_record_note(sim->record, note);
    if (!sim->options.trace) return;
    char line[256];
    int n = print_note(note, line, sizeof line);
    fwrite(line, 1, (size_t)n, stdout);
}

void sim_note(sim_t *sim, int node, lm_participant_t who, const char *format, uint64_t a,
              uint64_t b, uint64_t c, uint64_t d)
{
    sim_note_t note = {.at_us = sim->now_us,
                       .format = format,
                       .numbers = {a, b, c, d},
                       .node = (int8_t)node,
                       .who = (uint8_t)who};
    add(sim, &note);
}

void sim_note_text(sim_t *sim, int node, lm_participant_t who, const char *format, const char *text,
                   uint64_t a, uint64_t b)
{
    sim_note_t note = {.at_us = sim->now_us,
                       .format = format,
                       .numbers = {a, b},
                       .node = (int8_t)node,
                       .who = (uint8_t)who};
    snprintf(note.text, sizeof note.text, "%s", *text ? text : "-");
    add(sim, &note);
}

void sim_print_note(const sim_note_t *note, int file)
{
    char line[256];
    int used = print_note(note, line, sizeof line);
    if (write(file, line, (size_t)used) < 0) return;
}

void sim_print_notes(const sim_t *sim, size_t most, int file)
{
    uint64_t n = sim->n_notes < SIM_NOTES ? sim->n_notes : SIM_NOTES;
    if (n > most) n = most;
    for (uint64_t i = sim->n_notes - n; i < sim->n_notes; i++)
        sim_print_note(&sim->notes[i % SIM_NOTES], file);
}

void sim_fail(sim_t *sim, const char *rule, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(sim->result->words, sizeof sim->result->words, format, args);
    va_end(args);
    snprintf(sim->result->rule, sizeof sim->result->rule, "%s", rule);
    sim->result->failed = true;
    longjmp(sim->end, 1);
}
