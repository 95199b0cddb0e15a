/* Entries live in chunks of fixed size, so that a growing log never copies what it has. */
#include "raft_log.h"

#include <stdlib.h>
#include <string.h>

#include "base_arena.h"
#include "base_check.h"

#define CHUNK_RECORDS 4096u

struct lm_raft_buffer {
    uint64_t references;
    void *memory;
    void (*release)(void *memory);
};

struct lm_raft_log {
    lm_raft_record_t **chunks;
    size_t n_chunks;
    uint64_t first_chunk; /* number of chunks[0]; entry 1 is in chunk 0 */
    uint64_t first_index, last_index;
    uint64_t term_before;  /* of the entry before the first; 0: not known */
    uint64_t bytes_before; /* of the first entry */
    uint64_t next_serial;
};

lm_raft_buffer_t *lm_raft_buffer_adopt(void *memory, void (*release)(void *memory))
{
    lm_raft_buffer_t *buffer = lm_alloc(sizeof *buffer);
    *buffer = (lm_raft_buffer_t){.references = 1, .memory = memory, .release = release};
    return buffer;
}

lm_raft_buffer_t *lm_raft_buffer_keep(lm_raft_buffer_t *buffer)
{
    buffer->references++;
    return buffer;
}

void lm_raft_buffer_drop(lm_raft_buffer_t **buffer)
{
    lm_raft_buffer_t *self = *buffer;
    *buffer = NULL;
    if (!self || --self->references > 0) return;
    self->release(self->memory);
    free(self);
}

lm_raft_log_t *lm_raft_log_new(void)
{
    lm_raft_log_t *log = lm_alloc(sizeof *log);
    *log = (lm_raft_log_t){.next_serial = 1, .first_index = 1};
    return log;
}

void lm_raft_log_destroy(lm_raft_log_t **log)
{
    lm_raft_log_t *self = *log;
    if (!self) return;
    lm_raft_log_begin(self, 0, 0);
    free(self->chunks);
    free(self);
    *log = NULL;
}

static lm_raft_record_t *slot(const lm_raft_log_t *log, uint64_t index)
{
    return &log->chunks[(index - 1) / CHUNK_RECORDS - log->first_chunk]
                       [(index - 1) % CHUNK_RECORDS];
}

static uint64_t bytes_behind(const lm_raft_log_t *log, uint64_t index)
{
    if (index < log->first_index) return log->bytes_before;
    return slot(log, index)->bytes_before + slot(log, index)->data.size;
}

uint64_t lm_raft_log_append(lm_raft_log_t *log, uint64_t term, uint32_t type, lm_bytes_t data,
                            lm_raft_buffer_t *buffer)
{
    uint64_t last = log->last_index, index = last + 1;
    LM_CHECK(term >= lm_raft_log_term(log, last), "term %llu at index %llu after term %llu",
             (unsigned long long)term, (unsigned long long)index,
             (unsigned long long)lm_raft_log_term(log, last));
    if (log->n_chunks == 0) log->first_chunk = (index - 1) / CHUNK_RECORDS;
    if ((index - 1) / CHUNK_RECORDS == log->first_chunk + log->n_chunks) {
        log->chunks = lm_realloc(log->chunks, (log->n_chunks + 1) * sizeof(void *));
        log->chunks[log->n_chunks++] = lm_alloc(CHUNK_RECORDS * sizeof(lm_raft_record_t));
    }
    *slot(log, index) = (lm_raft_record_t){
        .term = term,
        .type = type,
        .data = data,
        .buffer = lm_raft_buffer_keep(buffer),
        .serial = log->next_serial++,
        .bytes_before = bytes_behind(log, last),
    };
    log->last_index = index;
    return index;
}

void lm_raft_log_truncate(lm_raft_log_t *log, uint64_t index)
{
    LM_CHECK(index >= log->first_index, "truncation at index %llu of a log from %llu on",
             (unsigned long long)index, (unsigned long long)log->first_index);
    for (; log->last_index >= index; log->last_index--)
        lm_raft_buffer_drop(&slot(log, log->last_index)->buffer);
}

static void free_chunks(lm_raft_log_t *log, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) free(log->chunks[i]);
    log->n_chunks -= n;
    log->first_chunk += n;
    if (log->n_chunks > 0)
        memmove(log->chunks, log->chunks + n, log->n_chunks * sizeof *log->chunks);
}

void lm_raft_log_trim(lm_raft_log_t *log, uint64_t index)
{
    LM_CHECK(index <= log->last_index, "trimmed to %llu, but it ends at %llu",
             (unsigned long long)index, (unsigned long long)log->last_index);
    if (index < log->first_index) return;
    log->term_before = slot(log, index)->term;
    log->bytes_before = bytes_behind(log, index);
    for (; log->first_index <= index; log->first_index++)
        lm_raft_buffer_drop(&slot(log, log->first_index)->buffer);
    /* The chunk of the next entry stays: a log that is trimmed often would allocate it anew. */
    uint64_t next = index / CHUNK_RECORDS, n = next - log->first_chunk;
    free_chunks(log, n < log->n_chunks ? n : log->n_chunks);
}

void lm_raft_log_begin(lm_raft_log_t *log, uint64_t index, uint64_t term)
{
    lm_raft_log_truncate(log, log->first_index);
    free_chunks(log, log->n_chunks);
    log->first_index = index + 1;
    log->last_index = index;
    log->term_before = term;
}

const lm_raft_record_t *lm_raft_log_get(const lm_raft_log_t *log, uint64_t index)
{
    return index < log->first_index || index > log->last_index ? NULL : slot(log, index);
}

uint64_t lm_raft_log_first_index(const lm_raft_log_t *log) { return log->first_index; }
uint64_t lm_raft_log_last_index(const lm_raft_log_t *log) { return log->last_index; }

uint64_t lm_raft_log_term(const lm_raft_log_t *log, uint64_t index)
{
    const lm_raft_record_t *record = lm_raft_log_get(log, index);
    if (record) return record->term;
    return index + 1 == log->first_index ? log->term_before : 0;
}

uint64_t lm_raft_log_bytes(const lm_raft_log_t *log, uint64_t first, uint64_t last)
{
    LM_CHECK(last <= log->last_index, "bytes of %llu..%llu of a log of %llu",
             (unsigned long long)first, (unsigned long long)last,
             (unsigned long long)log->last_index);
    if (first < log->first_index) first = log->first_index;
    return last < first ? 0 : bytes_behind(log, last) - bytes_behind(log, first - 1);
}

uint64_t lm_raft_log_memory(const lm_raft_log_t *log)
{
    return bytes_behind(log, log->last_index) - log->bytes_before +
           log->n_chunks * CHUNK_RECORDS * sizeof(lm_raft_record_t);
}
