#!/bin/sh
# A seed must play the same every time, byte for byte: alone, and behind other seeds.
sim=$1
set -e
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
for seed in 3 7 11; do
    "$sim" --first $seed --count 1 --trace >"$dir/one"
    "$sim" --first $seed --count 1 --trace >"$dir/two"
    cmp "$dir/one" "$dir/two"
    [ "$(wc -l <"$dir/one")" -gt 1000 ]
done
"$sim" --first 1 --count 12 --hash >"$dir/row"
for seed in 1 6 12; do
    "$sim" --first $seed --count 1 --hash >"$dir/alone"
    grep -qxF "$(cat "$dir/alone")" "$dir/row"
done
echo "the same traces"
