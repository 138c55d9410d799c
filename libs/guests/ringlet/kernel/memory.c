/* Frames of RAM: who uses how many, and which are free. */
#include "memory.h"
#include "paging.h"
#include "string.h"

/*
 * Free frames that were never used lie above `next_unused` and are not touched, so that a large machine costs no more
 * than what it uses; those that came back are a list through their own first words.
 */
static u32 next_unused, end, returned, returned_count;
static u16 *references;

void memory_init(u32 first_free, u32 frames, u32 root) {
    if (frames > DIRECT_MAP_LIMIT / PAGE_SIZE) frames = DIRECT_MAP_LIMIT / PAGE_SIZE;
    next_unused = first_free;
    end = frames;
    /* Page tables for the direct map must lie in what is mapped already; they follow the kernel. */
    paging_init(root, frames, &next_unused);
    references = frame_address(next_unused);
    next_unused += (frames * sizeof(u16) + PAGE_SIZE - 1) / PAGE_SIZE;
}

u32 frame_allocate(void) {
    u32 frame = returned;
    if (frame) {
        returned = *(u32 *)frame_address(frame);
        returned_count--;
    } else {
        if (next_unused == end) return 0;
        frame = next_unused++;
    }
    references[frame] = 1;
    return frame;
}

u32 frame_allocate_zeroed(void) {
    u32 frame = frame_allocate();
    if (frame) memset(frame_address(frame), 0, PAGE_SIZE);
    return frame;
}

void frame_hold(u32 frame) { references[frame]++; }

void frame_release(u32 frame) {
    if (--references[frame]) return;
    *(u32 *)frame_address(frame) = returned;
    returned = frame;
    returned_count++;
}

u32 frame_references(u32 frame) { return references[frame]; }
u32 frames_free(void) { return end - next_unused + returned_count; }
