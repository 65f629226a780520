/*
 * probe: the process in a sandbox of the tests. It does what packets on its control socket (descriptor 3) say and answers each
 * with one packet. Linked with enter.c, so that it can enter sandboxes and fork into them; some of its words are those of
 * a process that has been taken over.
 */
#include "../enter/enter.h"
#include "../enter/loop/zygote.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SIZE = 100000 };
static char answer[SIZE];

static void say(const char *text) { send(PS_FD_CONTROL, text, strlen(text), MSG_NOSIGNAL); }

static void say_result(long result)
{
    char text[64];
    snprintf(text, sizeof text, "%ld %d", result, result < 0 ? errno : 0);
    say(text);
}

static void cat(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t length = 0;
    ssize_t n;
    if (fd < 0) {
        snprintf(answer, SIZE, "error: %s", strerror(errno));
        say(answer);
        return;
    }
    while (length < SIZE - 1 && (n = read(fd, answer + length, SIZE - 1 - length)) > 0)
        length += (size_t)n;
    answer[length] = 0;
    close(fd);
    say(length ? answer : "empty");
}

/* One line for each entry: name, mode in octal, device numbers, where it links to. */
static void list(const char *path)
{
    DIR *directory = opendir(path);
    size_t length = 0;
    if (!directory) {
        snprintf(answer, SIZE, "error: %s", strerror(errno));
        say(answer);
        return;
    }
    for (struct dirent *entry; (entry = readdir(directory));) {
        struct stat st = {0};
        char name[512], link[512] = "-";
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        lstat(name, &st);
        ssize_t n = readlink(name, link, sizeof link - 1);
        if (n >= 0)
            link[n] = 0;
        length += (size_t)snprintf(answer + length, SIZE - length, "%s %o %u:%u %s\n", entry->d_name, st.st_mode,
                                   (unsigned)(st.st_rdev >> 8 & 0xff), (unsigned)(st.st_rdev & 0xff), link);
    }
    closedir(directory);
    answer[length] = 0;
    say(length ? answer : "empty");
}

/* call NUMBER ARGUMENT...: arguments are numbers or, after @, strings. */
static void call(char *words)
{
    long argument[7] = {0};
    int count = 0;
    for (char *word = strtok(words, " "); word && count < 7; word = strtok(NULL, " "))
        argument[count++] = word[0] == '@' ? (long)(word + 1) : (long)strtoull(word, NULL, 0);
    say_result(syscall(argument[0], argument[1], argument[2], argument[3], argument[4], argument[5], argument[6]));
}

/* raw KIND [DESCRIPTORS [WHICH]]: sends a packet through a gate that it does not mean, with a descriptor of its own so many times: HELLO with
 * the pidfd that belongs to it, all others with none, unless it is said. */
static void raw(int gate, const char *words)
{
    unsigned kind = 0, descriptors = 0;
    int which = gate;
    if (sscanf(words, "%u %u %d", &kind, &descriptors, &which) == 1 && kind == PS_HELLO) {
        descriptors = 1;
        which = (int)syscall(SYS_pidfd_open, 1, 0);
    }
    struct ps_note note = {.kind = kind, .step = "a lie\n\033[31m"};
    char space[CMSG_SPACE(sizeof(int) * 16)] __attribute__((aligned(8))) = {0};
    struct iovec iov = {.iov_base = &note, .iov_len = sizeof note};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (descriptors) {
        msg.msg_control = space;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * descriptors);
        struct cmsghdr *header = CMSG_FIRSTHDR(&msg);
        *header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int) * descriptors), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        for (unsigned i = 0; i < descriptors; i++)
            memcpy(CMSG_DATA(header) + i * sizeof(int), &which, sizeof which);
    }
    say_result(sendmsg(gate, &msg, MSG_NOSIGNAL));
}

/* fork into: a child goes through the gate; raw: it is there, in the right namespaces, but knows no manners; twice: so is a second one, which is the child
 * that speaks; plain: it is where its parent is. */
static void fork_child(int control, int gate, const char *how)
{
    int plain = !strcmp(how, "plain");
    if (!plain && ps_fork_begin(gate) < 0) {
        say_result(-1);
        close(control);
        close(gate);
        return;
    }
    if (!strcmp(how, "twice") && fork() == 0)
        for (;;)
            pause();
    pid_t child = fork();
    if (child == 0) {
        if (strcmp(how, "into") != 0) {
            dup2(control, PS_FD_CONTROL);
            dup2(gate, 9);
            return;
        }
        if (ps_enter(gate, control) < 0)
            _exit(125);
        return;
    }
    if (!plain)
        ps_fork_end();
    close(control);
    close(gate);
    say_result(child);
}

static void *wait_for_ever(void *unused)
{
    for (;;)
        pause();
    return unused;
}

/* zygote: forks as driver and core ask for it, until the driver asks for something else. An instance obeys its endpoint. */
static void be_zygote(void)
{
    static char request[4096];
    signal(SIGCHLD, SIG_IGN);
    say("zygote");
    int n = ps_zygote(PS_FD_CONTROL, NULL, request, sizeof request);
    if (n == PS_INSTANCE)
        dup2(PS_FD_ENDPOINT, PS_FD_CONTROL);
    else if (n > 0)
        say("no zygote any more");
}

static void fill(size_t bytes)
{
    char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory != MAP_FAILED)
        memset(memory, 1, bytes);
    say("filled");
}

/* dial ADDRESS PORT [TEXT]: connects, says the text and an empty line after it, and answers with what it hears. */
static void dial(const char *words)
{
    char host[64] = "", text[512] = "";
    int port = 0;
    sscanf(words, "%63s %d %511[^\n]", host, &port, text);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, host, &to.sin_addr);
    int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &(struct timeval){.tv_sec = 3}, sizeof(struct timeval));
    setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){.tv_sec = 3}, sizeof(struct timeval));
    ssize_t n = 0;
    if (connect(s, (struct sockaddr *)&to, sizeof to) == 0) {
        strcat(text, "\r\n\r\n");
        send(s, text, strlen(text), MSG_NOSIGNAL);
        n = recv(s, answer, SIZE - 1, 0);
        answer[n < 0 ? 0 : n] = 0;
    } else {
        snprintf(answer, SIZE, "error: %s", strerror(errno));
    }
    close(s);
    say(answer[0] ? answer : "empty");
}

/* abstract NAME: connects to an abstract socket. */
static void dial_abstract(const char *name)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memccpy(to.sun_path + 1, name, 0, sizeof to.sun_path - 1);
    say_result(connect(s, (struct sockaddr *)&to, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name))));
    close(s);
}

/* orphans COUNT: leaves so many processes behind that end at once, one after the other, and says how often that failed. */
static void orphans(int count)
{
    int failed = 0;
    while (count-- > 0) {
        pid_t child = fork();
        if (child == 0)
            _exit(fork() < 0);
        int status = 1;
        if (child > 0)
            waitpid(child, &status, 0);
        failed += status != 0;
    }
    snprintf(answer, SIZE, "%d failed", failed);
    say(answer);
}

/* ended COUNT: starts so many processes that end at once, and waits for none of them. */
static void leave_ended(int count)
{
    int failed = 0;
    while (count-- > 0) {
        siginfo_t how;
        pid_t child = fork();
        if (child == 0)
            _exit(0);
        failed += child < 0 || waitid(P_PID, (id_t)child, &how, WEXITED | WNOWAIT) < 0;
    }
    say_result(failed);
}

/* share COPY: starts a process that stays, with the endpoint: by a clone that the C library does not see, or with a copy of the descriptor. */
static void share(int copy)
{
    if (copy)
        dup(PS_FD_ENDPOINT);
    long child = copy ? fork() : syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (child == 0)
        for (;;)
            pause();
    say_result(child);
}

/* write PATH BYTES: opens what is there, as fopen(PATH, "w") does, and writes so many bytes. */
static void write_file(const char *words)
{
    char path[256] = "";
    static char block[65536];
    unsigned long bytes = 0;
    sscanf(words, "%255s %lu", path, &bytes);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    ssize_t n = fd < 0 ? -1 : 0;
    for (unsigned long done = 0; n >= 0 && done < bytes; done += (unsigned long)n)
        n = write(fd, block, bytes - done < sizeof block ? bytes - done : sizeof block);
    snprintf(answer, SIZE, "%s", n < 0 ? strerror(errno) : "written");
    close(fd);
    say(answer);
}

/* Opens a terminal as a program does that starts others in one, and says its name when what is written to one side comes out of the other. */
static void terminal(void)
{
    char name[64] = "", heard[8] = "";
    int controller = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), other = -1;
    if (controller >= 0 && grantpt(controller) == 0 && unlockpt(controller) == 0 && ptsname_r(controller, name, sizeof name) == 0)
        other = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (other >= 0 && write(other, "hear\n", 5) == 5 && read(controller, heard, 4) == 4 && !strcmp(heard, "hear"))
        snprintf(answer, SIZE, "%s", name);
    else
        snprintf(answer, SIZE, "error: %s", strerror(errno));
    close(other);
    close(controller);
    say(answer);
}

/* Connects a socket of a type to another one on loopback, and returns what is written to; what is read from in *other. */
static int connected(int type, int *other)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof at;
    int there = socket(AF_INET, type, 0), here = socket(AF_INET, type | SOCK_NONBLOCK, 0), large = 64 << 20;
    setsockopt(there, SOL_SOCKET, SO_RCVBUF, &large, sizeof large);
    setsockopt(here, SOL_SOCKET, SO_SNDBUF, &large, sizeof large);
    if (bind(there, (struct sockaddr *)&at, sizeof at) < 0 || getsockname(there, (struct sockaddr *)&at, &length) < 0 ||
        (type == SOCK_STREAM && listen(there, 1) < 0))
        return -1;
    connect(here, (struct sockaddr *)&at, length);
    *other = type == SOCK_STREAM ? accept(there, NULL, NULL) : there;
    return here;
}

/* buffers TYPE COUNT: fills so many connections, of type 1 (TCP) or 2 (UDP), that nobody reads, and says how many bytes are in them. */
static void fill_buffers(const char *words)
{
    static char block[32768];
    int type = 0, count = 0, here[128], there[128];
    long bytes = 0;
    sscanf(words, "%d %d", &type, &count);
    for (int i = 0; i < count && i < 128; i++) {
        if ((here[i] = connected(type, &there[i])) < 0) {
            say_result(-1);
            return;
        }
        for (int left = 4096; left > 0 && send(here[i], block, sizeof block, MSG_NOSIGNAL) > 0; left--)
            ;
    }
    for (int i = 0; i < count && i < 128; i++)
        for (ssize_t n; (n = recv(there[i], block, sizeof block, MSG_DONTWAIT)) > 0;)
            bytes += n;
    say_result(bytes);
}

static void open_many(int count)
{
    int last = 0;
    while (count-- > 0 && last >= 0)
        last = open("/dev/null", O_RDONLY);
    say_result(last);
}

/* burn keeps a processor busy for so many seconds, and says how many milliseconds of processor time it got. */
static void burn(int seconds)
{
    struct timespec now, end, got;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += seconds;
    do
        clock_gettime(CLOCK_MONOTONIC, &now);
    while (now.tv_sec < end.tv_sec || (now.tv_sec == end.tv_sec && now.tv_nsec < end.tv_nsec));
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &got);
    say_result(got.tv_sec * 1000 + got.tv_nsec / 1000000);
}

static void obey(char *words, int a, int b)
{
    if (!strncmp(words, "cat ", 4))
        cat(words + 4);
    else if (!strncmp(words, "ls ", 3))
        list(words + 3);
    else if (!strncmp(words, "call ", 5))
        call(words + 5);
    else if (!strncmp(words, "fork ", 5))
        fork_child(a, b, words + 5);
    else if (!strncmp(words, "zygote", 6))
        be_zygote();
    else if (!strncmp(words, "thread", 6))
        say_result(pthread_create(&(pthread_t){0}, NULL, wait_for_ever, NULL));
    else if (!strncmp(words, "join", 4))
        say_result(setns(a, CLONE_NEWUSER));
    else if (!strncmp(words, "enter", 5))
        say_result(ps_enter(b, a) < 0 ? -1 : 0);
    else if (!strncmp(words, "raw ", 4))
        raw(a >= 0 ? a : 9, words + 4);
    else if (!strncmp(words, "fill ", 5))
        fill(strtoull(words + 5, NULL, 0));
    else if (!strncmp(words, "rehearse", 8))
        say(ps_may_rehearse(PS_FD_ENDPOINT) ? "yes" : "no");
    else if (!strncmp(words, "limit ", 6))
        say_result(setrlimit(RLIMIT_NOFILE, &(struct rlimit){(rlim_t)atoi(words + 6), 1024}));
    else if (!strncmp(words, "dial ", 5))
        dial(words + 5);
    else if (!strncmp(words, "abstract ", 9))
        dial_abstract(words + 9);
    else if (!strncmp(words, "buffers ", 8))
        fill_buffers(words + 8);
    else if (!strncmp(words, "open ", 5))
        open_many(atoi(words + 5));
    else if (!strncmp(words, "orphans ", 8))
        orphans(atoi(words + 8));
    else if (!strncmp(words, "ended ", 6))
        leave_ended(atoi(words + 6));
    else if (!strncmp(words, "share ", 6))
        share(atoi(words + 6));
    else if (!strncmp(words, "terminal", 8))
        terminal();
    else if (!strncmp(words, "write ", 6))
        write_file(words + 6);
    else if (!strncmp(words, "signal ", 7))
        say_result(kill(getpid(), atoi(words + 7)));
    else if (!strncmp(words, "abort", 5))
        abort();
    else if (!strncmp(words, "leave ", 6)) {
        pid_t child = fork();
        if (child == 0)
            for (;;)
                pause();
        say_result(child);
    } else if (!strncmp(words, "exit ", 5))
        _exit(atoi(words + 5));
    else if (!strncmp(words, "crash", 5))
        __builtin_trap();
    else if (!strncmp(words, "burn ", 5))
        burn(atoi(words + 5));
    else if (!strncmp(words, "sleep ", 6))
        usleep((useconds_t)atoi(words + 6)), say("slept");
    else
        say("what?");
}

int main(void)
{
    static char words[4096];
    for (;;) {
        char space[CMSG_SPACE(sizeof(int) * 2)] __attribute__((aligned(8)));
        struct iovec iov = {.iov_base = words, .iov_len = sizeof words - 1};
        struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
        ssize_t n = recvmsg(PS_FD_CONTROL, &msg, MSG_CMSG_CLOEXEC);
        if (n <= 0)
            return 0;
        words[n] = 0;
        int descriptors[2] = {-1, -1};
        struct cmsghdr *header = CMSG_FIRSTHDR(&msg);
        if (header)
            memcpy(descriptors, CMSG_DATA(header), header->cmsg_len - CMSG_LEN(0));
        obey(words, descriptors[0], descriptors[1]);
    }
}
