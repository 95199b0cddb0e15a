/* Nothing here trusts a number that it reads: sizes are compared with what is left of the file. */
#include "raft_segment.h"

#include "crc.h"

static uint32_t checksum(lm_bytes_t bytes) { return lm_crc32_msb(0, bytes); }

static uint64_t number(const uint8_t *at, size_t size)
{
    uint64_t value = 0;
    for (size_t i = size; i > 0; i--) value = value << 8 | at[i - 1];
    return value;
}

bool lm_raft_segment_has_format(lm_bytes_t file)
{
    return file.size >= LM_RAFT_SEGMENT_HEAD && number(file.data, 8) == 1;
}

bool lm_raft_segment_is_zero(lm_bytes_t file, size_t offset)
{
    if (offset >= file.size) return true;
    /* Each byte is the one before it, and the first is zero. */
    const uint8_t *at = file.data + offset;
    return *at == 0 && memcmp(at, at + 1, file.size - offset - 1) == 0;
}

static lm_raft_batch_t found(lm_raft_batch_t batch, lm_raft_batch_state_t state)
{
    batch.state = state;
    return batch;
}

lm_raft_batch_t lm_raft_segment_batch(lm_bytes_t file, size_t offset)
{
    lm_raft_batch_t batch = {.offset = offset};
    if (offset >= file.size) return found(batch, LM_RAFT_BATCH_END);
    size_t left = file.size - offset;
    const uint8_t *at = file.data + offset;
    if (left < 16)
        return found(batch,
                     lm_raft_segment_is_zero(file, offset) ? LM_RAFT_BATCH_END : LM_RAFT_BATCH_CUT);
    batch.n_entries = number(at + 8, 8);
    if (batch.n_entries == 0)
        return found(batch,
                     lm_raft_segment_is_zero(file, offset) ? LM_RAFT_BATCH_END : LM_RAFT_BATCH_BAD);
    if (batch.n_entries > (left - 16) / 16) {
        /* A count that could never be true is garbage, one that could is the rest of a file. */
        bool plausible = batch.n_entries <= (8u << 20) / 32;
        return found(batch, plausible ? LM_RAFT_BATCH_CUT : LM_RAFT_BATCH_BAD);
    }
    batch.head = lm_bytes(at + 8, 8 + 16 * (size_t)batch.n_entries);
    if (checksum(batch.head) != number(at, 4)) return found(batch, LM_RAFT_BATCH_BAD);
    uint64_t size = 0;
    for (uint64_t i = 0; i < batch.n_entries; i++)
        size += (number(batch.head.data + 8 + 16 * i + 12, 4) + 7) & ~UINT64_C(7);
    if (size > left - 8 - batch.head.size) return found(batch, LM_RAFT_BATCH_CUT);
    batch.data = lm_bytes(at + 8 + batch.head.size, (size_t)size);
    batch.next = offset + 8 + batch.head.size + (size_t)size;
    bool same = checksum(batch.data) == number(at + 4, 4);
    return found(batch, same ? LM_RAFT_BATCH_GOOD : LM_RAFT_BATCH_BAD);
}

size_t lm_raft_segment_good_after(lm_bytes_t file, size_t offset)
{
    for (size_t at = offset + 8; at + 16 <= file.size; at += 8) {
        /* Most of it is zeros, and no batch has no entries. */
        if (number(file.data + at + 8, 8) != 0 &&
            lm_raft_segment_batch(file, at).state == LM_RAFT_BATCH_GOOD)
            return at;
    }
    return 0;
}

bool lm_raft_segment_next(lm_bytes_t file, lm_raft_segment_cursor_t *cursor,
                          lm_raft_segment_entry_t *entry)
{
    if (cursor->next_entry >= cursor->batch.n_entries) {
        size_t at = cursor->batch.next ? cursor->batch.next : LM_RAFT_SEGMENT_HEAD;
        cursor->batch = lm_raft_segment_batch(file, at);
        if (cursor->batch.state != LM_RAFT_BATCH_GOOD) {
            cursor->batch.n_entries = 0;
            cursor->batch.next = at;
            return false;
        }
        cursor->next_entry = 0;
        cursor->data_offset = 0;
    }
    const uint8_t *head = cursor->batch.head.data + 8 + 16 * cursor->next_entry++;
    size_t size = (size_t)number(head + 12, 4);
    *entry = (lm_raft_segment_entry_t){
        .term = number(head, 8),
        .type = head[8],
        .data = lm_bytes(cursor->batch.data.data + cursor->data_offset, size),
    };
    cursor->data_offset += (size + 7) & ~(size_t)7;
    return true;
}
