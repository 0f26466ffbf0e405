/* Stands between the server and the C library, and remembers what would survive the loss of power.
 *
 * Preloaded with LD_PRELOAD. Below the directory $SHIM_ROOT it keeps, in the directory $SHIM_SHADOW:
 *
 *   data/<inode>      the content of a file as of its last fsync or fdatasync
 *   names/<inode>     the entries of a directory as of its last fsync: lines of "<inode> <type> <name>"
 *   lost/<inode>      links to files that were deleted or replaced since, so that their inode is not used again
 *
 * The test kills the process, and makes from this what the disk would have. Syncs do not reach the real disk, since
 * nothing here needs that. sync_file_range promises nothing, and is let through.
 *
 * Through a page of memory that is mapped from $SHIM_CONTROL the test makes calls fail or take long, and sees how many
 * there were: see `struct control`. A call that fails does nothing.
 *
 * One lock around everything that changes what is remembered: slow, and simple.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { OP_WRITE = 1, OP_SYNC = 2, OP_OPEN = 4, OP_RENAME = 8, OP_READ = 16 };

struct control {
    /* Kinds of calls that may fail: a sum of OP_... */
    uint32_t ops;
    uint32_t error;
    /* Fails when this has counted down from n to 0; negative: never. */
    int64_t countdown;
    /* How many calls fail from then on. */
    int64_t failures;
    /* Only files whose name ends with this; empty: all. */
    char suffix[32];
    /* What has happened so far. */
    uint64_t writes, syncs, failed;
    /* With this set, a write that fails has written half of its bytes. */
    uint32_t torn;
    /* Kinds of calls that take longer by `delay_us`, be it that they fail; of the same files. */
    uint32_t slow_ops;
    uint64_t delay_us;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char root[4096], shadow[4096];
static size_t root_length;
static struct control *control;

enum { FDS = 65536 };
/* Files below the root that are open for writing; what of them was written since the last sync starts here. */
static struct open_file {
    char is_tracked;
    ino_t inode;
    off_t dirty_from;
} files[FDS];

#define REAL(name) ((__typeof__(&name))real(#name))
static void *real(const char *name) {
    void *symbol = dlsym(RTLD_NEXT, name);
    if (!symbol) abort();
    return symbol;
}

__attribute__((constructor)) static void start(void) {
    const char *r = getenv("SHIM_ROOT"), *s = getenv("SHIM_SHADOW"), *c = getenv("SHIM_CONTROL");
    if (r && realpath(r, root)) root_length = strlen(root);
    if (s) snprintf(shadow, sizeof shadow, "%s", s);
    if (c) {
        int fd = REAL(open)(c, O_RDWR);
        void *page = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (page != MAP_FAILED) control = page;
        if (fd >= 0) REAL(close)(fd);
    }
}

static int is_below(const char *path) {
    return root_length && !strncmp(path, root, root_length) && (path[root_length] == '/' || !path[root_length]);
}

/* Where the descriptor leads to; 0 if that is not below the root. */
static int path_of(int fd, char *path, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, size - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return is_below(path);
}

static int ends_with(const char *path, const char *suffix) {
    size_t a = strlen(path), b = strlen(suffix);
    return b <= a && !strcmp(path + a - b, suffix);
}

/* Whether this call has to fail; sets errno. */
static int fails(uint32_t op, const char *path) {
    if (!control) return 0;
    if (op == OP_WRITE) __atomic_add_fetch(&control->writes, 1, __ATOMIC_RELAXED);
    if (op == OP_SYNC) __atomic_add_fetch(&control->syncs, 1, __ATOMIC_RELAXED);
    if (control->slow_ops & op && ends_with(path, control->suffix)) usleep((useconds_t)control->delay_us);
    if (!(control->ops & op) || control->countdown < 0 || !ends_with(path, control->suffix)) return 0;
    if (__atomic_load_n(&control->countdown, __ATOMIC_RELAXED) > 0) {
        __atomic_sub_fetch(&control->countdown, 1, __ATOMIC_RELAXED);
        return 0;
    }
    if (__atomic_sub_fetch(&control->failures, 1, __ATOMIC_RELAXED) < 0) return 0;
    __atomic_add_fetch(&control->failed, 1, __ATOMIC_RELAXED);
    errno = (int)control->error;
    return 1;
}

static int fails_fd(uint32_t op, int fd) {
    char path[4096];
    return control && path_of(fd, path, sizeof path) && fails(op, path);
}

/* ---- files ---- */

static void note_open(int fd, int flags) {
    char path[4096];
    struct stat status;
    if (fd < 0 || fd >= FDS || (flags & O_ACCMODE) == O_RDONLY) return;
    if (!path_of(fd, path, sizeof path) || fstat(fd, &status) || !S_ISREG(status.st_mode)) return;
    pthread_mutex_lock(&lock);
    files[fd].is_tracked = 1;
    files[fd].inode = status.st_ino;
    files[fd].dirty_from = flags & O_TRUNC ? 0 : status.st_size;
    pthread_mutex_unlock(&lock);
}

static void note_write(int fd, off_t at) {
    if (fd < 0 || fd >= FDS || !files[fd].is_tracked) return;
    pthread_mutex_lock(&lock);
    if (at < files[fd].dirty_from) files[fd].dirty_from = at;
    pthread_mutex_unlock(&lock);
}

static off_t position(int fd) {
    off_t at = lseek(fd, 0, SEEK_CUR);
    return at < 0 ? 0 : at;
}

/* Copies what was written since the last sync into the shadow. */
static void remember_file(int fd, ino_t inode) {
    char from[64], to[4200];
    static char buffer[1 << 16];
    struct stat status;
    snprintf(from, sizeof from, "/proc/self/fd/%d", fd);
    snprintf(to, sizeof to, "%s/data/%lu", shadow, (unsigned long)inode);
    int in = REAL(open)(from, O_RDONLY | O_CLOEXEC);
    int out = REAL(open)(to, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (in < 0 || out < 0 || fstat(out, &status)) abort();
    off_t at = files[fd].dirty_from < status.st_size ? files[fd].dirty_from : status.st_size;
    ssize_t length;
    while ((length = pread(in, buffer, sizeof buffer, at)) > 0) {
        if (REAL(pwrite)(out, buffer, (size_t)length, at) != length) abort();
        at += length;
    }
    if (fstat(in, &status) || REAL(ftruncate)(out, status.st_size)) abort();
    files[fd].dirty_from = status.st_size;
    REAL(close)(in);
    REAL(close)(out);
}

/* Writes down what is in the directory. */
static void remember_names(const char *path, ino_t inode) {
    char file[4200], temporary[4240];
    snprintf(file, sizeof file, "%s/names/%lu", shadow, (unsigned long)inode);
    snprintf(temporary, sizeof temporary, "%s.new", file);
    DIR *directory = opendir(path);
    FILE *out = fopen(temporary, "w");
    if (!directory || !out) abort();
    struct dirent *entry;
    while ((entry = readdir(directory)))
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
            fprintf(out, "%lu %c %s\n", (unsigned long)entry->d_ino, entry->d_type == DT_DIR ? 'd' : 'f',
                    entry->d_name);
    closedir(directory);
    fclose(out);
    if (REAL(rename)(temporary, file)) abort();
}

static int sync_fd(int fd) {
    char path[4096];
    struct stat status;
    if (!path_of(fd, path, sizeof path)) return 1;
    if (fails(OP_SYNC, path)) return -1;
    if (!shadow[0] || fstat(fd, &status)) return 0;
    pthread_mutex_lock(&lock);
    if (S_ISDIR(status.st_mode)) remember_names(path, status.st_ino);
    else if (fd < FDS && files[fd].is_tracked) remember_file(fd, status.st_ino);
    pthread_mutex_unlock(&lock);
    return 0;
}

int fsync(int fd) {
    int done = sync_fd(fd);
    return done > 0 ? REAL(fsync)(fd) : done;
}

int fdatasync(int fd) {
    int done = sync_fd(fd);
    return done > 0 ? REAL(fdatasync)(fd) : done;
}

/* ---- opening and closing ---- */

static int opened(const char *name, int dir, const char *path, int flags, mode_t mode) {
    int may_write = (flags & O_ACCMODE) != O_RDONLY;
    if (is_below(path) && fails(may_write ? OP_OPEN : OP_READ, path)) return -1;
    int fd = ((int (*)(int, const char *, int, mode_t))real(name))(dir, path, flags, mode);
    if (fd >= 0) note_open(fd, flags);
    return fd;
}

#define MODE(flags)                                   \
    mode_t mode = 0;                                  \
    if ((flags) & (O_CREAT | O_TMPFILE)) {            \
        va_list arguments;                            \
        va_start(arguments, flags);                   \
        mode = (mode_t)va_arg(arguments, int);        \
        va_end(arguments);                            \
    }

int open(const char *path, int flags, ...) {
    MODE(flags)
    return opened("openat", AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    MODE(flags)
    return opened("openat64", AT_FDCWD, path, flags, mode);
}

int openat(int dir, const char *path, int flags, ...) {
    MODE(flags)
    return opened("openat", dir, path, flags, mode);
}

int openat64(int dir, const char *path, int flags, ...) {
    MODE(flags)
    return opened("openat64", dir, path, flags, mode);
}

int close(int fd) {
    if (fd >= 0 && fd < FDS) files[fd].is_tracked = 0;
    return REAL(close)(fd);
}

/* ---- writing ---- */

ssize_t write(int fd, const void *bytes, size_t count) {
    if (fd < 0 || fd >= FDS || !files[fd].is_tracked) return REAL(write)(fd, bytes, count);
    note_write(fd, position(fd));
    if (fails_fd(OP_WRITE, fd)) {
        int error = errno;
        if (control->torn) (void)!REAL(write)(fd, bytes, count / 2);
        errno = error;
        return -1;
    }
    return REAL(write)(fd, bytes, count);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    if (fd < 0 || fd >= FDS || !files[fd].is_tracked) return REAL(writev)(fd, parts, count);
    note_write(fd, position(fd));
    if (fails_fd(OP_WRITE, fd)) return -1;
    return REAL(writev)(fd, parts, count);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
    note_write(fd, at);
    if (fd >= 0 && fd < FDS && files[fd].is_tracked && fails_fd(OP_WRITE, fd)) return -1;
    return REAL(pwrite)(fd, bytes, count, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) { return pwrite(fd, bytes, count, at); }

int ftruncate(int fd, off_t length) {
    note_write(fd, length);
    return REAL(ftruncate)(fd, length);
}

int ftruncate64(int fd, off64_t length) { return ftruncate(fd, length); }

/* ---- names ---- */

/* Keeps the inode of what is about to lose its name. */
static void keep(const char *path) {
    char to[4200];
    struct stat status;
    if (!shadow[0] || !is_below(path) || lstat(path, &status) || !S_ISREG(status.st_mode)) return;
    snprintf(to, sizeof to, "%s/lost/%lu", shadow, (unsigned long)status.st_ino);
    if (REAL(link)(path, to) && errno != EEXIST) abort();
}

int unlink(const char *path) {
    keep(path);
    return REAL(unlink)(path);
}

int unlinkat(int dir, const char *path, int flags) {
    if (path[0] == '/') keep(path);
    return REAL(unlinkat)(dir, path, flags);
}

int rename(const char *from, const char *to) {
    if (is_below(to) && fails(OP_RENAME, to)) return -1;
    keep(to);
    return REAL(rename)(from, to);
}
