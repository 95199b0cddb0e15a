/* A file of the log, as bytes: every batch and entry that is found lies in the file.
 *
 * If the first byte is odd, the checksums of the first batches are made good, so that what lies
 * behind them is reached. */
#include "fuzz_target.h"
#include "raft_segment.h"

enum { BATCHES_MAX = 16 };

static uint32_t crc_of(const uint8_t *bytes, size_t size)
{
    uint32_t crc = 0;
    for (size_t i = 0; i < size; i++) {
        crc ^= (uint32_t)bytes[i] << 24;
        for (int bit = 0; bit < 8; bit++) crc = crc << 1 ^ (crc >> 31 ? 0x04c11db7u : 0);
    }
    return crc;
}

static void put(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++) at[i] = (uint8_t)(value >> 8 * i);
}

static uint64_t number(const uint8_t *at, int bytes)
{
    uint64_t value = 0;
    for (int i = bytes - 1; i >= 0; i--) value = value << 8 | at[i];
    return value;
}

static void make_good(uint8_t *file, size_t size)
{
    size_t at = LM_RAFT_SEGMENT_HEAD;
    for (int i = 0; i < BATCHES_MAX && size >= at + 16; i++) {
        uint64_t n = number(file + at + 8, 8), bytes = 0;
        if (n == 0 || n > (size - at - 16) / 16) return;
        for (uint64_t k = 0; k < n; k++)
            bytes += (number(file + at + 16 + 16 * k + 12, 4) + 7) & ~UINT64_C(7);
        size_t head = 8 + 16 * (size_t)n;
        if (bytes > size - at - 8 - head) return;
        put(file + at, crc_of(file + at + 8, head));
        put(file + at + 4, crc_of(file + at + 8 + head, (size_t)bytes));
        at += 8 + head + (size_t)bytes;
    }
}

static bool lies_in(lm_bytes_t part, lm_bytes_t whole)
{
    return part.size == 0 || (part.data >= whole.data && part.size <= whole.size &&
                              (size_t)(part.data - whole.data) <= whole.size - part.size);
}

static void read_all(lm_bytes_t file)
{
    lm_raft_segment_cursor_t cursor = {0};
    lm_raft_segment_entry_t entry;
    size_t at = LM_RAFT_SEGMENT_HEAD, n = 0;
    uint64_t hash = LM_HASH_START;
    lm_raft_segment_is_zero(file, 0);
    if (!lm_raft_segment_has_format(file)) return;
    while (lm_raft_segment_next(file, &cursor, &entry)) {
        LM_CHECK(lies_in(entry.data, file), "an entry outside of its file");
        hash = lm_bytes_hash(entry.data, hash);
        n++;
    }
    for (;;) {
        lm_raft_batch_t batch = lm_raft_segment_batch(file, at);
        if (batch.state != LM_RAFT_BATCH_GOOD) break;
        LM_CHECK(batch.next > at && lies_in(batch.data, file), "a batch goes back");
        LM_CHECK(n >= batch.n_entries, "fewer entries than batches say");
        n -= batch.n_entries;
        at = batch.next;
    }
    LM_CHECK(n == 0, "%zu entries more than batches say", n);
    size_t good = lm_raft_segment_good_after(file, at);
    LM_CHECK(good == 0 || good > at, "a good batch before the bad one");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input_t in = {lm_bytes(data, size)};
    bool good = fuzz_u8(&in) & 1;
    uint8_t *file = fuzz_own(in.left);
    if (good) make_good(file, in.left.size);
    read_all(lm_bytes(file, in.left.size));
    free(file);
    return 0;
}
