/* Faults that the sanitizers must find: a test of the tests, written as tests are.
 *
 * Each is a test of its own, picked with --filter; planted_faults_test.py runs them the way CTest
 * runs all others and expects a report and a failure. */
#include <criterion/criterion.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static void *volatile kept;

Test(planted, nothing) { cr_assert(true); }

Test(planted, leak)
{
    kept = malloc(100);
    memset(kept, 1, 100);
    kept = NULL;
}

Test(planted, undefined)
{
    volatile int n = INT_MAX;
    n = n + 1;
    cr_assert_neq(n, 0);
}

Test(planted, overflow)
{
    char *volatile bytes = malloc(10);
    bytes[10] = 1;
    free(bytes);
}
