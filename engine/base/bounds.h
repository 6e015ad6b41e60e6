/* bounds.h: every limit of the system, in one place.
 *
 * A parser checks a number against its bound before it allocates or loops; a queue refuses to grow
 * past its bound. The asserts at the end tie the bounds together. */
#ifndef RELAIS_BOUNDS_H
#define RELAIS_BOUNDS_H

#include <stdint.h>

#define KIB UINT64_C(1024)
#define MIB (UINT64_C(1024) * KIB)
#define GIB (UINT64_C(1024) * MIB)
#define TIB (UINT64_C(1024) * GIB)

/* Volumes. A sector number fits 32 bits, so that a dirty map is one 32-bit Roaring bitmap. */
#define SECTOR_SHIFT 12u
#define SECTOR_SIZE  (1u << SECTOR_SHIFT)
#define VOLUME_MAX   (16 * TIB)
#define VOLUMES_MAX  64u       /* volumes in a group */
#define GROUPS_MAX   256u      /* groups of a site */
#define PEERS_MAX    256u      /* peers a daemon knows */
#define REGION_SIZE  (4 * MIB) /* granularity of scan jobs and of the scan journal */

/* Names: [a-z0-9] then [a-z0-9-], so that a name is a path component, an object name and a word of
 * the command line without quoting. */
#define NAME_MAX_LEN  48u
#define LABEL_MAX_LEN 64u

/* Extents and deltas. */
#define EXTENT_MAX       (1 * MIB) /* plain bytes of a data extent */
#define EXTENT_SECTORS   ((uint32_t)(EXTENT_MAX >> SECTOR_SHIFT))
#define PART_SIZE        (4 * MIB) /* slice of a delta file; one store object */
#define PARTS_MAX        1024u
#define DELTA_MAX        (PART_SIZE * PARTS_MAX) /* bytes of a delta file */
#define INDEX_MAX        (16 * MIB)              /* encoded index of one delta */
#define EXTENTS_MAX      (512u * 1024u)          /* index entries of one delta */
#define MANIFEST_MAX     (60 * KIB)              /* fits one message of the link */
#define SOURCES_MAX      32768u    /* deltas merged into one: a day of one every 5 s */
#define DATA_KEYS_MAX    4096u     /* data keys of a delta: five months of them */
#define TABLES_MAX       (8 * MIB) /* both tables, encoded */
#define READERS_MAX      16u       /* public keys a data key is wrapped for */
#define DATA_KEY_LIFE_NS (UINT64_C(3600) * 1000000000u)

/* Capture. */
#define HOT_REGIONS_MAX 2048u      /* of a volume; above it, regions cool with the next cut */
#define SAVED_MAX       (64 * MIB) /* old content of a volume, saved before it was overwritten */
#define SPILL_MAX       (4 * GIB)  /* more of it, in a file within the spool's budget */
#define TAP_ENTRIES     65536u     /* requests that wait for relais record; of one volume */

/* The link. */
#define MESSAGE_MAX    (64 * KIB)  /* protobuf message */
#define MESSAGE_ARENA  (256 * KIB) /* memory that unpacking one may take */
#define PAYLOAD_MAX    (256 * KIB) /* raw bytes behind one message */
#define FETCH_MANY_MAX 256u        /* ranges of one FetchMany */
#define CALLS_MAX      64u         /* requests in flight on one connection */
/* Parts that pieces are on their way of, on one connection. More than one, so that a group need not
 * wait for the rest of another's part, which on a thin line is half a minute. */
#define LINK_PARTS_OPEN 6u
/* Connections to a hub that have not shown a key that it knows, all together and of one address (of
 * an IPv6 network). Some 700 KiB each. */
#define HUB_STRANGERS        64u
#define HUB_STRANGERS_SOURCE 16u

/* NBD. */
#define NBD_PAYLOAD_MAX   ((uint32_t)(32 * MIB)) /* of a READ or WRITE; the protocol's default */
#define NBD_STRING_MAX    4096u                  /* the protocol's */
#define NBD_OPTION_MAX    ((uint32_t)(64 * KIB)) /* data of one option */
#define NBD_OPTIONS_MAX   128u                   /* options of one handshake */
#define NBD_HANDSHAKE_MAX (NBD_OPTION_MAX + 64u) /* one message of a client's handshake */
#define NBD_ANSWER_MAX    (4 * MIB)              /* to one option: a list of all exports */
#define NBD_EXTENTS_MAX   500u                   /* descriptors in one BLOCK_STATUS */

/* Exports: volumes served over NBD. A connection has its own buffers, so that none can starve
 * another; their number times EXPORT_CONN_MEMORY is what [site] export-memory bounds. */
#define EXPORT_PIECE            ((uint32_t)(256 * KIB)) /* payloads are moved in pieces of this size */
#define EXPORT_BUF              (EXPORT_PIECE + 4096u) /* a piece and what is around it */
#define EXPORT_BUFS             16u                    /* of one connection */
#define EXPORT_CONN_MEMORY      (EXPORT_BUFS * EXPORT_BUF)
#define EXPORT_TLS_MEMORY       (512 * KIB) /* what TLS adds to a connection, about */
#define EXPORT_STRANGERS        16u         /* over TCP and not known yet, all together */
#define EXPORT_STRANGERS_SOURCE 8u          /* of one address (of an IPv6 network) */
#define EXPORT_REQUESTS         128u        /* in flight on one connection */
#define EXPORT_WORKERS          128u        /* requests that run at once on one volume */

/* The store. */
#define STORE_NAME_MAX   200u
#define STORE_ENTRY_MAX  512u  /* one recovery point's entry in the catalog */
#define STORE_HOLDER_MAX 128u  /* who has a lease, with the terminating zero */
#define STORE_LEASES_MAX 16u   /* leases of different names in one store */
#define STORE_LIST_MAX   1000u /* names or entries in one listing */

/* Wraps of data keys for readers that came later: of one group, at a hub. */
#define WRAPS_BATCH_MAX ((uint32_t)(256 * KIB)) /* bytes of one batch: a payload */
#define WRAPS_TOTAL_MAX (64 * MIB)              /* of all: 76 years of one reader */
#define WRAPS_BATCHES   4096u

/* Configuration and key files. */
#define CONFIG_FILE_MAX (256 * KIB)
#define CONFIG_LINE_MAX 4096u
#define KEY_FILE_MAX    4096u

/* Passphrases. What a key file may ask of Argon2id: some 20 s here at the most. */
#define PASSPHRASE_MAX 1024u
#define PASSPHRASE_MIN 12u /* of a new one */
#define KEY_PASSES_MAX 32u
#define KEY_KIB_MIN    8u
#define KEY_KIB_MAX    ((uint32_t)(GIB / KIB))
#define KEY_PASSES     3u /* of a new one: libsodium's "moderate" */
#define KEY_KIB        ((uint32_t)(256 * KIB))

_Static_assert(VOLUME_MAX >> SECTOR_SHIFT == UINT64_C(1) << 32, "sector numbers fit 32 bits");
_Static_assert(REGION_SIZE % EXTENT_MAX == 0, "a region holds whole extents");
_Static_assert(PARTS_MAX * 32 + 16 * 1024 < MANIFEST_MAX, "part digests fit the manifest");
_Static_assert(SOURCES_MAX *(8 + 16 + 2) + DATA_KEYS_MAX * (16 + 2 + READERS_MAX * 88) <=
                   TABLES_MAX,
               "the largest tables fit");
_Static_assert(INDEX_MAX + TABLES_MAX < DELTA_MAX, "a delta has room for extents");
_Static_assert(MANIFEST_MAX + 1024 < MESSAGE_MAX, "a manifest fits one message");
_Static_assert((UINT64_C(2) * NAME_MAX_LEN + 128) * GROUPS_MAX * VOLUMES_MAX <= NBD_ANSWER_MAX,
               "all volumes of a site fit one list of exports");
_Static_assert(NBD_HANDSHAKE_MAX <= EXPORT_BUF, "a handshake's message fits a buffer");
_Static_assert(EXPORT_PIECE % EXTENT_MAX == 0 || EXTENT_MAX % EXPORT_PIECE == 0,
               "pieces and extents end together");
_Static_assert(WRAPS_BATCH_MAX <= PAYLOAD_MAX, "a batch of wraps is one payload");
_Static_assert(PART_SIZE % PAYLOAD_MAX == 0, "a part is a whole number of payloads");

#endif
