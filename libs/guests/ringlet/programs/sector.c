/* sector N: shows the text in raw sector N of the disk. sector N TEXT: writes it there. */
#include "lib.h"

#define SECTOR_SIZE 512
static char sector[SECTOR_SIZE + 1];

int main(int count, char **words) {
    int number = count > 1 ? parse_number(words[1]) : -1;
    if (number < 0) {
        print("usage: sector N [TEXT]\n");
        return 1;
    }
    u32 length = 0;
    for (int i = 2; i < count; i++) {
        for (const char *at = words[i]; *at && length < SECTOR_SIZE - 2; at++) sector[length++] = *at;
        sector[length++] = i == count - 1 ? '\n' : ' ';
    }
    int error = system_call(count > 2 ? SYS_SECTOR_WRITE : SYS_SECTOR_READ, number, (u32)sector, 0);
    if (error) {
        print("sector: %d: error %d\n", number, error);
        return 1;
    }
    if (count == 2) write(1, sector, strlen(sector));
    return 0;
}
