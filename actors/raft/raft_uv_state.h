/* What the files of the real disk share. The queue is under the mutex, the rest belongs to the
 * disk's thread, except for what a piece of work in the pool is told to use.
 *
 *   raft_uv_disk    the thread, the queue of commands, reports, the end
 *   raft_uv_load    the directory: opening, reading, what is wrong with it
 *   raft_uv_log     term and vote, entries, truncation
 *   raft_uv_mark    the watermark
 *   raft_uv_image   images and snapshots */
#ifndef LM_RAFT_UV_STATE_H
#define LM_RAFT_UV_STATE_H

#include <pthread.h>
#include <raft.h>
#include <raft/uv.h>
#include <stdatomic.h>

#include "base_voice.h"
#include "raft_datadir.h"
#include "raft_image_file.h"
#include "raft_scan.h"
#include "raft_uv_disk.h"

#define LM_RAFT_UV_STALL_US UINT64_C(30000000)
#define LM_RAFT_UV_READS_MAX 2
#define LM_RAFT_UV_OPEN_MAX 4

typedef enum {
    LM_RAFT_UV_OPEN,
    LM_RAFT_UV_SAVE_IDENTITY,
    LM_RAFT_UV_LOAD,
    LM_RAFT_UV_SET_METADATA,
    LM_RAFT_UV_TRUNCATE,
    LM_RAFT_UV_APPEND,
    LM_RAFT_UV_FORGET_LOSS,
    LM_RAFT_UV_IMAGE_BEGIN,
    LM_RAFT_UV_IMAGE_WRITE,
    LM_RAFT_UV_IMAGE_FINISH,
    LM_RAFT_UV_IMAGE_DROP,
    LM_RAFT_UV_IMAGE_READ,
    LM_RAFT_UV_CLOSE,
} lm_raft_uv_kind_t;

typedef struct lm_raft_uv_command {
    struct lm_raft_uv_command *next;
    lm_raft_uv_kind_t kind;
    char *path, *region, *node;
    lm_raft_identity_t *identity;
    bool bootstrap;
    uint64_t number; /* of APPEND and IMAGE_READ */
    uint64_t index, term, voted_for;
    struct raft_entry *entries;
    unsigned n_entries;
    lm_raft_image_t *image;
    uint32_t trailing, crc32c;
    bool resume, keep;
    uint64_t offset;
    uint8_t *data;
    size_t size;
} lm_raft_uv_command_t;

typedef struct {
    lm_raft_uv_command_t *first, **last;
} lm_raft_uv_queue_t;

typedef struct lm_raft_uv lm_raft_uv_t;

/** A piece of work for the pool: run is called there, ended on the disk's thread after it. */
typedef struct lm_raft_uv_work lm_raft_uv_work_t;
struct lm_raft_uv_work {
    uv_work_t work;
    lm_raft_uv_t *disk;
    void (*run)(lm_raft_uv_work_t *work);
    void (*ended)(lm_raft_uv_work_t *work);
};

typedef enum {
    LM_RAFT_PUT_NONE,
    LM_RAFT_PUT_WAITING, /* for the end of a truncation */
    LM_RAFT_PUT_RUNNING,
} lm_raft_uv_put_t;

typedef struct {
    uint64_t index, term, length, used_us;
    int fd; /* -1: free */
    unsigned reads;
} lm_raft_uv_open_t;

typedef struct {
    lm_raft_uv_queue_t queue;
    lm_raft_uv_command_t *now; /* at work, in the pool or in the library */
    lm_raft_uv_work_t work;
    lm_raft_image_writer_t writer; /* the work's while there is any */
    lm_raft_image_state_t state;   /* how the work ended */
    lm_raft_fault_t fault;
    uint64_t began_us;
    lm_raft_uv_put_t put;
    struct raft_io_snapshot_put put_request;
    struct raft_snapshot snapshot;
    struct raft_buffer body;
    uint8_t descriptor[LM_RAFT_DESCRIPTOR_BYTES];
    lm_raft_uv_queue_t reads;
    unsigned n_reading;
    lm_raft_uv_open_t open[LM_RAFT_UV_OPEN_MAX];
} lm_raft_uv_images_t;

typedef struct {
    lm_raft_watermark_t file;
    lm_raft_chain_t chain;                       /* of all entries that were given to the library */
    uint64_t written;                            /* the last entry that is durable */
    uint64_t ends[LM_RAFT_WATERMARK_RECENT + 1]; /* of writes, the newest first */
    uint64_t lost_index;
    uint64_t term, vote;
    bool is_dirty, is_syncing;
    uint64_t synced_us;
    uv_timer_t timer;
    lm_raft_uv_work_t work;
    lm_raft_fault_t fault; /* of the work */
} lm_raft_uv_mark_t;

struct lm_raft_uv {
    lm_raft_disk_t base;
    lm_voice_t *voice; /* of the actor, for the lines of these threads */
    lm_raft_report_t *report;
    void *arg;
    _Atomic uint64_t *blocking_since_us;
    pthread_t thread;
    pthread_mutex_t mutex;
    lm_raft_uv_queue_t inlet; /* under the mutex */
    uv_loop_t loop;
    uv_async_t async;
    uv_check_t check;
    uv_timer_t timer;
    lm_raft_uv_queue_t waiting;
    lm_raft_datadir_t *dir;
    struct raft_io io;
    struct raft_uv_transport transport;
    struct raft_tracer tracer;
    bool io_is_open, io_is_started, failed, closing;
    unsigned works; /* of ours, in the pool */
    uint64_t durable_term, durable_vote;
    unsigned appends;          /* in flight */
    uint64_t oldest_append_us; /* or when the truncation began */
    uint64_t truncating;       /* index; 0: none */
    bool installing;
    bool write_ended;
    uint64_t write_began_us;
    lm_histogram_t writes;
    lm_raft_scan_t scan;
    lm_raft_uv_mark_t mark;
    lm_raft_uv_images_t images;
};

/* ---- raft_uv_disk ---------------------------------------------------------------------------- */

/** CLOCK_MONOTONIC, microseconds. */
uint64_t lm_raft_uv_disk_now(void);
/** A report, otherwise zero; and hands one to the room, which frees it. */
lm_raft_done_t *lm_raft_uv_disk_done(lm_raft_done_kind_t kind, uint64_t number);
void lm_raft_uv_disk_report(lm_raft_uv_t *d, lm_raft_done_t *done);
/** The last report. */
void lm_raft_uv_disk_fail(lm_raft_uv_t *d, const lm_raft_fault_t *fault);
/** The same, from a code of the library and what it was about. */
void lm_raft_uv_disk_fail_library(lm_raft_uv_t *d, lm_exit_t code, const char *what, int rv);
/** Says in the page that a call that may block begins, or that it has ended. */
void lm_raft_uv_disk_blocking(lm_raft_uv_t *d, bool on);
/** Puts a piece of work into the pool. */
void lm_raft_uv_disk_work(lm_raft_uv_t *d, lm_raft_uv_work_t *work,
                          void (*run)(lm_raft_uv_work_t *work),
                          void (*ended)(lm_raft_uv_work_t *work));
/** True if the library has nothing in the pool. */
bool lm_raft_uv_disk_library_rests(const lm_raft_uv_t *d);
void lm_raft_uv_disk_push(lm_raft_uv_queue_t *queue, lm_raft_uv_command_t *command);
/** NULL if there is none. */
lm_raft_uv_command_t *lm_raft_uv_disk_pop(lm_raft_uv_queue_t *queue);
void lm_raft_uv_disk_free(lm_raft_uv_command_t *command);

/* ---- commands: true if the command can be freed ---------------------------------------------- */

bool lm_raft_uv_load_open(lm_raft_uv_t *d, lm_raft_uv_command_t *command);
bool lm_raft_uv_load_save(lm_raft_uv_t *d, lm_raft_uv_command_t *command);
bool lm_raft_uv_load_run(lm_raft_uv_t *d, lm_raft_uv_command_t *command);

bool lm_raft_uv_log_metadata(lm_raft_uv_t *d, lm_raft_uv_command_t *command);
bool lm_raft_uv_log_truncate(lm_raft_uv_t *d, lm_raft_uv_command_t *command);
bool lm_raft_uv_log_append(lm_raft_uv_t *d, lm_raft_uv_command_t *command);
bool lm_raft_uv_mark_forget(lm_raft_uv_t *d, lm_raft_uv_command_t *command);
/** After all callbacks of a turn of the loop. */
void lm_raft_uv_log_check(lm_raft_uv_t *d);
/** Writes term and vote; returns what the library returns. */
int lm_raft_uv_log_set_vote(lm_raft_uv_t *d, uint64_t term, uint64_t voted_for);
/** True if no file of the log has entries from index on. */
bool lm_raft_uv_log_ends_before(lm_raft_uv_t *d, uint64_t index, lm_raft_fault_t *fault);

/* ---- raft_uv_mark: false with a fault -------------------------------------------------------- */

void lm_raft_uv_mark_init(lm_raft_uv_t *d);
/** Begins with what was loaded; what was found lost is durable from here on. */
bool lm_raft_uv_mark_start(lm_raft_uv_t *d, const lm_raft_done_t *loaded, bool make,
                           lm_raft_fault_t *fault);
void lm_raft_uv_mark_close(lm_raft_uv_t *d);
/** Entries are given to the library. */
void lm_raft_uv_mark_add(lm_raft_uv_t *d, const struct raft_entry *entries, unsigned n);
/** Entries up to last are durable; durable itself soon. */
bool lm_raft_uv_mark_raise(lm_raft_uv_t *d, uint64_t last, lm_raft_fault_t *fault);
/** Entries from index on will be removed; durable. */
bool lm_raft_uv_mark_cut(lm_raft_uv_t *d, uint64_t index, lm_raft_fault_t *fault);
/** Entries up to index may be removed. */
bool lm_raft_uv_mark_trim(lm_raft_uv_t *d, uint64_t index, lm_raft_fault_t *fault);
/** The log will end with entry index, or it ends where it ends now; durable. */
bool lm_raft_uv_mark_lower(lm_raft_uv_t *d, uint64_t index, lm_raft_fault_t *fault);
/** The log is empty, behind that entry; durable. */
bool lm_raft_uv_mark_install(lm_raft_uv_t *d, uint64_t index, uint64_t term,
                             lm_raft_fault_t *fault);
/** Term and vote will be these; durable. */
bool lm_raft_uv_mark_vote(lm_raft_uv_t *d, uint64_t term, uint64_t vote, lm_raft_fault_t *fault);

/* ---- raft_uv_image --------------------------------------------------------------------------- */

/** Takes the command over. */
bool lm_raft_uv_image_run(lm_raft_uv_t *d, lm_raft_uv_command_t *command);
void lm_raft_uv_image_check(lm_raft_uv_t *d);
/** Once a second. */
void lm_raft_uv_image_tick(lm_raft_uv_t *d);
void lm_raft_uv_image_init(lm_raft_uv_t *d);
/** After the loop has ended. */
void lm_raft_uv_image_close(lm_raft_uv_t *d);

#endif
