/* The real disk under load from a room's thread, for the thread sanitizer.
 *
 * usage: threads_disk
 *
 * The main thread is the room: it gives commands, takes reports out of an inlet, overwrites and
 * frees what was appended as soon as it has been reported, and reads what the disk publishes
 * meanwhile.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "act_inlet.h"
#include "base_check.h"
#include "base_log.h"
#include "crc.h"
#include "raft_known.h"
#include "raft_uv_disk.h"

enum {
    ROUNDS = 60,
    APPENDS = 30,
    IN_FLIGHT_MAX = 8,
    IMAGE_BYTES = 3 << 20,
    PART_BYTES = 256 << 10
};

static char path[] = "/tmp/lm-disk-XXXXXX";
static lm_inlet_t *inlet;
static lm_raft_disk_t *disk;
static _Atomic uint64_t blocking_since_us;
static uint64_t seen_blocking, written, last_index = 1, term = 1;
static uint8_t *in_flight[1 << 16];
static unsigned n_in_flight;
static uint8_t configuration[LM_RAFT_CONFIGURATION_BYTES];
static uint32_t configuration_size;

static void report(void *arg, lm_raft_done_t *done) { lm_inlet_put(arg, done); }

/* ---- reports --------------------------------------------------------------------------------- */

static lm_raft_done_t *waiting[64];
static size_t n_waiting;

static void note_appended(const lm_raft_done_t *done)
{
    uint8_t **bytes = &in_flight[done->number % (1 << 16)];
    LM_CHECK(*bytes, "append %llu is reported twice", (unsigned long long)done->number);
    memset(*bytes, 0xee, 64);
    free(*bytes);
    *bytes = NULL;
    n_in_flight--;
    written++;
}

static void take(int timeout_ms)
{
    struct pollfd fd = {.fd = lm_inlet_fd(inlet), .events = POLLIN};
    uint64_t counts[LM_HISTOGRAM_BUCKETS];
    void **items;
    poll(&fd, 1, timeout_ms);
    seen_blocking += atomic_load(&blocking_since_us) != 0;
    lm_histogram_read(lm_raft_uv_disk_writes(disk), counts);
    size_t n = lm_inlet_take(inlet, &items);
    for (size_t i = 0; i < n; i++) {
        lm_raft_done_t *done = items[i];
        LM_CHECK(done->kind != LM_RAFT_DONE_FAILED, "%s", done->fault.words);
        if (done->kind == LM_RAFT_DONE_APPENDED) {
            note_appended(done);
            lm_raft_done_destroy(&done);
        } else {
            LM_CHECK(n_waiting < sizeof waiting / sizeof *waiting, "%zu reports wait", n_waiting);
            waiting[n_waiting++] = done;
        }
    }
}

static lm_raft_done_t *await(lm_raft_done_kind_t kind)
{
    for (int turn = 0; turn < 30000; turn++) {
        for (size_t i = 0; i < n_waiting; i++) {
            if (waiting[i]->kind != kind) continue;
            lm_raft_done_t *done = waiting[i];
            waiting[i] = waiting[--n_waiting];
            return done;
        }
        take(1);
    }
    LM_CHECK(false, "no report of kind %d in 30 s", (int)kind);
    return NULL;
}

static void await_and_drop(lm_raft_done_kind_t kind)
{
    lm_raft_done_t *done = await(kind);
    lm_raft_done_destroy(&done);
}

/* ---- what a room does ------------------------------------------------------------------------ */

static void begin(bool bootstrap)
{
    lm_raft_identity_t who = known_identity(LM_RAFT_STARTED, 1);
    inlet = lm_inlet_new();
    disk = lm_raft_uv_disk_new(report, inlet, &blocking_since_us);
    disk->open(disk, path, "r", "n1");
    await_and_drop(LM_RAFT_DONE_OPENED);
    disk->load(disk, &who, bootstrap);
    lm_raft_done_t *done = await(LM_RAFT_DONE_LOADED);
    LM_CHECK(done->lost_index == 0, "entry %llu is lost", (unsigned long long)done->lost_index);
    uint64_t last = done->n_entries ? done->first_index + done->n_entries - 1 : done->image.index;
    LM_CHECK(bootstrap || last == last_index, "the log ends at %llu, not at %llu",
             (unsigned long long)last, (unsigned long long)last_index);
    if (bootstrap) {
        lm_bytes_t data = done->entries[0].data;
        configuration_size = (uint32_t)data.size;
        memcpy(configuration, data.data, data.size);
    }
    lm_raft_done_destroy(&done);
    if (!bootstrap) return;
    disk->save_identity(disk, &who);
    await_and_drop(LM_RAFT_DONE_IDENTITY);
}

static void end(void)
{
    while (n_in_flight > 0) take(100);
    lm_raft_uv_disk_destroy(&disk);
    LM_CHECK(n_waiting == 0, "%zu reports are left", n_waiting);
    lm_inlet_destroy(&inlet);
}

static void append(uint64_t number)
{
    size_t size = 64 + number % 50 * 8;
    uint8_t *bytes = malloc(size);
    memset(bytes, (int)number, size);
    lm_raft_entry_t entry = {.term = term, .type = LM_RAFT_COMMAND, .data = lm_bytes(bytes, size)};
    while (n_in_flight >= IN_FLIGHT_MAX) take(100);
    in_flight[number % (1 << 16)] = bytes;
    n_in_flight++;
    last_index++;
    disk->append(disk, number, &entry, 1);
}

static void truncate_log(void)
{
    disk->set_metadata(disk, ++term, 77);
    disk->truncate(disk, last_index - 4);
    last_index -= 5;
    await_and_drop(LM_RAFT_DONE_METADATA);
}

static void read_back(const lm_raft_image_t *image, const uint8_t *body)
{
    for (uint64_t at = 0; at < image->length; at += PART_BYTES)
        disk->image_read(disk, at, image->index, image->term, at, PART_BYTES);
    for (uint64_t at = 0; at < image->length; at += PART_BYTES) {
        lm_raft_done_t *done = await(LM_RAFT_DONE_IMAGE_DATA);
        LM_CHECK(done->data && memcmp(done->data, body + done->offset, done->data_size) == 0,
                 "other bytes at %llu", (unsigned long long)done->offset);
        lm_raft_done_destroy(&done);
    }
}

/** An image behind an entry while appends go on, and its bytes read back. */
static void make_image(uint64_t *number)
{
    static uint8_t body[IMAGE_BYTES];
    lm_raft_image_t image = {.index = last_index,
                             .term = term,
                             .length = IMAGE_BYTES,
                             .state_hash = last_index,
                             .configuration_index = 1,
                             .configuration_size = configuration_size};
    memcpy(image.configuration, configuration, configuration_size);
    for (size_t i = 0; i < IMAGE_BYTES; i++) body[i] = (uint8_t)(i * 7 + last_index);
    image.crc32c = lm_crc32c(0, lm_bytes(body, IMAGE_BYTES));
    while (n_in_flight > 0) take(100);
    disk->image_begin(disk, image.index, image.term, 0, false);
    await_and_drop(LM_RAFT_DONE_IMAGE_BEGUN);
    for (size_t at = 0; at < IMAGE_BYTES; at += PART_BYTES) {
        disk->image_write(disk, at, lm_bytes(body + at, PART_BYTES));
        append((*number)++);
        if (at % (4 * PART_BYTES) == 3 * PART_BYTES)
            for (int i = 0; i < 4; i++) await_and_drop(LM_RAFT_DONE_IMAGE_WRITTEN);
    }
    disk->image_finish(disk, &image, 100);
    for (int i = 0; i < 10; i++) append((*number)++);
    await_and_drop(LM_RAFT_DONE_IMAGE_FINISHED);
    read_back(&image, body);
}

int main(void)
{
    uint64_t number = 1;
    lm_log_setup("n1", "raft", LM_LOG_WARN, false);
    LM_CHECK(mkdtemp(path), "no directory in /tmp");
    begin(true);
    for (int round = 1; round <= ROUNDS; round++) {
        for (int i = 0; i < APPENDS; i++) append(number++);
        if (round % 7 == 0) truncate_log();
        if (round % 20 == 0) make_image(&number);
        if (round % 30 == 0) {
            end();
            begin(false);
        }
    }
    end();
    printf("%llu entries were written, the disk was seen blocking %llu times\n",
           (unsigned long long)written, (unsigned long long)seen_blocking);
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", path);
    return system(command) == 0 ? 0 : 1;
}
