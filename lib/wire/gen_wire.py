#!/usr/bin/python3
"""Makes plain C structs and field tables from the protos.

usage: gen_wire.py DESCRIPTOR_SET OUT_DIR

For each package in PREFIXES it writes wire_<name>.h and wire_<name>.c. A message becomes a struct
whose text fields are lm_bytes_t, whose submessages are pointers (NULL: absent) and whose repeated
fields are a count and an array. wire.c converts between these structs and those of protobuf-c by
walking both field tables, which are in the same order (by field number).
"""
import re
import sys

from google.protobuf import descriptor_pb2 as pb

PREFIXES = {
    "lockmgr.v1": "api",
    "lockmgr.log.v1": "log",
    "lockmgr.peer.v1": "peer",
    "lockmgr.bus.v1": "bus",
    "lockmgr.region.v1": "region",
    "google.rpc": "rpc",
    "google.protobuf": "pb",
    "grpc.health.v1": "health",
    "grpc.reflection.v1": "reflection",
}

F = pb.FieldDescriptorProto
SCALARS = {
    F.TYPE_DOUBLE: ("double", "DOUBLE"),
    F.TYPE_INT64: ("int64_t", "INT64"),
    F.TYPE_SINT64: ("int64_t", "INT64"),
    F.TYPE_UINT64: ("uint64_t", "UINT64"),
    F.TYPE_FIXED64: ("uint64_t", "UINT64"),
    F.TYPE_INT32: ("int32_t", "INT32"),
    F.TYPE_UINT32: ("uint32_t", "UINT32"),
    F.TYPE_FIXED32: ("uint32_t", "UINT32"),
    F.TYPE_BOOL: ("bool", "BOOL"),
    F.TYPE_STRING: ("lm_bytes_t", "STRING"),
    F.TYPE_BYTES: ("lm_bytes_t", "BYTES"),
    F.TYPE_ENUM: ("int32_t", "ENUM"),
}


def snake(name):
    name = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name)
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()


def c_name(full):
    """.lockmgr.v1.AcquireRequest -> lm_api_acquire_request"""
    full = full.lstrip(".")
    for package in sorted(PREFIXES, key=len, reverse=True):
        if full.startswith(package + "."):
            rest = full[len(package) + 1:]
            return "lm_" + PREFIXES[package] + "_" + "_".join(snake(p) for p in rest.split("."))
    raise SystemExit("gen_wire.py: no prefix for the package of " + full)


def pb_name(full):
    """Name that protoc-c gives the descriptor of a message or enum."""
    return "__".join(snake_pb(part) for part in full.lstrip(".").split("."))


def snake_pb(name):
    """protoc-c's own way from CamelCase to lower case."""
    out, last_upper = "", True
    for ch in name:
        if ch.isupper():
            if not last_upper:
                out += "_"
            last_upper = True
            out += ch.lower()
        else:
            last_upper = False
            out += ch
    return out


class Comments:
    def __init__(self, file):
        self.by_path = {tuple(l.path): l.leading_comments for l in file.source_code_info.location}

    def at(self, path, indent=""):
        text = self.by_path.get(tuple(path), "").strip()
        if not text:
            return []
        lines = [l.strip() for l in text.split("\n")]
        if len(lines) == 1:
            return [f"{indent}/** {lines[0]} */"]
        return [f"{indent}/** {lines[0]}"] + [f"{indent} *  {l}".rstrip() for l in lines[1:]] + [
            f"{indent} */"]


class Package:
    def __init__(self, name):
        self.name, self.prefix = name, PREFIXES[name]
        self.files, self.enums, self.messages, self.imports = [], [], [], set()

    def add(self, file):
        self.files.append(file.name)
        comments = Comments(file)
        for i, enum in enumerate(file.enum_type):
            self.enums.append((f".{self.name}.{enum.name}", enum, comments, [5, i]))
        for i, message in enumerate(file.message_type):
            self.walk(f".{self.name}.{message.name}", message, comments, [4, i])

    def walk(self, full, message, comments, path):
        for i, enum in enumerate(message.enum_type):
            self.enums.append((f"{full}.{enum.name}", enum, comments, path + [4, i]))
        for i, inner in enumerate(message.nested_type):
            self.walk(f"{full}.{inner.name}", inner, comments, path + [3, i])
        self.messages.append((full, message, comments, path))
        for field in message.field:
            if field.type_name:
                target = c_name(field.type_name).split("_")[1]
                if target != self.prefix:
                    self.imports.add(target)

    def header(self):
        guard = f"LM_WIRE_{self.prefix.upper()}_H"
        out = [f"/* Made by gen_wire.py from the protos of package {self.name}. */",
               f"#ifndef {guard}", f"#define {guard}", "", '#include "wire.h"']
        out += [f'#include "wire_{i}.h"' for i in sorted(self.imports)] + [""]
        for full, enum, comments, path in self.enums:
            out += self.enum(full, enum, comments, path)
        for full, _, _, _ in self.messages:
            out.append(f"typedef struct {c_name(full)} {c_name(full)}_t;")
        out.append("")
        for full, message, comments, path in self.messages:
            out += self.struct(full, message, comments, path)
        return "\n".join(out + ["#endif", ""])

    def enum(self, full, enum, comments, path):
        name = c_name(full)
        out = comments.at(path) + ["typedef enum {"]
        for i, value in enumerate(enum.value):
            label = value.name
            own = snake(enum.name).upper() + "_"
            if label.startswith(own):
                label = label[len(own):]
            out += comments.at(path + [2, i], "    ")
            out.append(f"    {name.upper()}_{label} = {value.number},")
        return out + [f"}} {name}_t;", ""]

    def struct(self, full, message, comments, path):
        name = c_name(full)
        out = []
        for i, oneof in enumerate(message.oneof_decl):
            out.append("typedef enum {")
            out.append(f"    {name.upper()}_{oneof.name.upper()}_NONE = 0,")
            for field in message.field:
                if field.HasField("oneof_index") and field.oneof_index == i:
                    out.append(f"    {name.upper()}_{oneof.name.upper()}_{field.name.upper()} = "
                               f"{field.number},")
            out += [f"}} {name}_{oneof.name}_case_t;", ""]
        out += comments.at(path) + [f"struct {name} {{"]
        for i, oneof in enumerate(message.oneof_decl):
            out.append(f"    int32_t {oneof.name}_case; /* {name}_{oneof.name}_case_t */")
        for i, field in enumerate(message.field):
            out += comments.at(path + [2, i], "    ")
            out += self.member(field)
        if not message.field:
            out.append("    char empty;")
        return out + ["};", f"extern const lm_wire_type_t {name}_type;", ""]

    def member(self, field):
        repeated = field.label == F.LABEL_REPEATED
        if field.type == F.TYPE_MESSAGE:
            kind = c_name(field.type_name) + "_t"
            note = []
        else:
            kind = SCALARS[field.type][0]
            note = [f" /* {c_name(field.type_name)}_t */"] if field.type == F.TYPE_ENUM else []
        if repeated:
            return [f"    size_t n_{field.name};", f"    {kind} *{field.name};{''.join(note)}"]
        star = "*" if field.type == F.TYPE_MESSAGE else ""
        return [f"    {kind} {star}{field.name};{''.join(note)}"]

    def source(self):
        out = [f"/* Made by gen_wire.py from the protos of package {self.name}. */",
               f'#include "wire_{self.prefix}.h"', '#include "wire_table.h"']
        out += [f'#include "{f[:-len(".proto")]}.pb-c.h"' for f in self.files] + [""]
        for full, enum, _, _ in self.enums:
            out.append(f"static const lm_wire_enum_value_t {c_name(full)}_values[] = {{")
            out += [f'    {{{v.number}, "{v.name}"}},' for v in enum.value]
            out += ["};"]
        for full, message, _, _ in self.messages:
            out += self.table(full, message)
        return "\n".join(out + [""])

    def table(self, full, message):
        name = c_name(full)
        fields = sorted(message.field, key=lambda f: f.number)
        out = [f"static const lm_wire_field_t {name}_fields[] = {{"]
        for field in fields:
            out.append("    " + self.row(name, message, field) + ",")
        if not fields:
            out.append("    {0},")
        out += ["};", f"const lm_wire_type_t {name}_type = {{",
                f'    .name = "{full.lstrip(".")}",', f"    .size = sizeof({name}_t),",
                f"    .n_fields = {len(fields)},", f"    .fields = {name}_fields,",
                f"    .pb = &{pb_name(full)}__descriptor,", "};", ""]
        return out

    def row(self, name, message, field):
        kind = "MESSAGE" if field.type == F.TYPE_MESSAGE else SCALARS[field.type][1]
        parts = [f'.name = "{field.name}"', f'.json_name = "{field.json_name}"',
                 f".number = {field.number}", f".kind = LM_WIRE_{kind}",
                 f".offset = offsetof({name}_t, {field.name})"]
        if field.label == F.LABEL_REPEATED:
            parts += [".repeated = true", f".count_offset = offsetof({name}_t, n_{field.name})"]
        if field.HasField("oneof_index"):
            oneof = message.oneof_decl[field.oneof_index].name
            parts += [".in_oneof = true", f".case_offset = offsetof({name}_t, {oneof}_case)"]
        if field.type == F.TYPE_MESSAGE:
            parts.append(f".type = &{c_name(field.type_name)}_type")
        if field.type == F.TYPE_ENUM and field.type_name.startswith("." + self.name + "."):
            values = c_name(field.type_name) + "_values"
            parts += [f".values = {values}", f".n_values = sizeof {values} / sizeof *{values}"]
        return "{" + ", ".join(parts) + "}"


def main():
    with open(sys.argv[1], "rb") as f:
        files = pb.FileDescriptorSet.FromString(f.read())
    packages = {}
    for file in files.file:
        if file.package in PREFIXES:
            packages.setdefault(file.package, Package(file.package)).add(file)
    for package in packages.values():
        base = f"{sys.argv[2]}/wire_{package.prefix}"
        with open(base + ".h", "w") as f:
            f.write(package.header())
        with open(base + ".c", "w") as f:
            f.write(package.source())


main()
