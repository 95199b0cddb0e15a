/* The start of an actor's process: its command line, its parent, its page for last words. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "act_host.h"
#include "act_page.h"
#include "base_check.h"

static char run_dir[64];

static void set_up(void)
{
    snprintf(run_dir, sizeof run_dir, "/tmp/lm-act-XXXXXX");
    cr_assert_not_null(mkdtemp(run_dir));
}

static void tear_down(void)
{
    char command[96];
    snprintf(command, sizeof command, "rm -rf '%s'", run_dir);
    cr_assert_eq(system(command), 0);
}

TestSuite(act_process, .init = set_up, .fini = tear_down, .timeout = 60);

static const char *good_line[] = {"act",    "--supervisor", "ipc:///tmp/s", "--run-dir", NULL,
                                  "--boot", "77",           "--counter",    "3",         "--parent",
                                  NULL};

static lm_exit_t start(lm_process_t *process, int argc, const char **line)
{
    return lm_process_start(process, argc, (char **)(uintptr_t)line, "toy");
}

Test(act_process, a_command_line_is_read)
{
    lm_process_t process;
    char parent[16];
    snprintf(parent, sizeof parent, "%d", (int)getppid());
    good_line[4] = run_dir;
    const char *line[11];
    memcpy(line, good_line, sizeof good_line);
    line[10] = parent;
    cr_assert_eq(start(&process, 11, line), LM_EXIT_OK);
    cr_assert_str_eq(process.supervisor, "ipc:///tmp/s");
    cr_assert_str_eq(process.run_dir, run_dir);
    cr_assert_eq(process.generation.boot_id, 77);
    cr_assert_eq(process.generation.counter, 3);
    cr_assert_not_null(lm_page_mine());
    line[10] = "999999999";
    cr_assert_eq(start(&process, 11, line), LM_EXIT_TRY_LATER);
}

Test(act_process, wrong_command_lines_are_refused)
{
    static const struct {
        int at;
        const char *value;
    } faults[] = {{1, "--what"}, {2, "tcp://x"}, {6, "0"}, {6, "x"},
                  {6, "-1"},     {6, "7 "},      {8, "0"}, {8, "4294967296"},
                  {10, "0"},     {3, "--boot"},  {2, ""},  {6, "18446744073709551616"},
                  {4, ""}};
    lm_process_t process;
    good_line[4] = run_dir;
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        const char *line[11];
        memcpy(line, good_line, sizeof good_line);
        line[10] = "1";
        line[faults[i].at] = faults[i].value;
        cr_assert_eq(start(&process, 11, line), LM_EXIT_USAGE, "%zu", i);
    }
    cr_assert_eq(start(&process, 1, good_line), LM_EXIT_USAGE);
    cr_assert_eq(start(&process, 10, good_line), LM_EXIT_USAGE);
}

Test(act_process, last_words_outlive_the_process)
{
    char parent[16];
    snprintf(parent, sizeof parent, "%d", (int)getpid());
    pid_t pid = fork();
    if (pid == 0) {
        lm_process_t process;
        const char *line[11];
        good_line[4] = run_dir;
        memcpy(line, good_line, sizeof good_line);
        line[10] = parent;
        if (start(&process, 11, line) != LM_EXIT_OK) _exit(1);
        LM_CHECK(line[10] == NULL, "the answer was %d", 42);
    }
    int status;
    waitpid(pid, &status, 0);
    cr_assert_not(WIFEXITED(status) && WEXITSTATUS(status) <= 1);
    const lm_page_t *page = lm_page_open(run_dir, "toy");
    cr_assert_not_null(page);
    cr_assert_not_null(strstr(page->last_words, "the answer was 42"), "%s", page->last_words);
    lm_page_close(&page);
    cr_assert_null(lm_page_open(run_dir, "nobody"));
}
