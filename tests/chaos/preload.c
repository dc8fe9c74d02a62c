/* Loaded before libc into the processes of a node: what no fault outside of them can bring about.
 *
 * CLOCK_OFF_SECONDS: the node's clock is off by so much; durations are not.
 * QUOTA_REACHED: while a file of this name exists, writes below the folder QUOTA_FOLDER fail as beyond a quota,
 * which the kernel holds against everybody but root.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long clock_off(void) {
    const char *seconds = getenv("CLOCK_OFF_SECONDS");
    return seconds ? atol(seconds) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += clock_off();
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    static int (*real)(struct timeval *, void *);
    if (!real) real = dlsym(RTLD_NEXT, "gettimeofday");
    int failed = real(now, zone);
    if (!failed) now->tv_sec += clock_off();
    return failed;
}

time_t time(time_t *result) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (result) *result = now.tv_sec;
    return now.tv_sec;
}

static int beyond_quota(int descriptor) {
    const char *reached = getenv("QUOTA_REACHED"), *folder = getenv("QUOTA_FOLDER");
    if (!reached || !folder || access(reached, F_OK)) return 0;
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return !strncmp(path, folder, strlen(folder));
}

/* Deadlines are the program's, and the kernel's clock is right: what waits until a time waits until that one. */
static const struct timespec *true_time(const struct timespec *deadline, struct timespec *corrected) {
    if (deadline->tv_sec < 1000000000) return deadline; /* of a clock that began with the machine */
    *corrected = *deadline;
    corrected->tv_sec -= clock_off();
    return corrected;
}

int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict deadline) {
    static int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    struct timespec corrected;
    if (!real) real = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
    if (!real) real = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    return real(condition, mutex, true_time(deadline, &corrected));
}

int pthread_mutex_timedlock(pthread_mutex_t *restrict mutex, const struct timespec *restrict deadline) {
    static int (*real)(pthread_mutex_t *, const struct timespec *);
    struct timespec corrected;
    if (!real) real = dlsym(RTLD_NEXT, "pthread_mutex_timedlock");
    return real(mutex, true_time(deadline, &corrected));
}

int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict deadline) {
    static int (*real)(sem_t *, const struct timespec *);
    struct timespec corrected;
    if (!real) real = dlsym(RTLD_NEXT, "sem_timedwait");
    return real(semaphore, true_time(deadline, &corrected));
}

ssize_t write(int descriptor, const void *content, size_t size) {
    static ssize_t (*real)(int, const void *, size_t);
    if (!real) real = dlsym(RTLD_NEXT, "write");
    int before = errno;
    if (beyond_quota(descriptor)) {
        errno = EDQUOT;
        return -1;
    }
    errno = before;
    return real(descriptor, content, size);
}
