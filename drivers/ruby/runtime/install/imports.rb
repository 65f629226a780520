# frozen_string_literal: true

require "open3"
require "rbconfig"
require "ripper"
require_relative "sets"

module Pipsqueak
  # Imports finds the modules that a handler's file requires whenever it is required, directly or through other files of the
  # function. Those in methods, conditions and rescued blocks may never be required, and are left out.
  class Imports
    # Seconds of work that a library of Ruby's own takes at least to be worth being told of.
    COSTLY = 0.002
    VERBS = %w[require require_relative].freeze

    # The environment variables that the function's files set for what they require, as core.Resolution has them.
    attr_reader :sets

    def initialize(code)
      @code = code
      @sets = []
      @statements = Sets.new
      @pending = [] # what was done since the last require
    end

    def of(handler)
      file = file_of(handler)
      @files, @found = {}, {}
      follow(file, true) if file
      @sets = (@sets + @found.keys.grep(Sets::BY_GEMS).map { Sets::ALL }).uniq
      names = @found.keys.grep_v(Sets::BY_GEMS)
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

    # Goes through a file, and through those that it requires, in the order in which Ruby does. Certain is whether the file is always required.
    def follow(file, certain)
      return if @files[file] || @files.key?(file) && !certain
      @files[file] = certain
      tree = Ripper.sexp(File.read(file)) or return # a syntax error; the import says so, with all its words
      tree[1].each do |statement|
        always = certain && !required(statement).nil?
        requires(statement).each { |verb, name| reach(verb, name, File.dirname(file), always) }
        @pending |= @statements.of(statement)
      end
    rescue SystemCallError, ArgumentError
      nil
    end

    # Goes on behind a require. One whose file nobody knows may prepare anything.
    def reach(verb, name, directory, always)
      path = name && local(verb, name, directory)
      return follow(path, always) if path
      @sets |= @pending
      @pending |= [Sets::ALL] if name.nil?
      @found[name] = true if always && verb == "require" && !name.match?(%r{\A\W|\.\.|\0}) # a path leads to code that is no library's
    end

    # Returns [verb, name] of each require in a statement that is not for later. The name is nil when it is no literal.
    def requires(node)
      return [] unless node.is_a?(Array) && !Sets::LATER.include?(node[0])
      own = required(node) || (node[0] == :@ident && VERBS.include?(node[1]) ? [node[1], nil] : nil)
      own ? [own] : node.flat_map { |child| requires(child) }
    end

    # [:command, [:@ident, "require", …], ARGUMENTS], or [:method_add_arg, [:fcall, [:@ident, "require", …]], [:arg_paren, ARGUMENTS]]
    def required(statement)
      kind, callee, arguments = statement
      callee, arguments = callee[1], arguments[1] if kind == :method_add_arg && callee[0] == :fcall && arguments[0] == :arg_paren
      return unless %i[command method_add_arg].include?(kind) && callee.is_a?(Array) && callee[0] == :@ident
      return unless VERBS.include?(callee[1]) && arguments
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
