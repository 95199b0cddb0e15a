#include "bench_route.h"

#include <stdlib.h>
#include <string.h>

#include "base_arena.h"

enum { CONNECTION_CALLS = 90 }; /* servers allow 100 by default */

static size_t split(char *list, char **parts)
{
    size_t n = 0;
    for (char *one; (one = strsep(&list, ",")) != NULL;) {
        if (*one == '\0') continue;
        if (n == BENCH_ENDPOINTS_MAX) return 0;
        parts[n++] = one;
    }
    return n;
}

char *bench_route_make(const char *endpoints, int leader, size_t workers, size_t *n)
{
    char *parts[BENCH_ENDPOINTS_MAX], *copy = strdup(endpoints), *list = NULL;
    size_t n_parts = split(copy, parts), used = leader < 0 ? n_parts : 1;
    size_t per_endpoint =
        used ? (workers + used * CONNECTION_CALLS - 1) / used / CONNECTION_CALLS : 0;
    *n = used * per_endpoint;
    if (*n > 0 && *n <= BENCH_ENDPOINTS_MAX && leader < (int)n_parts) {
        list = lm_alloc(*n * (strlen(endpoints) + 1) + 1);
        *list = '\0';
        for (size_t i = 0; i < *n; i++) {
            strcat(list, parts[leader < 0 ? i % n_parts : (size_t)leader]);
            if (i + 1 < *n) strcat(list, ",");
        }
    }
    free(copy);
    return list;
}
