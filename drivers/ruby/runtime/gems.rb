# frozen_string_literal: true

require "fileutils"

module Pipsqueak
  # Gems resolves a Gemfile and installs gems, with Bundler and RubyGems, which are loaded when they are needed.
  class Gems
    # Groups that are for a developer's machine.
    LEFT_OUT = %i[development test].freeze
    # A process of this runtime has these before anything of the function's is loaded.
    LOADED = %w[json].freeze
    ALL = "#{OUT}/.all"

    # The source is where gems come from, an address; nil stands for what RubyGems itself takes.
    def initialize(source)
      @source = source
      ENV["BUNDLE_MIRROR__ALL"] = source if source
      ENV["BUNDLE_APP_CONFIG"] = "/tmp/bundle" # the function's own says nothing here
      ENV["GEM_HOME"] = ENV["GEM_PATH"] = ALL
      require "rubygems"
    end

    # Returns the exact gems that the Gemfile asks for, with all that they need. Gemfile.lock has the say, as far as it goes.
    def lock(gemfile)
      require "bundler"
      Bundler.ui = Bundler::UI::Silent.new
      ENV["BUNDLE_GEMFILE"] = gemfile
      definition = Bundler::Definition.build(gemfile, "#{gemfile}.lock", nil)
      definition.validate_runtime!
      check_sources(definition)
      specs = settled?(definition) ? definition.locked_gems.specs : definition.resolve_remotely!.to_a
      closure(definition, specs.group_by(&:name).transform_values(&:first))
    rescue Refused, SystemCallError
      raise
    rescue StandardError, ScriptError => e
      raise Installer.failed("resolving the Gemfile", "#{e.class}: #{e.message}")
    end

    # Installs the packages, each into a directory of its own, and yields what is done.
    def install(packages)
      pins = packages.map { |package| "#{package["name"]}:#{package["version"]}" }
      gem("install", "--install-dir", ALL, "--bindir", "/tmp/bin", "--ignore-dependencies", "--no-document", "--no-user-install", *pins)
      found = Dir["#{ALL}/specifications/*.gemspec"].map { |file| Gem::Specification.load(file) }.to_h { |spec| [[spec.name, spec.version.to_s], spec] }
      packages.each_with_index do |package, n|
        spec = found[package.values_at("name", "version")] or raise Refused.new("install", "driver", "RubyGems left out #{package["name"]}")
        split_off(spec, "#{OUT}/#{package["name"]}-#{package["version"]}")
        yield "#{package["name"]}==#{package["version"]}", n + 1
      end
      FileUtils.rm_rf(ALL)
    end

    private

    # A function cannot choose where packages come from.
    def check_sources(definition)
      definition.dependencies.map(&:source).compact.each do |source|
        next unless source.is_a?(Bundler::Source::Path) # Git's is one of them
        raise Refused.new("install", "handler", "Gemfile: #{source}: only gems of the index at an exact version can be installed; put the code into the function's directory")
      end
      own = [@source, *Gem.default_sources].compact.map { |uri| uri.to_s.chomp("/") }
      definition.send(:sources).rubygems_remotes.each do |uri|
        next if own.include?(uri.to_s.chomp("/"))
        raise Refused.new("install", "handler", "Gemfile: source #{uri.to_s.inspect}: a function cannot choose where packages come from; " \
                                                "this worker takes them from #{own.first}")
      end
    end

    # Whether the lock answers everything the Gemfile asks.
    def settled?(definition)
      definition.locked_gems && definition.nothing_changed?
    end

    def closure(definition, specs)
      wanted = definition.dependencies.select { |d| (d.groups - LEFT_OUT).any? && d.should_include? }.map(&:name)
      found = {}
      until wanted.empty?
        name = wanted.shift
        next if found.key?(name) || name == "bundler" || !(spec = specs[name])
        if spec.source.is_a?(Bundler::Source::Path)
          raise Refused.new("install", "handler", "Gemfile.lock: #{name} comes from #{spec.source}; only gems of the index can be installed")
        end
        found[name] = ({ "name" => name, "version" => spec.version.to_s } unless LOADED.include?(name))
        wanted.concat(spec.dependencies.select { |d| d.type != :development }.map(&:name))
      end
      found.values.compact
    end

    # Moves the files of one gem into a directory of its own, with an index of what is where.
    def split_off(spec, target)
      FileUtils.mkdir_p(target)
      extensions = File.directory?(spec.extension_dir)
      specification = spec.loaded_from
      FileUtils.mv(spec.gem_dir, "#{target}/gem")
      FileUtils.mv(spec.extension_dir, "#{target}/extension") if extensions
      Dir["#{target}/gem/ext/**/*.o"].each { |file| File.delete(file) }
      paths = spec.require_paths.grep_v(%r{\A/}).map { |path| "gem/#{path}" }
      paths.unshift("extension") if extensions
      File.write("#{target}/pipsqueak.json", JSON.generate("gems" => { spec.name => spec.version.to_s }, "paths" => paths))
      FileUtils.mv(specification, "#{target}/#{spec.name}.gemspec")
    end

    def gem(*arguments)
      program = [RbConfig.ruby, "-e", 'require "rubygems/gem_runner"; Gem::GemRunner.new.run(ARGV)', "--"]
      arguments += ["--clear-sources", "--source", @source] if @source
      said, status = Open3.capture2e(*program, *arguments, stdin_data: "", chdir: "/tmp")
      return if status.success?
      raise Installer.failed("installing gems", [said[-6000..] || said, log(said)].compact.join("\n"))
    end

    # The end of what the compiler said, when that is in a file.
    def log(said)
      path = said[%r{#{ALL}/extensions/\S+/(?:mkmf\.log|gem_make\.out)}] or return
      text = File.read(path).scrub("?")
      text[-4000..] || text
    rescue SystemCallError
      nil
    end
  end
end
