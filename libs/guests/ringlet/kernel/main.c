/* From the entry to the first process. */
#include "ata.h"
#include "console.h"
#include "irq.h"
#include "machine.h"
#include "memory.h"
#include "process.h"
#include "timer.h"
#include "traps.h"

void kernel_main(void) {
    struct machine machine;
    machine_discover(&machine);
    descriptors_init();
    memory_init(machine.first_free_frame, machine.frames, machine.root);
    irq_init();
    console_init();
    print("Ringlet (%s), %u KiB\n", BUILD_NAME, machine.frames * (PAGE_SIZE / 1024));
    timer_init();
    ata_init();
    process_start("sh");
}
