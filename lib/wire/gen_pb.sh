#!/bin/sh
# Makes protobuf-c's code from a copy of the protos in which string is bytes.
# usage: gen_pb.sh PROTO_DIR OUT_DIR "PROTOS" "WELL_KNOWN PROTOS"
set -eu
proto_dir=$1 out=$2 protos=$3 well_known=$4
copy=$out/bytes
rm -rf "$copy"
for file in $protos $well_known; do
    source=$proto_dir/$file
    [ -f "$source" ] || source=/usr/include/$file
    mkdir -p "$copy/$(dirname "$file")"
    sed -E 's/\bstring ([a-z0-9_]+ = )/bytes \1/g' "$source" >"$copy/$file"
    if grep -nE '^[^/]*\bstring\b' "$copy/$file"; then
        echo "gen_pb.sh: $file keeps a string" >&2
        exit 1
    fi
done
# shellcheck disable=SC2086 # lists of files
(cd "$copy" && protoc-c -I. --c_out="$out" $protos $well_known)
