# shellcheck shell=bash disable=SC2034 # what is set here is used by those who source it
# What the image holds. deploy/Containerfile and scripts/image read this one list. Sourced.

# The release of Debian whose libraries are in the image.
image_suite=bookworm

# lockmgrd, its five actors, all of them in one process (lockmgrd --threads), and lockctl for probes.
image_programs="lockmgrd lockmgr-raft lockmgr-lock lockmgr-gateway lockmgr-frontend lockmgr-health
 lockmgr-node lockctl"

# The packages of that release whose libraries the programs name; what these need comes with them. The
# consensus engine is in the backports of the release.
image_packages="libc6 libconfig9 libczmq4 libgrpc29 libisal2 libjansson4 libmicrohttpd12 libprotobuf-c1
 libssl3 libuv1"
image_backports="libraft0"

# Whom the image runs as, when nobody says otherwise.
image_uid=65532
