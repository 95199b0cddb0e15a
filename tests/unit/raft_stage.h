/* The real disk for tests: a directory of its own, commands that wait for their reports, a log and
 * images whose bytes can be told from their places. Works in children of a test too, which end with
 * a line and exit code 1 where a test would fail. */
#ifndef LM_RAFT_STAGE_H
#define LM_RAFT_STAGE_H

#include <pthread.h>
#include <stdatomic.h>

#include "raft_uv_disk.h"

#define STAGE_REPORTS_MAX 65536

typedef struct {
    char path[64];
    lm_raft_disk_t *disk;
    pthread_mutex_t mutex;
    pthread_cond_t came;
    lm_raft_done_t **reports;
    size_t n_reports, n_taken;
    uint64_t last; /* entry that was appended */
    void **memory; /* of entries; the disk may be at work with it until it is closed */
    size_t n_memory;
} stage_t;

/** Fails the test, or ends the child. */
__attribute__((format(printf, 1, 2), noreturn)) void stage_fail(const char *format, ...);
#define stage_expect(condition, ...)               \
    do {                                           \
        if (!(condition)) stage_fail(__VA_ARGS__); \
    } while (0)

/** Makes a directory that is not on tmpfs if it can be helped. */
void stage_make(stage_t *stage);
/** Makes one in memory, where there is such a place: much more happens in the same time. */
void stage_make_fast(stage_t *stage);
/** Removes it. */
void stage_remove(stage_t *stage);

lm_raft_identity_t stage_identity(void);
/** Makes the disk; reports begin anew. */
void stage_open(stage_t *stage);
/** Opens, makes a log of one entry, saves the identity. */
void stage_form(stage_t *stage);
/** Opens and loads. Returns LOADED, or FAILED from either. */
lm_raft_done_t *stage_load(stage_t *stage);
void stage_close(stage_t *stage);

/** The next report. */
lm_raft_done_t *stage_take(stage_t *stage);
/** The next report of that kind; others before it are dropped, but a FAILED fails. */
lm_raft_done_t *stage_await(stage_t *stage, lm_raft_done_kind_t kind);
void stage_expect_kind(stage_t *stage, lm_raft_done_kind_t kind);

/** Bytes of entry index that was made with that term: 8 * (1 + index % 29) of them. */
lm_bytes_t stage_entry(uint64_t index, uint64_t term, uint8_t bytes[256]);
/** Appends entries behind the last, in one piece; waits if wait. */
void stage_append(stage_t *stage, uint64_t term, size_t n, bool wait);
/** Cuts the log before index, without waiting. */
void stage_truncate(stage_t *stage, uint64_t index);

/** The image of that entry: size bytes of a body. */
lm_raft_image_t stage_image(uint64_t index, uint64_t term, size_t size);
void stage_body(uint64_t index, uint64_t offset, uint8_t *bytes, size_t size);
/** Writes it all, from offset on, and waits. */
void stage_write_image(stage_t *stage, const lm_raft_image_t *image, uint64_t offset);
/** Begins, writes, finishes, waits. */
void stage_snapshot(stage_t *stage, uint64_t index, uint64_t term, size_t size, uint32_t trailing);
/** Reads the image back and compares. Returns false if it is not there. */
bool stage_image_is_whole(stage_t *stage, const lm_raft_image_t *image);

/** True if the loaded entries are those that stage_append made, with terms as given by term_of. */
bool stage_entries_are(const lm_raft_done_t *loaded, uint64_t (*term_of)(uint64_t index));

/** Runs story in a child that then ends as if killed. Returns its exit status, 256 + the signal
 *  that ended it, or -1 if it took longer than that many seconds and was killed. */
int stage_child(void (*story)(stage_t *stage, void *arg), stage_t *stage, void *arg, int seconds);
/** The same, but kills it that many microseconds after *ready has become true, or after its
 *  begin if ready is NULL. Returns false if it ended before. */
bool stage_kill(void (*story)(stage_t *stage, void *arg), stage_t *stage, void *arg,
                const _Atomic bool *ready, unsigned us);
bool stage_in_child(void);

#endif
