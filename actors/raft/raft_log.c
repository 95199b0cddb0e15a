/* Entries live in chunks of fixed size, so that a growing log never copies what it has. */
#include "raft_log.h"

#include <stdlib.h>

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
    uint64_t last_index;
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
    *log = (lm_raft_log_t){.next_serial = 1};
    return log;
}

void lm_raft_log_destroy(lm_raft_log_t **log)
{
    lm_raft_log_t *self = *log;
    if (!self) return;
    lm_raft_log_truncate(self, 1);
    for (size_t i = 0; i < self->n_chunks; i++) free(self->chunks[i]);
    free(self->chunks);
    free(self);
    *log = NULL;
}

static lm_raft_record_t *slot(const lm_raft_log_t *log, uint64_t index)
{
    return &log->chunks[(index - 1) / CHUNK_RECORDS][(index - 1) % CHUNK_RECORDS];
}

uint64_t lm_raft_log_append(lm_raft_log_t *log, uint64_t term, uint32_t type, lm_bytes_t data,
                            lm_raft_buffer_t *buffer)
{
    uint64_t last = log->last_index, index = last + 1;
    LM_CHECK(term >= lm_raft_log_term(log, last), "term %llu at index %llu after term %llu",
             (unsigned long long)term, (unsigned long long)index,
             (unsigned long long)lm_raft_log_term(log, last));
    if ((index - 1) / CHUNK_RECORDS == log->n_chunks) {
        log->chunks = lm_realloc(log->chunks, (log->n_chunks + 1) * sizeof(void *));
        log->chunks[log->n_chunks++] = lm_alloc(CHUNK_RECORDS * sizeof(lm_raft_record_t));
    }
    *slot(log, index) = (lm_raft_record_t){
        .term = term,
        .type = type,
        .data = data,
        .buffer = lm_raft_buffer_keep(buffer),
        .serial = log->next_serial++,
        .bytes_before = last ? slot(log, last)->bytes_before + slot(log, last)->data.size : 0,
    };
    log->last_index = index;
    return index;
}

void lm_raft_log_truncate(lm_raft_log_t *log, uint64_t index)
{
    LM_CHECK(index >= 1, "truncation at index 0");
    for (; log->last_index >= index; log->last_index--)
        lm_raft_buffer_drop(&slot(log, log->last_index)->buffer);
}

const lm_raft_record_t *lm_raft_log_get(const lm_raft_log_t *log, uint64_t index)
{
    return index == 0 || index > log->last_index ? NULL : slot(log, index);
}

uint64_t lm_raft_log_last_index(const lm_raft_log_t *log) { return log->last_index; }

uint64_t lm_raft_log_term(const lm_raft_log_t *log, uint64_t index)
{
    const lm_raft_record_t *record = lm_raft_log_get(log, index);
    return record ? record->term : 0;
}

uint64_t lm_raft_log_bytes(const lm_raft_log_t *log, uint64_t first, uint64_t last)
{
    if (last < first || last == 0) return 0;
    const lm_raft_record_t *from = lm_raft_log_get(log, first ? first : 1);
    const lm_raft_record_t *to = lm_raft_log_get(log, last);
    LM_CHECK(from && to, "bytes of %llu..%llu of a log of %llu", (unsigned long long)first,
             (unsigned long long)last, (unsigned long long)log->last_index);
    return to->bytes_before + to->data.size - from->bytes_before;
}
