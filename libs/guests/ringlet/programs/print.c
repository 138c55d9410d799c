/* Print a document: the file goes to the printer in one system call, which ends the page. */
#include "lib.h"
static char document[16384];
int main(int count, char **words) {
    if (count != 2) {
        print("usage: print FILE\n");
        return 1;
    }
    int fd = open(words[1]);
    if (fd < 0) {
        print("print: %s: not found\n", words[1]);
        return 1;
    }
    int length = read(fd, document, sizeof(document));
    int sent = system_call(SYS_PRINT, (u32)document, length, 0);
    if (sent < 0) {
        print("print: the printer does not answer\n");
        return 1;
    }
    print("print: %d bytes\n", sent);
    return 0;
}
