# Takes the processor's time that the installation of this artificial package costs, and compiles nothing.
ends = Process.clock_gettime(Process::CLOCK_PROCESS_CPUTIME_ID, :nanosecond) + {{.InstallNanoseconds}}
1000.times { |i| i * i } while Process.clock_gettime(Process::CLOCK_PROCESS_CPUTIME_ID, :nanosecond) < ends
File.write("Makefile", "all install clean:\n\t@true\n")
