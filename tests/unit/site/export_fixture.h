/* export_fixture.h: a captured volume that is served in this process, and clients that speak NBD
 * byte by byte. All but setup and teardown are called in a fiber. */
#ifndef RELAIS_EXPORT_FIXTURE_H
#define RELAIS_EXPORT_FIXTURE_H

#include "export.h"
#include "request.h"
#include "site_fixture.h"

#define SIZE    (96 * MIB)
#define STATIC  (64 * MIB) /* before it the volume is a hole; from here on it is only read */
#define TIMEOUT (20 * IO_S)

struct served_volume {
    struct fixture f;
    struct capture *capture;
    struct exports *exports;
    struct io_addr addr;
    uint8_t *model; /* what the volume must hold */
};
extern struct served_volume served;

int export_setup(void **state);
int export_teardown(void **state);
void export_serve(uint64_t memory);
void export_unserve(void);
void assert_volume_is_model(void);

/* Big-endian numbers of so many bytes. */
void wire_be(uint8_t *p, unsigned bytes, uint64_t v);
uint64_t wire_get(const uint8_t *p, unsigned bytes);

/* Connected, and in the transmission phase; its socket. */
int client_new(bool structured);
void client_say(int fd, const void *p, size_t len);
void client_receive(int fd, void *p, size_t len);
size_t client_request(uint8_t *p, unsigned command, unsigned flags, uint64_t cookie, uint64_t off,
                      uint32_t len);
void client_ask(int fd, unsigned command, uint64_t cookie, uint64_t off, uint32_t len);
/* Receives one simple reply; its error. */
uint32_t client_simple(int fd, uint64_t cookie);

#endif
