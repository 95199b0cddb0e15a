# Everything lockmgr is built on comes from the distribution; each has one doorkeeper (README).
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(PROTOBUF_C REQUIRED IMPORTED_TARGET libprotobuf-c)
pkg_check_modules(CZMQ REQUIRED IMPORTED_TARGET libczmq)
pkg_check_modules(ZMQ REQUIRED IMPORTED_TARGET libzmq)
pkg_check_modules(LIBCONFIG REQUIRED IMPORTED_TARGET libconfig)
# Older engines lose acknowledged entries; newer minor versions change who owns which memory.
pkg_check_modules(RAFT REQUIRED IMPORTED_TARGET raft>=0.22.1 raft<0.23)
pkg_check_modules(UV REQUIRED IMPORTED_TARGET libuv)
# CRC-32C, by the instructions of the processor.
pkg_check_modules(ISAL REQUIRED IMPORTED_TARGET libisal)
# The checks of certificates and keys; TLS itself is gRPC's.
pkg_check_modules(CRYPTO REQUIRED IMPORTED_TARGET libcrypto>=3.0)
pkg_check_modules(GRPC REQUIRED IMPORTED_TARGET grpc)
pkg_check_modules(MICROHTTPD REQUIRED IMPORTED_TARGET libmicrohttpd)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(GSL REQUIRED IMPORTED_TARGET gsl)
# Only the tests need this one.
pkg_check_modules(CRITERION IMPORTED_TARGET criterion)
