/* The room, its disk, and the host. */
#include "raft_actor.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "act_inlet.h"
#include "act_page.h"
#include "base_check.h"
#include "raft_room.h"
#include "raft_uv_disk.h"

static void draw(void *arg, void *bytes, size_t size)
{
    (void)arg;
    uint8_t *at = bytes;
    while (size > 0) {
        ssize_t got = getrandom(at, size, 0);
        LM_CHECK(got > 0 || errno == EINTR, "getrandom: error %d", errno);
        if (got < 0) continue;
        at += got;
        size -= (size_t)got;
    }
}

static void report(void *inlet, lm_raft_done_t *done) { lm_inlet_put(inlet, done); }

/* What the room did not hear of any more. */
static void free_left(lm_host_t *host)
{
    void **items;
    size_t n = lm_inlet_take(lm_host_inlet(host), &items);
    for (size_t i = 0; i < n; i++) {
        lm_raft_done_t *done = items[i];
        lm_raft_done_destroy(&done);
    }
}

lm_exit_t lm_raft_actor_run(const lm_process_t *process)
{
    lm_page_t *page = lm_page_mine();
    lm_raft_room_t *room = lm_raft_room_new(draw, NULL);
    lm_host_t *host = lm_host_new(process, &lm_raft_room, room);
    lm_raft_disk_t *disk =
        lm_raft_uv_disk_new(report, lm_host_inlet(host), page ? &page->blocking_since_us : NULL);
    lm_raft_room_set_disk(room, disk);
    lm_raft_room_set_writes(room, lm_raft_uv_disk_writes);
    lm_exit_t code = lm_host_run(host);
    /* After a failure nobody waits for a disk that may hang: what is not on it has not been
     * acknowledged. The process ends with the threads that are at work in it. */
    if (code != LM_EXIT_OK) return code;
    lm_raft_uv_disk_destroy(&disk);
    free_left(host);
    lm_host_destroy(&host);
    lm_raft_room_destroy(&room);
    return code;
}
