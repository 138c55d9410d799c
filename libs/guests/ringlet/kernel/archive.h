#ifndef RINGLET_ARCHIVE_H
#define RINGLET_ARCHIVE_H

#include "types.h"

#define ARCHIVE_NAME 100

struct archive_file {
    char name[ARCHIVE_NAME];
    u32 lba, size;
};

/* Read the directory. Process context. */
void archive_mount(void);
const struct archive_file *archive_find(const char *name);
const struct archive_file *archive_at(u32 index);
/* Bytes read (0 at the end), or ERROR_IO. */
int archive_read(const struct archive_file *file, u32 position, void *to, u32 length);
/* The disk address of raw sector `number`, behind the archive; 0 if there is none. */
u32 archive_raw_sector(u32 number);

#endif
