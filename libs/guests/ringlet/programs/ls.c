#include "lib.h"
int main(void) {
    struct list_entry entry;
    for (int i = 0; system_call(SYS_LIST, i, (u32)&entry, 0) == 0; i++) print("%s %d\n", entry.name, entry.size);
    return 0;
}
