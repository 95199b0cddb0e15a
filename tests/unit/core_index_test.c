/* The two indexes behind a table: by hash, and in the order of names. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <time.h>

#include "core_random.h"
#include "core_state.h"

typedef struct {
    lm_ref_t next;
    uint32_t key;
} item_t;

static uint32_t hash_of(const void *item) { return ((const item_t *)item)->key % 1000; }

static item_t *find(const lm_index_t *index, uint32_t key)
{
    item_t *item = lm_index_first(index, key % 1000);
    while (item && item->key != key) item = lm_index_next(index, item);
    return item;
}

static void count(void *arg, void *object)
{
    (void)object;
    ++*(int *)arg;
}

Test(core_index, finds_what_is_in_it_and_nothing_else)
{
    enum { N = 5000 };
    static item_t *items[N];
    lm_pool_t *pool = lm_pool_new();
    lm_index_t index;
    lm_index_init(&index, pool, offsetof(item_t, next), hash_of);
    for (uint32_t i = 0; i < N; i++) {
        items[i] = lm_pool_alloc(pool, sizeof(item_t));
        items[i]->key = i;
        lm_index_insert(&index, items[i]);
        cr_assert_eq(find(&index, i / 2), items[i / 2], "at every size");
    }
    for (uint32_t i = 0; i < N; i += 3) lm_index_remove(&index, items[i]);
    for (uint32_t i = 0; i < N; i++)
        cr_assert_eq(find(&index, i), i % 3 ? items[i] : NULL, "item %u", i);
    int n = 0;
    lm_index_each(&index, count, &n);
    cr_assert_eq(n, (int)index.count);
    lm_index_free(&index);
    lm_pool_destroy(&pool);
}

Test(core_index, may_be_as_large_from_the_start_as_it_will_be)
{
    enum { N = 3000 };
    static item_t *items[N];
    lm_pool_t *pool = lm_pool_new();
    for (uint32_t room = 0; room <= 4 * N; room += N / 2) {
        lm_index_t index;
        lm_index_init(&index, pool, offsetof(item_t, next), hash_of);
        lm_index_reserve(&index, room);
        for (uint32_t i = 0; i < N; i++) {
            items[i] = lm_pool_alloc(pool, sizeof(item_t));
            items[i]->key = i;
            lm_index_insert(&index, items[i]);
        }
        for (uint32_t i = 0; i < N; i++) cr_assert_eq(find(&index, i), items[i], "room %u", room);
        lm_index_free(&index);
    }
    lm_pool_destroy(&pool);
}

static uint32_t mixed_hash_of(const void *item)
{
    return (uint32_t)lm_index_mix(((const item_t *)item)->key);
}

static double now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

Test(core_index, no_insertion_takes_long)
{
    enum { N = 1000000 };
    lm_pool_t *pool = lm_pool_new();
    lm_index_t index;
    lm_index_init(&index, pool, offsetof(item_t, next), mixed_hash_of);
    double longest = 0, start = now_us();
    for (uint32_t i = 0; i < N; i++) {
        item_t *item = lm_pool_alloc(pool, sizeof *item);
        item->key = i;
        double before = now_us();
        lm_index_insert(&index, item);
        double took = now_us() - before;
        if (took > longest) longest = took;
    }
    printf("%d insertions: %.2f us each with their measuring, %.0f us the longest\n", N,
           (now_us() - start) / N, longest);
    uint32_t most = 0, all = 0;
    for (uint32_t i = 0; i < N; i++) {
        uint32_t hash = (uint32_t)lm_index_mix(i), steps = 0;
        item_t *item = lm_index_first(&index, hash);
        for (; item && item->key != i; item = lm_index_next(&index, item)) steps++;
        cr_assert_not_null(item);
        if (steps > most) most = steps;
        all += steps;
    }
    printf("%.2f steps to an object, %u at most\n", (double)all / N, most);
    cr_assert_leq(index.count / 2, index.n_buckets);
    cr_assert_leq(all / N, 2);
    lm_index_free(&index);
    lm_pool_destroy(&pool);
}

/* ---- order ----------------------------------------------------------------------------------- */

enum { NAMES = 400 };

static lm_entry_t *entry_of(lm_pool_t *pool, uint32_t number)
{
    char name[16];
    int size = snprintf(name, sizeof name, "n%u", number);
    lm_entry_t *entry = lm_pool_alloc(pool, sizeof *entry + (size_t)size);
    entry->name_size = (uint16_t)size;
    memcpy(entry->name, name, (size_t)size);
    return entry;
}

static bool belongs_before(const lm_entry_t *one, const lm_entry_t *best)
{
    return !best || lm_bytes_compare(lm_entry_name(one), lm_entry_name(best)) < 0;
}

/** What seek must find, by looking at everything. */
static const lm_entry_t *seek_slowly(lm_entry_t **present, lm_bytes_t from, bool after)
{
    const lm_entry_t *best = NULL;
    for (uint32_t i = 0; i < NAMES; i++) {
        if (!present[i]) continue;
        int order = lm_bytes_compare(lm_entry_name(present[i]), from);
        if (order < 0 || (order == 0 && after)) continue;
        if (belongs_before(present[i], best)) best = present[i];
    }
    return best;
}

Test(core_order, stays_sorted_and_balanced_through_random_changes)
{
    lm_core_random_t random = lm_core_random_new(7);
    lm_entry_t *present[NAMES] = {0}, *root = NULL;
    lm_pool_t *pool = lm_pool_new();
    uint64_t n = 0;
    for (int step = 0; step < 20000; step++) {
        uint32_t i = lm_core_random_below(&random, NAMES);
        if (present[i]) {
            root = lm_order_remove(root, present[i]);
            lm_pool_free(pool, present[i], sizeof *present[i] + present[i]->name_size);
            present[i] = NULL;
            n--;
        } else {
            present[i] = entry_of(pool, i);
            root = lm_order_insert(root, present[i]);
            n++;
        }
        if (step % 16) continue;
        cr_assert_eq(lm_order_verify(root), n);
        char from[16];
        snprintf(from, sizeof from, "n%u", lm_core_random_below(&random, NAMES));
        bool after = step % 32 == 0;
        cr_assert_eq(lm_order_seek(root, lm_bytes_of(from), after),
                     seek_slowly(present, lm_bytes_of(from), after));
    }
    lm_pool_destroy(&pool);
}

Test(core_order, ascending_names_do_not_make_it_deep)
{
    lm_pool_t *pool = lm_pool_new();
    lm_entry_t *root = NULL;
    for (uint32_t i = 0; i < 4096; i++) root = lm_order_insert(root, entry_of(pool, 10000 + i));
    cr_assert_leq(root->height, 17);
    cr_assert_eq(lm_order_verify(root), 4096);
    lm_pool_destroy(&pool);
}
