# What ordinary programs ask of the kernel. Each answer is true, or what was refused.
require 'etc'
require 'fileutils'
require 'open3'
require 'openssl'
require 'pty'
require 'socket'
require 'tmpdir'

KINDS = {
  files: lambda {
    Dir.mktmpdir do |dir|
      File.write("#{dir}/a", 'x' * 10_000)
      File.link("#{dir}/a", "#{dir}/b")
      File.symlink('a', "#{dir}/c")
      File.rename("#{dir}/b", "#{dir}/e")
      File.mkfifo("#{dir}/f")
      File.utime(1, 1, "#{dir}/a")
      IO.copy_stream("#{dir}/a", "#{dir}/g")
      FileUtils.cp("#{dir}/a", "#{dir}/h", preserve: true)
      File.open("#{dir}/a", 'r+') { |f| f.flock(File::LOCK_EX) && f.fsync && f.fdatasync && f.pread(1, 0) && f.pwrite('a', 0) && f.truncate(5) }
    end
  },
  processes: lambda {
    read, write = IO.pipe
    Process.wait(fork { write.puts('there') })
    Open3.capture2e('ls / | cat')
    Process.wait(spawn('ruby', '-e', 'exit 3'))
    Process.setpriority(Process::PRIO_PROCESS, 0, 5)
    Process.kill(0, $$)
    PTY.spawn('true') { |_, _, pid| Process.wait(pid) }
    read.gets == "there\n"
  },
  threads: -> { Array.new(10) { |i| Thread.new { sleep 0.01; i } }.sum(&:value) == 45 && Ractor.new { true }.take },
  sockets: lambda {
    server = TCPServer.new('127.0.0.1', 0)
    client = TCPSocket.new('127.0.0.1', server.addr[1])
    server.accept.close
    UNIXSocket.pair.then { |a, b| a.send_io($stdout) || b.recv_io }
    UDPSocket.new.bind('127.0.0.1', 0)
    client.read && !Socket.getifaddrs.empty? && !Addrinfo.getaddrinfo('localhost', 80).empty?
  },
  machine: -> { Etc.nprocessors.positive? && OpenSSL::PKey::RSA.new(1024).private? },
}.freeze

def handler(event:, context:)
  KINDS.transform_values do |kind|
    kind.call ? true : 'false'
  rescue StandardError => e
    "#{e.class}: #{e.message}"
  end
end
