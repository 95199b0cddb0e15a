# `cpack -G DEB` in the build directory makes lockmgr (a node), lockmgr-tools (lockctl, lockbench) and
# liblockmgr-dev (the C library).
# What only these packages have - files in /etc, units, what Debian wants in /usr/share/doc - is left
# out of `cmake --install`. A tree without its documents, as the image has it, makes no packages.
if(NOT EXISTS ${CMAKE_SOURCE_DIR}/CHANGELOG.md OR NOT EXISTS ${CMAKE_SOURCE_DIR}/docs)
    return()
endif()
set(LM_PACKAGE_MAINTAINER "lockmgr maintainers <maintainers@lockmgr.example>" CACHE STRING
    "who answers for the packages that cpack makes")
set(debian ${CMAKE_SOURCE_DIR}/deploy/debian)
set(made ${CMAKE_BINARY_DIR}/debian)

execute_process(COMMAND git -C ${CMAKE_SOURCE_DIR} show -s --format=%cD HEAD
                OUTPUT_VARIABLE LM_PACKAGE_DATE OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(NOT LM_PACKAGE_DATE)
    string(TIMESTAMP LM_PACKAGE_DATE "%a, %d %b %Y %H:%M:%S +0000" UTC)
endif()

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME lockmgr)
set(CPACK_PACKAGE_VENDOR lockmgr)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_DEBIAN_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_MAINTAINER ${LM_PACKAGE_MAINTAINER})
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_STRIP_FILES ON)
set(CPACK_SET_DESTDIR ON) # some files have their place outside of the prefix
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_ALL server tools dev)

set(CPACK_DEBIAN_SERVER_PACKAGE_NAME lockmgr)
set(CPACK_DEBIAN_SERVER_PACKAGE_SECTION database)
set(CPACK_COMPONENT_SERVER_DESCRIPTION "node of a distributed lock manager
Clients in any language take locks over gRPC; a region of one, three or five
nodes keeps them through crashes, restarts and partitions. Every grant comes
with a fencing token that only grows, and with the time that is left of its
lease.
.
The node is not started by the installation: it belongs to a region, which
/etc/lockmgr/lockmgr.cfg names.")
# Its libraries name an older consensus engine than the one that is good enough (Dependencies.cmake).
set(CPACK_DEBIAN_SERVER_PACKAGE_DEPENDS
    "systemd | systemd-standalone-sysusers, libraft0 (>= 0.22.1), libraft0 (<< 0.23)")
set(CPACK_DEBIAN_SERVER_PACKAGE_RECOMMENDS "lockmgr-tools")
set(CPACK_DEBIAN_SERVER_PACKAGE_CONTROL_EXTRA
    ${made}/lockmgr/postinst ${made}/lockmgr/prerm ${made}/lockmgr/postrm ${made}/lockmgr/conffiles)

set(CPACK_DEBIAN_TOOLS_PACKAGE_NAME lockmgr-tools)
set(CPACK_DEBIAN_TOOLS_PACKAGE_SECTION database)
set(CPACK_COMPONENT_TOOLS_DESCRIPTION "command line of a distributed lock manager
lockctl takes, keeps and releases locks and sessions of lockmgr, runs commands
while they hold a lock, and shows how nodes stand. lockbench measures them.")

set(CPACK_DEBIAN_DEV_PACKAGE_NAME liblockmgr-dev)
set(CPACK_DEBIAN_DEV_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEV_PACKAGE_DEPENDS "libgrpc-dev, libprotobuf-c-dev, libssl-dev")
set(CPACK_COMPONENT_DEV_DESCRIPTION "C library of a distributed lock manager
Calls of lockmgr's clients with failover and safe repeats, holds and sessions
that keep themselves: the headers, the library to link, and a file for
pkg-config (lockmgr).")

foreach(script postinst prerm postrm)
    configure_file(${debian}/lockmgr.${script} ${made}/lockmgr/${script} COPYONLY
        FILE_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE
                         WORLD_READ WORLD_EXECUTE)
endforeach()
configure_file(${debian}/lockmgr.conffiles ${made}/lockmgr/conffiles COPYONLY)

# lm_package_file(PART DESTINATION FILE [NAME]): in a package only.
function(lm_package_file part destination file)
    set(rename)
    if(ARGN)
        set(rename RENAME ${ARGN})
    endif()
    install(FILES ${file} DESTINATION ${destination} ${rename} COMPONENT ${part} EXCLUDE_FROM_ALL)
endfunction()

# lm_package_gzip(FROM TO)
function(lm_package_gzip from to)
    execute_process(COMMAND gzip -9nc ${from} OUTPUT_FILE ${to} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

configure_file(${debian}/changelog.in ${made}/changelog.Debian @ONLY)
lm_package_gzip(${made}/changelog.Debian ${made}/changelog.Debian.gz)
lm_package_gzip(${CMAKE_SOURCE_DIR}/CHANGELOG.md ${made}/changelog.gz)
foreach(package server:lockmgr tools:lockmgr-tools dev:liblockmgr-dev)
    string(REPLACE : ";" pair ${package})
    list(GET pair 0 part)
    list(GET pair 1 name)
    lm_package_file(${part} /usr/share/doc/${name} ${debian}/copyright)
    lm_package_file(${part} /usr/share/doc/${name} ${made}/changelog.Debian.gz)
    lm_package_file(${part} /usr/share/doc/${name} ${made}/changelog.gz)
    lm_package_file(${part} /usr/share/lintian/overrides ${debian}/${name}.lintian-overrides ${name})
endforeach()

set(deploy ${CMAKE_SOURCE_DIR}/deploy)
lm_package_file(server /etc/lockmgr ${deploy}/single-node.cfg lockmgr.cfg)
lm_package_file(server /usr/lib/sysusers.d ${deploy}/systemd/lockmgr.sysusers lockmgr.conf)
foreach(unit lockmgr.service lockmgr@.service)
    lm_package_file(server /lib/systemd/system ${deploy}/systemd/${unit})
endforeach()
foreach(example lockmgr.cfg single-node.cfg region-node.cfg access.example prometheus/lockmgr.rules.yaml
        grafana/lockmgr.json)
    lm_package_file(server /usr/share/doc/lockmgr/examples ${deploy}/${example})
endforeach()
foreach(page API DEPLOYMENT LIMITS OPERATIONS SAFETY SECURITY)
    lm_package_file(server /usr/share/doc/lockmgr ${CMAKE_SOURCE_DIR}/docs/${page}.md)
endforeach()

include(CPack)
