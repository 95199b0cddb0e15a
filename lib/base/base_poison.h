/* Borders for the address sanitizer, where many objects share one block of memory: it is told what
 * may be used now. Without the sanitizer both do nothing. */
#ifndef LM_BASE_POISON_H
#define LM_BASE_POISON_H

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#define LM_POISONS 1
#define LM_POISON(memory, size) ASAN_POISON_MEMORY_REGION(memory, size)
#define LM_UNPOISON(memory, size) ASAN_UNPOISON_MEMORY_REGION(memory, size)
#else
#define LM_POISONS 0
#define LM_POISON(memory, size) ((void)(memory), (void)(size))
#define LM_UNPOISON(memory, size) ((void)(memory), (void)(size))
#endif

#endif
