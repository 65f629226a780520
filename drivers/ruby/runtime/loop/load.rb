# frozen_string_literal: true

require_relative "application"
require_relative "describe"

module Pipsqueak
  # Loader imports: it knows where packages are and what the process has of them.
  class Loader
    # The threads that CRuby has of its own: from 3.3 on, one that keeps the time.
    OWN_THREADS = Dir.children("/proc/self/task").size - 1
    # Seconds that a thread may still be seen after it was joined.
    SETTLING = 0.5

    # Threads that libraries start when they are required and can do without: one that frees what ended threads have left
    # (concurrent-ruby before 1.2), and one that is started again when it is needed (timeout).
    DISPENSABLE = %r{/concurrent/atomic/ruby_thread_local_var\.rb:|/timeout\.rb:}

    # Where this Ruby itself is.
    OWN_PROGRAMS = File.dirname(File.readlink("/proc/self/exe"))

    THREAD = Thread.instance_method(:inspect)

    # Modules that are reported to core, of those that it did not know a handler requires.
    MAX_LOADED = 64

    attr_reader :packages # directories, of the last request

    def initialize
      @code = CODE
      @standard = $LOAD_PATH.dup
      @indexes = {}
      @libraries = {}
      look_in([])
    end

    # The gems that the process can require: name => [directory, version].
    def gems
      @packages.each_with_object({}) do |directory, all|
        @indexes[directory].fetch("gems", {}).each { |name, version| all[name] = [directory, version] }
      end
    end

    # Whether the process can require a gem in such a version.
    def gem?(name, requirements)
      _, version = gems[name]
      version && ::Gem::Requirement.create(requirements).satisfied_by?(::Gem::Version.new(version))
    end

    # Imports the modules of a request, and returns the report.
    def load(request)
      start = now
      look_in(request["packages"] || [])
      request["handler"] ? tell_programs : tell_rubygems
      took = (request["modules"] || []).to_h { |name| [name, time { import(name) }] }
      known = $LOADED_FEATURES.size
      yield if block_given?
      PipsqueakZygote.use_threads(request["processors"]) if request["processors"]
      Thread.list.each { |thread| thread.kill.join if DISPENSABLE.match?(THREAD.bind_call(thread)) }
      report = { "took" => now - start, "modules" => took, "threads" => request["handler"] ? Thread.list.size : threads }
      report["loaded"] = loaded_since(known) if request["handler"] && $LOADED_FEATURES.size > known
      report
    end

    # Returns what calls the handler "directory/file.symbol" or "directory/file.Module::Class.symbol". A constant alone names a Rack application.
    def handler(name)
      file, symbol = divide(name)
      import(file, "#{file.delete_prefix("#{@code}/")}.rb")
      return application(name, file, symbol) if symbol.match?(CONSTANT)
      owner, dot, method = symbol.rpartition(".")
      Handler.new(name, find(name, file, dot.empty? ? nil : owner, method))
    end

    # Yields with the handler's file in another place. A rehearsal has loaded that before; here it does once more.
    def rehearse(directory, file)
      @code = directory
      Kernel.load("#{directory}/#{file}.rb")
      yield
    ensure
      @code = CODE
    end

    private

    # The same again is no change: a change makes Ruby look at every directory again.
    def look_in(packages)
      return if packages == @packages
      @packages = packages
      packages.each { |directory| @indexes[directory] ||= index(directory) }
      own = packages.flat_map { |directory| @indexes[directory]["paths"].map { |path| File.join(directory, path) } }
      $LOAD_PATH.replace([CODE, *own, *@standard])
      load_libraries(packages)
    end

    # Has this process find the programs of packages, and a Ruby that it starts the packages and the libraries that their extensions are linked with.
    def tell_programs
      programs = @packages.flat_map { |directory| @indexes[directory]["programs"] }
      programs << OWN_PROGRAMS unless ENV.fetch("PATH", OWN_PROGRAMS).split(":").include?(OWN_PROGRAMS)
      ENV["PATH"] = [*programs, *ENV["PATH"]].join(":") unless programs.empty?
      libraries = @packages.flat_map { |directory| (@indexes[directory]["libraries"] || {}).values.map { |library| File.dirname("#{directory}/#{library["path"]}") } }
      { "RUBYLIB" => $LOAD_PATH - [CODE, *@standard], "LD_LIBRARY_PATH" => libraries.uniq }.each do |name, directories|
        ENV[name] = [*ENV[name], *directories].join(":") unless directories.empty?
      end
      tell_rubygems(ENV["GEM_PATH"])
    end

    # Has RubyGems find the gems of the packages, if somebody loads it, and look at them again, if somebody has. With nothing behind
    # the last colon it looks where it does by itself, too.
    def tell_rubygems(own = nil)
      homes = @packages.flat_map { |directory| @indexes[directory]["homes"] }
      ENV["GEM_PATH"] = (own ? [own, *homes] : [*homes, ""]).join(":") unless homes.empty?
      ::Gem.clear_paths if $LOADED_FEATURES.any? { |file| file.end_with?("/rubygems.rb") }
    end

    # What of a package RubyGems takes for a directory of gems.
    HOMES = "{.,usr/share/rubygems-integration/*,usr/lib/*/rubygems-integration/*}/specifications"

    # What the installer has noted of a package, and what is found in it.
    def index(directory)
      noted = begin
        JSON.parse(File.read("#{directory}/pipsqueak.json"))
      rescue Errno::ENOENT
        { "paths" => ["."] }
      end
      programs = (directory.include?("/debian+") ? %w[usr/bin usr/games] : %w[bin]).map { |name| "#{directory}/#{name}" }
      noted.merge("programs" => programs.select { |path| File.directory?(path) }, "homes" => Dir.glob(HOMES, base: directory).map { |path| File.dirname("#{directory}/#{path}").delete_suffix("/.") })
    end

    # Loads the libraries that extensions are linked with and that are in packages, after those that they need themselves. The
    # dynamic loader would not find them where they are; once they are there it takes them by their names.
    def load_libraries(packages)
      known = packages.map { |directory| (@indexes[directory]["libraries"] || {}).transform_values { |library| [directory, library] } }.reduce({}, :merge)
      packages.each { |directory| (@indexes[directory]["needs"] || []).each { |name| load_library(name, known) } }
    end

    # What has been required of packages after the first so many files: of those inside of one another, the outermost.
    def loaded_since(known)
      files = $LOADED_FEATURES[known..].grep(%r{\A/packages/})
      names = files.filter_map do |file|
        path = $LOAD_PATH.select { |dir| file.start_with?("#{dir}/") }.max_by(&:size)
        file.delete_prefix("#{path}/").delete_suffix(File.extname(file)) if path
      end
      names.reject { |name| names.any? { |other| name.start_with?("#{other}/") } }.first(MAX_LOADED)
    end

    def load_library(name, known)
      directory, library = known[name]
      return if library.nil? || @libraries[name]
      @libraries[name] = true
      library["needs"]&.each { |needed| load_library(needed, known) }
      PipsqueakZygote.load_library(name, File.join(directory, library["path"]))
    end

    def import(name, shown = name)
      require name
    rescue Exception => e # whatever third-party code raises, SystemExit too, is reported and not acted on
      raise e if e.is_a?(Failure)
      raise Failure.new("exception", "handler", "importing #{shown} failed: #{Pipsqueak.type_of(e)}: #{Pipsqueak.message_of(e)}", e), cause: nil
    end

    # Divides a handler's name at the first dot after the last slash behind which there is a file. The dots before may be slashes of its path.
    def divide(name)
      at = name.rindex("/") || 0
      while (at = name.index(".", at + 1))
        [name[0...at], name[0...at].tr(".", "/")].each do |base|
          return "#{@code}/#{base}", name[at + 1..] if File.file?("#{@code}/#{base}.rb")
        end
      end
      raise Failure.new("invalid", "handler", "the handler #{name.inspect} names no file of the function: it is FILE.METHOD or FILE.CLASS.METHOD")
    end

    CONSTANT = /\A[A-Z]\w*(::[A-Z]\w*)*\z/
    private_constant :CONSTANT

    def application(name, file, constant)
      found = Object.const_get(constant)
      return Application.new(name, found) if found.respond_to?(:call)
      raise Failure.new("invalid", "handler", "#{constant} in #{file.delete_prefix("#{@code}/")}.rb has no method call, and so is no Rack application")
    rescue NameError
      raise Failure.new("invalid", "handler", "#{file.delete_prefix("#{@code}/")}.rb has no constant #{constant.inspect}, which the handler #{name.inspect} names"), cause: nil
    end

    def find(name, file, owner, method)
      file = "#{file.delete_prefix("#{@code}/")}.rb"
      receiver = owner ? Object.const_get(owner) : TOPLEVEL_BINDING.receiver
      found = METHOD.bind_call(receiver, method) # a class may have a method of that name
      # Kernel has a method of many a name, which is not what the file should have had.
      return found if found.source_location && !found.source_location.first.start_with?("<internal:")
      raise NameError
    rescue NameError => e
      missing = e.is_a?(NoMethodError) || receiver ? "no method #{method.inspect}#{" of #{owner}" if owner}" : "no constant #{owner.inspect}"
      raise Failure.new("invalid", "handler", "#{file} has #{missing}, which the handler #{name.inspect} names"), cause: nil
    end

    def time
      start = now
      yield
      now - start
    end

    def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)

    # How many threads the process has, without Ruby's own. A thread that has ended is still there for a while.
    def threads
      deadline = now + SETTLING
      loop do
        count = [Dir.children("/proc/self/task").size - OWN_THREADS, 1].max
        return count if count == 1 || Thread.list.size > 1 || now > deadline
        sleep 0.001
      end
    end
  end

  # Handler calls the user's method with those of event and context that it takes.
  class Handler
    attr_reader :name

    def initialize(name, method)
      @name = name
      @method = method
      kinds = method.parameters.group_by(&:first).transform_values { |list| list.map(&:last) }
      named = kinds.fetch(:keyreq, []) + kinds.fetch(:key, [])
      if kinds.key?(:req) || !(kinds.fetch(:keyreq, []) - %i[event context]).empty?
        raise Failure.new("invalid", "handler", "the handler #{name.inspect} takes other arguments than it is called with: " \
                                                "write def #{method.name}(event:, context:)")
      end
      @takes = kinds.key?(:keyrest) ? %i[event context] : named & %i[event context]
      @both = @takes.size == 2
    end

    def call(event, context)
      return @method.call(event: event, context: context) if @both
      @method.call(**{ event: event, context: context }.slice(*@takes))
    end
  end
end
