/* The shell: reads a line, runs the program it names, waits for it. `&` at the end of a line does not wait. */
#include "../kernel/marks.h"
#include "lib.h"

#define PROMPT "ringlet$ "
#define WORDS 15

static int split(char *line, char **words) {
    int count = 0;
    while (count < WORDS) {
        while (*line == ' ' || *line == '\n') *line++ = 0;
        if (!*line) break;
        words[count++] = line;
        while (*line && *line != ' ' && *line != '\n') line++;
    }
    words[count] = 0;
    return count;
}

static void run(char **words, int background) {
    int pid = fork();
    if (pid < 0) print("sh: cannot start another process\n");
    if (pid == 0) {
        exec(words[0], words);
        print("sh: %s: not found\n", words[0]);
        exit(127);
    }
    if (pid < 0 || background) return;
    int status, ended;
    do ended = wait(&status); while (ended > 0 && ended != pid); /* others are background programs that have ended */
}

int main(void) {
    char line[128], *words[WORDS + 1];
    int length, count, booted = 0;
    for (;;) {
        write(1, PROMPT, sizeof(PROMPT) - 1);
        if (!booted) {
            booted = 1;
            MARK(MARK_END, OP_BOOT);
        }
        length = read(0, line, sizeof(line) - 1);
        if (length <= 0) continue;
        line[length] = 0;
        count = split(line, words);
        if (!count) continue;
        int background = equal(words[count - 1], "&");
        if (background) words[--count] = 0;
        if (count) run(words, background);
    }
}
