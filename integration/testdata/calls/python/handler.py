"""What ordinary programs ask of the kernel. Each answer is true, or what was refused."""
import asyncio, concurrent.futures, ctypes, fcntl, mmap, multiprocessing, os, pty, resource, select, signal, socket, sqlite3, subprocess, tempfile, threading, time
from multiprocessing import shared_memory


def files():
    with tempfile.TemporaryDirectory() as d:
        fd = os.open(d + "/a", os.O_RDWR | os.O_CREAT)
        os.write(fd, b"x" * 9000), os.pwrite(fd, b"y", 1), os.pread(fd, 1, 1), os.pwritev(fd, [b"a"], 0), os.preadv(fd, [bytearray(1)], 0)
        os.fsync(fd), os.fdatasync(fd), os.ftruncate(fd, 8192), os.posix_fallocate(fd, 0, 4096), os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        os.fchmod(fd, 0o600), os.fchown(fd, -1, -1), os.lockf(fd, os.F_TEST, 1), fcntl.flock(fd, fcntl.LOCK_EX), os.sync()
        os.link(d + "/a", d + "/b"), os.symlink("a", d + "/c"), os.replace(d + "/b", d + "/e"), os.mkfifo(d + "/f"), os.utime(d + "/a"), os.readlink(d + "/c")
        os.copy_file_range(fd, fd, 1, 0, 50), os.splice(fd, os.pipe()[1], 1, 0), os.statvfs(d), os.listxattr(d), os.memfd_create("m"), os.eventfd(0)
        m = mmap.mmap(fd, 4096)
        m.madvise(mmap.MADV_DONTNEED), m.flush(), m.close()
    return True


def processes():
    subprocess.run("date | cat; git --version; tar -C / -c etc/passwd | gzip -c >/tmp/a.tgz; cp -a /etc/passwd /tmp/p; timeout 5 true; nohup setsid nice true",
                   shell=True, check=True, capture_output=True)
    for method in "fork", "spawn", "forkserver":
        with multiprocessing.get_context(method).Pool(2) as pool:
            pool.map(abs, [1, -2])
    with concurrent.futures.ProcessPoolExecutor(1) as pool:
        pool.submit(abs, 1).result()
    memory = shared_memory.SharedMemory(create=True, size=4096)
    memory.close(), memory.unlink()
    os.sched_setaffinity(0, os.sched_getaffinity(0)), os.setpriority(os.PRIO_PROCESS, 0, 5), os.sched_yield(), resource.setrlimit(7, resource.getrlimit(7))
    os.pidfd_open(os.getpid()), os.getpgid(0), os.setuid(os.getuid()), os.setgroups(os.getgroups()[:0]) if not os.getuid() else None
    return pty.spawn(["/bin/true"]) == 0


def threads():
    all = [threading.Thread(target=time.sleep, args=(0.01,)) for _ in range(20)]
    [t.start() for t in all], [t.join() for t in all]
    signal.signal(signal.SIGUSR1, lambda *_: None), signal.raise_signal(signal.SIGUSR1)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2]), signal.pthread_kill(threading.get_ident(), signal.SIGUSR2)
    return signal.sigtimedwait([signal.SIGUSR2], 1) is not None


def sockets():
    for family, address in (socket.AF_INET, ("127.0.0.1", 0)), (socket.AF_INET6, ("::1", 0)), (socket.AF_UNIX, "\0name"):
        server = socket.socket(family)
        server.bind(address), server.listen()
        client = socket.socket(family)
        client.connect(server.getsockname()), client.sendall(b"x")
        there, _ = server.accept()
        with open("/etc/passwd", "rb") as f:
            client.sendfile(f)
        there.recv(9), there.shutdown(socket.SHUT_RDWR)
        datagrams = socket.socket(family, socket.SOCK_DGRAM)
        datagrams.close()
    a, b = socket.socketpair()
    socket.send_fds(a, [b"x"], [0]), socket.recv_fds(b, 9, 1)
    epoll = select.epoll()
    epoll.register(a), epoll.poll(0)
    return bool(socket.if_nameindex() and socket.getaddrinfo("localhost", 80))


def loops():
    async def go():
        await (await asyncio.create_subprocess_exec("true")).wait()
        await asyncio.to_thread(time.sleep, 0.001)
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        reader, _ = await asyncio.open_connection(*server.sockets[0].getsockname())
        return await reader.read() == b""
    return asyncio.run(go())


def databases():
    for mode in "wal", "delete":
        db = sqlite3.connect(f"/tmp/{mode}.db")
        db.execute(f"pragma journal_mode={mode}"), db.execute("create table a(x)"), db.commit(), db.close()
    return True


def others():
    libc, refused = ctypes.CDLL(None, use_errno=True), []
    for name, *arguments in (("inotify_init1", 0), ("timerfd_create", 1, 0), ("shmget", 0, 4096, 0o1600), ("semget", 0, 1, 0o1600), ("msgget", 0, 0o1600),
                             ("prctl", 15, b"name", 0, 0, 0), ("personality", 0xffffffff), ("timer_create", 1, None, bytes(8))):
        if getattr(libc, name)(*arguments) < 0:
            refused.append(f"{name}: {os.strerror(ctypes.get_errno())}")
    return refused or True


def handler(event, context):
    answers = {}
    for kind in files, processes, threads, sockets, loops, databases, others:
        try:
            answers[kind.__name__] = kind()
        except Exception as e:
            answers[kind.__name__] = repr(e)
    return answers
