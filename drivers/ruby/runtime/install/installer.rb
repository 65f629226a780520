# frozen_string_literal: true

# What the Ruby driver runs in an installer's sandbox: resolve a function's packages, install them, or compile them.
#
# Started as `ruby --disable=gems installer.rb REQUEST…`, which is JSON in as many arguments as it takes. Answers over descriptor 3, one JSON packet a
# message: any number of {"progress": …}, then {"result": …}, twice when it resolves, or {"error": …} (core/driver/kit/installer, Program).

require "etc"
require "json"
require "open3"
require "rbconfig"
require_relative "answer"

module Pipsqueak
  CODE = "/function"
  OUT = "/out"

  require_relative "gems"
  require_relative "imports"

  class Installer
    include Answer

    ANSWER = "/tmp/answer"
    # Debian packages that a function has by its runtime.
    SHORT = RUBY_VERSION[/\A\d+\.\d+/]
    BROUGHT = %W[ruby ruby#{SHORT} libruby libruby#{SHORT} ruby-rubygems rubygems-integration].freeze

    def initialize(request)
      @request = request
    end

    def run
      result = case @request["op"]
      when "resolve" then resolve
      when "install" then install
      when "compile" then compile
      end
      say("result" => result)
    rescue StandardError => e
      say("error" => told(e))
    end

    def self.full(what)
      Refused.new("exhausted", "worker", "the disk of the worker is full: free space there, or start the worker with --data on a larger disk: #{what}")
    end

    # What a program said when it failed, as an error. Whether the network was the reason only its caller knows: a compiler may say what it likes.
    def self.failed(what, said)
      return full("#{what}: #{said}") if said.scrub("?").match?(/No space left|quota exceeded/i)
      Refused.new("install", "handler", "#{what}: #{said}")
    end

    def self.unreachable(what, said) = Refused.new("install", "worker", "#{what}: the index of gems cannot be reached: #{said}; see that the worker's machine " \
                                                                               "reaches it, or name another one in PIPSQUEAK_GEM_SOURCE of the worker's environment")

    private

    # Says what Debian's lists have before anything of the function's runs: a Gemfile is code and could say something else.
    def resolve
      say("result" => @request["locked"] ? [] : debian("resolve", *@request["debian"]))
      imports = Imports.new(CODE)
      names = imports.of(@request["handler"])
      return found(imports, names, @request["names"] || []) if @request["locked"]
      gems, lock = File.exist?("#{CODE}/Gemfile") ? apart { Gems.new(@request["source"]).lock("#{CODE}/Gemfile") } : []
      File.write("#{CODE}/Gemfile.lock", lock) if lock
      found(imports, names, (gems || []).map { |gem| gem["name"] }).merge("packages" => gems || [], "files" => lock ? { "Gemfile.lock" => lock } : {})
    end

    # What the function's files import. Nothing may be there before them when they bring something of the same name.
    def found(imports, names, packages)
      gems = (packages + (@request["debian"] || [])).map { |name| name.sub(/\A(debian\+)?ruby-/, "") }
      return { "imports" => [], "sets" => [Sets::ALL] } if imports.shadows?(gems)
      { "imports" => names, "sets" => imports.sets }
    end

    # Returns what the block returns, as JSON has it. A Gemfile can end the process that reads it, so that is a child.
    def apart
      _, status = Process.wait2(fork do
        File.write(ANSWER, JSON.generate("result" => yield))
      rescue StandardError => e
        File.write(ANSWER, JSON.generate("error" => told(e)))
      ensure
        exit!(true) # without what the Gemfile has asked for at the end
      end)
      unless File.exist?(ANSWER)
        raise Refused.new("install", "handler", "resolving the Gemfile: it ended the process that was reading it (#{status.to_s.sub(/\Apid \d+ /, "")}), or that took too much memory")
      end
      answer = JSON.parse(File.read(ANSWER))
      answer.fetch("result") { raise Refused.new(*answer["error"].values_at("kind", "fault", "message")) }
    end

    # An error as core has it.
    def told(error)
      case error
      when Refused then error
      when Errno::ENOSPC, Errno::EDQUOT then Installer.full(error.message)
      when SystemCallError then Refused.new("install", "worker", "#{@request["op"]}: #{error.message}")
      else Refused.new("internal", "driver", "#{@request["op"]}: #{error.class}: #{error.message} (#{error.backtrace&.first})")
      end.reply
    end

    def install
      others, gems = (@request["packages"] || []).partition { |package| package["name"].start_with?("debian+") }
      receipts = others.empty? ? [] : debian("install", input: JSON.generate(others))
      return receipts if gems.empty?
      progress("#{gems.size} gem#{"s" if gems.size > 1}", "fetching", 0, gems.size)
      receipts + Gems.new(@request["source"]).install(gems, @request["allow"] || []) do |item, bytes, done|
        progress(item, format("fetched %.1f MB", bytes / 1e6), done, gems.size)
      end
    end

    def compile
      waiting = Queue.new(@request["dirs"]).close
      Array.new(Etc.nprocessors) do
        Thread.new do
          while (directory = waiting.pop)
            said, status = Open3.capture2e(RbConfig.ruby, "--disable=gems", "-Eutf-8", "#{__dir__}/compile.rb", directory, "#{OUT}/#{File.basename(directory)}", unsetenv_others: true)
            raise Installer.failed("compiling #{directory}", said) unless status.success?
          end
        end
      end.each(&:join)
      {}
    end

    # Has the driver's own program resolve or install Debian packages.
    def debian(operation, *names, input: "")
      return [] if operation == "resolve" && names.empty?
      names += ["--", *BROUGHT] if operation == "resolve"
      result = ended = nil
      Open3.popen2(@request["driver"], "debian", operation, *names) do |stdin, stdout, process|
        begin
          stdin.write(input)
          stdin.close
        rescue Errno::EPIPE
          nil # it has ended, and its status says how
        end
        stdout.each_line do |line|
          step = JSON.parse(line)
          say(step) if step["progress"]
          raise Refused.new(*step["error"].values_at("kind", "fault", "message")) if step["error"]
          result ||= step["result"]
        end
        ended = process.value.to_s.sub(/\Apid \d+ /, "")
      end
      raise Refused.new("install", "driver", "the installer of Debian packages ended without an answer: #{ended}") unless result
      result
    end

    def progress(item, detail, done, total)
      say("progress" => { "verb" => "install", "item" => item, "detail" => detail, "done" => done, "total" => total })
    end
  end
end

Pipsqueak::Installer.new(JSON.parse(ARGV.join)).run
