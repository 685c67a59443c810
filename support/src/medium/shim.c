/* A medium that fails, and that forgets what was not synced: preloaded into a process with LD_PRELOAD.
 *
 * MEDIUM_ROOT   files below this directory are on the medium; everything else is left alone
 * MEDIUM_FAULT  call:nth:what[:part of the path]: the nth call (from 1) fails. `call` is write, sync, allocate, truncate,
 *               create, rename or unlink, `what` EIO or ENOSPC, or `short` for a write of which only a half arrives.
 *               With a + behind nth every later one fails, too.
 * MEDIUM_IMAGE  an empty directory in which is kept what would be there after a loss of power: of each file the bytes at
 *               its last sync (f<id>), and of each directory its entries at its last sync (d<id>: a line "id kind name"
 *               each). An id is an inode with its time of birth, since inodes are used again.
 * MEDIUM_COUNT  a file to which a line is added for every call on the medium: the call and the path
 *
 * What was synced is copied after the sync, so that a write that runs beside it may be in the image in part: a disk
 * gives no other promise. A rename or a new name counts from the sync of its directory on.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define REAL(result, name, ...)                                                                                        \
    static result (*real)(__VA_ARGS__);                                                                                \
    if (!real) {                                                                                                       \
        real = (result (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name);                                                        \
    }

enum { MOST_FILES = 4096 };

static char *paths[MOST_FILES];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_long hits;

static ssize_t plain_write(int fd, const void *bytes, size_t length) {
    REAL(ssize_t, "write", int, const void *, size_t)
    return real(fd, bytes, length);
}

static int plain_open(const char *path, int flags, mode_t mode) {
    REAL(int, "open64", const char *, int, ...)
    return real(path, flags, mode);
}

static int on_medium(const char *path) {
    const char *root = getenv("MEDIUM_ROOT");
    return root && path && strncmp(path, root, strlen(root)) == 0;
}

static const char *path_of(int fd) { return fd >= 0 && fd < MOST_FILES ? paths[fd] : NULL; }

static void count(const char *call, const char *path) {
    const char *to = getenv("MEDIUM_COUNT");
    char line[PATH_MAX + 32];
    int fd, length;
    if (!to) {
        return;
    }
    length = snprintf(line, sizeof line, "%s %s\n", call, path);
    fd = plain_open(to, O_WRONLY | O_APPEND | O_CREAT, 0644);
    if (fd >= 0) {
        if (plain_write(fd, line, (size_t)length) < 0) {
            abort();
        }
        close(fd);
    }
}

/* Whether this call fails; says how in `errno`, with 0 for a short write. */
static int fails(const char *call, const char *path) {
    char spec[512], *rest = spec, *wanted, *nth, *what, *part;
    const char *fault = getenv("MEDIUM_FAULT");
    long hit, at;
    if (!on_medium(path)) {
        return 0;
    }
    count(call, path);
    if (!fault || strlen(fault) >= sizeof spec) {
        return 0;
    }
    strcpy(spec, fault);
    wanted = strsep(&rest, ":");
    nth = strsep(&rest, ":");
    what = strsep(&rest, ":");
    part = strsep(&rest, ":");
    if (!what || strcmp(wanted, call) != 0 || (part && !strstr(path, part))) {
        return 0;
    }
    hit = atomic_fetch_add(&hits, 1) + 1;
    at = atol(nth);
    if (hit != at && !(strchr(nth, '+') && hit > at)) {
        return 0;
    }
    errno = strcmp(what, "short") == 0 ? 0 : strcmp(what, "ENOSPC") == 0 ? ENOSPC : EIO;
    return 1;
}

/* ---- what would be there after a loss of power ---- */

static int id_of(int dir, const char *name, char *id, size_t size, int *kind) {
    struct statx found;
    int flags = *name ? AT_SYMLINK_NOFOLLOW : AT_EMPTY_PATH;
    if (statx(dir, name, flags, STATX_BASIC_STATS | STATX_BTIME, &found) != 0) {
        return -1;
    }
    *kind = S_ISDIR(found.stx_mode) ? 'd' : 'f';
    snprintf(id, size, "%llu.%lld.%u", (unsigned long long)found.stx_ino, (long long)found.stx_btime.tv_sec,
             found.stx_btime.tv_nsec);
    return 0;
}

static void copy_bytes(int fd, int to) {
    static char bytes[1 << 16];
    char self[64];
    ssize_t length;
    int from;
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    from = plain_open(self, O_RDONLY, 0);
    if (from < 0) {
        abort();
    }
    while ((length = read(from, bytes, sizeof bytes)) > 0) {
        if (plain_write(to, bytes, (size_t)length) != length) {
            abort();
        }
    }
    close(from);
}

static void copy_entries(int fd, int to) {
    char self[64], id[96], line[NAME_MAX + 128];
    struct dirent *entry;
    int kind;
    DIR *dir;
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    dir = opendir(self);
    if (!dir) {
        abort();
    }
    while ((entry = readdir(dir))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            id_of(dirfd(dir), entry->d_name, id, sizeof id, &kind) != 0) {
            continue;
        }
        snprintf(line, sizeof line, "%s %c %s\n", id, kind, entry->d_name);
        if (plain_write(to, line, strlen(line)) < 0) {
            abort();
        }
    }
    closedir(dir);
}

static void remember(int fd) {
    const char *image = getenv("MEDIUM_IMAGE");
    char id[96], path[PATH_MAX], fresh[PATH_MAX];
    int kind, to;
    if (!image || id_of(fd, "", id, sizeof id, &kind) != 0) {
        return;
    }
    pthread_mutex_lock(&lock);
    snprintf(path, sizeof path, "%s/%c%s", image, kind, id);
    snprintf(fresh, sizeof fresh, "%s/fresh", image);
    to = plain_open(fresh, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (to < 0) {
        abort();
    }
    if (kind == 'd') {
        copy_entries(fd, to);
    } else {
        copy_bytes(fd, to);
    }
    close(to);
    /* At once, so that a process that dies here leaves the older or the newer one. */
    {
        REAL(int, "rename", const char *, const char *)
        if (real(fresh, path) != 0) {
            abort();
        }
    }
    pthread_mutex_unlock(&lock);
}

/* ---- the calls ---- */

static int opened(int fd, const char *path) {
    if (fd >= 0 && fd < MOST_FILES && on_medium(path)) {
        free(paths[fd]);
        paths[fd] = strdup(path);
    }
    return fd;
}

#define OPEN(name)                                                                                                     \
    int name(const char *path, int flags, ...) {                                                                       \
        mode_t mode = 0;                                                                                               \
        REAL(int, #name, const char *, int, ...)                                                                       \
        if (flags & (O_CREAT | O_TMPFILE)) {                                                                           \
            va_list rest;                                                                                              \
            va_start(rest, flags);                                                                                     \
            mode = va_arg(rest, mode_t);                                                                               \
            va_end(rest);                                                                                              \
        }                                                                                                              \
        if ((flags & O_CREAT) && fails("create", path)) {                                                              \
            return -1;                                                                                                 \
        }                                                                                                              \
        return opened(real(path, flags, mode), path);                                                                  \
    }
OPEN(open)
OPEN(open64)

int close(int fd) {
    REAL(int, "close", int)
    if (path_of(fd)) {
        free(paths[fd]);
        paths[fd] = NULL;
    }
    return real(fd);
}

ssize_t write(int fd, const void *bytes, size_t length) {
    const char *path = path_of(fd);
    if (path && fails("write", path)) {
        if (errno) {
            return -1;
        }
        /* A half arrives, and the medium has no room for the rest. */
        if (length > 1 && plain_write(fd, bytes, length / 2) < 0) {
            abort();
        }
        errno = ENOSPC;
        return -1;
    }
    return plain_write(fd, bytes, length);
}

#define PWRITE(name)                                                                                                   \
    ssize_t name(int fd, const void *bytes, size_t length, off64_t at) {                                               \
        REAL(ssize_t, #name, int, const void *, size_t, off64_t)                                                       \
        const char *path = path_of(fd);                                                                                \
        if (path && fails("write", path)) {                                                                            \
            if (errno == 0) {                                                                                          \
                real(fd, bytes, length / 2, at);                                                                       \
                errno = ENOSPC;                                                                                        \
            }                                                                                                          \
            return -1;                                                                                                 \
        }                                                                                                              \
        return real(fd, bytes, length, at);                                                                            \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

#define SYNC(name)                                                                                                     \
    int name(int fd) {                                                                                                 \
        REAL(int, #name, int)                                                                                          \
        const char *path = path_of(fd);                                                                                \
        int done;                                                                                                      \
        if (!path) {                                                                                                   \
            return real(fd);                                                                                           \
        }                                                                                                              \
        if (fails("sync", path)) {                                                                                     \
            errno = errno ? errno : EIO;                                                                               \
            return -1;                                                                                                 \
        }                                                                                                              \
        done = real(fd);                                                                                               \
        if (done == 0) {                                                                                               \
            remember(fd);                                                                                              \
        }                                                                                                              \
        return done;                                                                                                   \
    }
SYNC(fsync)
SYNC(fdatasync)

#define ALLOCATE(name)                                                                                                 \
    int name(int fd, int mode, off64_t at, off64_t length) {                                                           \
        REAL(int, #name, int, int, off64_t, off64_t)                                                                   \
        const char *path = path_of(fd);                                                                                \
        if (path && fails("allocate", path)) {                                                                         \
            errno = errno ? errno : ENOSPC;                                                                            \
            return -1;                                                                                                 \
        }                                                                                                              \
        return real(fd, mode, at, length);                                                                             \
    }
ALLOCATE(fallocate)
ALLOCATE(fallocate64)

#define TRUNCATE(name)                                                                                                 \
    int name(int fd, off64_t length) {                                                                                 \
        REAL(int, #name, int, off64_t)                                                                                 \
        const char *path = path_of(fd);                                                                                \
        if (path && fails("truncate", path)) {                                                                         \
            errno = errno ? errno : EIO;                                                                               \
            return -1;                                                                                                 \
        }                                                                                                              \
        return real(fd, length);                                                                                       \
    }
TRUNCATE(ftruncate)
TRUNCATE(ftruncate64)

int rename(const char *from, const char *to) {
    REAL(int, "rename", const char *, const char *)
    if (fails("rename", to)) {
        errno = errno ? errno : EIO;
        return -1;
    }
    return real(from, to);
}

int unlink(const char *path) {
    REAL(int, "unlink", const char *)
    if (fails("unlink", path)) {
        errno = errno ? errno : EIO;
        return -1;
    }
    return real(path);
}
