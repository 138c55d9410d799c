#ifndef RINGLET_ATA_H
#define RINGLET_ATA_H
#include "types.h"
void ata_init(void);
/* Whole sectors; the caller sleeps until they are there. 0, or ERROR_IO. Process context only. */
int ata_read(u32 lba, u32 count, void *to);
int ata_write(u32 lba, u32 count, const void *from);
#endif
