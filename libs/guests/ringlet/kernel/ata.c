/* The ATA disk: primary channel, master, programmed I/O with interrupts (ATA/ATAPI-6, 8.27 and 8.49: READ and WRITE SECTORS). */
#include "ata.h"
#include "console.h"
#include "irq.h"
#include "ports.h"
#include "process.h"
#include "syscalls.h"

#define DATA 0x1f0
#define SECTOR_COUNT 0x1f2
#define LBA_LOW 0x1f3
#define LBA_MID 0x1f4
#define LBA_HIGH 0x1f5
#define DEVICE 0x1f6
#define STATUS 0x1f7  /* read; reading it withdraws the interrupt */
#define COMMAND 0x1f7 /* write */
#define DEVICE_CONTROL 0x3f6

#define DEVICE_LBA 0xe0
#define STATUS_ERR 0x01
#define STATUS_DRQ 0x08
#define STATUS_DF 0x20
#define STATUS_BSY 0x80
#define READ_SECTORS 0x20
#define WRITE_SECTORS 0x30
#define STATUS_FLOATING 0xff /* an empty channel: nobody drives the bus, */
#define STATUS_NO_DEVICE 0   /* or a controller without a device answers */

#define MAX_SECTORS 128 /* per command; 256 is the register's limit */
#define PATIENCE 1000000

static u32 present, busy, interrupted;
static u8 status;

static void interrupt(void) {
    status = inb(STATUS);
    interrupted = 1;
    wake(&interrupted);
}

void ata_init(void) {
    outb(DEVICE, DEVICE_LBA); /* the master: a loader may have left the other one selected */
    status = inb(STATUS);
    if (status == STATUS_FLOATING || status == STATUS_NO_DEVICE) return;
    present = 1;
    irq_install(IRQ_ATA, interrupt);
    outb(DEVICE_CONTROL, 0); /* nIEN = 0: interrupts on */
}

static void wait_for_interrupt(void) {
    u32 flags = irq_save();
    while (!interrupted) sleep_on(&interrupted, WAIT_FOR_DEVICE);
    interrupted = 0;
    irq_restore(flags);
}

static void begin(u32 lba, u32 count, u8 command) {
    interrupted = 0;
    outb(DEVICE, DEVICE_LBA | lba >> 24);
    outb(SECTOR_COUNT, count);
    outb(LBA_LOW, lba);
    outb(LBA_MID, lba >> 8);
    outb(LBA_HIGH, lba >> 16);
    outb(COMMAND, command);
}

static int data_requested(void) { return (status & (STATUS_BSY | STATUS_ERR | STATUS_DF | STATUS_DRQ)) == STATUS_DRQ; }

/* Reading: an interrupt for each sector that is ready. */
static int read_sectors(u32 lba, u32 count, u8 *to) {
    begin(lba, count, READ_SECTORS);
    for (; count; count--, to += SECTOR_SIZE) {
        wait_for_interrupt();
        if (!data_requested()) return ERROR_IO;
        insw(DATA, to, SECTOR_SIZE / 2);
    }
    return 0;
}

/* Writing: the first sector is asked for without an interrupt, then one for each sector taken. */
static int write_sectors(u32 lba, u32 count, const u8 *from) {
    u32 polls = PATIENCE;
    begin(lba, count, WRITE_SECTORS);
    while ((status = inb(STATUS)) & STATUS_BSY)
        if (--polls == 0) return ERROR_IO;
    for (; count; count--, from += SECTOR_SIZE) {
        if (!data_requested()) return ERROR_IO;
        outsw(DATA, from, SECTOR_SIZE / 2);
        wait_for_interrupt();
    }
    return status & (STATUS_ERR | STATUS_DF) ? ERROR_IO : 0;
}

/* One request at a time. */
static void acquire(void) {
    u32 flags = irq_save();
    while (busy) sleep_on(&busy, WAIT_FOR_DEVICE);
    busy = 1;
    irq_restore(flags);
}
static void release(void) {
    busy = 0;
    wake(&busy);
}

int ata_read(u32 lba, u32 count, void *to) {
    int error = present ? 0 : ERROR_IO;
    acquire();
    for (u8 *at = to; count && !error;) {
        u32 n = count < MAX_SECTORS ? count : MAX_SECTORS;
        error = read_sectors(lba, n, at);
        lba += n, count -= n, at += n * SECTOR_SIZE;
    }
    release();
    return error;
}

int ata_write(u32 lba, u32 count, const void *from) {
    int error = present ? 0 : ERROR_IO;
    acquire();
    for (const u8 *at = from; count && !error;) {
        u32 n = count < MAX_SECTORS ? count : MAX_SECTORS;
        error = write_sectors(lba, n, at);
        lba += n, count -= n, at += n * SECTOR_SIZE;
    }
    release();
    return error;
}
