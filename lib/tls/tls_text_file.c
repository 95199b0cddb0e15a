#include "tls_text_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base_arena.h"

enum { WHY_BYTES = 120 };

static char *refuse(char *why, const char *words, const char *more)
{
    snprintf(why, WHY_BYTES, "%s%s", words, more);
    return NULL;
}

/* One byte more than there should be shows a file that has grown. */
static char *read_open(int fd, size_t expected, size_t *size, char *why)
{
    char *text = lm_alloc(expected + 2);
    size_t at = 0;
    ssize_t n;
    while (at <= expected && (n = read(fd, text + at, expected + 1 - at)) > 0) at += (size_t)n;
    if (at == expected && !memchr(text, 0, at)) {
        *size = at;
        return text;
    }
    free(text);
    return refuse(why, "cannot be read as text", "");
}

char *lm_tls_text_file_read(const char *path, size_t size_max, size_t *size, char why[120])
{
    struct stat found;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return refuse(why, "cannot be read: ", strerror(errno));
    char *text = NULL;
    if (fstat(fd, &found) != 0)
        refuse(why, "cannot be read: ", strerror(errno));
    else if (!S_ISREG(found.st_mode))
        refuse(why, "is not a file", "");
    else if ((found.st_mode & S_IWOTH) != 0)
        refuse(why, "may be written by everybody: chmod o-w", "");
    else if ((size_t)found.st_size > size_max)
        refuse(why, "is too large", "");
    else
        text = read_open(fd, (size_t)found.st_size, size, why);
    close(fd);
    return text;
}

lm_tls_text_stamp_t lm_tls_text_file_stamp(const char *path)
{
    struct stat found;
    if (stat(path, &found) != 0) return (lm_tls_text_stamp_t){0};
    return (lm_tls_text_stamp_t){.device = found.st_dev,
                                 .inode = found.st_ino,
                                 .size = (uint64_t)found.st_size,
                                 .changed = found.st_ctim};
}

bool lm_tls_text_stamp_equal(const lm_tls_text_stamp_t *a, const lm_tls_text_stamp_t *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}
