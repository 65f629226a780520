# frozen_string_literal: true

module Pipsqueak
  # Gemlock is a Gemfile.lock that the function brings. What of it says which gems are safe is read here and not left to Bundler: of what a version
  # of Bundler does not know, it skips the section. Bundler gets a copy without checksums.
  class Gemlock
    SECTIONS = ["GIT", "GEM", "PATH", "PLUGIN SOURCE", "PLATFORMS", "DEPENDENCIES", "RUBY VERSION", "CHECKSUMS", "BUNDLED WITH"].freeze
    # "  NAME (VERSION-PLATFORM) ALGORITHM=DIGEST,…", in the section CHECKSUMS. No digest: its author did not know one.
    CHECKSUM = /\A  (?<name>\S+) \((?<version>[^-\s)]+)(?:-(?<platform>\S+))?\)(?: (?<digests>\S+))?\z/
    SPEC = /\A    (?<name>\S+) \((?<version>[^-\s)]+)(?:-(?<platform>\S+))?\)\z/ # in the section GEM

    attr_reader :path # of the copy

    # Returns nil when there is none.
    def self.read(path)
      new(File.read(path).scrub("?").gsub("\r\n", "\n")) if File.exist?(path)
    end

    # The name under which an index has a gem.
    def self.full(name, version, platform) = [name, version, *(platform unless platform.to_s.empty? || platform == "ruby")].join("-")

    def initialize(text)
      sections = text.split(/^(?=\S)/).map { |section| section.lines(chomp: true).reject(&:empty?) }.reject(&:empty?)
      unknown = sections.map(&:first) - SECTIONS
      refuse("has the section #{unknown.first.inspect}, which this driver does not know and which may say what is safe to install") if unknown.any?
      @checksums = {} # digests by the full name of a gem, nil where the lock has none
      each(sections, "CHECKSUMS") { |line| checksum(line) }
      @locked = {} # full names
      each(sections, "GEM") { |line| gem(line) }
      @path = "/tmp/Gemfile.lock"
      File.write(@path, sections.reject { |section| section.first == "CHECKSUMS" }.map { |section| "#{section.join("\n")}\n" }.join("\n"))
    end

    # Refuses a lock that does not answer everything that the Gemfile asks.
    def check(definition)
      definition.ensure_equivalent_gemfile_and_lockfile(true)
      definition.validate_runtime!
    rescue Bundler::ProductionError => e
      refuse("does not answer the Gemfile: run `bundle install`, and deploy both: #{e.message.split.join(" ")}")
    end

    # Refuses a gem that Bundler has chosen when the lock has another one in its place, or another digest.
    def check_gem(name, version, platform, digest)
      full = Gemlock.full(name, version, platform)
      unless @locked[full] || @locked[Gemlock.full(name, version, nil)]
        refuse("does not have #{full}, which Bundler #{Bundler::VERSION} takes with it: run `bundle lock --add-platform #{platform}` with a newer Bundler")
      end
      known = @checksums[full]
      if known.nil? && @checksums.any? { |other, digests| digests && (other == "#{name}-#{version}" || other.start_with?("#{name}-#{version}-")) }
        refuse("has checksums of #{name} #{version} for other platforms, and none for #{full}: run `bundle lock --add-platform #{platform} --add-checksums`")
      end
      return if known.nil? || known == digest
      refuse("has the checksum #{known} for #{full}, and the index #{digest}: one of the two is not what its author published; nothing was installed")
    end

    private

    def refuse(why)
      raise Refused.new("install", "caller", "Gemfile.lock #{why}")
    end

    def each(sections, name, &block)
      sections.each { |section| section.drop(1).each(&block) if section.first == name }
    end

    def gem(line)
      option = line[/\A  ([^\s:]+):/, 1]
      refuse("says #{option.inspect} of a source, which this driver does not know") unless [nil, "remote", "specs"].include?(option)
      (m = SPEC.match(line)) && @locked[Gemlock.full(*m.captures)] = true
    end

    def checksum(line)
      m = CHECKSUM.match(line) or refuse("has #{line.strip.inspect} among its checksums, which cannot be read")
      digests = m[:digests].to_s.split(",").to_h { |one| one.partition("=").values_at(0, 2) }
      full, digest = Gemlock.full(*m.values_at(:name, :version, :platform)), digests["sha256"]
      if digests.any? && !digest.to_s.match?(/\A\h{64}\z/)
        refuse("has #{m[:digests].inspect} as the checksum of #{full}: only SHA-256 in hexadecimal digits is understood")
      end
      digest &&= "sha256:#{digest.downcase}"
      refuse("has two checksums for #{full}") if @checksums.fetch(full, digest) != digest
      @checksums[full] = digest
    end
  end
end
