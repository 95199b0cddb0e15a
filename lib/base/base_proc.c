#include "base_proc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool lm_proc_read(const char *path, char *text, size_t size)
{
    FILE *file = fopen(path, "re");
    if (!file) return false;
    size_t n = fread(text, 1, size - 1, file);
    fclose(file);
    text[n] = 0;
    return n > 0;
}

uint64_t lm_proc_number(const char *text, const char *word)
{
    size_t length = strlen(word);
    for (const char *line = text; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, word, length) == 0 && strchr(" :\t", line[length]))
            return strtoull(line + length + strspn(line + length, " :\t"), NULL, 10);
    }
    return 0;
}
