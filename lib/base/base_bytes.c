#include "base_bytes.h"

/** Length of the UTF-8 sequence that begins at p with n bytes left; 0 if it is malformed. */
static size_t sequence_length(const uint8_t *p, size_t n)
{
    if (p[0] < 0x80) return 1;
    size_t length = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || n < length) return 0;
    for (size_t i = 1; i < length; i++)
        if ((p[i] & 0xc0) != 0x80) return 0;
    if (p[0] == 0xe0 && p[1] < 0xa0) return 0; /* longer than needed */
    if (p[0] == 0xed && p[1] > 0x9f) return 0; /* surrogates */
    if (p[0] == 0xf0 && p[1] < 0x90) return 0; /* longer than needed */
    if (p[0] == 0xf4 && p[1] > 0x8f) return 0; /* beyond U+10FFFF */
    return length;
}

bool lm_bytes_are_utf8(lm_bytes_t text)
{
    for (size_t i = 0; i < text.size;) {
        size_t length = sequence_length(text.data + i, text.size - i);
        if (length == 0) return false;
        i += length;
    }
    return true;
}

uint64_t lm_bytes_hash(lm_bytes_t bytes, uint64_t seed)
{
    uint64_t hash = seed;
    for (size_t i = 0; i < bytes.size; i++) hash = (hash ^ bytes.data[i]) * UINT64_C(0x100000001b3);
    return hash;
}
