#include "lock_session_id.h"

#include <inttypes.h>

/* Bytes of as many pairs of digits, lower case only: one text for each value. */
static bool parse_hex(lm_bytes_t text, uint8_t *bytes, size_t n_bytes)
{
    if (text.size != 2 * n_bytes) return false;
    for (size_t i = 0; i < text.size; i++) {
        uint8_t digit = text.data[i], value;
        if (digit >= '0' && digit <= '9')
            value = (uint8_t)(digit - '0');
        else if (digit >= 'a' && digit <= 'f')
            value = (uint8_t)(digit - 'a' + 10);
        else
            return false;
        bytes[i / 2] = (uint8_t)(i % 2 ? bytes[i / 2] | value : value << 4);
    }
    return true;
}

lm_bytes_t lm_lock_session_id_make(lm_arena_t *arena, uint64_t number)
{
    return lm_arena_print(arena, "%016" PRIx64, number);
}

bool lm_lock_session_id_parse(lm_bytes_t text, uint64_t *number)
{
    uint8_t bytes[8];
    *number = 0;
    if (!parse_hex(text, bytes, sizeof bytes)) return false;
    for (size_t i = 0; i < sizeof bytes; i++) *number = *number << 8 | bytes[i];
    return *number != 0;
}

lm_bytes_t lm_lock_session_secret_make(lm_arena_t *arena, lm_bytes_t secret)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t *text = lm_arena_alloc(arena, 2 * secret.size);
    for (size_t i = 0; i < secret.size; i++) {
        text[2 * i] = (uint8_t)digits[secret.data[i] >> 4];
        text[2 * i + 1] = (uint8_t)digits[secret.data[i] & 15];
    }
    return lm_bytes(text, 2 * secret.size);
}

bool lm_lock_session_secret_parse(lm_bytes_t text, uint8_t secret[LM_SESSION_SECRET_BYTES])
{
    return parse_hex(text, secret, LM_SESSION_SECRET_BYTES);
}
