// A disk that hangs, for LD_PRELOAD: while the file that SICK_DISK names is there, no write to a regular file comes back. While the
// one that FULL_DISK names is there, every write to a regular file finds no room.
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static void wait_until_well(int fd) {
    const char *sick = getenv("SICK_DISK");
    struct stat found;
    if (sick == NULL || fstat(fd, &found) != 0 || !(S_ISREG(found.st_mode) || S_ISDIR(found.st_mode))) return;
    while (syscall(SYS_faccessat, -100, sick, F_OK) == 0) usleep(2000);
}

static int is_full(int fd) {
    const char *full = getenv("FULL_DISK");
    struct stat found;
    if (full == NULL || fstat(fd, &found) != 0 || !S_ISREG(found.st_mode)) return 0;
    if (syscall(SYS_faccessat, -100, full, F_OK) != 0) return 0;
    errno = ENOSPC;
    return 1;
}

ssize_t write(int fd, const void *from, size_t length) {
    wait_until_well(fd);
    if (is_full(fd)) return -1;
    return syscall(SYS_write, fd, from, length);
}

ssize_t writev(int fd, const struct iovec *from, int count) {
    wait_until_well(fd);
    if (is_full(fd)) return -1;
    return syscall(SYS_writev, fd, from, count);
}

int fsync(int fd) {
    wait_until_well(fd);
    return syscall(SYS_fsync, fd);
}

int fdatasync(int fd) {
    wait_until_well(fd);
    return syscall(SYS_fdatasync, fd);
}
