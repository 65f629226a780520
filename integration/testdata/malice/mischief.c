// What a malicious package tries when it is imported, whatever its language: each has this as a shared library beside it.
// mischief_attempts() returns a JSON object with what came of each attempt, "refused: …" or "DONE: …".
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <linux/if_packet.h>
#include <netdb.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#ifndef SERVER_PORT // of a server on the host's loopback, and the name of an abstract socket there
#error "give SERVER_PORT, ABSTRACT, PACKAGE, and the name of a SURVIVOR, empty for none"
#endif
#define CANARY "canary-of-the-host" // what the environment of the worker has

static char got[160]; // what an attempt got done, in words

// An attempt returns 0 when it got something done, and says what in got; or -1 with errno.
static int done(const char *format, ...) {
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(got, sizeof got, format, arguments);
	va_end(arguments);
	return 0;
}

static int nothing(void) { return errno = errno ? errno : ENOENT, -1; }

// ---- files ----

static int can_list(const char *path) {
	DIR *dir = opendir(path);
	if (!dir) return -1;
	closedir(dir);
	return done("listed %s", path);
}

static int can_read(const char *path) {
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0) return -1;
	char byte;
	ssize_t n = read(fd, &byte, 1);
	close(fd);
	return n == 1 ? done("read %s", path) : nothing();
}

static int can_write(const char *path) {
	int fd = open(path, O_WRONLY | O_CREAT | O_NONBLOCK | O_CLOEXEC, 0600);
	if (fd < 0) return -1;
	ssize_t n = write(fd, "mischief", 8);
	close(fd);
	return n > 0 ? done("wrote %s", path) : nothing();
}

static int any(int (*action)(const char *), const char *const *things) {
	for (errno = 0; *things; things++) {
		if (action(*things) == 0) return 0;
	}
	return nothing();
}
#define ANY(action, ...) any(action, (const char *const[]){__VA_ARGS__, NULL})

static int (*walked)(const char *);
static int walk(const char *path, const struct stat *info, int kind, struct FTW *at) {
	(void)info, (void)kind, (void)at;
	return walked(path) == 0;
}

// Does it to everything below a directory.
static int below(const char *directory, int (*action)(const char *)) {
	walked = action;
	errno = 0;
	return nftw(directory, walk, 16, FTW_PHYS) == 1 ? 0 : nothing();
}

// The places on the host that the mounts of this sandbox are from, and all above them.
static int host_paths(void) {
	static const char *const known[] = {"/", "/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc", "/tmp", "/proc", "/dev", NULL};
	FILE *file = fopen("/proc/self/mountinfo", "r");
	if (!file) return -1;
	char line[4096], path[2048];
	errno = 0;
	while (fgets(line, sizeof line, file)) {
		if (sscanf(line, "%*s %*s %*s %2047s", path) != 1 || path[0] != '/') continue;
		for (char *end; (end = strrchr(path, '/')); *end = 0) {
			bool usual = strncmp(path, "/usr/", 5) == 0 || strncmp(path, "/etc/", 5) == 0 || strncmp(path, "/packages", 9) == 0 || strncmp(path, "/pipsqueak", 10) == 0;
			for (int i = 0; known[i]; i++) usual = usual || strcmp(path, known[i]) == 0;
			if (!usual && can_list(path) == 0) return fclose(file), 0;
			if (end == path) break;
		}
	}
	fclose(file);
	return nothing();
}

/* By a way that no probe sees: a package that looks at the function's files is in no zygote. */
static int function_code(void) { return below("/proc/self/root/function", can_read); }
static int secrets(void) { return ANY(can_read, "/etc/shadow", "/proc/1/root/etc/shadow", "/root/.bashrc", "/root/.profile", "/root/.npmrc", "/var/lib/dpkg/status"); }
static int own_package(void) { return can_write(PACKAGE "/written"); }
static int beside_packages(void) { return can_write("/packages/mischief"); }
static int writable_package(void) {
	if (mount(NULL, PACKAGE, NULL, MS_REMOUNT | MS_BIND, NULL) != 0) return -1;
	return own_package();
}

static int not_ours(const char *path) {
	return strstr(path, "bystander") ? can_read(path) : -1;
}
static int other_packages(void) { return below("/packages", not_ours); }
static int driver_files(void) { return below("/pipsqueak", can_write); }
static int system_files(void) { return ANY(can_write, "/usr/bin/env", "/usr/lib/mischief", "/etc/ld.so.preload", "/etc/passwd"); }
static int kernel_settings(void) { return ANY(can_write, "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/sys/vm/drop_caches"); }
static int devices(void) { return ANY(can_read, "/dev/mem", "/dev/kmsg", "/dev/vda", "/dev/sda", "/dev/nvme0n1", "/dev/fuse", "/dev/kvm"); }
static int make_device(void) { return mknod("/tmp/disk", S_IFBLK | 0600, makedev(254, 0)) == 0 ? done("a disk") : -1; }

// ---- processes ----

// Does it to every other process that can be seen, but for the first and the one that waits for this: they are this very sandbox's.
static int others(int (*action)(int pid)) {
	DIR *proc = opendir("/proc");
	if (!proc) return -1;
	struct dirent *entry;
	errno = 0;
	while ((entry = readdir(proc))) {
		int pid = atoi(entry->d_name);
		if (pid > 1 && pid != syscall(SYS_getpid) && pid != getppid() && action(pid) == 0) return closedir(proc), 0;
	}
	closedir(proc);
	return nothing();
}

static int environ_of(const char *pid) {
	char path[64], text[1 << 16];
	snprintf(path, sizeof path, "/proc/%s/environ", pid);
	int fd = open(path, O_RDONLY);
	if (fd < 0) return -1;
	ssize_t n = read(fd, text, sizeof text);
	close(fd);
	return n > 0 && memmem(text, (size_t)n, CANARY, strlen(CANARY)) ? done("read %s", path) : nothing();
}
static int environ_of_other(int pid) {
	char text[16];
	snprintf(text, sizeof text, "%d", pid);
	return environ_of(text);
}
static int worker_environment(void) {
	return ANY(environ_of, "self", "1") == 0 || others(environ_of_other) == 0 ? 0 : nothing();
}

static int memory_of(int pid) {
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/mem", pid);
	return open(path, O_RDWR) >= 0 ? done("opened %s", path) : -1;
}
static int other_memory(void) { return others(memory_of); }
static int trace(int pid) { return ptrace(PTRACE_SEIZE, pid, NULL, NULL) == 0 ? done("traces %d", pid) : -1; }
static int trace_other(void) { return others(trace); }
static int send_signal(int pid) { return kill(pid, 0) == 0 ? done("may kill %d", pid) : -1; }
static int signal_other(void) { return others(send_signal); }

static int join(const char *pid) {
	static const char *const kinds[] = {"user", "mnt", "pid", "net", NULL};
	for (int i = 0; kinds[i]; i++) {
		char its[64], own[64];
		struct stat a, b;
		snprintf(its, sizeof its, "/proc/%s/ns/%s", pid, kinds[i]);
		snprintf(own, sizeof own, "/proc/self/ns/%s", kinds[i]);
		int fd = open(its, O_RDONLY | O_CLOEXEC);
		if (fd < 0) continue;
		bool joined = fstat(fd, &a) == 0 && stat(own, &b) == 0 && a.st_ino != b.st_ino && setns(fd, 0) == 0;
		int error = errno;
		close(fd); // what leaves something open is kept out of zygotes
		errno = error;
		if (joined) return done("joined %s", its);
	}
	return nothing();
}
static int join_other(int pid) {
	char text[16];
	snprintf(text, sizeof text, "%d", pid);
	return join(text);
}
static int join_namespaces(void) { return ANY(join, "1") == 0 || others(join_other) == 0 ? 0 : nothing(); }

// ---- sockets ----

static int reach(int family, int kind, const void *address, socklen_t length, const char *what) {
	int fd = socket(family, kind | SOCK_CLOEXEC, 0);
	if (fd < 0) return -1;
	struct timeval second = {1, 0};
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &second, sizeof second);
	int failed = connect(fd, address, length) != 0 || send(fd, "mischief", 8, MSG_NOSIGNAL) < 0;
	int error = errno;
	close(fd);
	errno = error;
	return failed ? -1 : done("reached %s", what);
}

static int reach_ip(const char *host, int port, int kind) {
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	inet_pton(AF_INET, host, &address.sin_addr);
	return reach(AF_INET, kind, &address, sizeof address, host);
}

static int host_server(void) { return reach_ip("127.0.0.1", SERVER_PORT, SOCK_STREAM); }
static int other_machine(void) {
	return reach_ip("192.0.2.1", 80, SOCK_DGRAM) == 0 || reach_ip("8.8.8.8", 53, SOCK_DGRAM) == 0 || reach_ip("169.254.169.254", 80, SOCK_STREAM) == 0 ? 0 : -1;
}
static int abstract_socket(void) {
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	memcpy(address.sun_path + 1, ABSTRACT, strlen(ABSTRACT));
	return reach(AF_UNIX, SOCK_STREAM, &address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(ABSTRACT)), "@" ABSTRACT);
}

static int socket_file(const char *path) {
	struct stat info;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (lstat(path, &info) != 0 || !S_ISSOCK(info.st_mode) || strlen(path) >= sizeof address.sun_path) return -1;
	strcpy(address.sun_path, path);
	return reach(AF_UNIX, SOCK_STREAM, &address, sizeof address, path) == 0 || reach(AF_UNIX, SOCK_SEQPACKET, &address, sizeof address, path) == 0 ? 0 : -1;
}
static int socket_files(void) {
	return below("/run", socket_file) == 0 || below("/var", socket_file) == 0 || below("/tmp", socket_file) == 0 || below("/pipsqueak", socket_file) == 0 ? 0 : nothing();
}

static int name_lookup(void) {
	struct addrinfo *found = NULL;
	errno = 0;
	if (getaddrinfo("example.org", "80", NULL, &found) != 0) return nothing();
	freeaddrinfo(found);
	return done("found example.org");
}
static int packet_socket(void) { return socket(AF_PACKET, SOCK_RAW, 0) >= 0 ? done("a socket") : -1; }

// ---- out of the sandbox ----

static int root(void) { return setuid(0) == 0 && ANY(can_list, "/root") == 0 ? done("is root") : nothing(); }
static int user_namespace(void) { return unshare(CLONE_NEWUSER) == 0 ? done("a namespace") : -1; }
static int escape(void) {
	if (mkdir("/tmp/jail", 0700) != 0 || chroot("/tmp/jail") != 0) return -1;
	for (int i = 0; i < 64; i++) {
		if (chdir("..") != 0) return -1;
	}
	return chroot(".") == 0 ? can_read("/etc/shadow") : -1;
}
static int mount_kind(const char *kind) {
	char target[64];
	snprintf(target, sizeof target, "/tmp/mounted-%s", kind);
	mkdir(target, 0700);
	return mount(kind, target, kind, 0, NULL) == 0 ? done("mounted %s", kind) : -1;
}
static int disk(void) { return ANY(mount_kind, "ext4", "btrfs", "xfs", "debugfs", "overlay"); }
static int cgroup_of(const char *kind) {
	char path[64];
	if (mount_kind(kind) != 0) return -1;
	snprintf(path, sizeof path, "/tmp/mounted-%s/cgroup.procs", kind);
	return can_write(path);
}
static int move_cgroup(void) { return ANY(cgroup_of, "cgroup2", "cgroup"); }
static int memory_limit(const char *path) {
	return strstr(path, "memory.max") || strstr(path, "memory.limit_in_bytes") ? can_write(path) : -1;
}
static int loosen_memory(void) { return below("/sys/fs/cgroup", memory_limit) == 0 || below("/tmp", memory_limit) == 0 ? 0 : nothing(); }

// The worker has 0 or less. To get as low as that needs no privilege: the kernel remembers what a process began with.
static int oom_score(void) {
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd < 0) return -1;
	ssize_t n = write(fd, "-1", 2);
	close(fd);
	return n == 2 ? done("-1") : -1;
}
static int raise_limits(void) {
	struct rlimit limit;
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = ++limit.rlim_max;
	return setrlimit(RLIMIT_NOFILE, &limit) == 0 ? done("one more file") : -1;
}
static int call(long result) { return result >= 0 ? done("%ld", result) : -1; }
static int kernel_module(void) { return call(syscall(SYS_init_module, "", 0, "")); }
static int bpf_program(void) { return call(syscall(SYS_bpf, 5, 0, 0)); }
static int performance(void) { return call(syscall(SYS_perf_event_open, 0, 0, -1, -1, 0)); }
static int keys(void) { return call(syscall(SYS_add_key, "user", "mischief", "x", 1, -3)); }
static int page_faults(void) { return call(syscall(SYS_userfaultfd, 1)); }

static const struct {
	const char *name;
	int (*attempt)(void);
} all[] = {
	{"read the directories of the host that its mounts come from", host_paths},
	{"read a function's code", function_code},
	{"read the host's secrets", secrets},
	{"read the environment of the worker", worker_environment},
	{"read the memory of another process", other_memory},
	{"trace another process", trace_other},
	{"signal another process", signal_other},
	{"write into its own package", own_package},
	{"write beside the packages", beside_packages},
	{"make its own package writable", writable_package},
	{"read packages that it was not given", other_packages},
	{"write to the driver's files", driver_files},
	{"write to the system", system_files},
	{"write to the kernel's settings", kernel_settings},
	{"open a device", devices},
	{"make a device", make_device},
	{"reach a server of the host", host_server},
	{"reach an abstract socket of the host", abstract_socket},
	{"reach a socket in the file system", socket_files},
	{"reach another machine", other_machine},
	{"look up a name", name_lookup},
	{"open a packet socket", packet_socket},
	{"become root", root},
	{"join the namespaces of another process", join_namespaces},
	{"make a user namespace", user_namespace},
	{"chroot out", escape},
	{"mount a disk", disk},
	{"move to another cgroup", move_cgroup},
	{"loosen its memory limit", loosen_memory},
	{"be spared by the OOM killer before the worker", oom_score},
	{"raise its limits", raise_limits},
	{"load a kernel module", kernel_module},
	{"load a BPF program", bpf_program},
	{"watch the machine's performance", performance},
	{"use the kernel's keys", keys},
	{"handle page faults", page_faults},
};

// What a later process that does not depend on the package must not find.
static void leave_behind(void) {
	setenv("MISCHIEF", "1", 1);
	can_write("/tmp/mischief");
	can_write("/dev/shm/mischief");
	can_write("/var/tmp/mischief");
	shmget(0x4711, 4096, IPC_CREAT | 0666);
	if (sethostname("mischief", 8) != 0 || nice(5) < 0) errno = 0;
}

// Makes a process that is nobody's child, in a session of its own, and wants to stay for ever.
static void survive(void) {
	if (fork() != 0) return;
	setsid();
	if (fork() != 0) _exit(0);
	prctl(PR_SET_NAME, SURVIVOR);
	prctl(PR_SET_PDEATHSIG, 0);
	for (int n = 1; n < NSIG; n++) signal(n, SIG_IGN);
	for (;;) pause();
}

__attribute__((visibility("default"))) int mischief_where; // pid of the process that imported it
__attribute__((visibility("default"))) const char *mischief_attempts(void);
const char *mischief_attempts(void) {
	static char json[1 << 16];
	if (json[0]) return json;
	mischief_where = (int)syscall(SYS_getpid); /* for the same reason not by the function */
	char *at = json, *end = json + sizeof json;
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		errno = 0;
		int failed = all[i].attempt();
		int error = errno;
		at += snprintf(at, (size_t)(end - at), "%s\"%s\": \"%s: %s\"", i ? ", " : "{", all[i].name, failed ? "refused" : "DONE", failed ? strerror(error) : got);
	}
	snprintf(at, (size_t)(end - at), "}");
	leave_behind();
	if (SURVIVOR[0]) survive();
	return json;
}

#ifdef AT_LOAD // a package of compiled code is imported by being loaded
__attribute__((constructor)) static void loaded(void) { mischief_attempts(); }
#endif
