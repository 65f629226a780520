# frozen_string_literal: true

# The part of RubyGems that gems ask for while they are required: versions, and which gems there are. A process starts without
# RubyGems, whose scan for gems takes longer than all the rest; this file is loaded when somebody says Gem. RubyGems itself comes when
# they ask for more than there is here.
module Gem
  autoload :Version, "rubygems/version"
  autoload :Requirement, "rubygems/requirement"

  # A gem of the function's.
  Loaded = Struct.new(:name, :version, :full_gem_path) do
    def full_name = "#{name}-#{version}"
    def activated? = true
    alias_method :gem_dir, :full_gem_path
  end

  # The function's gems are in use, each from when somebody asks for it.
  IN_USE = lambda do |all, name|
    directory, version = Pipsqueak::Zygote.loader.gems[name]
    next unless version
    stub = Specification.stubs_for(name).first if const_defined?(:Specification, false)
    all[name] = stub && Specification.load(stub.loaded_from) || Loaded.new(name, Version.new(version), directory)
  end
  private_constant :Loaded, :IN_USE

  # When RubyGems is loaded it begins another Hash, and notes gems of Ruby's own in it that it takes some of the function's files for.
  module Kept
    def loaded_specs
      all = super
      return all if all.default_proc || !loaded?
      Pipsqueak::Zygote.loader.gems.each_key { |name| all.delete(name) }
      all.default_proc = IN_USE
      all
    end

    private def loaded? = $LOADED_FEATURES.any? { |feature| feature.end_with?("/rubygems.rb") }
  end
  singleton_class.prepend(Kept)

  @loaded_specs = Hash.new(&IN_USE)

  class << self
    attr_reader :loaded_specs

    def ruby_version = Version.new(RUBY_VERSION)
    def win_platform? = false
    def java_platform? = false

    def method_missing(name, ...)
      return super if loaded?
      require "rubygems"
      public_send(name, ...)
    end

    def respond_to_missing?(*) = false

    def const_missing(name)
      require "rubygems"
      const_defined?(name, false) ? const_get(name, false) : super
    end
  end
end
