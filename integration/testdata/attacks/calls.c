/* System calls that no function needs, and through which kernels were broken. */
#include "attack.h"
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/kcmp.h>
#include <linux/keyctl.h>
#include <linux/perf_event.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

CALL(bpf, "load a BPF program", syscall(SYS_bpf, 9999, NULL, 0))
CALL(io_uring, "make system calls through io_uring", syscall(SYS_io_uring_setup, 4, &(struct io_uring_params){0}))
CALL(page_faults, "handle its page faults", syscall(SYS_userfaultfd, 1))
CALL(performance, "watch the machine's performance", syscall(SYS_perf_event_open, &(struct perf_event_attr){.size = sizeof(struct perf_event_attr), .type = PERF_TYPE_SOFTWARE, .config = PERF_COUNT_SW_CPU_CLOCK, .exclude_kernel = 1, .exclude_hv = 1}, 0, -1, -1, 0))
CALL(add_key, "add a key to the kernel's", syscall(SYS_add_key, "user", "attack", "x", 1, KEY_SPEC_PROCESS_KEYRING))
CALL(request_key, "ask for a key of the kernel's", syscall(SYS_request_key, "user", "attack", NULL, KEY_SPEC_PROCESS_KEYRING))
CALL(keyctl, "manage the kernel's keys", syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_PROCESS_KEYRING, 1))
CALL(hidden_memory, "hide memory from the kernel", syscall(447 /* memfd_secret */, 0))
CALL(posix_queue, "open a queue of messages that counts for the machine", syscall(SYS_mq_open, "attack", O_CREAT | O_RDWR, 0600, NULL))
CALL(init_module, "load a kernel module", syscall(SYS_init_module, "", 0, ""))
CALL(finit_module, "load a kernel module from a file", syscall(SYS_finit_module, 0, "", 0))
CALL(delete_module, "remove a kernel module", syscall(SYS_delete_module, "pipsqueak", O_NONBLOCK))
CALL(kexec, "load another kernel", syscall(SYS_kexec_load, 0, 0, 0, 0))
CALL(reboot, "reboot the machine", syscall(SYS_reboot, 0, 0, 0, 0))
CALL(swap, "swap to a file", syscall(SYS_swapon, "/tmp/swap", 0))
CALL(set_time, "set the clock", syscall(SYS_clock_settime, CLOCK_REALTIME, &(struct timespec){.tv_nsec = -1}))
CALL(adjust_time, "adjust the clock", syscall(SYS_settimeofday, &(struct timeval){.tv_usec = -1}, NULL))
CALL(account, "record all processes", syscall(SYS_acct, "/tmp/accounts"))
CALL(kernel_messages, "read the kernel's messages", syscall(SYS_syslog, 3, (char[64]){0}, 64))
CALL(by_handle, "open a file by its handle", syscall(SYS_open_by_handle_at, -1, (uint32_t[]){8, 1, 0, 0}, O_RDONLY))
CALL(name_to_handle, "ask for the handle of a file", syscall(SYS_name_to_handle_at, AT_FDCWD, "/usr", (uint32_t[64]){128}, &(int){0}, 0))
CALL(watch_files, "watch all files of a mount", syscall(SYS_fanotify_init, 0x200, 0))
CALL(quota, "change the quotas of a disk", syscall(SYS_quotactl, 0x80000100, "/dev/vda", 0, NULL))
CALL(compare, "compare kernel objects of processes", syscall(SYS_kcmp, syscall(SYS_getpid), syscall(SYS_getpid), KCMP_FILE, 0, 0))
CALL(take_descriptor, "take a descriptor of another process", syscall(SYS_pidfd_getfd, -1, 0, 0))
CALL(migrate_pages, "move the memory of another process", syscall(SYS_migrate_pages, 0, 0, NULL, NULL))
CALL(handle_of_mount, "list the mounts of a namespace by number", syscall(457, (uint64_t[]){24, UINT64_MAX, 0}, (char[512]){0}, 512, 0))
CALL(cookie, "look up a path by its cookie", syscall(SYS_lookup_dcookie, 0ULL, (char[8]){0}, 8))
CALL(weak_layout, "have its programs loaded at known addresses", personality(ADDR_NO_RANDOMIZE) < 0 ? -1 : (int)personality(0) * 0)
#ifdef __x86_64__
CALL(ports, "talk to the machine's ports", syscall(SYS_ioperm, 0x80, 1, 1))
CALL(all_ports, "talk to all ports of the machine", syscall(SYS_iopl, 3))
CALL(segments, "make segments of 16 bits", syscall(SYS_modify_ldt, 1, NULL, 0))
ATTACK(other_numbers, "call the kernel by the numbers of 32 bits", 2) {
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "0"(20L) : "memory", "r8", "r9", "r10", "r11"); /* getpid */
    if ((int)result > 0) return done("%d", (int)result);
    errno = -(int)result;
    return -1;
}
CALL(x32_numbers, "call the kernel by the numbers of x32", syscall(0x40000000 | SYS_getpid))
#endif
