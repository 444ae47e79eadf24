// A worker that gets nothing done, for LD_PRELOAD: while the file that STUCK_WORKER names is there, the thread
// "worker-1" hears of no event.
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int epoll_wait(int epoll, struct epoll_event *events, int most, int timeout) {
    const char *stuck = getenv("STUCK_WORKER");
    char name[16] = "";
    prctl(PR_GET_NAME, name);
    if (stuck != NULL && strcmp(name, "worker-1") == 0)
        while (syscall(SYS_faccessat, -100, stuck, F_OK) == 0) usleep(2000);
    return syscall(SYS_epoll_pwait, epoll, events, most, timeout, NULL, 0);
}
