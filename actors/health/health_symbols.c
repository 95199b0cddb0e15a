/* In which file, and in which function there, an address is: from /proc/PID/maps and the symbols
 * of the files themselves, so that any process of the node can be looked at.
 *
 * Invariants
 *   HS1  A file is taken for what it says only within its own bytes.
 *   HS2  A name is told only of a function within whose bytes the address is; a file that is not
 *        the one that the process has loaded tells nothing. */
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "health_threads.h"

/* ---- which file ------------------------------------------------------------------------------ */

typedef struct {
    uint64_t start, end, offset, inode;
    const char *path;
} region_t;

/* A number of the line, in that base, and behind it that character. */
static uint64_t number(char **line, int base, char behind)
{
    uint64_t value = strtoull(*line, line, base);
    *line = **line == behind ? *line + 1 : *line + strlen(*line);
    return value;
}

/* start-end rights offset device inode path */
static bool read_region(char *line, region_t *region)
{
    line[strcspn(line, "\n")] = 0;
    region->start = number(&line, 16, '-');
    region->end = number(&line, 16, ' ');
    const char *rights = strsep(&line, " ");
    if (!line) return false;
    region->offset = number(&line, 16, ' ');
    strsep(&line, " ");
    if (!line) return false;
    region->inode = number(&line, 10, ' ');
    region->path = line + strspn(line, " ");
    return strchr(rights, 'x') && *region->path;
}

static void place_thread(const health_thread_t *thread, const region_t *region, const char **path,
                         lm_arena_t *arena)
{
    for (size_t i = 0; i < thread->n_frames; i++) {
        health_frame_t *frame = &thread->frames[i];
        if (frame->address < region->start || frame->address >= region->end) continue;
        if (!*path) *path = lm_arena_text(arena, lm_bytes_of(region->path));
        const char *slash = strrchr(*path, '/');
        frame->path = *path;
        frame->file = slash ? slash + 1 : *path;
        frame->inode = region->inode;
        frame->offset = frame->address - region->start + region->offset;
    }
}

static void place_process(const health_threads_t *threads, int pid, lm_arena_t *arena)
{
    char path[64], line[4352];
    snprintf(path, sizeof path, "/proc/%d/maps", pid);
    FILE *file = fopen(path, "re");
    if (!file) return;
    while (fgets(line, sizeof line, file)) {
        region_t region;
        const char *copy = NULL;
        if (!read_region(line, &region)) continue;
        for (size_t i = 0; i < threads->n; i++)
            if (threads->items[i].pid == pid)
                place_thread(&threads->items[i], &region, &copy, arena);
    }
    fclose(file);
}

/* ---- which function -------------------------------------------------------------------------- */

typedef struct {
    const uint8_t *bytes;
    uint64_t size;
} image_t;

/* n things of that size at an offset of the file, which need not be aligned; NULL if the file does
 * not have them. */
static const void *at(const image_t *image, uint64_t offset, uint64_t n, uint64_t size)
{
    if (offset > image->size || (n && size > (image->size - offset) / n)) return NULL;
    return image->bytes + offset;
}

static uint64_t looked_for(const health_frame_t *frame) { return frame->offset - frame->calls; }

/* Places of the file become addresses as its symbols have them. */
static void turn_into_addresses(const image_t *image, const Elf64_Ehdr *head,
                                health_frame_t **frames, size_t n)
{
    const Elf64_Phdr *parts = at(image, head->e_phoff, head->e_phnum, sizeof *parts);
    if (!parts || head->e_phentsize != sizeof *parts || head->e_phoff % _Alignof(Elf64_Phdr))
        return;
    for (size_t i = 0; i < n; i++) {
        uint64_t place = frames[i]->offset;
        for (size_t k = 0; k < head->e_phnum; k++) {
            const Elf64_Phdr *part = &parts[k];
            if (part->p_type != PT_LOAD || place < part->p_offset ||
                place - part->p_offset >= part->p_filesz)
                continue;
            frames[i]->offset = place - part->p_offset + part->p_vaddr;
            break;
        }
    }
}

/* The first of the frames, which are sorted, that is not before the address. */
static size_t first_from(health_frame_t **frames, size_t n, uint64_t address)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (looked_for(frames[middle]) < address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Of several names of one function the one without underscores before it. */
static bool is_better(const char *name, const char *before)
{
    return !before || (*before == '_' && *name != '_');
}

static void name_frames(health_frame_t **frames, size_t n, const Elf64_Sym *symbol,
                        const char *name, lm_arena_t *arena)
{
    const char *copy = NULL;
    for (size_t i = first_from(frames, n, symbol->st_value); i < n; i++) {
        if (looked_for(frames[i]) - symbol->st_value >= symbol->st_size) return;
        if (!is_better(name, frames[i]->function)) continue;
        if (!copy) copy = lm_arena_text(arena, lm_bytes_of(name));
        frames[i]->function = copy;
    }
}

static void read_symbols(const image_t *image, const Elf64_Shdr *table, const Elf64_Shdr *texts,
                         health_frame_t **frames, size_t n, lm_arena_t *arena)
{
    uint64_t n_symbols = table->sh_size / sizeof(Elf64_Sym);
    const Elf64_Sym *symbols = at(image, table->sh_offset, n_symbols, sizeof *symbols);
    const char *names = at(image, texts->sh_offset, texts->sh_size, 1);
    if (!symbols || !names || texts->sh_size == 0 || names[texts->sh_size - 1]) return;
    for (uint64_t i = 0; i < n_symbols; i++) {
        const Elf64_Sym *symbol = &symbols[i];
        if (ELF64_ST_TYPE(symbol->st_info) != STT_FUNC || symbol->st_shndx == SHN_UNDEF ||
            symbol->st_name >= texts->sh_size)
            continue;
        name_frames(frames, n, symbol, names + symbol->st_name, arena);
    }
}

void health_symbols_read(const void *bytes, size_t size, health_frame_t **frames, size_t n,
                         lm_arena_t *arena)
{
    const image_t file = {.bytes = bytes, .size = size}, *image = &file;
    const Elf64_Ehdr *head = at(image, 0, 1, sizeof *head);
    if (!head || memcmp(head->e_ident, ELFMAG, SELFMAG) != 0 ||
        head->e_ident[EI_CLASS] != ELFCLASS64)
        return;
    turn_into_addresses(image, head, frames, n);
    const Elf64_Shdr *parts = at(image, head->e_shoff, head->e_shnum, sizeof *parts);
    if (!parts || head->e_shentsize != sizeof *parts || head->e_shoff % _Alignof(Elf64_Shdr))
        return;
    for (size_t i = 0; i < head->e_shnum; i++) {
        bool has_symbols = parts[i].sh_type == SHT_SYMTAB || parts[i].sh_type == SHT_DYNSYM;
        if (has_symbols && parts[i].sh_link < head->e_shnum &&
            parts[i].sh_offset % _Alignof(Elf64_Sym) == 0)
            read_symbols(image, &parts[i], &parts[parts[i].sh_link], frames, n, arena);
    }
}

static void open_object(health_frame_t **frames, size_t n, lm_arena_t *arena)
{
    struct stat status;
    int fd = open(frames[0]->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return;
    if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_size > 0 &&
        (uint64_t)status.st_ino == frames[0]->inode) {
        size_t size = (size_t)status.st_size;
        void *bytes = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (bytes != MAP_FAILED) {
            health_symbols_read(bytes, size, frames, n, arena);
            munmap(bytes, size);
        }
    }
    close(fd);
}

/* ---- all of them ----------------------------------------------------------------------------- */

static int by_file(const health_frame_t *one, const health_frame_t *other)
{
    int order = strcmp(one->path, other->path);
    return order ? order : (one->inode > other->inode) - (one->inode < other->inode);
}

static int by_place(const void *a, const void *b)
{
    const health_frame_t *one = *(health_frame_t *const *)a, *other = *(health_frame_t *const *)b;
    int order = by_file(one, other);
    uint64_t x = looked_for(one), y = looked_for(other);
    return order ? order : (x > y) - (x < y);
}

static size_t list_placed(const health_threads_t *threads, health_frame_t **frames)
{
    size_t n = 0;
    for (size_t i = 0; i < threads->n; i++)
        for (size_t k = 0; k < threads->items[i].n_frames; k++)
            if (threads->items[i].frames[k].path) frames[n++] = &threads->items[i].frames[k];
    return n;
}

void health_symbols_find(const health_threads_t *threads, lm_arena_t *arena)
{
    size_t n = 0;
    for (size_t i = 0; i < threads->n; i++) {
        n += threads->items[i].n_frames;
        if (i == 0 || threads->items[i].pid != threads->items[i - 1].pid)
            place_process(threads, threads->items[i].pid, arena);
    }
    health_frame_t **frames = lm_arena_alloc(arena, (n + 1) * sizeof(health_frame_t *));
    n = list_placed(threads, frames);
    qsort(frames, n, sizeof(health_frame_t *), by_place);
    for (size_t first = 0, end; first < n; first = end) {
        for (end = first + 1; end < n && by_file(frames[first], frames[end]) == 0;) end++;
        open_object(frames + first, end - first, arena);
    }
}
