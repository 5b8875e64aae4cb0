// A slow disk: loaded into the recorder, it has every write to a file take SLOW_DISK_MS milliseconds.
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void dawdle(int fd)
{
    struct stat status;
    if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode))
        usleep(1000 * atoi(getenv("SLOW_DISK_MS")));
}

ssize_t write(int fd, const void *bytes, size_t count)
{
    dawdle(fd);
    return syscall(SYS_write, fd, bytes, count);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off_t offset)
{
    dawdle(fd);
    return syscall(SYS_pwrite64, fd, bytes, count, offset);
}
