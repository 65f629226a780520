# frozen_string_literal: true

module Pipsqueak
  # Gemlock is a Gemfile.lock that the function brings. Older Bundlers cannot read its checksums: they read a copy without.
  class Gemlock
    # "  NAME (VERSION-PLATFORM) sha256=HEX,…", in the section CHECKSUMS
    CHECKSUM = /^  (\S+) \((\S+)\) (?:\S*,)?sha256=([^,\s]+)/

    attr_reader :path, :checksums # the copy; digests by the full name of a gem

    # Returns nil when there is none.
    def self.read(path)
      new(File.read(path).scrub("?").gsub("\r\n", "\n")) if File.exist?(path)
    end

    def initialize(text)
      section = text[/^CHECKSUMS\n(?:[ \t].*\n?)*\n*/] || ""
      @checksums = section.scan(CHECKSUM).to_h { |name, version, digest| ["#{name}-#{version}", "sha256:#{digest.downcase}"] }
      @path = "/tmp/Gemfile.lock"
      File.write(@path, text.sub(section, ""))
    end

    # Refuses a lock that does not answer everything that the Gemfile asks.
    def check(definition)
      definition.ensure_equivalent_gemfile_and_lockfile(true)
      definition.validate_runtime!
    rescue Bundler::ProductionError => e
      raise Refused.new("install", "caller", "Gemfile.lock does not answer the Gemfile: run `bundle install`, and deploy both: #{e.message.split.join(" ")}")
    end
  end
end
