#include "core_command.h"

#include "base_limits.h"

#define COMPARE(a, b) (((a) > (b)) - ((a) < (b)))

int lm_pair_compare(lm_pair_t a, lm_pair_t b)
{
    if (a.term != b.term) return COMPARE(a.term, b.term);
    if (a.boot_id != b.boot_id) return COMPARE(a.boot_id, b.boot_id);
    return COMPARE(a.counter, b.counter);
}

lm_settings_t lm_settings_default(void)
{
    return (lm_settings_t){
        .semantics = LM_SEMANTICS_LEVEL,
        .waiters_per_lock_max = LM_WAITERS_PER_LOCK_DEFAULT,
        .locks_max = LM_LOCKS_DEFAULT,
        .holds_per_owner_max = LM_HOLDS_PER_OWNER_DEFAULT,
        .record_ring_size = LM_RECORD_RING_DEFAULT,
        .sessions_max = LM_SESSIONS_DEFAULT,
        .session_window = LM_SESSION_WINDOW_DEFAULT,
    };
}

lm_bytes_t lm_number_text(uint64_t number, uint8_t text[LM_NUMBER_TEXT_BYTES])
{
    text[0] = 0;
    for (uint32_t i = 1; i < LM_NUMBER_TEXT_BYTES; i++) text[i] = (uint8_t)(number >> (64 - 8 * i));
    return lm_bytes(text, LM_NUMBER_TEXT_BYTES);
}

uint64_t lm_number_of_text(lm_bytes_t text)
{
    if (text.size != LM_NUMBER_TEXT_BYTES || text.data[0] != 0) return 0;
    uint64_t number = 0;
    for (uint32_t i = 1; i < LM_NUMBER_TEXT_BYTES; i++) number = number << 8 | text.data[i];
    return number;
}

lm_request_key_t lm_command_key(const lm_command_t *command, lm_key_texts_t *texts)
{
    lm_request_key_t key = command->key;
    if (!command->session) return key;
    key.owner = lm_number_text(command->session, texts->owner);
    if (command->request_number)
        key.request_id = lm_number_text(command->request_number, texts->id);
    return key;
}
