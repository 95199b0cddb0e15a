# How all of lockmgr is compiled, and the two ways to declare a target.
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
if(NOT CMAKE_BUILD_TYPE)
    set(CMAKE_BUILD_TYPE Release)
endif()
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)

add_compile_definitions(_GNU_SOURCE LM_VERSION="${PROJECT_VERSION}")
add_library(lm_flags INTERFACE)
target_compile_options(lm_flags INTERFACE
    -Wall -Wextra -Wshadow -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes
    -Wwrite-strings -Wundef -Wformat=2 -Wvla -Werror
    -fno-strict-aliasing -fstack-protector-strong -fstack-clash-protection -fcf-protection)
target_link_options(lm_flags INTERFACE -pie -Wl,-z,relro,-z,now,-z,noexecstack)
if(LM_FUZZ)
    # Coverage of the product guides the fuzzers; what links it without libFuzzer still works.
    add_compile_options(-fsanitize=fuzzer-no-link)
    add_link_options(-fsanitize=fuzzer-no-link)
endif()
if(LM_SANITIZE STREQUAL "thread")
    add_compile_options(-fsanitize=thread -fno-omit-frame-pointer -g)
    add_link_options(-fsanitize=thread)
    add_compile_definitions(LM_CHECK_ABORTS=1)
elseif(LM_SANITIZE)
    add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=all
                        -fno-omit-frame-pointer -g)
    add_link_options(-fsanitize=address,undefined)
    add_compile_definitions(LM_CHECK_ABORTS=1)
else()
    add_compile_options($<$<CONFIG:Release>:-U_FORTIFY_SOURCE> $<$<CONFIG:Release>:-D_FORTIFY_SOURCE=2>)
endif()
# Checks stay on in release builds; they do not depend on NDEBUG.

# lm_library(NAME SOURCES files LINK targets [PRIVATE_LINK targets])
function(lm_library name)
    cmake_parse_arguments(ARG "" "" "SOURCES;LINK;PRIVATE_LINK" ${ARGN})
    add_library(${name} STATIC ${ARG_SOURCES})
    target_include_directories(${name} PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})
    target_link_libraries(${name} PUBLIC ${ARG_LINK} PRIVATE lm_flags ${ARG_PRIVATE_LINK})
endfunction()

# lm_program(NAME SOURCES files LINK targets [PART server|tools]): without a part it is not installed.
function(lm_program name)
    cmake_parse_arguments(ARG "" "PART" "SOURCES;LINK" ${ARGN})
    add_executable(${name} ${ARG_SOURCES})
    target_link_libraries(${name} PRIVATE lm_flags ${ARG_LINK})
    if(ARG_PART)
        lm_install(${name} ${ARG_PART})
    endif()
endfunction()

# lm_unit_test(NAME SOURCES files LINK targets): a criterion program that CTest runs.
function(lm_unit_test name)
    cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
    add_executable(${name} ${ARG_SOURCES})
    target_link_libraries(${name} PRIVATE lm_flags ${ARG_LINK} PkgConfig::CRITERION)
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
    add_test(NAME ${name} COMMAND ${name} --jobs 2)
    set_tests_properties(${name} PROPERTIES LABELS quick TIMEOUT 600
        ENVIRONMENT "ASAN_OPTIONS=abort_on_error=1;UBSAN_OPTIONS=print_stacktrace=1")
endfunction()
