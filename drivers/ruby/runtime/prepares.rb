# frozen_string_literal: true

require "ripper"

module Pipsqueak
  # Prepares finds what a file of a function does for what it requires later: environment variables that it sets, and parts of Ruby that it changes. What
  # is in methods, which may never be called, does not count.
  class Prepares
    ALL = "*"
    SETS = %w[store update merge! replace delete clear delete_if reject! select! filter! keep_if].freeze
    ONE = %w[store delete].freeze # of these, those of a single variable
    CHANGES = %w[prepend include extend class_eval module_eval instance_eval class_exec module_exec define_method define_singleton_method alias_method send refine undef_method remove_method].freeze
    LATER = %i[def defs lambda].freeze
    # Of gems: they set variables when they are required, out of a file of the function's.
    BY_GEMS = /\Adotenv(\z|[\/-])/

    # Returns the names of variables, ALL when it is not known which, that statements of a file set.
    def self.of(statements) = new.tap { |one| one.look(statements) }.found

    attr_reader :found

    def initialize
      @found = []
    end

    def look(node)
      return unless node.is_a?(Array)
      if node[0].is_a?(Symbol)
        return if LATER.include?(node[0])
        note(node)
      end
      node.each { |child| look(child) }
    end

    private

    def note(node)
      case node[0]
      when :assign, :opassign then assigned(node[1]) if env?(node.dig(1, 1)) && node.dig(1, 0) == :aref_field
      when :method_add_arg then called(node[1], node[2])
      when :command_call then called(node, node[4])
      when :call then called(node, nil)
      when :class, :module then @found << ALL if known?(node[1]) && node[0] == (constant(node[1]).instance_of?(Class) ? :class : :module)
      end
    end

    def assigned(field)
      @found << (literal(field[2]) || ALL)
    end

    def called(call, arguments)
      return unless %i[call command_call].include?(call[0]) && call[3].is_a?(Array)
      method = call[3][1]
      if env?(call[1]) && SETS.include?(method)
        name = ONE.include?(method) ? literal(arguments) : nil
        @found << (name || ALL) unless name.nil? && arguments.nil? && ONE.include?(method) # the call within its arguments' node
      elsif CHANGES.include?(method) && known?(call[1])
        @found << ALL
      end
    end

    def env?(node) = node.is_a?(Array) && node[0] == :var_ref && node[1][0] == :@const && node[1][1] == "ENV"

    # Whether it is a constant of Ruby itself.
    def known?(node) = !constant(node).nil?

    def constant(node)
      name = node[1][1] if node.is_a?(Array) && %i[var_ref const_ref].include?(node[0]) && node[1][0] == :@const
      Object.const_get(name) if name && Object.const_defined?(name, false) && !name.start_with?("Pipsqueak")
    end

    # The first argument, when it is a text.
    def literal(node)
      node = node[1] if node.is_a?(Array) && node[0] == :arg_paren
      node = node[1] if node.is_a?(Array) && node[0] == :args_add_block
      node = node[0] if node.is_a?(Array) && node[0].is_a?(Array)
      content = node[1] if node.is_a?(Array) && node[0] == :string_literal
      content[1][1] if content && content.size == 2 && content[1][0] == :@tstring_content
    end
  end
end
