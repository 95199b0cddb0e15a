/* Nothing here trusts a number that it reads: sizes are compared with what is left of the file. */
#include "raft_segment.h"

/* The checksum of segments: CRC-32 with the highest bit first, beginning with 0. */
static const uint32_t crc_table[16] = {
    0x00000000, 0x04c11db7, 0x09823b6e, 0x0d4326d9, 0x130476dc, 0x17c56b6b, 0x1a864db2, 0x1e475005,
    0x2608edb8, 0x22c9f00f, 0x2f8ad6d6, 0x2b4bcb61, 0x350c9b64, 0x31cd86d3, 0x3c8ea00a, 0x384fbdbd,
};

static uint32_t checksum(lm_bytes_t bytes)
{
    uint32_t crc = 0;
    for (size_t i = 0; i < bytes.size; i++) {
        crc = crc << 4 ^ crc_table[crc >> 28 ^ bytes.data[i] >> 4];
        crc = crc << 4 ^ crc_table[crc >> 28 ^ (bytes.data[i] & 15u)];
    }
    return crc;
}

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
    for (size_t i = offset; i < file.size; i++)
        if (file.data[i]) return false;
    return true;
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
