#!/usr/bin/python3
"""Makes the tables of frontend_reflection.h from a serialized FileDescriptorSet.

usage: gen_reflection.py DESCRIPTOR_SET OUT.c
"""
import sys

from google.protobuf import descriptor_pb2 as pb


def symbols_of_message(prefix, message):
    full = f"{prefix}.{message.name}"
    yield full
    for field in message.field:
        yield f"{full}.{field.name}"
    for oneof in message.oneof_decl:
        yield f"{full}.{oneof.name}"
    for inner in message.nested_type:
        yield from symbols_of_message(full, inner)
    for enum in message.enum_type:
        yield from symbols_of_enum(full, enum)


def symbols_of_enum(prefix, enum):
    yield f"{prefix}.{enum.name}"
    for value in enum.value:
        # Values of an enum live beside it, not in it.
        yield f"{prefix}.{value.name}"


def symbols_of_file(file):
    for message in file.message_type:
        yield from symbols_of_message(file.package, message)
    for enum in file.enum_type:
        yield from symbols_of_enum(file.package, enum)
    for service in file.service:
        yield f"{file.package}.{service.name}"
        for method in service.method:
            yield f"{file.package}.{service.name}.{method.name}"


def closure(files, name, seen):
    """Name and all it imports, each once, the wanted one first."""
    if name not in seen:
        seen.append(name)
        for imported in files[name].dependency:
            closure(files, imported, seen)
    return seen


def c_bytes(data):
    lines = [data[i:i + 16] for i in range(0, len(data), 16)]
    return "\n".join("    " + " ".join(f"{b}," for b in line) for line in lines)


def main():
    with open(sys.argv[1], "rb") as f:
        files = {x.name: x for x in pb.FileDescriptorSet.FromString(f.read()).file}
    names = sorted(files)
    place = {name: i for i, name in enumerate(names)}
    out = ["/* Made by gen_reflection.py from the public protos. */",
           '#include "frontend_reflection.h"', ""]
    rows, symbols = [], {}
    for name in names:
        i = place[name]
        data = files[name].SerializeToString(deterministic=True)
        needed = [place[n] for n in closure(files, name, [])]
        out += [f"static const unsigned char bytes_{i}[] = {{", c_bytes(data), "};",
                f"static const unsigned short files_{i}[] = {{"
                + ", ".join(map(str, needed)) + "};"]
        rows.append(f'    {{"{name}", bytes_{i}, sizeof bytes_{i}, files_{i}, {len(needed)}}},')
        symbols.update((symbol, i) for symbol in symbols_of_file(files[name]))
    out += ["const lm_reflected_file_t lm_reflected_files[] = {"] + rows + [
        "};", f"const size_t lm_n_reflected_files = {len(rows)};",
        "const lm_reflected_symbol_t lm_reflected_symbols[] = {"]
    out += [f'    {{"{s}", {symbols[s]}}},' for s in sorted(symbols, key=lambda s: s.encode())]
    out += ["};", f"const size_t lm_n_reflected_symbols = {len(symbols)};", ""]
    with open(sys.argv[2], "w") as f:
        f.write("\n".join(out))


main()
