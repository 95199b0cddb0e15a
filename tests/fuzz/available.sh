#!/usr/bin/env bash
# A test of the release build: are fuzzers run at all? 77: skipped, with the reason.
. "$(dirname "$0")/../../scripts/common.sh"
have_libfuzzer && exit 0
echo "clang with libFuzzer is not installed: no fuzzer is run, only the corpora are"
exit 77
