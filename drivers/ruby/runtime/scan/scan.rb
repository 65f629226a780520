# frozen_string_literal: true

# What the Ruby driver runs in an installer's sandbox to scan: reads the files of gems, or of an archive, and runs nothing of them.
#
# Started as `ruby --disable=gems scan.rb REQUEST…`, and answers over descriptor 3 as installer.rb does. What is Debian's is scanned by the driver's own
# program too, which unpacks its archives.

require "find"
require "json"
require "open3"
require "psych"
require_relative "../install/answer"
require_relative "suspicions"

module Pipsqueak
  class Scan
    include Answer

    PACKAGES = "/packages"
    UNPACKED = "/out/.unpacked"
    MAX_FILE = 32 << 20
    MAGIC = { "\x7FELF" => "for Linux", "MZ" => "for Windows", "\0asm" => "for WebAssembly", "\xCF\xFA\xED\xFE" => "for macOS",
              "\xCE\xFA\xED\xFE" => "for macOS" }.transform_keys(&:b).freeze

    Unreadable = Class.new(StandardError)

    def initialize(request)
      @request = request
      @packages, @suspicions = [], []
    end

    def run
      archive = @request["archive"].to_s
      if archive.end_with?(".deb")
        debian(archive)
        tree(UNPACKED, @packages[0])
      elsif !archive.empty?
        gem(archive)
      else
        packages
      end
      say("result" => { "packages" => @packages, "suspicions" => @suspicions })
    rescue Unreadable => e
      say("error" => { "kind" => "invalid", "fault" => "handler", "message" => e.message.scrub("?")[0, 8000] })
    rescue SystemCallError => e
      say("error" => { "kind" => "unavailable", "fault" => "worker", "message" => "a package cannot be scanned: #{e.message.scrub("?")}" })
    end

    private

    def packages
      all = @request["packages"] || []
      debian(*all.map { |p| "#{p["name"]}==#{p["version"]}" }.grep(/\Adebian\+/))
      all.each do |p|
        known = { "name" => p["name"], "version" => p["version"] }
        directory = "#{PACKAGES}/#{p["name"]}-#{p["version"]}"
        if p["name"].start_with?("debian+")
          tree(directory, known)
        else
          @packages << known
          tree(directory, known) { |binaries| ["binary", "has compiled code: #{binaries}"] }
        end
      end
    end

    # Has the driver's program scan what is Debian's.
    def debian(*arguments)
      return if arguments.empty?
      out, status = Open3.capture2(@request["driver"], "debian", "scan", *arguments)
      answer = JSON.parse(out.lines.last || "{}")
      raise Unreadable, answer.dig("error", "message") || "the scanner of Debian packages ended without an answer: #{status}" unless answer["result"]
      @packages.concat(answer["result"]["packages"])
      @suspicions.concat(answer["result"]["suspicions"] || [])
    end

    # A gem is an archive of its description and of the archive of its files.
    def gem(archive)
      Dir.mkdir(UNPACKED)
      untar("-xf", archive, "-C", "/out", "metadata.gz", "data.tar.gz")
      untar("-xzf", "/out/data.tar.gz", "-C", UNPACKED)
      # Nobody has a right to files that the scanner cannot read.
      system("chmod", "-R", "u+rwX", UNPACKED)
      described = description
      version = described["version"]
      name, version = described["name"].to_s, (version.is_a?(Hash) ? version["version"] : version).to_s
      raise Unreadable, "#{File.basename(archive)} cannot be unpacked: it has no name and version" unless [name, version].grep_v(/\A[\w.-]+\z/).empty?
      package = { "name" => name, "version" => version }
      @packages << package
      extensions = Array(described["extensions"]).map { |file| file.to_s.delete_prefix("./") }
      extensions.each { |file| add(package, "install-hook", file, 0, "runs when it is installed: it builds an extension") }
      platform = described["platform"] || "ruby"
      tree(UNPACKED, package, extensions) do |binaries|
        if platform != "ruby"
          ["binary", "has compiled code without its source, as its platform #{platform} says: #{binaries}"]
        else
          ["stray-binary", "says that it has no compiled code (platform ruby) and has: #{binaries}"]
        end
      end
    end

    # What a gem says of itself, in plain hashes, lists and texts: nothing becomes an object of the class that it is said to be of.
    def description
      text = IO.popen(["gzip", "-dc", "/out/metadata.gz"], err: File::NULL) { |io| io.read(MAX_FILE).to_s }
      tree = Psych.parse(text.force_encoding(Encoding::UTF_8).scrub)
      tree.each { |node| node.tag = nil if node.respond_to?(:tag=) } if tree
      described = tree.to_ruby if tree
      described.is_a?(Hash) ? described : {}
    rescue Psych::Exception, ArgumentError, SystemStackError => e
      raise Unreadable, "#{File.basename(@request["archive"])} cannot be unpacked: its description cannot be read: #{e.message}"
    end

    def untar(*arguments)
      said, status = Open3.capture2e("tar", *arguments, "--no-same-owner", "--no-same-permissions", "--mode=u+rwX")
      raise Unreadable, "#{File.basename(@request["archive"])} cannot be unpacked: #{said.lines.first(3).join.strip}" unless status.success?
    end

    # Reads the files of a package. The block gets the binaries in words, and returns a rule and a reason; without it they are told elsewhere.
    def tree(directory, package, extensions = [])
      binaries = []
      Find.find(directory, ignore_error: false) do |path|
        next unless File.lstat(path).file?
        name = path.delete_prefix("#{directory}/").scrub("?")
        if name.match?(/\.(rb|gemspec|rake)\z/) || extensions.include?(name)
          code(package, path, name, extensions)
        elsif (magic = MAGIC.find { |start, _| File.binread(path, 4).to_s.start_with?(start) }) && File.size(path) >= 64
          binaries << [name, magic[1]]
        end
      end
      return if binaries.empty? || !block_given?
      words = binaries.first(5).map { |name, machine| "#{File.basename(name)} #{machine}" }.join(", ")
      words += " and #{binaries.size - 5} more" if binaries.size > 5
      rule, reason = yield(words)
      add(package, rule, binaries[0][0], 0, reason)
    end

    def code(package, path, name, extensions)
      installs = extensions.include?(name) || File.basename(name) == "extconf.rb"
      add(package, "install-hook", name, 0, "is loaded by every later command of the package manager") if File.basename(name) == "rubygems_plugin.rb"
      return add(package, "hidden-code", name, 0, "has #{File.size(path)} bytes of code: it was not read") if File.size(path) > MAX_FILE
      Suspicions.of(File.binread(path), installs ? "when it is installed" : "when it is required").each do |rule, line, reason|
        add(package, rule, name, line, reason)
      end
    end

    def add(package, rule, file, line, reason)
      @suspicions << { "package" => "#{package["name"]}==#{package["version"]}", "rule" => rule, "file" => file.scrub("?")[0, 500], "line" => line || 0, "reason" => reason }
    end
  end
end

Pipsqueak::Scan.new(JSON.parse(ARGV.join)).run
