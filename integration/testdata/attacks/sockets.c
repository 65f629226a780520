/* Networks and sockets. */
#include "attack.h"
#include <arpa/inet.h>
#include <linux/if_alg.h>
#include <linux/in6.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

static int reach(int family, int kind, const void *address, socklen_t length, const char *what) {
    int fd = socket(family, kind | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    struct timeval second = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &second, sizeof second);
    int failed = connect(fd, address, length) != 0 || send(fd, "attack", 6, MSG_NOSIGNAL) < 0, error = errno;
    close(fd);
    errno = error;
    return failed ? -1 : done("reached %s", what);
}
static int reach_ip(const char *host, int port, int kind) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, host, &address.sin_addr);
    return reach(AF_INET, kind, &address, sizeof address, host);
}
ATTACK(loopback, "reach a server on the host's loopback", 0) { return reach_ip("127.0.0.1", SERVER_PORT, SOCK_STREAM); }
ATTACK(host_address, "reach the host by its address", 0) { return reach_ip(ADDRESS, SERVER_PORT, SOCK_DGRAM); }
ATTACK(other_machine, "reach another machine", 0) { return reach_ip("192.0.2.1", 80, SOCK_DGRAM); }
ATTACK(metadata, "reach the metadata of a cloud", 0) { return reach_ip("169.254.169.254", 80, SOCK_DGRAM); }
ATTACK(ipv6, "reach the host by IPv6", 0) {
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT, .sin6_port = htons(SERVER_PORT)};
    return reach(AF_INET6, SOCK_STREAM, &address, sizeof address, "::1");
}
ATTACK(abstract_socket, "reach an abstract socket of the host", 0) {
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
ATTACK(socket_files, "reach a socket in the file system", 0) {
    return socket_file(HOST "/socket") == 0 || below("/run", socket_file) == 0 || below("/var", socket_file) == 0 || below("/pipsqueak", socket_file) == 0 ? 0 : nothing();
}

static int opened(int family, int kind, int protocol) {
    int fd = socket(family, kind | SOCK_CLOEXEC, protocol);
    if (fd < 0) return -1;
    close(fd);
    return done("a socket of family %d", family);
}
ATTACK(packets, "read the packets of a network", 0) { return opened(AF_PACKET, SOCK_RAW, 0); }
ATTACK(raw_packets, "make packets of any kind", 0) { return opened(AF_INET, SOCK_RAW, IPPROTO_ICMP); }
ATTACK(kernel_crypto, "have the kernel encrypt", 0) { return opened(AF_ALG, SOCK_SEQPACKET, 0); }
ATTACK(hypervisor, "talk to the hypervisor", 0) { return opened(AF_VSOCK, SOCK_STREAM, 0); }
ATTACK(rare_families, "open a socket of a rare kind", 0) {
    static const int families[] = {3, 4, 5, 6, 9, 13, 15, 19, 20, 21, 23, 24, 26, 29, 30, 31, 32, 33, 35, 36, 37, 39, 41, 42, 43, 44, 45};
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        for (int kind = SOCK_STREAM; kind <= SOCK_SEQPACKET; kind++)
            if (opened(families[i], kind, 0) == 0) return 0;
    return -1;
}
ATTACK(rare_protocols, "open a TCP socket with a rare protocol", 0) { return opened(AF_INET, SOCK_STREAM, 262) == 0 ? 0 : opened(AF_INET, SOCK_STREAM, 132); }
/* A lease of it outlives the process, and the whole machine has few. */
ATTACK(flow_label, "keep a label of flows", 0) {
    struct in6_flowlabel_req lease = {.flr_dst = {{{0x20, 1, 0x0d, 0xb8}}}, .flr_label = htonl(0x4711), .flr_action = IPV6_FL_A_GET, .flr_share = IPV6_FL_S_ANY, .flr_flags = IPV6_FL_F_CREATE};
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int failed = fd < 0 || setsockopt(fd, IPPROTO_IPV6, IPV6_FLOWLABEL_MGR, &lease, sizeof lease) != 0, error = errno;
    close(fd);
    errno = error;
    return failed ? -1 : done("a label");
}
static int netlink(const int *families) {
    for (; *families >= 0; families++)
        if (opened(AF_NETLINK, SOCK_RAW, *families) == 0) return done("netlink %d", *families);
    return -1;
}
ATTACK(kernel_links, "speak with the kernel's subsystems", 0) { return netlink((const int[]){NETLINK_NETFILTER, NETLINK_XFRM, NETLINK_AUDIT, NETLINK_KOBJECT_UEVENT, NETLINK_GENERIC, NETLINK_CRYPTO, -1}); }
ATTACK(change_loopback, "change the network of its sandbox", 5) {
    struct ifreq request = {.ifr_name = "lo"};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &request) != 0) return -1;
    request.ifr_flags &= ~IFF_UP;
    if (ioctl(fd, SIOCSIFFLAGS, &request) != 0) return -1;
    request.ifr_flags |= IFF_UP; /* a bootstrap needs it */
    return ioctl(fd, SIOCSIFFLAGS, &request) == 0 ? done("it had none for a moment") : -1;
}

/* Asks nf_tables for a table, and returns what the kernel says of that. */
ATTACK(filter_packets, "filter packets", 0) {
    struct message {
        struct nlmsghdr header;
        struct nfgenmsg of;
        struct nlattr attribute;
        char name[12];
    } messages[3] = {
        {.header = {.nlmsg_type = NFNL_MSG_BATCH_BEGIN}, .of = {.res_id = htons(NFNL_SUBSYS_NFTABLES)}},
        {.header = {.nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWTABLE, .nlmsg_flags = NLM_F_CREATE | NLM_F_ACK}, .of = {.nfgen_family = AF_INET},
         .attribute = {.nla_len = NLA_HDRLEN + sizeof "attack", .nla_type = NFTA_TABLE_NAME}, .name = "attack"},
        {.header = {.nlmsg_type = NFNL_MSG_BATCH_END}, .of = {.res_id = htons(NFNL_SUBSYS_NFTABLES)}},
    };
    struct {
        struct nlmsghdr header;
        struct nlmsgerr error;
        char rest[1024];
    } answer;
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
    if (fd < 0) return -1;
    char batch[sizeof messages], *end = batch;
    for (int i = 0; i < 3; i++) {
        messages[i].header.nlmsg_len = i == 1 ? sizeof *messages : NLMSG_LENGTH(sizeof messages[i].of);
        messages[i].header.nlmsg_flags |= NLM_F_REQUEST;
        messages[i].header.nlmsg_seq = (unsigned)i;
        end = mempcpy(end, &messages[i], messages[i].header.nlmsg_len);
    }
    errno = 0;
    ssize_t n = send(fd, batch, (size_t)(end - batch), 0) < 0 ? -1 : recv(fd, &answer, sizeof answer, MSG_DONTWAIT);
    int error = n < (ssize_t)NLMSG_LENGTH(sizeof answer.error) || answer.header.nlmsg_type != NLMSG_ERROR ? errno ? errno : EPROTO : -answer.error.error;
    close(fd);
    errno = error;
    return error ? -1 : done("a table");
}
