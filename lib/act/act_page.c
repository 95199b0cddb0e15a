#include "act_page.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "act_process.h"
#include "base_voice.h"

lm_page_t *lm_page_mine(void) { return lm_voice_page(lm_voice_mine()); }

void lm_page_set_mine(lm_page_t *page) { lm_voice_set_page(lm_voice_mine(), page); }

static void *map(int fd, int protection)
{
    void *page = mmap(NULL, sizeof(lm_page_t), protection, MAP_SHARED, fd, 0);
    return page == MAP_FAILED ? NULL : page;
}

lm_page_t *lm_page_create(const char *run_dir, const char *actor)
{
    char path[192];
    snprintf(path, sizeof path, "%s/%s.page", run_dir, actor);
    unlink(path); /* whoever still has the old one mapped keeps it as it was */
    int fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0) return NULL;
    lm_page_t *page = NULL;
    if (ftruncate(fd, sizeof *page) == 0) page = map(fd, PROT_READ | PROT_WRITE);
    close(fd);
    return page;
}

const lm_page_t *lm_page_open(const char *run_dir, const char *actor)
{
    char path[192];
    struct stat status;
    snprintf(path, sizeof path, "%s/%s.page", run_dir, actor);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return NULL;
    const lm_page_t *page = NULL;
    if (fstat(fd, &status) == 0 && (size_t)status.st_size >= sizeof *page)
        page = map(fd, PROT_READ);
    close(fd);
    return page;
}

void lm_page_close(const lm_page_t **page)
{
    if (!*page) return;
    munmap((void *)(uintptr_t)*page, sizeof **page);
    *page = NULL;
}
