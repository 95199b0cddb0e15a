#include "fill_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct {
    uint8_t size;
    char text[FILL_HOLD_ID_MAX];
} slot_t;

struct fill_store {
    uint64_t locks;
    slot_t *slots;
};

static bool complain(const char *path, const char *what)
{
    fprintf(stderr, "lockmgr-fill: %s: %s\n", path, what);
    return false;
}

static bool map_file(fill_store_t *store, const char *path, size_t size)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return complain(path, strerror(errno));
    off_t old = lseek(fd, 0, SEEK_END);
    bool fits = old == 0 || old == (off_t)size;
    if (!fits) complain(path, "is of another number of locks");
    if (fits && old == 0 && ftruncate(fd, (off_t)size) != 0) fits = complain(path, strerror(errno));
    if (fits) store->slots = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return fits && (store->slots != MAP_FAILED || complain(path, strerror(errno)));
}

fill_store_t *fill_store_open(const char *path, uint64_t locks)
{
    size_t size = locks * sizeof(slot_t);
    fill_store_t *store = lm_alloc(sizeof *store);
    store->locks = locks;
    bool good = true;
    if (path) {
        good = map_file(store, path, size);
    } else {
        store->slots = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (store->slots == MAP_FAILED) good = complain("memory", strerror(errno));
    }
    if (good) return store;
    free(store);
    return NULL;
}

void fill_store_close(fill_store_t **store)
{
    if (!*store) return;
    munmap((*store)->slots, (*store)->locks * sizeof(slot_t));
    free(*store);
    *store = NULL;
}

uint64_t fill_store_locks(const fill_store_t *store) { return store->locks; }

lm_bytes_t fill_store_hold(const fill_store_t *store, uint64_t number)
{
    const slot_t *slot = &store->slots[number];
    return lm_bytes(slot->text, slot->size);
}

bool fill_store_set(fill_store_t *store, uint64_t number, lm_bytes_t hold_id)
{
    slot_t *slot = &store->slots[number];
    if (hold_id.size > sizeof slot->text) return false;
    if (hold_id.size) memcpy(slot->text, hold_id.data, hold_id.size);
    slot->size = (uint8_t)hold_id.size;
    return true;
}

/** Spreads the names, so that they do not come in order. */
static uint64_t scatter(uint64_t number)
{
    number = (number ^ (number >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    number = (number ^ (number >> 27)) * UINT64_C(0x94d049bb133111eb);
    return number ^ (number >> 31);
}

lm_bytes_t fill_store_name(lm_arena_t *arena, uint64_t number)
{
    return lm_arena_print(arena, "fill/%016llx/%010llu", (unsigned long long)scatter(number + 1),
                          (unsigned long long)number);
}

lm_bytes_t fill_store_owner(lm_arena_t *arena, uint64_t number)
{
    return lm_arena_print(arena, "owner-%010llu", (unsigned long long)number);
}

lm_bytes_t fill_store_request(lm_arena_t *arena, uint64_t number)
{
    return lm_arena_print(arena, "fetch-%010llu", (unsigned long long)number);
}
