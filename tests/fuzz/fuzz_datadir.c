/* The files of a data directory as a start finds them: they are scanned, repaired or refused, never
 * mistaken for memory.
 *
 * First byte: the stage of the identity. Then files: a byte for the name, a block for what is in
 * it. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz_target.h"
#include "raft_scan.h"

enum { FILES_MAX = 12 };

static const char *const names[] = {
    "metadata1",
    "metadata2",
    "open-1",
    "open-2",
    "0000000000000001-0000000000000001",
    "0000000000000001-0000000000000003",
    "0000000000000002-0000000000000003",
    "0000000000000004-0000000000000005",
    "watermark",
    "truncating-2",
    "image-2-1",
    "snapshot-1-2-7",
    "snapshot-1-2-7.meta",
    "image.part-2-1",
    "identity.new",
    "strange",
};
enum { NAMES = sizeof names / sizeof *names };

static char path[] = "/dev/shm/lm-fuzz-dir-XXXXXX";
static bool made;

static void clear(void)
{
    int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < NAMES && dir >= 0; i++) unlinkat(dir, names[i], 0);
    if (dir >= 0) close(dir);
}

static void remove_directory(void)
{
    clear();
    rmdir(path);
}

static void write_file(const char *name, lm_bytes_t bytes)
{
    char file[128];
    snprintf(file, sizeof file, "%s/%s", path, name);
    int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    LM_CHECK(fd >= 0, "%s cannot be written", file);
    ssize_t written = bytes.size ? write(fd, bytes.data, bytes.size) : 0;
    LM_CHECK(written == (ssize_t)bytes.size, "%s cannot be written", file);
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static lm_raft_scan_t result;
    fuzz_input_t in = {lm_bytes(data, size)};
    lm_raft_identity_t identity = {.region = "r", .node = "n1", .n_servers = 3};
    lm_raft_fault_t fault = {0};
    identity.stage = (lm_raft_stage_t)(fuzz_u8(&in) % 4);
    for (uint32_t i = 0; i < 3; i++) {
        identity.servers[i].id = 101 * (i + 1);
        snprintf(identity.servers[i].name, sizeof identity.servers[i].name, "n%u", i + 1);
    }
    if (!made) {
        LM_CHECK(mkdtemp(path), "no directory");
        atexit(remove_directory);
        made = true;
    }
    for (int i = 0; i < FILES_MAX && in.left.size; i++) {
        const char *name = names[fuzz_u8(&in) % NAMES];
        write_file(name, fuzz_block(&in));
    }
    if (lm_raft_scan(path, &identity, &result, &fault)) {
        LM_CHECK(result.first_index <= result.last_index + 1, "a log from %llu to %llu",
                 (unsigned long long)result.first_index, (unsigned long long)result.last_index);
    } else {
        LM_CHECK(fault.code == LM_EXIT_DAMAGED || fault.code == LM_EXIT_SYSTEM, "code %d",
                 (int)fault.code);
        LM_CHECK(*fault.words, "refused without a word");
    }
    clear();
    return 0;
}
