#include "tls_key_file.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "tls_text_file.h"

enum { WHY_BYTES = 120, FILE_BYTES_MAX = 8192 };

static bool refuse(char *why, const char *words)
{
    snprintf(why, WHY_BYTES, "%s", words);
    return false;
}

static bool take_line(lm_tls_keys_t *keys, const char *line, size_t size, char *why)
{
    while (size && (line[size - 1] == ' ' || line[size - 1] == '\r' || line[size - 1] == '\t'))
        size--;
    if (size == 0 || line[0] == '#') return true;
    if (size < LM_TLS_KEY_BYTES_MIN) return refuse(why, "has a key of fewer than 32 characters");
    if (size > LM_TLS_KEY_BYTES_MAX) return refuse(why, "has a key of more than 256 characters");
    if (keys->n == LM_TLS_KEYS_MAX) return refuse(why, "has more than 4 keys");
    memcpy(keys->key[keys->n].bytes, line, size);
    keys->key[keys->n++].size = size;
    return true;
}

static bool take_lines(lm_tls_keys_t *keys, const char *text, char *why)
{
    for (const char *line = text; *line;) {
        size_t size = strcspn(line, "\n");
        if (!take_line(keys, line, size, why)) return false;
        line += size + (line[size] == '\n');
    }
    return keys->n > 0 || refuse(why, "has no key in it");
}

bool lm_tls_key_file_read(const char *path, lm_tls_keys_t *keys, char why[120])
{
    size_t size;
    struct stat found;
    *keys = (lm_tls_keys_t){0};
    char *text = lm_tls_text_file_read(path, FILE_BYTES_MAX, &size, why);
    if (!text) return false;
    bool open = stat(path, &found) != 0 || (found.st_mode & (S_IRWXO | S_IWGRP)) != 0;
    bool good = open ? refuse(why,
                              "is a secret that others may read or the group may write: "
                              "chmod o= g-w")
                     : take_lines(keys, text, why);
    OPENSSL_cleanse(text, size);
    free(text);
    if (!good) lm_tls_keys_clear(keys);
    return good;
}

void lm_tls_keys_clear(lm_tls_keys_t *keys) { OPENSSL_cleanse(keys, sizeof *keys); }

lm_bytes_t lm_tls_keys_get(const lm_tls_keys_t *keys, size_t i)
{
    return lm_bytes(keys->key[i].bytes, keys->key[i].size);
}
