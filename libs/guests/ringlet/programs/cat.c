#include "lib.h"
int main(int count, char **words) {
    char buffer[512];
    for (int i = 1; i < count || (i == 1 && count == 1); i++) {
        int length, fd = count == 1 ? 0 : open(words[i]); /* without a name: one line of the console */
        if (fd < 0) {
            print("cat: %s: not found\n", words[i]);
            return 1;
        }
        while ((length = read(fd, buffer, sizeof(buffer))) > 0) {
            write(1, buffer, length);
            if (fd == 0) break;
        }
        close(fd);
    }
    return 0;
}
