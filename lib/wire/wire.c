/* Converts between our structs and those of protobuf-c: walks both field tables side by side. */
#include "wire.h"

#include <string.h>

#include "base_check.h"
#include "wire_table.h"

/* ---- memory -------------------------------------------------------------------------------- */

static void *arena_alloc(void *arena, size_t size) { return lm_arena_alloc(arena, size); }

static void arena_free(void *arena, void *memory)
{
    (void)arena;
    (void)memory;
}

#define AT(base, offset, kind) (*(kind *)((char *)(base) + (offset)))
#define CONST_AT(base, offset, kind) (*(const kind *)((const char *)(base) + (offset)))

/* Sizes of one element in our struct and in protobuf-c's, by kind. */
static const struct {
    size_t ours, pbs;
} sizes[] = {
    [LM_WIRE_DOUBLE] = {sizeof(double), sizeof(double)},
    [LM_WIRE_INT64] = {sizeof(int64_t), sizeof(int64_t)},
    [LM_WIRE_UINT64] = {sizeof(uint64_t), sizeof(uint64_t)},
    [LM_WIRE_INT32] = {sizeof(int32_t), sizeof(int32_t)},
    [LM_WIRE_UINT32] = {sizeof(uint32_t), sizeof(uint32_t)},
    [LM_WIRE_BOOL] = {sizeof(bool), sizeof(protobuf_c_boolean)},
    [LM_WIRE_STRING] = {sizeof(lm_bytes_t), sizeof(ProtobufCBinaryData)},
    [LM_WIRE_BYTES] = {sizeof(lm_bytes_t), sizeof(ProtobufCBinaryData)},
    [LM_WIRE_ENUM] = {sizeof(int32_t), sizeof(int)},
    [LM_WIRE_MESSAGE] = {sizeof(void *), sizeof(void *)},
};

/* ---- encoding ------------------------------------------------------------------------------ */

static ProtobufCMessage *to_pb(const lm_wire_type_t *type, const void *message, lm_arena_t *arena);

static void value_to_pb(const lm_wire_field_t *field, const void *ours, void *pbs,
                        lm_arena_t *arena)
{
    switch (field->kind) {
    case LM_WIRE_STRING:
    case LM_WIRE_BYTES: {
        const lm_bytes_t *bytes = ours;
        *(ProtobufCBinaryData *)pbs =
            (ProtobufCBinaryData){.len = bytes->size, .data = (uint8_t *)(uintptr_t)bytes->data};
        break;
    }
    case LM_WIRE_BOOL: *(protobuf_c_boolean *)pbs = *(const bool *)ours; break;
    case LM_WIRE_MESSAGE: {
        const void *inner = *(void *const *)ours;
        *(ProtobufCMessage **)pbs = inner ? to_pb(field->type, inner, arena) : NULL;
        break;
    }
    default: memcpy(pbs, ours, sizes[field->kind].pbs);
    }
}

static void list_to_pb(const lm_wire_field_t *field, const ProtobufCFieldDescriptor *pb_field,
                       const void *message, ProtobufCMessage *pb, lm_arena_t *arena)
{
    size_t count = CONST_AT(message, field->count_offset, size_t);
    const char *elements = CONST_AT(message, field->offset, void *);
    AT(pb, pb_field->quantifier_offset, size_t) = count;
    if (count == 0) return;
    size_t ours = field->kind == LM_WIRE_MESSAGE ? field->type->size : sizes[field->kind].ours;
    size_t pbs = sizes[field->kind].pbs;
    char *list = lm_arena_alloc(arena, count * pbs);
    for (size_t i = 0; i < count; i++) {
        const void *element = elements + i * ours;
        if (field->kind == LM_WIRE_MESSAGE)
            ((ProtobufCMessage **)(void *)list)[i] = to_pb(field->type, element, arena);
        else
            value_to_pb(field, element, list + i * pbs, arena);
    }
    AT(pb, pb_field->offset, void *) = list;
}

static ProtobufCMessage *to_pb(const lm_wire_type_t *type, const void *message, lm_arena_t *arena)
{
    ProtobufCMessage *pb = lm_arena_alloc(arena, type->pb->sizeof_message);
    protobuf_c_message_init(type->pb, pb);
    for (size_t i = 0; i < type->n_fields; i++) {
        const lm_wire_field_t *field = &type->fields[i];
        const ProtobufCFieldDescriptor *pb_field = &type->pb->fields[i];
        if (field->repeated) {
            list_to_pb(field, pb_field, message, pb, arena);
            continue;
        }
        if (field->in_oneof) {
            if (CONST_AT(message, field->case_offset, int32_t) != field->number) continue;
            AT(pb, pb_field->quantifier_offset, uint32_t) = (uint32_t)field->number;
        }
        value_to_pb(field, (const char *)message + field->offset, (char *)pb + pb_field->offset,
                    arena);
    }
    return pb;
}

lm_bytes_t lm_wire_encode(const lm_wire_type_t *type, const void *message, lm_arena_t *arena)
{
    ProtobufCMessage *pb = to_pb(type, message, arena);
    size_t size = protobuf_c_message_get_packed_size(pb);
    uint8_t *bytes = lm_arena_alloc(arena, size);
    size_t packed = protobuf_c_message_pack(pb, bytes);
    LM_CHECK(packed == size, "%s: %zu of %zu bytes packed", type->name, packed, size);
    return lm_bytes(bytes, size);
}

/* ---- decoding ------------------------------------------------------------------------------ */

typedef struct {
    lm_arena_t *arena;
    lm_wire_error_t *error;
} decoder_t;

static lm_rc_t from_pb(decoder_t *d, const lm_wire_type_t *type, const ProtobufCMessage *pb,
                       void *message);

static lm_rc_t text_from_pb(decoder_t *d, const lm_wire_field_t *field, lm_bytes_t text)
{
    const char *rule = NULL;
    if (!lm_bytes_are_utf8(text))
        rule = "must be valid UTF-8";
    else if (text.size && memchr(text.data, 0, text.size))
        rule = "must not contain NUL";
    if (!rule) return LM_RC_OK;
    *d->error = (lm_wire_error_t){.field = field->name, .rule = rule};
    return LM_RC_INVALID_ARGUMENT;
}

static lm_rc_t value_from_pb(decoder_t *d, const lm_wire_field_t *field, const void *pbs,
                             void *ours)
{
    switch (field->kind) {
    case LM_WIRE_STRING:
    case LM_WIRE_BYTES: {
        const ProtobufCBinaryData *data = pbs;
        lm_bytes_t bytes = lm_bytes(data->data, data->len);
        *(lm_bytes_t *)ours = bytes;
        return field->kind == LM_WIRE_STRING ? text_from_pb(d, field, bytes) : LM_RC_OK;
    }
    case LM_WIRE_BOOL: *(bool *)ours = *(const protobuf_c_boolean *)pbs != 0; return LM_RC_OK;
    case LM_WIRE_MESSAGE: {
        const ProtobufCMessage *inner = *(ProtobufCMessage *const *)pbs;
        if (!inner) return LM_RC_OK;
        *(void **)ours = lm_arena_alloc(d->arena, field->type->size);
        return from_pb(d, field->type, inner, *(void **)ours);
    }
    default: memcpy(ours, pbs, sizes[field->kind].ours); return LM_RC_OK;
    }
}

static lm_rc_t list_from_pb(decoder_t *d, const lm_wire_field_t *field,
                            const ProtobufCFieldDescriptor *pb_field, const ProtobufCMessage *pb,
                            void *message)
{
    size_t count = CONST_AT(pb, pb_field->quantifier_offset, size_t);
    if (count == 0) return LM_RC_OK;
    bool messages = field->kind == LM_WIRE_MESSAGE;
    size_t ours = messages ? field->type->size : sizes[field->kind].ours;
    const char *elements = CONST_AT(pb, pb_field->offset, void *);
    char *list = lm_arena_alloc(d->arena, count * ours);
    AT(message, field->count_offset, size_t) = count;
    AT(message, field->offset, void *) = list;
    lm_rc_t rc = LM_RC_OK;
    for (size_t i = 0; i < count && rc == LM_RC_OK; i++) {
        const char *element = elements + i * sizes[field->kind].pbs;
        rc = messages ? from_pb(d, field->type, *(ProtobufCMessage *const *)(const void *)element,
                                list + i * ours)
                      : value_from_pb(d, field, element, list + i * ours);
    }
    return rc;
}

static lm_rc_t from_pb(decoder_t *d, const lm_wire_type_t *type, const ProtobufCMessage *pb,
                       void *message)
{
    lm_rc_t rc = LM_RC_OK;
    for (size_t i = 0; i < type->n_fields && rc == LM_RC_OK; i++) {
        const lm_wire_field_t *field = &type->fields[i];
        const ProtobufCFieldDescriptor *pb_field = &type->pb->fields[i];
        if (field->repeated) {
            rc = list_from_pb(d, field, pb_field, pb, message);
            continue;
        }
        if (field->in_oneof) {
            if (CONST_AT(pb, pb_field->quantifier_offset, uint32_t) != (uint32_t)field->number)
                continue;
            AT(message, field->case_offset, int32_t) = field->number;
        }
        rc = value_from_pb(d, field, (const char *)pb + pb_field->offset,
                           (char *)message + field->offset);
    }
    return rc;
}

lm_rc_t lm_wire_decode(const lm_wire_type_t *type, lm_bytes_t bytes, lm_arena_t *arena,
                       void **message, lm_wire_error_t *error)
{
    lm_wire_error_t unwanted;
    decoder_t d = {.arena = arena, .error = error ? error : &unwanted};
    ProtobufCAllocator allocator = {
        .alloc = arena_alloc, .free = arena_free, .allocator_data = arena};
    const uint8_t *data = bytes.size ? bytes.data : (const uint8_t *)"";
    ProtobufCMessage *pb = protobuf_c_message_unpack(type->pb, &allocator, bytes.size, data);
    if (!pb) {
        *d.error = (lm_wire_error_t){.field = "", .rule = "is not a valid protobuf message"};
        return LM_RC_MALFORMED;
    }
    *message = lm_arena_alloc(arena, type->size);
    return from_pb(&d, type, pb, *message);
}

const char *lm_wire_name(const lm_wire_type_t *type) { return type->name; }

/* ---- visiting ------------------------------------------------------------------------------ */

typedef struct {
    const lm_wire_visitor_t *visitor;
    void *arg;
    bool all;
} walk_t;

static void walk_message(walk_t *w, const lm_wire_type_t *type, const void *message);

static const char *enum_name(const lm_wire_field_t *field, int32_t value)
{
    for (size_t i = 0; i < field->n_values; i++)
        if (field->values[i].number == value) return field->values[i].name;
    return NULL;
}

#define CALL(function, ...) \
    if (w->visitor->function) w->visitor->function(w->arg, __VA_ARGS__)

static void walk_value(walk_t *w, const lm_wire_field_t *field, const char *name, const void *at)
{
    switch (field->kind) {
    case LM_WIRE_DOUBLE: CALL(real, name, *(const double *)at); break;
    case LM_WIRE_INT64: CALL(int64, name, *(const int64_t *)at); break;
    case LM_WIRE_UINT64: CALL(uint64, name, *(const uint64_t *)at); break;
    case LM_WIRE_INT32: CALL(int32, name, *(const int32_t *)at); break;
    case LM_WIRE_UINT32: CALL(int32, name, *(const uint32_t *)at); break;
    case LM_WIRE_BOOL: CALL(boolean, name, *(const bool *)at); break;
    case LM_WIRE_STRING: CALL(text, name, *(const lm_bytes_t *)at); break;
    case LM_WIRE_BYTES: CALL(bytes, name, *(const lm_bytes_t *)at); break;
    case LM_WIRE_ENUM:
        CALL(enumeration, name, *(const int32_t *)at, enum_name(field, *(const int32_t *)at));
        break;
    case LM_WIRE_MESSAGE:
        CALL(begin_message, name);
        walk_message(w, field->type, at);
        if (w->visitor->end_message) w->visitor->end_message(w->arg);
        break;
    }
}

static void walk_list(walk_t *w, const lm_wire_field_t *field, const void *message)
{
    size_t count = CONST_AT(message, field->count_offset, size_t);
    if (count == 0 && !w->all) return;
    size_t step = field->kind == LM_WIRE_MESSAGE ? field->type->size : sizes[field->kind].ours;
    const char *elements = CONST_AT(message, field->offset, void *);
    CALL(begin_list, field->json_name);
    for (size_t i = 0; i < count; i++) walk_value(w, field, NULL, elements + i * step);
    if (w->visitor->end_list) w->visitor->end_list(w->arg);
}

static bool is_default(const lm_wire_field_t *field, const void *at)
{
    static const char zeros[16];
    if (field->kind == LM_WIRE_STRING || field->kind == LM_WIRE_BYTES)
        return ((const lm_bytes_t *)at)->size == 0;
    return memcmp(at, zeros, sizes[field->kind].ours) == 0;
}

static void walk_message(walk_t *w, const lm_wire_type_t *type, const void *message)
{
    for (size_t i = 0; i < type->n_fields; i++) {
        const lm_wire_field_t *field = &type->fields[i];
        const void *at = (const char *)message + field->offset;
        if (field->repeated) {
            walk_list(w, field, message);
            continue;
        }
        bool chosen =
            field->in_oneof && CONST_AT(message, field->case_offset, int32_t) == field->number;
        bool present = !is_default(field, at);
        if (field->in_oneof ? !chosen : !present && !w->all) continue;
        if (field->kind == LM_WIRE_MESSAGE) {
            if (present) walk_value(w, field, field->json_name, *(void *const *)at);
        } else {
            walk_value(w, field, field->json_name, at);
        }
    }
}

void lm_wire_visit(const lm_wire_type_t *type, const void *message, bool all,
                   const lm_wire_visitor_t *visitor, void *arg)
{
    walk_t w = {.visitor = visitor, .arg = arg, .all = all};
    walk_message(&w, type, message);
}
