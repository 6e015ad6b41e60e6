/* Writes the seeds of the binary formats below the directory it is given, one folder per fuzzer. */
#include "catalog.h"
#include "example.h"
#include "message.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <zstd.h>

static const char *root;

static void save(const char *fuzzer, const char *name, const struct bytes_out *o)
{
    char path[4096];
    FILE *f;
    (void)snprintf(path, sizeof path, "%s/%s", root, fuzzer);
    ASSERT(mkdir(path, 0777) == 0 || errno == EEXIST);
    (void)snprintf(path, sizeof path, "%s/%s/%s", root, fuzzer, name);
    f = fopen(path, "wb");
    ASSERT(f && fwrite(o->p, 1, o->len, f) == o->len && fclose(f) == 0);
}

static void deltas(void)
{
    struct example x;
    struct bytes_out o = bytes_out(MIB);
    example_make(&x, 1, false);
    save("delta", "small", &x.file);
    bytes_put(&o, x.file.p + x.file.len - DELTA_TRAILER_LEN - x.manifest_len, x.manifest_len);
    save("manifest", "small", &o);
    o.len = 0;
    bytes_put_u32(&o, EXAMPLE_EXTENTS);
    bytes_put_u16(&o, 2);
    bytes_put_u16(&o, 1);
    bytes_put_u32(&o, (uint32_t)(x.index_place - DELTA_HEADER_LEN));
    bytes_put(&o, x.file.p + x.index_place, x.index_len);
    save("index", "small", &o);
    bytes_free(&o);
    example_free(&x);
}

static void index_of_all_kinds(void)
{
    struct index_writer w;
    struct bytes_out o = bytes_out(MIB);
    struct index_entry its[] = {
        {.sector = 1, .sectors = 2, .sealed_len = 99, .codec = CODEC_ZSTD},
        {.volume = 4,
         .sector = 9,
         .sectors = 256,
         .sealed_len = 70000,
         .codec = CODEC_ZSTD,
         .kind = EXTENT_PATCH,
         .base_rp = 1000000},
        {.volume = 4, .source = 1, .sectors = 1, .sealed_len = SECTOR_SIZE},
        {.source = 2, .sector = 3, .sectors = UINT32_MAX - 3, .kind = EXTENT_ZERO},
    };
    index_writer_init(&w, DELTA_HEADER_LEN, 3);
    for (size_t i = 0; i < sizeof its / sizeof its[0]; i++)
        ASSERT(index_append(&w, &its[i]));
    bytes_put_u32(&o, w.count);
    bytes_put_u16(&o, 5);
    bytes_put_u16(&o, 3);
    bytes_put_u32(&o, 99 + SECTOR_SIZE + 70000);
    bytes_put(&o, w.out.p, w.out.len);
    save("index", "all-kinds", &o);
    bytes_free(&o);
    index_writer_free(&w);
}

/* One whose secret is sealed, cheaply. */
static void sealed_key(const struct key_secret *k)
{
    const struct key_passphrase pass = {"seed", 4, 1, KEY_KIB_MIN};
    struct bytes_out o = bytes_out(KEY_FILE_MAX);
    struct err e = ERR_INIT;
    char text[KEY_FILE_MAX];
    size_t n = 0;
    if (key_file_text(text, sizeof text, &n, k, &pass, &e) == 0) {
        bytes_put_u8(&o, (uint8_t)key_kind(k));
        bytes_put(&o, text, n);
        save("keyfile", "sealed", &o);
    }
    bytes_free(&o);
}

static void keys(void)
{
    for (int kind = 0; kind < KEY_KINDS; kind++) {
        static const uint8_t seed[KEY_LEN] = {3};
        struct key_secret *k = key_generate((enum key_kind)kind, seed);
        struct bytes_out o = bytes_out(KEY_FILE_MAX);
        char text[KEY_FILE_MAX];
        struct err e = ERR_INIT;
        size_t n = 0;
        (void)key_file_text(text, sizeof text, &n, k, NULL, &e);
        bytes_put_u8(&o, (uint8_t)kind);
        bytes_put(&o, text, n);
        save("keyfile", key_kind_name((enum key_kind)kind), &o);
        if (kind == KEY_RESTORE)
            sealed_key(k);
        o.len = 1;
        if (kind != KEY_HASH) {
            key_public_word(text, key_public(k));
            bytes_put(&o, text, strlen(text));
            (void)snprintf(text, sizeof text, "%s-word", key_kind_name((enum key_kind)kind));
            save("keyfile", text, &o);
        }
        bytes_free(&o);
        key_free(k);
    }
}

/* A frame without its magic, of one sector, and the same of a bomb that claims to be one. */
static void frames(void)
{
    static uint8_t plain[EXTENT_MAX], frame[EXTENT_MAX * 2];
    for (unsigned i = 0; i < 2; i++) {
        struct bytes_out o = bytes_out(EXTENT_MAX);
        size_t n = ZSTD_compress(frame, sizeof frame, plain, i ? EXTENT_MAX : SECTOR_SIZE, 3);
        ASSERT(!ZSTD_isError(n));
        bytes_put_u8(&o, 0);
        bytes_put(&o, frame + 4, n - 4);
        save("seal", i ? "too-long" : "sector", &o);
        bytes_free(&o);
    }
}

static void catalog_entry(void)
{
    const struct catalog_entry entry = {.rp_first = 5,
                                        .rp = 7,
                                        .digest = {{1}},
                                        .parent = {{2}},
                                        .link = {{3}},
                                        .cut_time = 1795348800000000000,
                                        .committed_time = 1795348801000000000,
                                        .clock = 86400000000000,
                                        .total_bytes = 123456789,
                                        .total_objects = 31,
                                        .total_rps = 7,
                                        .flags = MANIFEST_COMPLETE,
                                        .good_from = 7,
                                        .id = {4, 5, 6},
                                        .file_len = 12345678,
                                        .plain_bytes = 23456789,
                                        .manifest_len = 700,
                                        .label = "before the update"};
    struct store_head raw;
    struct bytes_out o = bytes_out(STORE_ENTRY_MAX + 8);
    ASSERT(catalog_encode(&raw, &entry) == 0);
    bytes_put_u64(&o, raw.rp);
    bytes_put(&o, raw.value, raw.len);
    save("catalog", "merged", &o);
    bytes_free(&o);
}

/* A message of each type with all its fields, twice what may be there more than once. */
static void put_tag(struct bytes_out *o, const ProtobufCFieldDescriptor *f, unsigned wire)
{
    bytes_put_varint(o, (uint64_t)f->id << 3 | wire);
}

static void put_block(struct bytes_out *o, const ProtobufCFieldDescriptor *f, const void *p,
                      size_t len)
{
    put_tag(o, f, 2);
    bytes_put_varint(o, len);
    bytes_put(o, p, len);
}

static void put_message(struct bytes_out *o, const ProtobufCMessageDescriptor *d);

static void put_field(struct bytes_out *o, const ProtobufCFieldDescriptor *f)
{
    static const uint8_t bytes[DIGEST_LEN] = {7};
    struct bytes_out inner = bytes_out(MESSAGE_MAX);
    switch (f->type) {
    case PROTOBUF_C_TYPE_STRING:
        put_block(o, f, "lens", 4);
        break;
    case PROTOBUF_C_TYPE_BYTES:
        put_block(o, f, bytes, sizeof bytes);
        break;
    case PROTOBUF_C_TYPE_MESSAGE:
        put_message(&inner, f->descriptor);
        put_block(o, f, inner.p, inner.len);
        break;
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_SFIXED64:
        put_tag(o, f, 1);
        bytes_put_u64(o, 1795348800000000000);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        put_tag(o, f, 0);
        bytes_put_u8(o, 1);
        break;
    default:
        put_tag(o, f, 0);
        bytes_put_varint(o, 300 + f->id);
    }
    bytes_free(&inner);
}

static void put_message(struct bytes_out *o, const ProtobufCMessageDescriptor *d)
{
    for (unsigned i = 0; i < d->n_fields; i++)
        for (int n = d->fields[i].label == PROTOBUF_C_LABEL_REPEATED ? 2 : 1; n > 0; n--)
            put_field(o, &d->fields[i]);
}

static void messages(void)
{
    for (unsigned type = 0; type <= UINT8_MAX; type++) {
        const ProtobufCMessageDescriptor *d = message_descriptor((uint8_t)type);
        struct bytes_out o = bytes_out(MESSAGE_MAX);
        char name[64];
        if (d && d->n_fields > 0) {
            bytes_put_u8(&o, (uint8_t)type);
            put_message(&o, d);
            (void)snprintf(name, sizeof name, "all-of-%.40s", d->short_name);
            save("message", name, &o);
        }
        bytes_free(&o);
    }
}

int main(int argc, char **argv)
{
    struct err e = ERR_INIT;
    if (argc != 2) {
        fprintf(stderr, "usage: seeds DIRECTORY\n");
        return 64;
    }
    root = argv[1];
    ASSERT(key_init(&e) == 0);
    ASSERT(mkdir(root, 0777) == 0 || errno == EEXIST);
    deltas();
    index_of_all_kinds();
    keys();
    frames();
    catalog_entry();
    messages();
    return 0;
}
