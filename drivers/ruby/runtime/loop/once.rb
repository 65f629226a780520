# frozen_string_literal: true

module Pipsqueak
  # Once reports gems that read what a process has once, while they are required: its id, which a fork has another one of, its arguments, and by whom
  # they are required, which in a zygote is no file of the function's. Asked has the names by which core knows them.
  module Once
    PID = "@pid"
    ARGUMENTS = "@argv"
    CALLER = "@caller"
    PACKAGES = "/packages/"
    OWN = %w[asked draws once].map { |name| "#{__dir__}/#{name}.rb" }.freeze # stand between who calls and who is called
    LIBRARIES = %r{\A(<internal:|/packages/|#{Regexp.union($LOAD_PATH.reject { |dir| dir.start_with?("/packages/", "/function") })}/)}
    LOCATIONS = Kernel.instance_method(:caller_locations)

    # Who reads places in the stack: some of them, or all. It does not see who keeps them to read them later.
    module Noting
      SOME = %i[[] at fetch first last slice].freeze
      Array.public_instance_methods(false).each do |name|
        define_method(name) do |*given, &block|
          got = super(*given, &block)
          Once.note_places(SOME.include?(name) ? got : self)
          got
        end
      end
    end

    class << self
      def hook
        pid = Process.method(:pid)
        Process.define_singleton_method(:pid) do
          Once.note_pid(Once.stack.first)
          pid.call
        end
        reading = Module.new do
          Array.public_instance_methods(false).each do |name|
            define_method(name) do |*given, &block|
              Asked.note(ARGUMENTS)
              super(*given, &block)
            end
          end
        end
        ARGV.singleton_class.prepend(reading)
        hook_callers
      end

      # A file of a gem that reads the id in a method as well compares it with the one before, to notice a fork: it is right in a zygote.
      def note_pid(place)
        path = place&.absolute_path
        Asked.note(PID) if path&.start_with?(PACKAGES) && !(lines(path) - [place.lineno]).any?
      end

      # The places in the stack of who has called a method that stands in for one of Ruby's.
      def stack = LOCATIONS.bind_call(self, 2).reject { |one| OWN.include?(one.path) }

      # Returns what a method that stands in for Kernel#caller_locations gives.
      def callers(first, *length)
        stack = self.stack
        given = stack[Integer === first && length.empty? ? first.. : first, *length]
        given = given&.map { |one| yield one } if block_given?
        given&.extend(Noting) if stack.first&.path&.start_with?(PACKAGES)
        given
      end

      # Notes what has been taken from places in the stack, unless that is of gems and of Ruby's own.
      def note_places(taken)
        Asked.note(CALLER) unless [*taken].all? { |one| LIBRARIES.match?(one.to_s) }
      end

      private

      def hook_callers
        [Kernel, Kernel.singleton_class].each do |owner|
          owner.define_method(:caller_locations) { |first = 1, *length| Once.callers(first, *length) }
          owner.define_method(:caller) { |first = 1, *length| Once.callers(first, *length, &:to_s) }
        end
        Kernel.send(:private, :caller, :caller_locations)
      end

      # Where methods of a file read the id.
      def lines(path)
        found = []
        find = lambda do |node, later|
          next unless RubyVM::AbstractSyntaxTree::Node === node
          found << node.first_lineno if later && reads?(node)
          node.children.each { |child| find.call(child, later || %i[DEFN DEFS].include?(node.type)) }
        end
        find.call(RubyVM::AbstractSyntaxTree.parse_file(path), false)
        found
      rescue SyntaxError, SystemCallError, NotImplementedError
        []
      end

      def reads?(node)
        case node.type
        when :GVAR then %i[$$ $PID $PROCESS_ID].include?(node.children[0])
        when :CALL then node.children[1] == :pid && node.children[0]&.children&.last == :Process
        end
      end
    end
  end
end
