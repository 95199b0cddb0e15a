/* The program lockmgr-raft: the room, its disk, and the process host. */
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "act_host.h"
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

int main(int argc, char **argv)
{
    lm_process_t process;
    lm_exit_t code = lm_process_start(&process, argc, argv, "raft");
    if (code != LM_EXIT_OK) return code;
    lm_page_t *page = lm_page_mine();
    lm_raft_room_t *room = lm_raft_room_new(draw, NULL);
    lm_host_t *host = lm_host_new(&process, &lm_raft_room, room);
    lm_raft_disk_t *disk =
        lm_raft_uv_disk_new(report, lm_host_inlet(host), page ? &page->blocking_since_us : NULL);
    lm_raft_room_set_disk(room, disk);
    lm_raft_room_set_writes(room, lm_raft_uv_disk_writes);
    code = lm_host_run(host);
    /* Not waiting for a disk that may hang: what is not on it has not been acknowledged. */
    exit(code);
}
