/* Tables behind the message types; made by gen_wire.py, read by wire.c alone. */
#ifndef LM_WIRE_TABLE_H
#define LM_WIRE_TABLE_H

#include <protobuf-c/protobuf-c.h>

#include "wire.h"

typedef enum {
    LM_WIRE_DOUBLE,
    LM_WIRE_INT64,
    LM_WIRE_UINT64,
    LM_WIRE_INT32,
    LM_WIRE_UINT32,
    LM_WIRE_BOOL,
    LM_WIRE_STRING,
    LM_WIRE_BYTES,
    LM_WIRE_ENUM,
    LM_WIRE_MESSAGE,
} lm_wire_kind_t;

typedef struct {
    int32_t number;
    const char *name;
} lm_wire_enum_value_t;

typedef struct {
    const char *name;
    const char *json_name;
    int32_t number;
    lm_wire_kind_t kind;
    size_t offset;
    bool repeated;
    size_t count_offset;
    bool in_oneof;
    size_t case_offset;
    const lm_wire_type_t *type;         /* of MESSAGE */
    const lm_wire_enum_value_t *values; /* of ENUM; NULL if it belongs to another package */
    size_t n_values;
} lm_wire_field_t;

struct lm_wire_type {
    const char *name;
    size_t size;
    size_t n_fields;
    const lm_wire_field_t *fields; /* in order of their numbers, as pb->fields */
    const ProtobufCMessageDescriptor *pb;
};

#endif
