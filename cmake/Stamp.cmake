# Writes STAMP, a header that says which commit is being built, when that has changed.
# usage: cmake -DSOURCE=... -DSTAMP=... -P Stamp.cmake
# Where the sources are no repository, LM_STAMP_commit and LM_STAMP_time in the environment say it.
function(ask variable)
    if(DEFINED ENV{LM_STAMP_${variable}})
        set(${variable} "$ENV{LM_STAMP_${variable}}" PARENT_SCOPE)
        return()
    endif()
    execute_process(COMMAND git -C ${SOURCE} ${ARGN} OUTPUT_VARIABLE answer RESULT_VARIABLE failed
                    OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    if(failed)
        set(answer "unknown")
    endif()
    set(${variable} "${answer}" PARENT_SCOPE)
endfunction()

ask(commit rev-parse HEAD)
ask(time show -s --format=%cI HEAD)
ask(branch rev-parse --abbrev-ref HEAD)
set(text "#define LM_COMMIT \"${commit}\"\n#define LM_COMMIT_TIME \"${time}\"\n#define LM_BRANCH \"${branch}\"\n")
set(before "")
if(EXISTS ${STAMP})
    file(READ ${STAMP} before)
endif()
if(NOT before STREQUAL text)
    file(WRITE ${STAMP} "${text}")
endif()
