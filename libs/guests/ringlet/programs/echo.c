#include "lib.h"
int main(int count, char **words) {
    char line[256];
    u32 length = 0;
    for (int i = 1; i < count; i++) {
        for (const char *at = words[i]; *at && length < sizeof(line) - 2; at++) line[length++] = *at;
        line[length++] = i == count - 1 ? '\n' : ' ';
    }
    if (count == 1) line[length++] = '\n';
    write(1, line, length);
    return 0;
}
