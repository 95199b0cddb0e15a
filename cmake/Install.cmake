# What is installed where, and the three components that packages are made of: "server" is a node and
# its manual, "tools" is what its users call, "dev" is the C library for programs of their own.
include(GNUInstallDirs)

# Where the supervisor lies, its actors beside it: nobody else calls those.
set(LM_LIBEXEC ${CMAKE_INSTALL_LIBEXECDIR}/lockmgr)

# lm_install(NAME PART): a program of the server or of the tools.
function(lm_install name part)
    set(where ${CMAKE_INSTALL_BINDIR})
    if(part STREQUAL "server")
        set(where ${LM_LIBEXEC})
    endif()
    install(TARGETS ${name} RUNTIME DESTINATION ${where} COMPONENT ${part})
endfunction()

# lm_man_page(FILE PART): compressed, without a name or time in it.
function(lm_man_page file part)
    string(REGEX MATCH "[0-9]$" section ${file})
    set(page ${CMAKE_CURRENT_BINARY_DIR}/${file}.gz)
    add_custom_command(
        OUTPUT ${page}
        COMMAND sh -c "gzip -9nc \"$1\" >\"$2\"" gzip ${CMAKE_CURRENT_SOURCE_DIR}/${file} ${page}
        DEPENDS ${file} VERBATIM)
    add_custom_target(man_${file} ALL DEPENDS ${page})
    install(FILES ${page} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section} COMPONENT ${part})
endfunction()

# The name under which the supervisor is called; it finds its actors where the link leads.
function(lm_install_supervisor)
    file(RELATIVE_PATH target /${CMAKE_INSTALL_SBINDIR} /${LM_LIBEXEC}/lockmgrd)
    file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/link)
    file(CREATE_LINK ${target} ${CMAKE_BINARY_DIR}/link/lockmgrd SYMBOLIC)
    install(FILES ${CMAKE_BINARY_DIR}/link/lockmgrd DESTINATION ${CMAKE_INSTALL_SBINDIR}
            COMPONENT server)
endfunction()

# lm_install_library(NAME HEADERS files PARTS libraries REQUIRES modules): headers in a folder of their own, all
# parts as one archive, without what only a debugger needs, and a file for pkg-config.
function(lm_install_library name)
    cmake_parse_arguments(ARG "" "" "HEADERS;PARTS;REQUIRES" ${ARGN})
    list(TRANSFORM ARG_PARTS REPLACE "(.+)" "$<TARGET_OBJECTS:\\1>" OUTPUT_VARIABLE objects)
    add_library(${name} STATIC ${objects})
    set_target_properties(${name} PROPERTIES LINKER_LANGUAGE C)
    add_custom_command(
        TARGET ${name} POST_BUILD
        COMMAND ${CMAKE_STRIP} --strip-unneeded --remove-section=.comment $<TARGET_FILE:${name}> VERBATIM)
    set(where lib)
    set(up ../..)
    if(CMAKE_LIBRARY_ARCHITECTURE)
        set(where lib/${CMAKE_LIBRARY_ARCHITECTURE})
        set(up ../../..)
    endif()
    list(JOIN ARG_REQUIRES " " requires)
    file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/${name}.pc
"prefix=\${pcfiledir}/${up}
Name: ${name}
Description: C client of the distributed lock manager
Version: ${PROJECT_VERSION}
Requires: ${requires}
Cflags: -I\${prefix}/include/${name}
Libs: -L\${prefix}/${where} -l${name} -pthread
")
    install(FILES ${ARG_HEADERS} DESTINATION include/${name} COMPONENT dev)
    install(TARGETS ${name} ARCHIVE DESTINATION ${where} COMPONENT dev)
    install(FILES ${CMAKE_CURRENT_BINARY_DIR}/${name}.pc DESTINATION ${where}/pkgconfig COMPONENT dev)
endfunction()
