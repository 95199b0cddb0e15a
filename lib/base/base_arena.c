#include "base_arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base_check.h"
#include "base_poison.h"

/* Behind each allocation; it is poisoned. */
enum { GUARD_BYTES = LM_POISONS ? 16 : 0 };

enum { BLOCK_BYTES = 64 * 1024, KEEP_BYTES = 1024 * 1024, ALIGN = 16 };

typedef struct block {
    struct block *next;
    size_t size, used;
    _Alignas(ALIGN) uint8_t data[];
} block_t;

struct lm_arena {
    block_t *current; /* the one being filled; full ones hang behind it */
    block_t *spare;   /* kept for the next round, all of BLOCK_BYTES */
};

void *lm_alloc(size_t size)
{
    void *memory = calloc(1, size ? size : 1);
    LM_CHECK(memory, "out of memory, %zu bytes wanted", size);
    return memory;
}

void *lm_realloc(void *old, size_t size)
{
    void *memory = realloc(old, size ? size : 1);
    LM_CHECK(memory, "out of memory, %zu bytes wanted", size);
    return memory;
}

lm_arena_t *lm_arena_new(void) { return lm_alloc(sizeof(lm_arena_t)); }

static void free_blocks(block_t *block)
{
    while (block) {
        block_t *next = block->next;
        LM_UNPOISON(block->data, block->size);
        free(block);
        block = next;
    }
}

void lm_arena_destroy(lm_arena_t **arena)
{
    if (!*arena) return;
    free_blocks((*arena)->current);
    free_blocks((*arena)->spare);
    free(*arena);
    *arena = NULL;
}

static void add_block(lm_arena_t *arena, size_t size)
{
    block_t *block = arena->spare;
    if (size <= BLOCK_BYTES && block) {
        arena->spare = block->next;
    } else {
        size_t room = size > BLOCK_BYTES ? size : BLOCK_BYTES;
        block = malloc(sizeof *block + room);
        LM_CHECK(block, "out of memory, %zu bytes wanted", room);
        block->size = room;
        LM_POISON(block->data, block->size);
    }
    block->used = 0;
    block->next = arena->current;
    arena->current = block;
}

void *lm_arena_alloc(lm_arena_t *arena, size_t size)
{
    LM_CHECK(size < SIZE_MAX - ALIGN - GUARD_BYTES, "%zu bytes wanted", size);
    size_t rounded = (size + ALIGN - 1) / ALIGN * ALIGN + GUARD_BYTES;
    block_t *block = arena->current;
    if (!block || block->size - block->used < rounded) {
        add_block(arena, rounded);
        block = arena->current;
    }
    void *memory = block->data + block->used;
    block->used += rounded;
    LM_UNPOISON(memory, size);
    return memset(memory, 0, size);
}

lm_bytes_t lm_arena_copy(lm_arena_t *arena, lm_bytes_t bytes)
{
    void *memory = lm_arena_alloc(arena, bytes.size);
    if (bytes.size) memcpy(memory, bytes.data, bytes.size);
    return lm_bytes(memory, bytes.size);
}

lm_bytes_t lm_arena_print(lm_arena_t *arena, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    LM_CHECK(size >= 0, "format %s", format);
    char *text = lm_arena_alloc(arena, (size_t)size + 1);
    vsnprintf(text, (size_t)size + 1, format, again);
    va_end(again);
    return lm_bytes(text, (size_t)size);
}

char *lm_arena_text(lm_arena_t *arena, lm_bytes_t bytes)
{
    char *text = lm_arena_alloc(arena, bytes.size + 1);
    if (bytes.size) memcpy(text, bytes.data, bytes.size);
    return text;
}

void lm_arena_reset(lm_arena_t *arena)
{
    size_t kept = 0;
    for (block_t *b = arena->spare; b; b = b->next) kept += b->size;
    while (arena->current) {
        block_t *block = arena->current;
        arena->current = block->next;
        if (block->size == BLOCK_BYTES && kept < KEEP_BYTES) {
            LM_POISON(block->data, block->size);
            block->next = arena->spare;
            arena->spare = block;
            kept += block->size;
        } else {
            LM_UNPOISON(block->data, block->size);
            free(block);
        }
    }
}
