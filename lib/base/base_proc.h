/* Small text files of the kernel: /proc and control groups. */
#ifndef LM_BASE_PROC_H
#define LM_BASE_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Reads a file, up to size - 1 bytes, and ends the text. False if there is nothing to read. */
bool lm_proc_read(const char *path, char *text, size_t size);
/** The number behind a word at the beginning of a line, with a colon or not; 0 if there is none. */
uint64_t lm_proc_number(const char *text, const char *word);

#endif
