/* The files of our own in a data directory, one at a time: the watermark, an image and the part of
 * one, the descriptor in a snapshot. Sums are made good on demand, so that what is behind them is
 * reached.
 *
 * First byte: which file, and whether its sums are made good. Then the image that is looked for:
 * its length, one byte, and the rest of the file. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "crc.h"
#include "fuzz_target.h"
#include "raft_fields.h"
#include "raft_image_file.h"
#include "raft_watermark.h"

enum { FILE_MAX = 16384, SLOT = 512, DISTANCE = 4096, INDEX = 2, TERM = 1 };
enum { WATERMARK, IMAGE, PART, DESCRIPTOR, KINDS };

static char path[] = "/dev/shm/lm-fuzz-file-XXXXXX";
static lm_raft_folder_t folder = {.fd = -1};
static const char *const names[KINDS] = {LM_RAFT_WATERMARK_FILE, "image-1-2", "image.part-1-2"};

static void clear(void)
{
    for (int i = 0; i < DESCRIPTOR; i++) unlinkat(folder.fd, names[i], 0);
}

static void remove_directory(void)
{
    clear();
    close(folder.fd);
    rmdir(path);
}

static void prepare(void)
{
    if (folder.fd >= 0) return;
    LM_CHECK(mkdtemp(path), "no directory");
    folder.fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    folder.path = path;
    LM_CHECK(folder.fd >= 0, "the directory cannot be opened");
    atexit(remove_directory);
}

static void seal(uint8_t *bytes, size_t size, size_t at, size_t length)
{
    if (at + length <= size)
        lm_raft_fields_put(bytes + at + length - 4, lm_crc32c(0, lm_bytes(bytes + at, length - 4)),
                           4);
}

static void make_good(unsigned kind, uint8_t *bytes, size_t size)
{
    if (kind == WATERMARK) {
        seal(bytes, size, 0, SLOT);
        seal(bytes, size, DISTANCE, SLOT);
    } else {
        seal(bytes, size, 0,
             kind == DESCRIPTOR ? LM_RAFT_DESCRIPTOR_BYTES : LM_RAFT_IMAGE_HEAD_BYTES);
    }
}

static void write_file(const char *name, lm_bytes_t bytes)
{
    int fd = openat(folder.fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    LM_CHECK(fd >= 0, "%s cannot be written", name);
    ssize_t written = bytes.size ? write(fd, bytes.data, bytes.size) : 0;
    LM_CHECK(written == (ssize_t)bytes.size, "%s cannot be written", name);
    close(fd);
}

static void expect_words(const lm_raft_fault_t *fault)
{
    LM_CHECK(fault->code == LM_EXIT_DAMAGED || fault->code == LM_EXIT_SYSTEM, "code %d",
             (int)fault->code);
    LM_CHECK(*fault->words, "refused without a word");
}

/* ---- each of them ---------------------------------------------------------------------------- */

/* What is read can be written, and is then read again alike. */
static void on_watermark(void)
{
    lm_raft_watermark_t w = {.fd = -1}, again = {.fd = -1};
    lm_raft_mark_t mark, same;
    lm_raft_fault_t fault = {0};
    if (!lm_raft_watermark_open(&w, folder, &mark, &fault)) {
        expect_words(&fault);
        lm_raft_watermark_close(&w);
        return;
    }
    LM_CHECK(mark.n_recent <= LM_RAFT_WATERMARK_RECENT, "%u ends of writes", mark.n_recent);
    LM_CHECK(lm_raft_watermark_write(&w, &mark, &fault), "%s", fault.words);
    LM_CHECK(lm_raft_watermark_open(&again, folder, &same, &fault), "%s", fault.words);
    LM_CHECK(same.last_index == mark.last_index && same.last_term == mark.last_term &&
                 same.last_sum == mark.last_sum && same.lost_index == mark.lost_index &&
                 same.term == mark.term && same.vote == mark.vote && same.n_recent == mark.n_recent,
             "a mark of %llu became one of %llu", (unsigned long long)mark.last_index,
             (unsigned long long)same.last_index);
    lm_raft_watermark_close(&again);
    lm_raft_watermark_close(&w);
}

/* G2: it is the image that is looked for, or it is called damaged. */
static void on_image(const lm_raft_image_t *image, lm_bytes_t file)
{
    lm_raft_fault_t fault = {0};
    uint64_t length = 0;
    lm_raft_image_state_t state = lm_raft_image_file_check(folder, image, true, &fault);
    LM_CHECK(state != LM_RAFT_IMAGE_UNKNOWN, "%s", fault.words);
    if (state == LM_RAFT_IMAGE_DAMAGED) expect_words(&fault);
    if (state == LM_RAFT_IMAGE_GOOD)
        LM_CHECK(file.size == LM_RAFT_IMAGE_HEAD_BYTES + image->length, "%zu bytes", file.size);
    int fd = lm_raft_image_file_open(folder, INDEX, TERM, &length);
    LM_CHECK(state != LM_RAFT_IMAGE_GOOD || (fd >= 0 && length == image->length),
             "an image that is good and cannot be read");
    if (fd >= 0) close(fd);
}

/* One that is gone on with is whole in the end, or it is damaged; never longer than what was put
 * behind what there was. */
static void on_part(const lm_raft_image_t *image, lm_bytes_t file)
{
    lm_raft_image_writer_t writer = {.fd = -1};
    lm_raft_fault_t fault = {0};
    bool begun =
        lm_raft_image_file_begin(&writer, folder, INDEX, TERM, image->crc32c, true, &fault);
    LM_CHECK(begun, "%s", fault.words);
    LM_CHECK(writer.length == 0 || writer.length + LM_RAFT_IMAGE_HEAD_BYTES <= file.size,
             "%llu bytes", (unsigned long long)writer.length);
    LM_CHECK(lm_raft_image_file_append(&writer, lm_bytes("more", 4), &fault), "%s", fault.words);
    lm_raft_image_state_t state = lm_raft_image_file_complete(&writer, image, &fault);
    LM_CHECK(state != LM_RAFT_IMAGE_UNKNOWN, "%s", fault.words);
    lm_raft_image_file_drop(&writer, false);
}

static void on_descriptor(const lm_raft_image_t *image, lm_bytes_t file)
{
    lm_raft_image_t read = *image;
    if (!lm_raft_image_file_read_descriptor(file, &read)) return;
    LM_CHECK(read.index == image->index && read.term == image->term, "entry %llu",
             (unsigned long long)read.index);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t bytes[FILE_MAX];
    fuzz_input_t in = {lm_bytes(data, size)};
    uint8_t how = fuzz_u8(&in), length = fuzz_u8(&in);
    unsigned kind = how % KINDS;
    size_t n = in.left.size < FILE_MAX ? in.left.size : FILE_MAX;
    prepare();
    if (n) memcpy(bytes, in.left.data, n);
    if (how & 128) make_good(kind, bytes, n);
    lm_bytes_t file = lm_bytes(bytes, n);
    lm_raft_image_t image = {.index = INDEX, .term = TERM, .length = length};
    if (n > LM_RAFT_IMAGE_HEAD_BYTES)
        image.crc32c =
            lm_crc32c(0, lm_bytes(bytes + LM_RAFT_IMAGE_HEAD_BYTES, n - LM_RAFT_IMAGE_HEAD_BYTES));
    if (kind != DESCRIPTOR) write_file(names[kind], file);
    if (kind == WATERMARK) on_watermark();
    if (kind == IMAGE) on_image(&image, file);
    if (kind == PART) on_part(&image, file);
    if (kind == DESCRIPTOR) on_descriptor(&image, file);
    clear();
    if (kind == PART) unlinkat(folder.fd, names[IMAGE], 0);
    return 0;
}
