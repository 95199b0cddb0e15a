/* The data directory: lock and identity. */
#include "raft_datadir.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char base[64], path[80];

static void setup(void)
{
    strcpy(base, "/tmp/lm_datadir_XXXXXX");
    cr_assert(mkdtemp(base));
    snprintf(path, sizeof path, "%s/data", base);
}

static void teardown(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", base);
    cr_assert_eq(system(command), 0);
}

TestSuite(raft_datadir, .init = setup, .fini = teardown);

static lm_raft_identity_t identity(void)
{
    lm_raft_identity_t who = {.stage = LM_RAFT_ACCEPTED,
                              .region = "us-east",
                              .node = "n1",
                              .cluster_id = "00112233445566778899aabbccddeeff",
                              .history_id = "ffeeddccbbaa99887766554433221100",
                              .epoch = 3,
                              .n_servers = 2,
                              .servers = {{77, "n1"}, {UINT64_MAX, "n2"}}};
    return who;
}

Test(raft_datadir, an_identity_is_read_as_it_was_written)
{
    lm_raft_fault_t fault = {0};
    lm_raft_identity_t who = identity(), found;
    lm_raft_datadir_t *dir = lm_raft_datadir_open(path, &fault);
    cr_assert(dir, "%s", fault.words);
    cr_assert(lm_raft_datadir_load(dir, "us-east", "n1", &found, &fault));
    cr_assert_eq(found.stage, LM_RAFT_EMPTY);
    cr_assert(lm_raft_datadir_save(dir, &who, &fault), "%s", fault.words);
    who.stage = LM_RAFT_STARTED;
    cr_assert(lm_raft_datadir_save(dir, &who, &fault), "%s", fault.words);
    cr_assert(lm_raft_datadir_load(dir, "us-east", "n1", &found, &fault), "%s", fault.words);
    cr_assert_eq(memcmp(&found, &who, sizeof who), 0);
    lm_raft_datadir_close(&dir);
}

Test(raft_datadir, s17_a_second_process_is_turned_away)
{
    lm_raft_fault_t fault = {0};
    lm_raft_datadir_t *dir = lm_raft_datadir_open(path, &fault);
    cr_assert(dir);
    cr_assert_null(lm_raft_datadir_open(path, &fault));
    cr_assert_eq(fault.code, LM_EXIT_TRY_LATER);
    cr_assert(strstr(fault.words, path), "%s", fault.words);
    lm_raft_datadir_close(&dir);
    dir = lm_raft_datadir_open(path, &fault);
    cr_assert(dir, "free again");
    lm_raft_datadir_close(&dir);
}

Test(raft_datadir, data_of_another_node_or_region_is_refused)
{
    lm_raft_fault_t fault = {0};
    lm_raft_identity_t who = identity(), found;
    lm_raft_datadir_t *dir = lm_raft_datadir_open(path, &fault);
    cr_assert(lm_raft_datadir_save(dir, &who, &fault));
    cr_assert_not(lm_raft_datadir_load(dir, "us-west", "n1", &found, &fault));
    cr_assert_eq(fault.code, LM_EXIT_CONFIG);
    cr_assert(strstr(fault.words, "identity is that of node n1 of region us-east"), "%s",
              fault.words);
    cr_assert_not(lm_raft_datadir_load(dir, "us-east", "n2", &found, &fault));
    cr_assert_eq(fault.code, LM_EXIT_CONFIG);
    lm_raft_datadir_close(&dir);
}

Test(raft_datadir, any_flipped_bit_and_any_cut_is_noticed)
{
    char text[LM_RAFT_IDENTITY_TEXT_MAX];
    lm_raft_identity_t who = identity(), found;
    size_t size = lm_raft_identity_write(&who, text);
    cr_assert_null(lm_raft_identity_read(lm_bytes(text, size), &found));
    for (size_t i = 0; i < size; i++) {
        for (int bit = 0; bit < 8; bit++) {
            text[i] = (char)(text[i] ^ 1 << bit);
            cr_assert(lm_raft_identity_read(lm_bytes(text, size), &found), "byte %zu bit %d", i,
                      bit);
            text[i] = (char)(text[i] ^ 1 << bit);
        }
        cr_assert(lm_raft_identity_read(lm_bytes(text, i), &found), "cut at %zu", i);
    }
}

Test(raft_datadir, a_damaged_identity_is_named)
{
    lm_raft_fault_t fault = {0};
    lm_raft_identity_t found;
    lm_raft_datadir_t *dir = lm_raft_datadir_open(path, &fault);
    char file[128];
    snprintf(file, sizeof file, "%s/identity", path);
    int fd = open(file, O_WRONLY | O_CREAT, 0600);
    cr_assert_eq(write(fd, "nonsense\n", 9), 9);
    close(fd);
    cr_assert_not(lm_raft_datadir_load(dir, "us-east", "n1", &found, &fault));
    cr_assert_eq(fault.code, LM_EXIT_DAMAGED);
    cr_assert(strstr(fault.words, file), "%s", fault.words);
    lm_raft_datadir_close(&dir);
}

Test(raft_datadir, a_directory_that_cannot_be_is_a_configuration_error)
{
    lm_raft_fault_t fault = {0};
    cr_assert_null(lm_raft_datadir_open("/proc/nothing/here", &fault));
    cr_assert_eq(fault.code, LM_EXIT_CONFIG);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    close(fd);
    cr_assert_null(lm_raft_datadir_open(path, &fault));
    cr_assert_eq(fault.code, LM_EXIT_CONFIG);
}
