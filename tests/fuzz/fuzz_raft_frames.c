/* A frame of another node on its way to the engine: what lm_raft_messages_in lets through keeps
 * everything the engine takes for granted (M1). The first byte says whether the rest is a frame or
 * an encoded configuration. */
#include "fuzz_target.h"
#include "raft_limits.h"
#include "raft_messages.h"

enum { FROM = 202 };

static void check_entries(const struct raft_append_entries *append)
{
    uint64_t term = append->prev_log_term;
    for (unsigned i = 0; i < append->n_entries; i++) {
        const struct raft_entry *entry = &append->entries[i];
        LM_CHECK(entry->term >= term && entry->term <= append->term, "terms go back");
        LM_CHECK(entry->type >= 1 && entry->type <= 3, "entry of type %d", (int)entry->type);
        LM_CHECK(entry->buf.len && entry->buf.len % 8 == 0, "entry of %zu bytes", entry->buf.len);
        /* Read all of it: it must have memory of its own. */
        LM_CHECK(lm_bytes_hash(lm_bytes(entry->buf.base, entry->buf.len), 1) != 0 || entry->batch,
                 "an entry without a batch");
        term = entry->term;
    }
}

static void read_frame(lm_bytes_t bytes)
{
    lm_arena_t *arena = lm_arena_new();
    lm_peer_frame_t *frame = fuzz_wire_round(&lm_peer_frame_type, bytes, arena);
    lm_raft_received_t received;
    if (frame) {
        bool good = lm_raft_messages_in(FROM, "n2", frame, &received);
        /* What is kept must not hang on the frame's memory. */
        lm_arena_destroy(&arena);
        if (good && received.message.type == RAFT_APPEND_ENTRIES)
            check_entries(&received.message.append_entries);
        LM_CHECK(!good || lm_raft_messages_size(&received) < (size_t)64 << 20, "a huge message");
        if (good) lm_raft_messages_clamp(&received.message, 5);
        lm_raft_messages_free(&received, true);
    }
    lm_arena_destroy(&arena);
}

static void read_configuration(lm_bytes_t bytes)
{
    struct raft_configuration configuration;
    struct raft_buffer buffer = {.base = (void *)(uintptr_t)bytes.data, .len = bytes.size};
    if (!lm_raft_messages_is_configuration(bytes)) return;
    LM_CHECK(raft_configuration_decode(&buffer, &configuration) == 0, "it does not decode again");
    LM_CHECK(configuration.n > 0 && configuration.n <= LM_RAFT_SERVERS_MAX, "%u servers",
             configuration.n);
    raft_configuration_close(&configuration);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input_t in = {lm_bytes(data, size)};
    bool frame = fuzz_u8(&in) % 2 == 0;
    uint8_t *own = fuzz_own(in.left);
    if (frame)
        read_frame(lm_bytes(own, in.left.size));
    else
        read_configuration(lm_bytes(own, in.left.size));
    free(own);
    return 0;
}
