# frozen_string_literal: true

require "digest/sha2" # not "digest" alone: that loads SHA256 at its first use, and two threads that do so at once get a class half made
require "fileutils"

module Pipsqueak
  # Gems resolves a Gemfile and installs gems, with Bundler and RubyGems, which are loaded when they are needed.
  class Gems
    # Groups that are for a developer's machine.
    LEFT_OUT = %i[development test].freeze
    ALL = "#{OUT}/.all"
    STORED = "/tmp/stored"
    # How many files are fetched at once.
    FETCHERS = 8

    # The source is where gems come from, an address; nil stands for what RubyGems itself takes.
    def initialize(source)
      ENV["BUNDLE_MIRROR__ALL"] = source if source
      ENV["BUNDLE_APP_CONFIG"] = "/tmp/bundle" # the function's own says nothing here
      ENV["GEM_HOME"] = ENV["GEM_PATH"] = ALL
      require "rubygems"
      require "rubygems/package"
      require "rubygems/remote_fetcher"
      require "rubygems/security"
      require "rubygems/user_interaction"
      Gem::DefaultUserInteraction.ui = Gem::SilentUI.new
      # RubyGems loads at its first use what belongs to these. That would be in threads, and not every library can be loaded by two at once.
      Gem.configuration
      Gem.load_yaml
      Gem::RemoteFetcher.fetcher
      @own = source
      @source = (source || Gem.default_sources.first).chomp("/")
    end

    # Returns the exact gems that the Gemfile asks for, with all that they need, and the lock that Bundler made, or nil: a
    # Gemfile.lock that is there is taken as it is.
    def lock(gemfile)
      require "bundler"
      require_relative "gemlock"
      Bundler.ui = Bundler::UI::Silent.new
      ENV["BUNDLE_GEMFILE"] = gemfile
      brought = Gemlock.read("#{gemfile}.lock")
      ENV["BUNDLE_FROZEN"] = "true" if brought
      definition = Bundler::Definition.build(gemfile, brought&.path || "#{gemfile}.lock", nil)
      check_sources(definition)
      brought ? brought.check(definition) : definition.validate_runtime!
      definition.resolve_remotely!
      chosen = closure(definition, definition.specs.group_by(&:name).transform_values(&:first))
      [describe(chosen, brought), brought ? nil : definition.to_lock]
    rescue Refused, SystemCallError
      raise
    rescue Bundler::HTTPError => e
      raise Installer.unreachable("resolving the Gemfile", "#{URI(@source).host}: #{e.message}")
    rescue Exception => e # whatever the Gemfile raises: it is code
      raise Installer.unreachable("resolving the Gemfile", "#{URI(@source).host}: #{said(e)}") if e.class.ancestors.any? { |one| one.name&.end_with?("Net::ProtocolError") }
      raise Installer.failed("resolving the Gemfile", "#{e.class}: #{said(e)}")
    end

    # Installs the packages, each into a directory of its own, yields what is done, and returns receipts.
    def install(packages, allowed)
      FileUtils.mkdir_p("#{ALL}/archives")
      archives = at_once(packages) { |package| check(package, allowed) }
      show_stored
      gem("install", "--local", "--install-dir", ALL, "--bindir", "/tmp/bin", "--ignore-dependencies", "--no-document", "--no-user-install", *archives.map(&:path))
      found = Dir["#{ALL}/specifications/*.gemspec"].map { |file| Gem::Specification.load(file) }.to_h { |spec| [[spec.name, spec.version.to_s], spec] }
      packages.zip(archives).each_with_index.map do |(package, archive), n|
        spec = found[package.values_at("name", "version")] or raise Refused.new("install", "driver", "RubyGems left out #{package["name"]}")
        files = split_off(spec, archive.contents, "#{OUT}/#{package["name"]}-#{package["version"]}")
        yield "#{package["name"]} #{package["version"]}", archive.bytes, n + 1
        { "name" => package["name"], "version" => package["version"], "archive" => archive.digest, "bytes" => archive.bytes, "modules" => modules(spec.name, files), "offers" => outermost(files),
          "licenses" => spec.licenses.grep(String), "signatures" => [archive.signature] }
      end
    ensure
      FileUtils.rm_rf(ALL)
    end

    private

    # What an error says, which a Gemfile can have made such that nobody can read it.
    def said(error)
      error.message
    rescue StandardError
      (error.cause || error).inspect
    end

    # Shows RubyGems the gems that are installed already, for what compiles an extension may require them. Those that have extensions themselves
    # it would not take.
    def show_stored
      Dir["/packages/*/*.gemspec"].each do |file|
        full = Gem::Specification.load(file).full_name
        next if File.exist?("#{File.dirname(file)}/extension")
        FileUtils.mkdir_p(%W[#{STORED}/specifications #{STORED}/gems])
        File.symlink(file, "#{STORED}/specifications/#{full}.gemspec")
        File.symlink("#{File.dirname(file)}/gem", "#{STORED}/gems/#{full}")
      end
      ENV["GEM_PATH"] = "#{ALL}:#{STORED}"
    end

    # A gem's file that is what its lock says.
    Archive = Struct.new(:path, :digest, :bytes, :contents, :signature)

    # A function cannot choose where packages come from.
    def check_sources(definition)
      definition.dependencies.map(&:source).compact.each do |source|
        next unless source.is_a?(Bundler::Source::Path) # Git's is one of them
        raise Refused.new("install", "handler", "Gemfile: #{source}: only gems of the index at an exact version can be installed; put the code into the function's directory")
      end
      own = [@own, *Gem.default_sources].compact.map { |uri| uri.to_s.chomp("/") }
      definition.send(:sources).rubygems_remotes.each do |uri|
        next if own.include?(uri.to_s.chomp("/"))
        raise Refused.new("install", "handler", "Gemfile: source #{uri.to_s.inspect}: a function cannot choose where packages come from; " \
                                                "this worker takes them from #{own.first.sub(%r{//[^/@]*@}, "//")}")
      end
    end

    # The specifications of the gems that are asked for and what they need. Those that come with Ruby are there anyway.
    def closure(definition, specs)
      wanted = definition.dependencies.select { |d| (d.groups - LEFT_OUT).any? && d.should_include? }.map(&:name)
      found = {}
      until wanted.empty?
        name = wanted.shift
        next if found.key?(name) || name == "bundler" || !(spec = specs[name])
        if spec.source.is_a?(Bundler::Source::Path)
          raise Refused.new("install", "handler", "Gemfile.lock: #{name} comes from #{spec.source}; only gems of the index can be installed")
        end
        found[name] = spec
        wanted.concat(needs(spec))
      end
      found.values.reject { |spec| spec.respond_to?(:default_gem?) && spec.default_gem? }
    end

    def needs(spec) = spec.dependencies.select { |d| d.type != :development }.map(&:name)

    # The packages as a lock has them. What the index does not say of a gem, the gem does.
    def describe(specs, brought)
      versions = specs.to_h { |spec| [spec.name, "#{spec.name}==#{spec.version}"] }
      at_once(specs) do |spec|
        platform = platform_of(spec)
        digest, extensions = known(spec, platform)
        brought&.check_gem(spec.name, spec.version.to_s, platform, digest)
        { "name" => spec.name, "version" => spec.version.to_s, "archives" => [digest], "requires" => versions.values_at(*needs(spec)).compact.uniq.sort, "scripts" => extensions,
          "purl" => "pkg:gem/#{spec.name}@#{spec.version}#{"?platform=#{platform}" if platform != "ruby"}" }
      end
    end

    # Older Bundlers have nothing for the platform that newer ones call "ruby".
    def platform_of(spec) = spec.platform.to_s.empty? ? "ruby" : spec.platform.to_s

    # Returns the digest of a gem, and whether it has extensions to compile: no index says that, and only gems for one platform have none.
    def known(spec, platform)
      full = Gemlock.full(spec.name, spec.version, platform)
      listed = spec.checksum if spec.respond_to?(:checksum)
      listed = listed.digest if listed.respond_to?(:digest)
      listed = listed.to_s.match?(/\A\h{64}\z/) ? "sha256:#{listed.downcase}" : nil
      return [listed, false] if listed && platform != "ruby"
      text = fetch(full)
      digest = "sha256:#{Digest::SHA256.hexdigest(text)}"
      raise Refused.new("install", "worker", "the index of gems says #{listed} of #{full}, which is #{digest}") if listed && listed != digest
      [digest, reading(full) { Gem::Package.new(StringIO.new(text)).spec.extensions.any? }]
    end

    def fetch(full)
      Gem::RemoteFetcher.fetcher.fetch_path("#{@source}/gems/#{full}.gem")
    rescue Gem::RemoteFetcher::FetchError => e
      raise Installer.unreachable("fetching #{full}", "#{URI(@source).host}: #{e.message}") unless e.message.include?(" 404 (") # the address in brackets can have any number
      raise Refused.new("install", "handler", "the index of gems does not have #{full} any more: resolve again with `pipsqueak deploy --anew` or `pipsqueak lock`")
    end

    # Fetches the gem of a package and looks at it before anything of it is installed.
    def check(package, allowed)
      platform = package["purl"].to_s[/[?&]platform=([^&]+)/, 1]
      full = [package["name"], package["version"], platform].compact.join("-")
      # A lock that a user brings can have any: none may become an address or a path.
      raise Refused.new("install", "caller", "#{full.inspect} is no gem: run `pipsqueak lock` to write pipsqueak.lock again") unless full.match?(/\A[\w.-]+\z/)
      text = fetch(full)
      digest = "sha256:#{Digest::SHA256.hexdigest(text)}"
      unless package["archives"].include?(digest)
        raise Refused.new("install", "worker", "the index of gems has another #{full} than the lock: its digest is #{digest} and should be #{package["archives"].join(" or ")}; " \
                                               "it was not installed. When its author has replaced it, resolve again with `pipsqueak deploy --anew` or `pipsqueak lock`")
      end
      path = "#{ALL}/archives/#{full}.gem"
      File.binwrite(path, text)
      reading(full) do
        gem = Gem::Package.new(path)
        spec = gem.spec
        raise Refused.new("install", "worker", "the index of gems has #{spec.full_name} where #{full} should be") unless spec.name == package["name"] && spec.version.to_s == package["version"]
        if spec.extensions.any? && !allowed.include?(spec.name)
          raise Refused.new("install", "caller", "#{full} runs code of its own when it is installed: allow it with 'allow_scripts: [#{spec.name}]' in pipsqueak.yaml")
        end
        raise TypeError, "its require_paths are no paths" unless spec.require_paths.grep_v(String).empty?
        Archive.new(path, digest, text.bytesize, gem.contents, signature(path, spec))
      end
    end

    # Yields. Whatever RubyGems raises of a gem that it cannot read is said of the gem.
    def reading(full)
      yield
    rescue Refused, SystemCallError
      raise
    rescue StandardError, SystemStackError => e
      raise Refused.new("install", "worker", "#{full} is damaged: #{e.message}")
    end

    # What the author's own signature in a gem says, which proves no more than that whoever made the certificate made the gem. One that is
    # wrong is an error.
    def signature(path, spec)
      said = { "scheme" => "RubyGems certificate", "verified" => false }
      return said.merge("detail" => "the gem is not signed") if spec.cert_chain.empty?
      Gem::Package.new(path, Gem::Security::LowSecurity).verify
      signer = OpenSSL::X509::Certificate.new(spec.cert_chain.last).subject.to_s
      said.merge("signer" => signer, "detail" => "the signature is right, and nobody vouches for its certificate")
    end

    # Moves the files of one gem into a directory of its own, with an index of what is where, and returns what can be required. What
    # compiling has left beside the gem's own files is dropped: it says when and where that was.
    def split_off(spec, contents, target)
      FileUtils.mkdir_p(target)
      extensions = File.directory?(spec.extension_dir)
      specification = spec.loaded_from
      required = spec.require_paths.grep_v(%r{\A/|(\A|/)\.\.(/|\z)})
      FileUtils.mv(spec.gem_dir, "#{target}/gem")
      FileUtils.mv(spec.extension_dir, "#{target}/extension") if extensions
      FileUtils.rm_f(%w[mkmf.log gem_make.out].map { |name| "#{target}/extension/#{name}" })
      left = Dir.glob("**/*", File::FNM_DOTMATCH, base: "#{target}/gem").map(&:b) - contents.map { |name| name.b.delete_prefix("./") }
      left.reject! { |name| required.any? { |path| path == "." || name.start_with?("#{path.b}/") } }
      left.each { |name| File.delete("#{target}/gem/#{name}") if File.file?("#{target}/gem/#{name}") }
      # What the driver compiles is put there, and loaded in place of what others read and scan.
      FileUtils.rm_rf(Dir.glob("**/*.rb.iseq", File::FNM_DOTMATCH, base: target).map { |name| "#{target}/#{name}" })
      paths = required.map { |path| "gem/#{path}" }
      paths.unshift("extension") if extensions
      File.write("#{target}/pipsqueak.json", JSON.generate("gems" => { spec.name => spec.version.to_s }, "paths" => paths))
      FileUtils.mv(specification, "#{target}/#{spec.name}.gemspec")
      show(spec, target, extensions)
      paths.flat_map { |path| Dir.glob("**/*.{rb,so}", base: "#{target}/#{path}") }.map { |file| file.delete_suffix(File.extname(file)) }.uniq
    end

    # Links the parts of a package to where RubyGems looks for them, and makes its programs as RubyGems would, for a Ruby that a handler starts.
    def show(spec, target, extensions)
      places = { "specifications/#{spec.full_name}.gemspec" => "#{spec.name}.gemspec", "gems/#{spec.full_name}" => "gem" }
      places[spec.extension_dir.delete_prefix("#{ALL}/")] = "extension" if extensions
      places.each do |place, part|
        FileUtils.mkdir_p(File.dirname("#{target}/#{place}"))
        File.symlink("#{"../" * place.count("/")}#{part}", "#{target}/#{place}")
      end
      spec.executables.grep(/\A[\w.-]+\z/).each do |name|
        FileUtils.mkdir_p("#{target}/bin")
        File.write("#{target}/bin/#{name}", "#!/usr/bin/env ruby\nrequire \"rubygems\"\nload Gem.activate_bin_path(#{spec.name.dump}, #{name.dump}, #{spec.version.to_s.dump})\n", perm: 0o755)
      end
    end

    # What require takes of a gem: its name, with hyphens or slashes, or else the only file there is.
    def modules(name, there)
      named = [name, name.tr("-", "/")].find { |one| there.include?(one) }
      top = there.reject { |file| file.include?("/") }
      named ? [named] : (top.size == 1 ? top : [])
    end

    # Those of the files that lie in no directory of another one's name.
    def outermost(files)
      all = files.to_h { |file| [file, true] }
      files.reject do |file|
        above = file.split("/")[0...-1]
        above.each_index.any? { |n| all[above[0..n].join("/")] }
      end.sort
    end

    # Maps on several threads: most of it waits for the network. After the first error no more is begun, and the error is raised when the
    # others have ended. No thread is killed: RubyGems gives the connection of one that waits for it back a second time, and waits for ever.
    def at_once(all)
      todo = Queue.new
      all.each_with_index { |one, n| todo << [one, n] }
      todo.close
      done = Array.new(all.size)
      failed = nil
      threads = Array.new([FETCHERS, all.size].min) do
        Thread.new do
          while (one, n = todo.pop)
            done[n] = yield one
          end
        rescue Exception => e
          failed ||= e
          todo.clear
        end
      end
      threads.each(&:join)
      failed ? raise(failed) : done
    end

    def gem(*arguments)
      program = [RbConfig.ruby, "-e", 'require "rubygems/gem_runner"; Gem::GemRunner.new.run(ARGV)', "--"]
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
