/* Pools of small objects that refer to each other. */
#include "base_pool.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base_poison.h"

static lm_pool_t *pool;

static void set_up(void) { pool = lm_pool_new(); }

static void tear_down(void) { lm_pool_destroy(&pool); }

TestSuite(base_pool, .init = set_up, .fini = tear_down);

static uint64_t state = 1;

static uint32_t below(uint32_t bound)
{
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((state >> 33) % bound);
}

Test(base_pool, references_lead_back_and_can_be_copied)
{
    cr_assert_eq(lm_pool_ref(NULL), 0);
    cr_assert_null(lm_pool_at(lm_pool_base(pool), 0));
    void *one = lm_pool_alloc(pool, 5), *other = lm_pool_alloc(pool, 800);
    lm_ref_t ref = lm_pool_ref(one);
    cr_assert_neq(ref, 0);
    cr_assert_eq(lm_pool_at(other, ref), one);
    cr_assert_eq(lm_pool_at(one, ref), one);
    cr_assert_eq(lm_pool_at(lm_pool_base(pool), lm_pool_ref(other)), other);
}

Test(base_pool, pools_do_not_meet)
{
    lm_pool_t *second = lm_pool_new();
    uint64_t *a = lm_pool_alloc(pool, 8), *b = lm_pool_alloc(second, 8);
    *a = 1;
    *b = 2;
    cr_assert_eq(lm_pool_ref(a), lm_pool_ref(b), "the first of each");
    cr_assert_eq(lm_pool_at(a, lm_pool_ref(b)), a);
    lm_pool_destroy(&second);
    cr_assert_null(second);
    cr_assert_eq(*a, 1);
}

typedef struct {
    uint8_t *at;
    uint32_t size;
    uint8_t fill;
} object_t;

static void check_free(object_t *object)
{
    for (uint32_t i = 0; i < object->size; i++) cr_assert_eq(object->at[i], object->fill);
    lm_pool_free(pool, object->at, object->size);
    object->at = NULL;
}

Test(base_pool, objects_are_zeroed_apart_from_each_other_and_given_back)
{
    enum { N = 4000, STEPS = 200000 };
    static object_t objects[N];
    for (int step = 0; step < STEPS; step++) {
        object_t *object = &objects[below(N)];
        if (object->at) {
            check_free(object);
            continue;
        }
        object->size = 1 + below(step % 3 ? 100 : LM_POOL_OBJECT_MAX);
        object->fill = (uint8_t)(1 + below(255));
        object->at = lm_pool_alloc(pool, object->size);
        cr_assert_eq((uintptr_t)object->at % LM_POOL_GRAIN, 0);
        for (uint32_t i = 0; i < object->size; i++) cr_assert_eq(object->at[i], 0);
        memset(object->at, object->fill, object->size);
    }
    size_t most = lm_pool_bytes(pool);
    for (int i = 0; i < N; i++)
        if (objects[i].at) check_free(&objects[i]);
    printf("%zu bytes, %zu when all were freed\n", most, lm_pool_bytes(pool));
    cr_assert_leq(lm_pool_bytes(pool), (size_t)LM_POOL_OBJECT_MAX / LM_POOL_GRAIN * 64 * 1024,
                  "one slab of each size");
}

Test(base_pool, a_million_objects_cost_what_they_hold)
{
    enum { N = 1000000 };
    static void *objects[N];
    for (int i = 0; i < N; i++) objects[i] = lm_pool_alloc(pool, 24);
    cr_assert_leq(lm_pool_bytes(pool), (size_t)N * 24 + (size_t)N / 10);
    for (int i = 0; i < N; i++) lm_pool_free(pool, objects[i], 24);
    cr_assert_leq(lm_pool_bytes(pool), 2 * 64 * 1024);
}

#if LM_POISONS
Test(base_pool, what_is_not_allocated_is_poisoned)
{
    uint8_t *object = lm_pool_alloc(pool, 13);
    cr_assert_not(__asan_address_is_poisoned(object + 12));
    cr_assert(__asan_address_is_poisoned(object + 13));
    lm_pool_free(pool, object, 13);
    cr_assert(__asan_address_is_poisoned(object));
    object = lm_pool_alloc(pool, 16);
    cr_assert_not(__asan_address_is_poisoned(object + 15));
}
#endif
