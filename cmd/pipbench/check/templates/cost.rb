ARGV.drop(1).each { |name| require name }
statm = -> { File.read("/proc/self/statm").split[1].to_i * 4096 }
statm.call
memory, used = statm.call, Process.clock_gettime(Process::CLOCK_THREAD_CPUTIME_ID)
require ARGV[0]
used = Process.clock_gettime(Process::CLOCK_THREAD_CPUTIME_ID) - used
puts used * 1000, statm.call - memory, Object.const_get(ARGV[0].split("_").map { |word| word[0].upcase + word[1..] }.join)::VALUE
