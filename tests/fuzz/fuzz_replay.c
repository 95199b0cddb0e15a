/* Runs files through a target, without libFuzzer.
 *
 * usage: fuzz_replay_<target> FILE_OR_DIRECTORY... */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz_target.h"

static bool run_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    long size = -1;
    if (file && fseek(file, 0, SEEK_END) == 0) size = ftell(file);
    if (size < 0 || fseek(file, 0, SEEK_SET) != 0) {
        perror(path);
        if (file) fclose(file);
        return false;
    }
    uint8_t *bytes = lm_alloc((size_t)size); /* exactly: a read beyond it is to be noticed */
    size_t got = fread(bytes, 1, (size_t)size, file);
    fclose(file);
    printf("%s\n", path);
    fflush(stdout);
    LLVMFuzzerTestOneInput(bytes, got);
    free(bytes);
    return true;
}

static int run_directory(const char *path)
{
    struct dirent **names;
    int n = scandir(path, &names, NULL, alphasort), run = 0;
    if (n < 0) {
        perror(path);
        return -1;
    }
    for (int i = 0; i < n; i++) {
        char name[4096];
        snprintf(name, sizeof name, "%s/%s", path, names[i]->d_name);
        if (names[i]->d_name[0] != '.' && run >= 0) run = run_file(name) ? run + 1 : -1;
        free(names[i]);
    }
    free(names);
    return run;
}

int main(int argc, char **argv)
{
    int total = 0;
    for (int i = 1; i < argc; i++) {
        struct stat about;
        bool directory = stat(argv[i], &about) == 0 && S_ISDIR(about.st_mode);
        int run = directory ? run_directory(argv[i]) : run_file(argv[i]) ? 1 : -1;
        if (run < 0) return 1;
        total += run;
    }
    printf("%d files\n", total);
    return total > 0 ? 0 : 1;
}
