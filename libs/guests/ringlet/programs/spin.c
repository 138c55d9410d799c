/* Keeps the processor busy for some milliseconds: run it with `&` to see that processes are preempted. */
#include "lib.h"
int main(int count, char **words) {
    int time = count > 1 ? parse_number(words[1]) : 1000;
    int start = milliseconds(), rounds = 0;
    while (milliseconds() - start < time) rounds++;
    print("spin %d: done\n", getpid());
    return rounds == 0;
}
