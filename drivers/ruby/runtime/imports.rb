# frozen_string_literal: true

require "open3"
require "rbconfig"
require "ripper"
require_relative "prepares"

module Pipsqueak
  # Imports finds the modules that a handler's file requires whenever it is required, directly or through other files of the
  # function. Those in methods, conditions and rescued blocks may never be required, and are left out.
  class Imports
    # Seconds of work that a library of Ruby's own takes at least to be worth being told of.
    COSTLY = 0.002

    # The environment variables that the function's files set for what they require, as core.Resolution has them.
    attr_reader :sets

    def initialize(code)
      @code = code
      @sets = []
    end

    def of(handler)
      files = [file_of(handler)].compact
      found = {}
      files.each do |file| # grows meanwhile
        requires(file).each do |verb, name|
          path = local(verb, name, File.dirname(file))
          files << path if path && !files.include?(path)
          found[name] = true unless path || verb == "require_relative" || name.match?(%r{\A\W|\.\.|\0}) # a path leads to code that is no library's
        end
      end
      @sets = (@sets + found.keys.grep(Prepares::BY_GEMS).map { Prepares::ALL }).uniq
      names = found.keys.grep_v(Prepares::BY_GEMS)
      names - cheap(names)
    end

    # Whether a file of the function's is in the place of one of Ruby's own or of these gems, and a zygote would have that instead.
    def shadows?(gems)
      own = Dir.glob("**/*.rb", base: @code).map { |file| file.delete_suffix(".rb") }
      own.any? { |name| gems.include?(name.tr("/", "-")) || $LOAD_PATH.any? { |dir| %w[.rb .so].any? { |ending| File.file?("#{dir}/#{name}#{ending}") } } }
    end

    private

    def file_of(handler)
      base = handler.rindex("/") || 0
      while (base = handler.index(".", base + 1))
        paths = [handler[0...base], handler[0...base].tr(".", "/")].map { |name| "#{@code}/#{name}.rb" }
        found = paths.find { |path| File.file?(path) }
        return found if found
      end
    end

    def local(verb, name, directory)
      path = File.expand_path(name.end_with?(".rb") ? name : "#{name}.rb", verb == "require" ? @code : directory)
      path if path.start_with?("#{@code}/") && File.file?(path)
    rescue ArgumentError
      nil # no path at all
    end

    # Returns [verb, name] of each require in the first level of a file.
    def requires(file)
      tree = Ripper.sexp(File.read(file))
      return [] unless tree # a syntax error; the import says so, with all its words
      found = tree[1].filter_map { |statement| required(statement) }
      last = tree[1].rindex { |statement| required(statement) }
      @sets |= Prepares.of(tree[1][0..last]) if last
      found
    rescue SystemCallError, ArgumentError
      []
    end

    # [:command, [:@ident, "require", …], ARGUMENTS], or [:method_add_arg, [:fcall, [:@ident, "require", …]], [:arg_paren, ARGUMENTS]]
    def required(statement)
      kind, callee, arguments = statement
      callee, arguments = callee[1], arguments[1] if kind == :method_add_arg && callee[0] == :fcall && arguments[0] == :arg_paren
      return unless %i[command method_add_arg].include?(kind) && callee.is_a?(Array) && callee[0] == :@ident
      return unless %w[require require_relative].include?(callee[1]) && arguments
      literal = arguments.dig(1, 0)
      return unless arguments[0] == :args_add_block && literal&.first == :string_literal
      content = literal[1]
      [callee[1], content[1][1]] if content.size == 2 && content[1][0] == :@tstring_content
    end

    # Those of Ruby's own libraries that take no time.
    def cheap(names)
      return [] if names.empty?
      question = <<~RUBY
        clock = -> { Process.clock_gettime(Process::CLOCK_PROCESS_CPUTIME_ID) }
        ARGV.each do |name|
          start = clock.call
          require name
          puts name if clock.call - start < #{COSTLY}
        rescue LoadError, StandardError
          next
        end
      RUBY
      said, = Open3.capture2(RbConfig.ruby, "--disable=gems", "-I", $LOAD_PATH.join(":"), "-e", question, *names)
      said.lines(chomp: true) & names
    end
  end
end
