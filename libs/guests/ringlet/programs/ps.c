#include "lib.h"
int main(void) {
    struct process_entry entry;
    print("pid parent state pages name\n");
    for (int i = 0; system_call(SYS_PROCESSES, i, (u32)&entry, 0) == 0; i++) {
        char state[2] = {entry.state, 0};
        if (entry.pid) print("%d %d %s %d %s\n", entry.pid, entry.parent, state, entry.pages, entry.name);
    }
    return 0;
}
