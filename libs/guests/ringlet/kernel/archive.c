/*
 * The disk begins with a tar archive in ustar format (POSIX.1-1988, 10.1.1): for each file a header sector and its
 * contents, rounded up to whole sectors; two sectors of zeros end it. What follows is raw sectors.
 */
#include "archive.h"
#include "ata.h"
#include "console.h"
#include "string.h"
#include "syscalls.h"

#define FILES 32
#define RAW_SECTORS 256

struct ustar_header {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100], magic[6];
    char rest[SECTOR_SIZE - 263];
};

static struct archive_file files[FILES];
static u32 file_count, raw_start;

static u32 octal(const char *digits, u32 length) {
    u32 value = 0;
    for (; length && *digits >= '0' && *digits <= '7'; digits++, length--) value = value * 8 + (*digits - '0');
    return value;
}

void archive_mount(void) {
    static union { struct ustar_header header; u8 bytes[SECTOR_SIZE]; } sector;
    u32 lba = 0;
    while (file_count < FILES) {
        if (ata_read(lba, 1, &sector)) panic("cannot read the disk (sector %u)", lba);
        if (memcmp(sector.header.magic, "ustar", 5) != 0) break;
        struct archive_file *file = &files[file_count++];
        copy_name(file->name, sector.header.name, sizeof(file->name));
        file->size = octal(sector.header.size, sizeof(sector.header.size));
        file->lba = lba + 1;
        lba = file->lba + (file->size + SECTOR_SIZE - 1) / SECTOR_SIZE;
    }
    if (!file_count) panic("there is no archive of programs on the disk");
    raw_start = lba + 2;
}

const struct archive_file *archive_at(u32 index) { return index < file_count ? &files[index] : NULL; }

const struct archive_file *archive_find(const char *name) {
    for (u32 i = 0; i < file_count; i++)
        if (strlen(name) == strlen(files[i].name) && memcmp(name, files[i].name, strlen(name)) == 0) return &files[i];
    return NULL;
}

/* Whole sectors go straight to their place; parts of one pass through a buffer. */
int archive_read(const struct archive_file *file, u32 position, void *to, u32 length) {
    u8 part[SECTOR_SIZE], *at = to;
    if (position >= file->size) return 0;
    if (length > file->size - position) length = file->size - position;
    for (u32 left = length; left;) {
        u32 lba = file->lba + position / SECTOR_SIZE, offset = position % SECTOR_SIZE, count;
        if (offset == 0 && left >= SECTOR_SIZE) {
            count = left - left % SECTOR_SIZE;
            if (ata_read(lba, count / SECTOR_SIZE, at)) return ERROR_IO;
        } else {
            count = left < SECTOR_SIZE - offset ? left : SECTOR_SIZE - offset;
            if (ata_read(lba, 1, part)) return ERROR_IO;
            memcpy(at, part + offset, count);
        }
        at += count, position += count, left -= count;
    }
    return length;
}

u32 archive_raw_sector(u32 number) { return number < RAW_SECTORS ? raw_start + number : 0; }
