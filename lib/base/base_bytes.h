/* Views of bytes that belong to somebody else, and the few things everybody does with them. */
#ifndef LM_BASE_BYTES_H
#define LM_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/** A view: never owns, never NUL-terminated. Empty has size 0; data may then be NULL. */
typedef struct {
    const uint8_t *data;
    size_t size;
} lm_bytes_t;

/** printf arguments for "%.*s". */
#define LM_BYTES_ARG(b) (int)(b).size, (b).size ? (const char *)(b).data : ""

static inline lm_bytes_t lm_bytes(const void *data, size_t size)
{
    return (lm_bytes_t){.data = data, .size = size};
}

/** A view of a C string, without its NUL. NULL gives the empty view. */
static inline lm_bytes_t lm_bytes_of(const char *text)
{
    return lm_bytes(text, text ? strlen(text) : 0);
}

static inline bool lm_bytes_equal(lm_bytes_t a, lm_bytes_t b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/** Order of the bytes, a prefix before what it begins: <0, 0, >0. */
static inline int lm_bytes_compare(lm_bytes_t a, lm_bytes_t b)
{
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common ? memcmp(a.data, b.data, common) : 0;
    if (order != 0) return order;
    return a.size < b.size ? -1 : a.size > b.size;
}

static inline bool lm_bytes_begin_with(lm_bytes_t whole, lm_bytes_t prefix)
{
    return whole.size >= prefix.size &&
           (prefix.size == 0 || memcmp(whole.data, prefix.data, prefix.size) == 0);
}

/** True if the bytes are well-formed UTF-8: shortest forms, no surrogates, <= U+10FFFF. */
bool lm_bytes_are_utf8(lm_bytes_t text);

/** 64-bit FNV-1a, for hashes that must be alike on every machine and in every version.
 *  Continues from seed; begin with LM_HASH_START. */
#define LM_HASH_START UINT64_C(0xcbf29ce484222325)
uint64_t lm_bytes_hash(lm_bytes_t bytes, uint64_t seed);

#endif
