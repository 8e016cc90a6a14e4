/* A disk that can be slow, full, or lose power, put in front of a server by LD_PRELOAD.
 *
 * DISK_CONTROL names a file of two 32-bit numbers that may change at any time:
 *   microseconds that every fsync takes longer; whether the disk is full (writes get ENOSPC).
 * DISK_SYNCED names a folder where the size that each file had when it was last synced is kept,
 * under the file's own name: what would be left of it after a power cut.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

struct control {
    volatile int32_t sync_us;
    volatile int32_t full;
};

static struct control nothing;
static struct control *control = &nothing;
static const char *synced;

__attribute__((constructor)) static void begin(void) {
    const char *name = getenv("DISK_CONTROL");
    const char *folder = getenv("DISK_SYNCED");
    synced = folder ? strdup(folder) : NULL; /* servers write their titles over the environment */
    int fd = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *found = mmap(NULL, sizeof(struct control), PROT_READ, MAP_SHARED, fd, 0);
    if (found != MAP_FAILED) control = found;
    close(fd);
}

static int is_file(int fd) {
    struct stat about;
    return fstat(fd, &about) == 0 && S_ISREG(about.st_mode);
}

static int is_refused(int fd) { return control->full && is_file(fd); }

static void note(int fd, off_t size) {
    char link[64], path[4096], to[4096], number[32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return;
    path[length] = 0;
    const char *name = strrchr(path, '/');
    if (!name || snprintf(to, sizeof to, "%s%s", synced, name) >= (int)sizeof to) return;
    int out = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (out < 0) return;
    /* always as long, so that it is written over at once and never half */
    snprintf(number, sizeof number, "%020lld\n", (long long)size);
    if (pwrite(out, number, 21, 0) != 21) abort();
    close(out);
}

static int sync_with(const char *call, int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, call);
    struct stat before;
    int known = synced && fstat(fd, &before) == 0 && S_ISREG(before.st_mode);
    if (control->sync_us > 0) usleep((useconds_t)control->sync_us);
    int result = real(fd);
    int saved = errno;
    if (known && result == 0) note(fd, before.st_size);
    errno = saved;
    return result;
}

int fsync(int fd) { return sync_with("fsync", fd); }
int fdatasync(int fd) { return sync_with("fdatasync", fd); }

#define FULL(fd)                \
    if (is_refused(fd)) {       \
        errno = ENOSPC;         \
        return -1;              \
    }
#define REAL(kind, name, ...)                                               \
    static kind (*real)(__VA_ARGS__);                                       \
    if (!real) real = (kind(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

ssize_t write(int fd, const void *from, size_t count) {
    REAL(ssize_t, "write", int, const void *, size_t);
    /* the last bytes that fit are still written */
    if (count > 1 && is_refused(fd)) {
        static volatile int fits = 1;
        if (fits) {
            fits = 0;
            return real(fd, from, count / 2);
        }
    }
    FULL(fd)
    return real(fd, from, count);
}

ssize_t pwrite(int fd, const void *from, size_t count, off_t at) {
    REAL(ssize_t, "pwrite", int, const void *, size_t, off_t);
    FULL(fd)
    return real(fd, from, count, at);
}

ssize_t pwrite64(int fd, const void *from, size_t count, off64_t at) {
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
    FULL(fd)
    return real(fd, from, count, at);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
    REAL(ssize_t, "pwritev", int, const struct iovec *, int, off_t);
    FULL(fd)
    return real(fd, parts, count, at);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at) {
    REAL(ssize_t, "pwritev64", int, const struct iovec *, int, off64_t);
    FULL(fd)
    return real(fd, parts, count, at);
}
