/* Doors of the thread sanitizer: where bytes or a tag leave this program's own code for a library
 * that is not instrumented, and where they come back from it on another thread.
 *
 * The sanitizer sees neither the library's locks nor its atomics, and would take what is behind
 * such a door for a race. Both sides name the same address: all that was done before LM_DOOR_LEAVE
 * has happened for whoever comes through LM_DOOR_ARRIVE. In other builds they are nothing.
 */
#ifndef LM_BASE_DOOR_H
#define LM_BASE_DOOR_H

#if defined(__SANITIZE_THREAD__)
#define LM_DOOR_GUARDED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define LM_DOOR_GUARDED 1
#endif
#endif

#ifdef LM_DOOR_GUARDED
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#define LM_DOOR_LEAVE(address) __tsan_release((void *)(address))
#define LM_DOOR_ARRIVE(address) __tsan_acquire((void *)(address))
#else
#define LM_DOOR_LEAVE(address) ((void)(address))
#define LM_DOOR_ARRIVE(address) ((void)(address))
#endif

#endif
