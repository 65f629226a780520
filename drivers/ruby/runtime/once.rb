# frozen_string_literal: true

module Pipsqueak
  # Once tells of gems that read what a process has once, while they are required: its id, which a fork has another one of, and its arguments. Asked
  # has the names by which core knows them.
  module Once
    PID = "@pid"
    ARGUMENTS = "@argv"
    PACKAGES = "/packages/"

    class << self
      def hook
        pid = Process.method(:pid)
        Process.define_singleton_method(:pid) do
          Once.note_pid(caller_locations(1, 1).first)
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
      end

      # A file of a gem that reads the id in a method as well compares it with the one before, to notice a fork: it is right in a zygote.
      def note_pid(place)
        path = place&.absolute_path
        Asked.note(PID) if path&.start_with?(PACKAGES) && !(lines(path) - [place.lineno]).any?
      end

      private

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
