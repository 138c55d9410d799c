/* Programs: static ELF files (System V ABI, "Object Files") from the archive. */
#include "memory.h"
#include "process.h"
#include "string.h"
#include "syscalls.h"

struct elf_header {
    u8 ident[16];
    u16 type, machine;
    u32 version, entry, program_headers, section_headers, flags;
    u16 header_size, program_header_size, program_header_count, rest[3];
};
struct elf_program_header { u32 type, offset, address, physical, file_size, memory_size, flags, alignment; };

#define ELF_MAGIC 0x464c457f
#define ELF_CLASS_32 1
#define ELF_EXECUTABLE 2
#define ELF_386 3
#define SEGMENT_LOAD 1
#define SEGMENT_WRITABLE 2
#define MAX_SEGMENTS 4
#define EFLAGS_START (EFLAGS_IF | 0x2)

/* One page of a segment: a page that two segments share is filled twice, at different places. */
static int load_page(struct space *space, const struct archive_file *file, const struct elf_program_header *segment, u32 page) {
    u32 flags = PTE_PRESENT | PTE_USER | (segment->flags & SEGMENT_WRITABLE ? PTE_WRITABLE : 0);
    pte_t *entry = space_lookup(space, page);
    u32 frame = entry && *entry & PTE_PRESENT ? pte_frame(*entry) : 0;
    if (!frame) {
        frame = frame_allocate_zeroed();
        if (!frame) return ERROR_NO_MEMORY;
        if (space_map(space, page, frame, flags)) {
            frame_release(frame);
            return ERROR_NO_MEMORY;
        }
    } else if (flags & PTE_WRITABLE) {
        *entry |= PTE_WRITABLE;
    }
    u32 from = page > segment->address ? page : segment->address, end = segment->address + segment->file_size;
    if (end > page + PAGE_SIZE) end = page + PAGE_SIZE;
    if (from >= end) return 0;
    u8 *to = (u8 *)frame_address(frame) + from % PAGE_SIZE;
    int count = archive_read(file, segment->offset + (from - segment->address), to, end - from);
    return count == (int)(end - from) ? 0 : ERROR_NOT_EXECUTABLE;
}

static int load_segment(struct space *space, const struct archive_file *file, const struct elf_program_header *segment, u32 *image_end) {
    u32 end = segment->address + segment->memory_size;
    if (segment->address < USER_IMAGE || end < segment->address || end > USER_LIMIT || segment->file_size > segment->memory_size)
        return ERROR_NOT_EXECUTABLE;
    for (u32 page = segment->address & PAGE_MASK; page < end; page += PAGE_SIZE) {
        int error = load_page(space, file, segment, page);
        if (error) return error;
    }
    end = (end + PAGE_SIZE - 1) & PAGE_MASK;
    if (end > *image_end) *image_end = end;
    return 0;
}

/* The top page of the new stack: the strings, argv with a null pointer, then argv and argc as the program finds them. */
static int build_stack(struct space *space, const char *const *arguments, u32 *stack) {
    u32 frame = frame_allocate_zeroed(), count = 0, pointers[EXEC_ARGUMENTS + 1];
    if (!frame) return ERROR_NO_MEMORY;
    if (space_map(space, USER_STACK_TOP - PAGE_SIZE, frame, PTE_PRESENT | PTE_WRITABLE | PTE_USER)) {
        frame_release(frame);
        return ERROR_NO_MEMORY;
    }
    u8 *page = frame_address(frame);
    u32 at = PAGE_SIZE;
    for (; arguments[count]; count++) {
        u32 length = strlen(arguments[count]) + 1;
        at -= length;
        memcpy(page + at, arguments[count], length);
        pointers[count] = USER_STACK_TOP - PAGE_SIZE + at;
    }
    pointers[count] = 0;
    at = (at & ~3u) - (count + 1) * 4;
    memcpy(page + at, pointers, (count + 1) * 4);
    u32 argv = USER_STACK_TOP - PAGE_SIZE + at;
    at -= 8;
    memcpy(page + at, (u32[]){count, argv}, 8);
    *stack = USER_STACK_TOP - PAGE_SIZE + at;
    return 0;
}

int exec(const char *name, const char *const *arguments, struct trap_frame *frame) {
    struct elf_header header;
    struct elf_program_header segments[MAX_SEGMENTS];
    const struct archive_file *file = archive_find(name);
    if (!file) return ERROR_NO_ENTRY;
    /* Header and program headers stand together: one read. */
    u8 start[sizeof(header) + sizeof(segments)];
    int got = archive_read(file, 0, start, sizeof(start));
    if (got < (int)sizeof(header)) return got < 0 ? got : ERROR_NOT_EXECUTABLE;
    memcpy(&header, start, sizeof(header));
    u32 count = header.program_header_count;
    if (*(u32 *)header.ident != ELF_MAGIC || header.ident[4] != ELF_CLASS_32 || header.type != ELF_EXECUTABLE || header.machine != ELF_386 ||
        header.program_headers != sizeof(header) || header.program_header_size != sizeof(segments[0]) || count > MAX_SEGMENTS ||
        got < (int)(sizeof(header) + count * sizeof(segments[0])))
        return ERROR_NOT_EXECUTABLE;
    memcpy(segments, start + sizeof(header), count * sizeof(segments[0]));

    struct space space, old = current->space;
    u32 image_end = USER_IMAGE, stack = 0;
    int error = space_create(&space);
    if (error) return error;
    for (u32 i = 0; i < count && !error; i++)
        if (segments[i].type == SEGMENT_LOAD && segments[i].memory_size) error = load_segment(&space, file, &segments[i], &image_end);
    if (!error) error = build_stack(&space, arguments, &stack);
    if (error) {
        space_destroy(&space);
        return error;
    }
    space_seal(&space);
    current->space = space;
    current->image_end = current->heap_end = image_end;
    current->skip_faults = 0;
    copy_name(current->name, name, sizeof(current->name));
    space_load(&space);
    privops_commit();
    space_destroy(&old);
    *frame = (struct trap_frame){.ds = USER_DS, .es = USER_DS, .eip = header.entry, .cs = USER_CS, .eflags = EFLAGS_START, .esp = stack, .ss = USER_DS};
    return 0;
}
