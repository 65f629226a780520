# frozen_string_literal: true

require "ripper"

module Pipsqueak
  # Sets finds what a file of a function does for what it requires later. Plain statements do nothing for that: literals, constants and variables of
  # the function's own, its classes and methods, reads of the environment, and calls to Ruby's own classes that change none of Ruby's state. Anything else
  # counts: calls to a gem, changes of Ruby's classes, variables and settings. What is in methods counts when methods of the function's own are called.
  class Sets
    ALL = "*"
    SETS = %w[store update merge! replace delete clear delete_if reject! select! filter! keep_if].freeze
    ONE = %w[store delete].freeze # of these, those of a single variable
    CHANGES = %w[prepend include extend class_eval module_eval instance_eval class_exec module_exec define_method define_singleton_method alias_method
                 send public_send refine undef_method remove_method remove_const const_set autoload trace trap srand eval].freeze
    # Of Ruby's variables: assigned, or changed in place.
    VARIABLES = %w[$VERBOSE $DEBUG $-w $-v $-d $; $, $/ $\\ $-0 $-F $FIELD_SEPARATOR $FS $OUTPUT_FIELD_SEPARATOR $OFS $INPUT_RECORD_SEPARATOR $RS
                   $OUTPUT_RECORD_SEPARATOR $ORS $0 $PROGRAM_NAME $stdin $stdout $stderr $> $LOAD_PATH $: $-I $LOADED_FEATURES $"].freeze
    IN_PLACE = %w[<< unshift push append prepend insert concat replace delete delete_if clear reject! select! map! uniq!].freeze
    # Functions that change nothing, and what requires.
    PLAIN = %w[puts print p pp warn format sprintf lambda proc raise loop catch freeze frozen? sleep rand Integer Float String Array Hash Rational
               require require_relative gem private public module_function using binding block_given? __dir__ __method__ exit abort].freeze
    LATER = %i[def defs lambda].freeze
    # Of gems: they set variables when they are required, out of a file of the function's.
    BY_GEMS = /\Adotenv(\z|[\/-])/

    def initialize
      @own = [] # names of the constants that the function has defined
      @methods = {} # its methods, by name
      @running = false
    end

    # Returns the names of variables, ALL when it is not known which, that a statement sets.
    def of(statement)
      @found = []
      look(statement, false)
      @found
    end

    private

    # Within is whether it is in the body of a class of the function's own.
    def look(node, within)
      return unless node.is_a?(Array)
      return node.each { |child| look(child, within) } unless node[0].is_a?(Symbol)
      note(node, within)
      return keep(node) if LATER.include?(node[0])
      within = true if %i[class module sclass].include?(node[0])
      node.drop(1).each { |child| look(child, within) }
    end

    def note(node, within)
      case node[0]
      when :assign, :opassign then assigned(node[1])
      when :massign then node[1].each { |field| assigned(field) }
      when :class, :module then opened(node[1], within)
      when :sclass, :defs then changed(node[1])
      when :def then all if !within && Kernel.private_method_defined?(node[1][1])
      when :alias, :undef then all unless within
      when :method_add_arg then called(node[1], node[2], within)
      when :command_call then called(node, node[4], within)
      when :call then called(node, nil, within)
      when :binary then changed(node[1]) if node[2] == :<<
      when :command, :fcall, :vcall
        return if PLAIN.include?(node[1][1]) || within
        @methods.key?(node[1][1]) ? run : all
      end
    end

    # Keeps a method for when one is called.
    def keep(node)
      name = { def: node[1], defs: node[3] }[node[0]]
      (@methods[name && name[1]] ||= []) << node.last unless @running
    end

    # One of the function's own methods is called, and may call the others.
    def run
      return if @running
      @running = true
      @methods.values.flatten(1).each { |body| look(body, false) }
      @running = false
    end

    def all = @found << ALL

    def assigned(field)
      kind, target = field
      case kind
      when :aref_field then env?(target) ? @found << (literal(field[2]) || ALL) : changed(target)
      when :field then @own.include?(root(target)) ? run : (all if root(target))
      when :const_path_field then all unless @own.include?(root(target))
      when :var_field
        @own << target[1] if target&.first == :@const
        all if target&.first == :@gvar && VARIABLES.include?(target[1])
      end
    end

    def opened(name, within)
      first = root(name[0] == :const_path_ref ? name[1] : name)
      return @own << first if name[0] == :const_ref && (within || !ruby?(first))
      all unless @own.include?(first)
    end

    def called(call, arguments, within)
      return unless %i[call command_call].include?(call[0]) && call[3].is_a?(Array)
      method = call[3][1]
      if env?(call[1]) && SETS.include?(method)
        name = ONE.include?(method) ? literal(arguments) : nil
        @found << (name || ALL) unless name.nil? && arguments.nil? && ONE.include?(method) # the call within its arguments' node
      elsif (first = root(call[1]))
        @own.include?(first) ? run : (all if !ruby?(first) || first == "TracePoint" || CHANGES.include?(method))
      elsif IN_PLACE.include?(method)
        changed(call[1])
      end
    end

    def changed(receiver)
      first = root(receiver)
      all if first && !@own.include?(first) || receiver[0] == :var_ref && receiver[1][0] == :@gvar && VARIABLES.include?(receiver[1][1])
    end

    def env?(node) = node.is_a?(Array) && node[0] == :var_ref && node[1][0] == :@const && node[1][1] == "ENV"

    # The name of the constant that an expression begins with, if it does with one.
    def root(node)
      return unless node.is_a?(Array)
      case node[0]
      when :@const then node[1]
      when :var_ref, :const_ref, :top_const_ref, :const_path_ref, :call, :method_add_arg, :method_add_block, :command_call, :aref then root(node[1])
      end
    end

    # Whether a constant is Ruby's own, or of one of its libraries.
    def ruby?(name)
      return !name.start_with?("Pipsqueak") if Object.const_defined?(name, false)
      file = name.downcase
      $LOAD_PATH.any? { |dir| ["#{dir}/#{file}.rb", "#{dir}/#{file}.so", "#{dir}/#{file}"].any? { |path| File.exist?(path) } }
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
