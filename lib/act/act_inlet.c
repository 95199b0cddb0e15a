#include "act_inlet.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base_arena.h"
#include "base_check.h"

typedef struct {
    void **items;
    size_t n, room;
} list_t;

struct lm_inlet {
    pthread_mutex_t mutex; /* guards in */
    list_t in;
    list_t taken; /* of the loop's thread alone */
    int fd;
};

lm_inlet_t *lm_inlet_new(void)
{
    lm_inlet_t *inlet = lm_alloc(sizeof *inlet);
    inlet->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    LM_CHECK(inlet->fd >= 0, "no eventfd: %s", strerror(errno));
    pthread_mutex_init(&inlet->mutex, NULL);
    return inlet;
}

void lm_inlet_destroy(lm_inlet_t **inlet)
{
    if (!*inlet) return;
    close((*inlet)->fd);
    pthread_mutex_destroy(&(*inlet)->mutex);
    free((*inlet)->in.items);
    free((*inlet)->taken.items);
    free(*inlet);
    *inlet = NULL;
}

int lm_inlet_fd(const lm_inlet_t *inlet) { return inlet->fd; }

void lm_inlet_put(lm_inlet_t *inlet, void *item)
{
    pthread_mutex_lock(&inlet->mutex);
    list_t *in = &inlet->in;
    bool was_empty = in->n == 0;
    if (in->n == in->room) {
        in->room = in->room ? 2 * in->room : 64;
        in->items = lm_realloc(in->items, in->room * sizeof(void *));
    }
    in->items[in->n++] = item;
    pthread_mutex_unlock(&inlet->mutex);
    uint64_t one = 1;
    if (was_empty && write(inlet->fd, &one, sizeof one) < 0)
        LM_CHECK(errno == EAGAIN, "eventfd: %s", strerror(errno));
}

bool lm_inlet_is_empty(lm_inlet_t *inlet)
{
    pthread_mutex_lock(&inlet->mutex);
    bool empty = inlet->in.n == 0;
    pthread_mutex_unlock(&inlet->mutex);
    return empty;
}

size_t lm_inlet_take(lm_inlet_t *inlet, void ***items)
{
    uint64_t count;
    if (read(inlet->fd, &count, sizeof count) < 0)
        LM_CHECK(errno == EAGAIN, "eventfd: %s", strerror(errno));
    inlet->taken.n = 0;
    pthread_mutex_lock(&inlet->mutex);
    list_t full = inlet->in;
    inlet->in = inlet->taken;
    inlet->taken = full;
    pthread_mutex_unlock(&inlet->mutex);
    *items = inlet->taken.items;
    return inlet->taken.n;
}
